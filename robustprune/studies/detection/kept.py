"""What rows of a detection study keep of their detectors, and how these are measured under further attacks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar

import torch

from robustprune.attacks import ATTACKS, AttackSettings
from robustprune.core.arrays import to_arrays
from robustprune.core.devices import PLACE_COLUMNS, in_full_precision, place
from robustprune.detection import networks
from robustprune.detection.detector import Detector
from robustprune.detection.exported import FORMATS, exported
from robustprune.detection.kept_models import ENDINGS, model_files, model_of
from robustprune.detection.task import DetectionTask
from robustprune.studies.detection.columns import PRECISIONS
from robustprune.studies.detection.inputs import network_input
from robustprune.studies.detection.settings import DetectionSettings, stage_inputs
from robustprune.studies.measured import ATTACK, KEPT_BY, attack_columns, attack_meanings, attack_values
from robustprune.studies.on_device import on_device
from robustprune.studies.pruning_study import PruningStudy
from sweeps.study import Cell, Files, Measurement

_ASCENDING = [entry.settings for entry in ATTACKS.values() if entry.finds == "ball" and entry.sees == "loss"]


class KeptDetectors(PruningStudy):
    """The part of the study that is about files of its detectors."""

    settings: DetectionSettings
    formats: ClassVar = FORMATS
    measurement: ClassVar = Measurement(
        axis=ATTACK,
        settings=AttackSettings,
        columns={
            **PRECISIONS,
            **attack_columns(_ASCENDING),
            **PLACE_COLUMNS,
            "threads": int,
            "torch_version": str,
        },
        kept_by=KEPT_BY,
        meanings=attack_meanings(_ASCENDING),
    )

    @property
    def files(self) -> dict[str, tuple[str, ...]]:
        """What a row leaves beside it to take away: its model, where that is to be kept."""
        return {"models": ENDINGS} if self.settings.keep_models else {}

    def kept(self, detector: Detector, cell: Cell, *, classes: Sequence[str]) -> dict[str, dict[str, bytes]]:
        """Return a row's `files`."""
        if not self.files:
            return {}
        read, config = network_input(self.settings), self.settings.detector.config
        network = config if networks.is_named(config) else None
        return {
            "models": model_files(
                detector, cell=cell, image_size=read.size, fit=read.fit, classes=classes, network=network
            )
        }

    def export(self, files: Mapping[str, Files], form: str) -> Files:
        """Return a kept model as ONNX or, of a Darknet detector, as Darknet's files."""
        return exported(files["models"], form)

    @property
    def measured_under(self) -> dict[str, Any]:
        """The attack that rows are measured under."""
        return self.settings.attack.model_dump(mode="json")

    def measuring(self, asked: AttackSettings) -> dict[str, Any]:
        """Return what a measurement depends on: all that a row does that nobody trained, but under another attack."""
        return stage_inputs(self.settings.model_copy(update={"attack": asked}))["baseline"]

    @on_device
    def measure_kept(self, cell: Cell, files: Mapping[str, Files], asked: AttackSettings) -> dict[str, Any]:
        """Measure a kept detector as its row was, with the same random numbers, but under another attack."""
        task = self.task(cell)
        assert isinstance(task, DetectionTask)
        task = replace(task, attack_settings=asked, evaluation=self.settings.evaluation)
        detector = task.restored(to_arrays(model_of(files["models"]).detector.state_dict()))
        with in_full_precision():
            measured = task.detections(detector, seed=int(cell["seed"]))
        return {
            **task.precisions(measured),
            **attack_values(asked, self.measurement.columns),
            **place(task.device),
            "threads": torch.get_num_threads(),
            "torch_version": str(torch.__version__),
        }
