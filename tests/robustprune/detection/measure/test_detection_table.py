"""The kept table holds what AP is of: measuring it again gives the figures of its row."""

from collections.abc import Iterator
from functools import partial

import numpy as np
import pytest
import torch

from robustprune.attacks import pgd
from robustprune.detection.darknet import Detector
from robustprune.detection.data.classes import by_name
from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.samples import Samples
from robustprune.detection.measure.average_precision import average_precision
from robustprune.detection.measure.detection_table import COLUMNS, detection_table
from robustprune.detection.measure.evaluation import Evaluation, evaluate
from robustprune.detection.measure.matching import Detections, matched
from tests.robustprune.detection.tasks import under


def read_back(split: CocoSplit, table: dict[str, np.ndarray], *, attacked: bool) -> Iterator[Detections]:
    classes = {category_id: class_ for class_, category_id in enumerate(split.category_ids)}
    for image_id in split.image_ids:
        which = (table["image_id"] == image_id) & (table["attacked"] == attacked)
        x, y, width, height, scores = (
            torch.from_numpy(table[name][which]) for name in ("x", "y", "width", "height", "score")
        )
        found = torch.tensor([classes[id_] for id_ in table["category_id"][which].tolist()], dtype=torch.int64)
        yield Detections(image_id, torch.stack([x, y, x + width, y + height], dim=1), scores, found)


def test_the_precision_of_a_row_can_be_measured_from_its_table(trained: Detector, samples: Samples) -> None:
    weak = under(partial(pgd, epsilon=0.01, step_size=0.01, steps=1), trained)
    measured = evaluate(trained, samples, objective=weak, settings=Evaluation())
    found = {"clean": measured.clean_detections, "attacked": measured.attacked_detections}
    table = detection_table(samples.split, **found)
    for attacked, precision in ((False, measured.clean), (True, measured.attacked)):
        again = average_precision(matched(samples.split, list(read_back(samples.split, table, attacked=attacked))))
        assert again == pytest.approx(precision, abs=1e-6)
    assert measured.attacked != measured.clean


def test_a_line_is_what_coco_calls_it(samples: Samples) -> None:
    split, nothing = samples.split, torch.zeros(0)
    box, classes = torch.tensor([[1.0, 2.0, 11.0, 22.0]]), torch.tensor([3])
    found = Detections(split.image_ids[1], box, torch.tensor([0.25]), classes)
    empty = Detections(split.image_ids[0], torch.zeros(0, 4), nothing, nothing.long())
    table = detection_table(split, clean=[empty, found], attacked=[found, empty])
    assert list(table) == list(COLUMNS)
    lines = list(zip(*(column.tolist() for column in table.values()), strict=True))
    boxed = (1.0, 2.0, 10.0, 20.0, 0.25, split.category_ids[3], split.category_names[3])
    assert lines == [(split.image_ids[1], attacked, *boxed) for attacked in (False, True)]


def test_ids_that_were_made_up_for_a_detectors_classes_are_in_no_table(samples: Samples) -> None:
    names = ["unicorn", *samples.split.category_names]
    (split,) = by_name([samples.split], names).splits
    boxes, scores, classes = (
        torch.tensor([[1.0, 2, 3, 4], [5, 6, 7, 8]]),
        torch.tensor([0.5, 0.25]),
        torch.tensor([0, 1]),
    )
    found = Detections(split.image_ids[0], boxes, scores, classes)
    table = detection_table(split, clean=[found], attacked=[])
    assert table["category"].tolist() == [samples.split.category_names[0]]
    assert table["category_id"].tolist() == [samples.split.category_ids[0]]
    assert table["score"].tolist() == [0.25]


def test_a_detector_that_finds_nothing_has_a_table_without_lines(samples: Samples) -> None:
    table = detection_table(samples.split, clean=[], attacked=[])
    assert {name: len(column) for name, column in table.items()} == dict.fromkeys(COLUMNS, 0)
    assert table["x"].dtype == np.float32
