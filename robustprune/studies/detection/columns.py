"""What the columns and tables of a detection study are, with their units; see `sweeps.study.Study.meanings`."""

from robustprune.core.devices import PLACE_COLUMNS
from robustprune.core.timing import TIME_COLUMNS
from robustprune.detection.data.kitti.levels import LEVELS
from robustprune.detection.measure.kitti_ap import LEVEL_COLUMNS, LEVEL_PRECISIONS
from robustprune.methods import method_columns
from robustprune.studies.columns import SHARED_MEANINGS
from robustprune.studies.pruning.hard_pruned import hard_columns, hard_meanings
from robustprune.studies.pruning.seen import SEEN_COLUMNS

PRECISIONS: dict[str, type] = {
    "map_adv": float,
    "map_adv_low": float,
    "map_adv_high": float,
    "map50_adv": float,
    "map50_adv_low": float,
    "map50_adv_high": float,
    "map_adv_margin": float,
    "map50_adv_margin": float,
    "map_clean": float,
    "map50_clean": float,
    **dict.fromkeys(LEVEL_COLUMNS, float),
}
"""Columns of how well a detector does."""

HARD = ("map_adv", "map50_adv", "map_clean", "map50_clean", *LEVEL_PRECISIONS)
"""What is measured of hard-pruned detectors."""

HARD_PRUNED = hard_columns(HARD)

COLUMNS: dict[str, type] = {
    **PRECISIONS,
    **HARD_PRUNED,
    **method_columns(),
    **TIME_COLUMNS,
    "params_total": int,
    "params_kept": int,
    "params_compact": int,
    "macs_dense": int,
    "macs": int,
    "macs_compact": int,
    "compression": float,
    "operations_removed": float,
    "weights_pruned": float,
    "filters_pruned": float,
    "engine": str,
    **SEEN_COLUMNS,
    "finetune_s": float,
    "renew_s": float,
    "evaluate_s": float,
    **PLACE_COLUMNS,
    "threads": int,
    "torch_version": str,
}
"""Columns of a row."""

LEVEL_METRICS = {
    f"ap_{level.name}_{what}{then}": f"KITTI AP {of}, {level.name}{pruned}"
    for level in LEVELS
    for then, pruned in (("", ""), ("_hard", ", hard-pruned"))
    for what, of in (("adv", "under attack"), ("clean", "on clean images"))
}
"""Columns that rows of data sets with levels are drawn and tested by, beside the others; with labels."""

DECLARED_OF_LEVELS: dict[str, dict[str, str]] = {
    "metrics": LEVEL_METRICS,
    "beside": {f"ap_{level.name}_adv": f"ap_{level.name}_clean" for level in LEVELS},
    "earlier": {column: f"{column}_hard" for column in LEVEL_PRECISIONS},
}
"""What a study of such data declares more."""

_OF_LEVELS = {
    "adv": "KITTI's AP of {} objects under attack, mean over classes, of [0, 1]; null where there are no levels",
    "clean": "KITTI's AP of {} objects on images as they are, of [0, 1]; null where there are no levels",
    "ceiling": "the most that so few {} objects let KITTI's AP be; null where there are no levels",
}

_AFTER = SHARED_MEANINGS | {
    **{f"ap_{level.name}_{what}": said.format(level.name) for what, said in _OF_LEVELS.items() for level in LEVELS},
    "map_adv": "COCO AP (IoU 0.50:0.95) under attack, of [0, 1]",
    "map_adv_low": "lower end of its 95% interval over images",
    "map_adv_high": "upper end of its 95% interval over images",
    "map50_adv": "AP at IoU 0.50 under attack, of [0, 1]",
    "map50_adv_low": "lower end of its 95% interval over images",
    "map50_adv_high": "upper end of its 95% interval over images",
    "map_adv_margin": "COCO AP under the margin attack, of [0, 1]; null where there was none",
    "map50_adv_margin": "AP at IoU 0.50 under the margin attack, of [0, 1]; null where there was none",
    "map_clean": "COCO AP on images as they are, of [0, 1]",
    "map50_clean": "AP at IoU 0.50 on images as they are, of [0, 1]",
    "params_compact": "parameters of the smaller detector, without all that pruning has left idle",
    "macs_compact": "multiply–accumulates of the smaller detector, per image",
    "weights_pruned": "fraction of the weights of the layers with a mask that is pruned",
    "filters_pruned": "fraction of their filters of which every weight is pruned",
    "finetune_s": "training after pruning; seconds",
    "average_precision": "how precise each model is, a line per class and size of objects",
    "average_precision.attacked": "whether the images were attacked",
    "average_precision.size": "of the objects, in pixels of the image on disk: all, or COCO's small, medium or large",
    "average_precision.category_id": "of the class, as in the annotations",
    "average_precision.category": "name of the class",
    "average_precision.objects": "how many there are of it, crowds aside",
    "average_precision.ap": "COCO AP (IoU 0.50:0.95), of [0, 1]",
    "average_precision.ap50": "AP at IoU 0.50, of [0, 1]",
    "average_precision.ap75": "AP at IoU 0.75, of [0, 1]",
    "average_precision.ar_1": "part of the objects found by the surest detection of each image, of [0, 1]",
    "average_precision.ar_10": "the same by the surest 10",
    "average_precision.ar_100": "the same by the surest 100",
    "levels": "how precise each model is as KITTI measures, a line per class and level, where images have levels",
    "levels.attacked": "whether the images were attacked",
    "levels.level": "of the objects: easy, moderate or hard; each has those of the levels before",
    "levels.category": "name of the class",
    "levels.objects": "how many count",
    "levels.ap": "KITTI's AP, of [0, 1]",
    "levels.ceiling": "that of a detector that finds every object and nothing else",
    "detections": "what each model found, a line per box, in COCO's terms",
    "detections.image_id": "of the image, as in the annotations",
    "detections.attacked": "whether the image was attacked",
    "detections.x": "left edge of the box; pixels of the image on disk",
    "detections.y": "upper edge of the box; pixels of the image on disk",
    "detections.width": "of the box; pixels of the image on disk",
    "detections.height": "of the box; pixels of the image on disk",
    "detections.score": "how sure the model is, of [0, 1]",
    "detections.category_id": "of the class, as in the annotations",
    "detections.category": "name of the class",
}

MEANINGS = _AFTER | hard_meanings(HARD, _AFTER)
