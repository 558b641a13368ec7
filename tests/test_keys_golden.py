"""The keys of every bundled spec, pinned: what was computed before must be found again by every later version.

A key that changes makes everyone's finished results missing. It may be changed knowingly; then `tests/golden_keys.json`
is written anew (`python -m tests.test_keys_golden`) in the same commit, and CHANGELOG.md says what it costs users.

Data, weights and packages have no part in this: fingerprints of what lies on disk are fixed texts here.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from sweeps import spec as specs
from sweeps.planning.plan import trials

GOLDEN = Path(__file__).with_name("golden_keys.json")

CHANGES: Mapping[str, tuple[str, ...]] = {
    "epsilon-demo": (),
    "demo": (),
    "methods-demo": (),
    "methods-demo-detection": (),
    "zhou2023": ("dataset.root=/data",),
    "zhou2023-yolo": ("dataset.root=/data", "detector.weights=/w"),
    "vemparala2021": ("dataset.root=/data",),
    "vemparala2021-kitti": ("dataset.root=/data",),
    "liu2024": ("dataset.root=/data", "detector.weights=/w"),
    "coco-small": ("dataset.root=/data", "detector.config=yolov3-tiny", "detector.weights=/w"),
    "kitti-demo": (),
    "kitti-small": ("dataset.root=/data", "detector.config=yolov3-tiny", "detector.weights=/w"),
    "classifiers-demo": (),
    "tajwar2023": ("dataset.root=/data", "weights.resnet18.adversarial=/w"),
    "cifar-small": ("dataset.root=/data", "weights.resnet20.initial=/w", "weights.resnet20.standard=/w"),
}
"""What each bundled spec needs to be given."""


def keys(name: str) -> dict[str, Any]:
    """Return the keys of a bundled spec: those of stages, of which each is there once, and a digest of all rows'."""
    loaded = specs.load(name, CHANGES[name])
    stages: dict[str, str] = {}
    rows: dict[str, str] = {}
    for trial in trials(loaded):
        for row in trial.rows:
            rows[" ".join(map(str, row.cell.values()))] = str(row.key)
            for stage in row.stages:
                stages.setdefault(stage.key, stage.name)
    by_stage: dict[str, list[str]] = {}
    for key, stage_name in stages.items():
        by_stage.setdefault(stage_name, []).append(key)
    return {
        # The shared ones by name, to see which stage moved; of those that every row has, a digest.
        **{name: sorted(found) if len(found) <= 60 else _digest(sorted(found)) for name, found in by_stage.items()},
        "rows": len(rows),
        "first_row": rows[next(iter(rows))],
        "last_row": rows[[*rows][-1]],
        "all_rows": _digest(sorted(rows.items())),
    }


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()


def fix_data(patch: pytest.MonkeyPatch) -> None:
    """Let everything on disk have the same fingerprint on every machine."""
    from robustprune.classification.data import datasets as classification_datasets
    from robustprune.detection.data import datasets
    from robustprune.detection.data.kitti.settings import Kitti
    from robustprune.studies.classification import settings as classification_settings
    from robustprune.studies.detection import settings as study_settings

    for detection in (datasets.Coco, Kitti):
        patch.setattr(detection, "fingerprint", lambda self, split: {"split": split, "sha256": "fixed"})
    for settings in (study_settings, classification_settings):
        patch.setattr(settings, "file_sha256", lambda path, field: "fixed")
    for dataset in (classification_datasets.Cifar10, classification_datasets.Folders):
        patch.setattr(dataset, "fingerprint", lambda self, split: {"split": split, "sha256": "fixed"})
    patch.setattr(
        classification_datasets.Folders,
        "classes",
        property(lambda self: ("airplane", "automobile")),
    )


def test_every_bundled_spec_is_pinned() -> None:
    assert CHANGES.keys() == specs.bundled().keys() == json.loads(GOLDEN.read_text()).keys()


@pytest.mark.parametrize("name", CHANGES)
def test_the_keys_of_a_bundled_spec_are_those_of_before(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fix_data(monkeypatch)
    assert keys(name) == json.loads(GOLDEN.read_text())[name]


if __name__ == "__main__":
    with pytest.MonkeyPatch.context() as monkeypatch:
        fix_data(monkeypatch)
        GOLDEN.write_text(json.dumps({name: keys(name) for name in CHANGES}, indent=1) + "\n")
