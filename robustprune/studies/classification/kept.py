"""What rows of a classification study keep of their classifiers, and how these are measured under further attacks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import torch

from robustprune import attacks
from robustprune.attacks import ATTACKS, BallSettings
from robustprune.classification.classifier import Classifier
from robustprune.classification.exported import FORMATS, exported
from robustprune.classification.kept_models import model_files, model_of
from robustprune.classification.measure.evaluation import ACCURACIES
from robustprune.classification.task import ClassificationTask
from robustprune.core.devices import PLACE_COLUMNS, in_full_precision, place
from robustprune.inference.model_files import ENDINGS
from robustprune.studies.classification.settings import TRAININGS, ClassificationSettings, row_inputs
from robustprune.studies.measured import ATTACK, KEPT_BY, attack_columns, attack_meanings, attack_values
from robustprune.studies.on_device import on_device
from robustprune.studies.pruning_study import PruningStudy
from sweeps.study import Cell, Files, Measurement

_WITHIN_A_BALL = [entry.settings for entry in ATTACKS.values() if entry.finds == "ball"]


class KeptClassifiers(PruningStudy):
    """The part of the study that is about files of its classifiers."""

    settings: ClassificationSettings
    formats: ClassVar = FORMATS
    measurement: ClassVar = Measurement(
        axis=ATTACK,
        settings=BallSettings,
        columns={
            **ACCURACIES,
            **attack_columns(_WITHIN_A_BALL),
            **PLACE_COLUMNS,
            "threads": int,
            "torch_version": str,
        },
        kept_by=KEPT_BY,
        meanings=attack_meanings(_WITHIN_A_BALL),
    )

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """What a row leaves beside it to take away: its model, where that is to be kept."""
        return {"models": ENDINGS} if self.settings.keep_models else {}

    def kept(self, classifier: Classifier, cell: Cell) -> dict[str, dict[str, bytes]]:
        """Return a row's `files`."""
        dataset = self.settings.dataset
        return {
            name: model_files(classifier, cell=cell, image_size=dataset.image_size, classes=dataset.classes)
            for name in self.files
        }

    def export(self, files: Mapping[str, Files], form: str) -> Files:
        """Return a kept model as ONNX."""
        return exported(files["models"], form)

    @property
    def measured_under(self) -> dict[str, Any]:
        """The attack within a ball that rows are measured under."""
        return self.settings.evaluation.attack.model_dump(mode="json")

    def measuring(self, asked: BallSettings) -> dict[str, Any]:
        """Return what a measurement depends on: all that a row does that nobody trained, but under another attack."""
        attacks.check(asked, classes=len(self.settings.dataset.classes))
        return row_inputs(self._under(asked), training=TRAININGS[0], pruned=False)

    @on_device
    def measure_kept(self, cell: Cell, files: Mapping[str, Files], asked: BallSettings) -> dict[str, Any]:
        """Measure a kept classifier as its row was, with the same random numbers, but under another attack."""
        task = self.task(cell)
        assert isinstance(task, ClassificationTask)
        task = replace(task, evaluation=self._under(asked).evaluation)
        classifier = task.placed(model_of(files["models"]).classifier)
        with in_full_precision():
            measured = task.accuracies(classifier, seed=int(cell["seed"]))
        return {
            **measured,
            **attack_values(asked, self.measurement.columns),
            **place(task.device),
            "threads": torch.get_num_threads(),
            "torch_version": str(torch.__version__),
        }

    def _under(self, asked: BallSettings) -> ClassificationSettings:
        evaluation = self.settings.evaluation.model_copy(update={"attack": asked})
        return self.settings.model_copy(update={"evaluation": evaluation})
