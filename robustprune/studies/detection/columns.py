"""What the columns and tables of a detection study are, with their units; see `sweeps.study.Study.meanings`."""

from robustprune.studies.columns import SHARED_MEANINGS

MEANINGS = SHARED_MEANINGS | {
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
    "engine": "what ran the pruned detector fastest: dense, compact or sparse",
    "finetune_s": "training after pruning; seconds",
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
