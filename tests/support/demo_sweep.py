"""Two sweeps of the bundled demo, all but a few rows of them there, as the store would have written them in a run.

Their numbers are made by arithmetic on the cell, and look like the demo's. Nothing here trains or measures.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from robustprune.detection.data.coco import CocoSplit
from robustprune.detection.data.datasets import Shapes
from sweeps import spec
from sweeps.planning import plan
from sweeps.planning.plan import Row
from sweeps.spec import Spec
from sweeps.storage import Store, rows, tables
from sweeps.study import Cell, Lines

PARAMETERS = 186_310
HALF_LOST_AT = {
    ("unstructured", "hydra"): 0.83,
    ("unstructured", "deeplift"): 0.62,
    ("structured", "hydra"): 0.38,
    ("structured", "deeplift"): 0.34,
}
"""The ratio at which a configuration has lost half of its AP."""

FAILED = [("unstructured", "hydra", 1, 0.99), ("structured", "deeplift", 2, 0.95)]
NOT_YET = [("structured", "deeplift", 2, 0.99)]


def publish(store: Store) -> None:
    """Write the sweep `demo`, with two failures and one row missing, and `longer`, fine-tuned twice as long."""
    split = Shapes(name="shapes").splits()[1]
    demo, longer = spec.load("demo"), spec.load("demo", ["name=longer", "finetune.epochs=2"])
    for row in _begin(store, demo):
        place = (row.cell["structure"], row.cell["initializer"], row.cell["seed"], row.cell["ratio"])
        if place in FAILED:
            _fail(store, demo, row)
        elif place not in NOT_YET:
            files_key = f"{row.key}-{row.key.cell[:8]}"
            store.publish_table(demo.name, "detections", files_key, _detections(row, files_key, demo, split))
            _publish(store, demo, row, gain=1.0, files_key=files_key)
    for row in _begin(store, longer):
        _publish(store, longer, row, gain=1.1)


def _begin(store: Store, loaded: Spec) -> Iterator[Row]:
    store.write_spec(loaded.name, loaded.to_yaml())
    return (row for trial in plan.make(loaded, store).trials for row in trial.rows)


def _publish(store: Store, loaded: Spec, row: Row, *, gain: float, files_key: str | None = None) -> None:
    values: dict[str, Any] = dict.fromkeys(rows.schema(loaded.study).names)
    values |= {**row.cell, **_measured(row.cell, gain), **_provenance(row, loaded), "files_key": files_key}
    store.publish_row(loaded.name, str(row.key), rows.table(values, loaded.study))


def _fail(store: Store, loaded: Spec, row: Row) -> None:
    cause = "OutOfMemoryError: the node ran low on memory"
    failure = {"cell": row.cell, "row_key": str(row.key), "stage": "evaluate_row", "cause": cause}
    failure |= {"traceback": f"Traceback:\n  {cause}\n", "host": "node-2", "failed_at": "2026-11-21T10:00:00+00:00"}
    store.record_failure(loaded.name, str(row.key), failure)


def noise(*parts: object) -> float:
    """Return a number in [-1, 1) that depends on the parts alone."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**63 - 1


def _ap_left(cell: Cell, gain: float) -> float:
    """Return the fraction of AP that a pruned model keeps; the same at ratio 0, whatever was to be scored."""
    if cell["ratio"] == 0:
        return 1.0
    half = HALF_LOST_AT[str(cell["structure"]), str(cell["initializer"])]
    left = gain * 0.5 ** (float(cell["ratio"]) / half) ** 5
    return float(left * (1 + 0.1 * noise("pruned", *cell.values())))


def _measured(cell: Cell, gain: float) -> dict[str, Any]:
    ratio, colour, seed = float(cell["ratio"]), cell["colour"], cell["seed"]
    structured, baseline = cell["structure"] == "structured", cell["initializer"] == "none"
    robust = 0.18 if colour == "rgb" else 0.07
    left = 0.15 if baseline else _ap_left(cell, gain) * (1 + 0.05 * noise("pretrained", colour, seed))
    attacked, clean = robust * left, (2.3 if baseline else 1.6 * left) * robust
    engine, speedup = "dense", 1.0
    if ratio and structured:
        engine, speedup = "compact", 1 + 1.2 * ratio
    elif ratio >= 0.95:
        engine, speedup = "sparse", 1 + 4 * (ratio - 0.85)
    speedup *= 1 + 0.02 * noise("timed", *cell.values())
    node = 1 + int(seed) % 2
    scores = {"deeplift": 0.9 + 0.1 * int(seed), "hydra": 1.4 + 0.1 * noise("scored", *cell.values())}
    return {
        "map_adv": attacked,
        "map50_adv": 2.4 * attacked,
        "map_clean": clean,
        "map50_clean": 2.0 * clean,
        "inference_ms": 1.2 / speedup,
        "inference_ms_dense": 1.2,
        "speedup": speedup,
        "engine": engine,
        "params_total": PARAMETERS,
        "params_kept": round((1 - ratio) * PARAMETERS),
        "weights_pruned": ratio,
        "device": "cpu",
        "threads": 1,
        "torch_version": "2.15.0" if node == 1 else "2.14.1",
        "host": f"node-{node}",
        "finetune_s": 0.0 if baseline else 2.7 + 0.1 * node,
        "evaluate_s": 1.2 + 0.1 * node,
        "pretrain_s": None if baseline else 30.0 + int(seed) + (0.5 if colour == "rgb" else 0.0),
        "score_s": scores[str(cell["initializer"])] if ratio else None,
    }


def _provenance(row: Row, loaded: Spec) -> dict[str, Any]:
    assert row.checkpoint is not None
    return {
        "sweep": loaded.name,
        "row_key": str(row.key),
        "spec_hash": "0",
        "checkpoint_key": row.checkpoint.key,
        "attempt": 1,
        "git_commit": "322c951",
        "ray_version": "2.60.0",
        "schema_version": rows.SCHEMA_VERSION,
        "started_at": "2026-11-21T10:00:00+00:00",
        "finished_at": "2026-11-21T10:00:04+00:00",
    }


def _detections(row: Row, files_key: str, loaded: Spec, split: CocoSplit) -> Any:
    found = tables.tables({"detections": _boxes(row.cell, split)}, str(row.key), files_key, loaded.study)
    return found["detections"]


def _boxes(cell: Cell, split: CocoSplit) -> Lines:
    """Return ground truth as a detector would find it: fewer of it, and less surely, the more was lost.

    In greyscale, what differs in hue alone is told apart by chance.
    """
    annotations = list(split.ground_truth.anns.values())
    left = 0.2 if cell["initializer"] == "none" else _ap_left(cell, 1.0)
    luck = _luck(cell, len(annotations))
    x, y, width, height = np.array([annotation["bbox"] for annotation in annotations], np.float32).T
    classes = np.array([annotation["category_id"] for annotation in annotations])
    seen = _confused(classes, split) if cell["colour"] == "greyscale" else classes
    names = dict(zip(split.category_ids, split.category_names, strict=True))
    keep = np.concatenate([luck < 0.8 * left, luck < 0.45 * left])  # clean, attacked
    columns = {
        "image_id": np.array([annotation["image_id"] for annotation in annotations]),
        "x": x,
        "y": y,
        "width": width * np.float32(1.1),
        "height": height,
        "score": (0.99 - 0.9 * luck).astype(np.float32),
        "category_id": seen,
        "category": np.array([names[category] for category in seen.tolist()], object),
    }
    both = {name: np.tile(values, 2)[keep] for name, values in columns.items()}
    return both | {"attacked": np.repeat([False, True], len(annotations))[keep]}


def _luck(cell: Cell, count: int) -> NDArray[np.floating]:
    """Return `count` different numbers in (0, 1), in an order that the cell decides."""
    start = round(abs(noise("boxes", *cell.values())) * 1000)
    return (((np.arange(count) + start) * 0.6180339887) % 1).round(6)


def _confused(classes: NDArray[np.int64], split: CocoSplit) -> NDArray[np.int64]:
    """Return classes with every other one of a pair that differs in hue alone taken for its twin."""
    ids = dict(zip(split.category_names, split.category_ids, strict=True))
    twins = [("lemon", "lime"), ("brick", "moss")]
    confused = classes.copy()
    odd = np.arange(len(classes)) % 2 == 1
    for one, other in twins:
        confused[odd & (classes == ids[one])] = ids[other]
        confused[odd & (classes == ids[other])] = ids[one]
    return confused
