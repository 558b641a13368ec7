"""What the columns and tables of a classification study are, with their units; see `sweeps.study.Study.meanings`."""

from robustprune.attacks.norms import NORMS
from robustprune.classification.measure.cost import COUNTED
from robustprune.classification.measure.evaluation import ROBUSTNESS
from robustprune.core.devices import PLACE_COLUMNS
from robustprune.core.timing import TIME_COLUMNS
from robustprune.methods import method_columns
from robustprune.studies.columns import SHARED_MEANINGS
from robustprune.studies.pruning.hard_pruned import hard_columns, hard_meanings
from robustprune.studies.pruning.seen import SEEN_COLUMNS

HARD = ("accuracy_clean", "accuracy_adv")
"""What is measured of hard-pruned classifiers."""

HARD_PRUNED = hard_columns(HARD)

COLUMNS: dict[str, type] = {
    **ROBUSTNESS,
    **HARD_PRUNED,
    **method_columns(),
    "best_epoch": int,
    **SEEN_COLUMNS,
    "channels_total": int,
    "channels_kept": int,
    "fewest_channels": int,
    "layers_at_floor": int,
    **COUNTED,
    **TIME_COLUMNS,
    "engine": str,
    "retrain_s": float,
    "renew_s": float,
    "evaluate_s": float,
    **PLACE_COLUMNS,
    "threads": int,
    "torch_version": str,
}
"""Columns of a row."""

_DISTANCES = {
    "l0": "number of values changed",
    "l1": "sum of changes, in pixel values",
    "l2": "Euclidean length of the change, in pixel values",
    "linf": "largest change, in pixel values",
}

_AFTER = (
    SHARED_MEANINGS
    | {
        "accuracy_clean": "share of the test images that are classified rightly",
        "accuracy_adv": "share that withstands all attacks within the ball",
        "accuracy_adv_ce": "share that withstands the attack on the cross-entropy; null where there was none",
        "accuracy_adv_dlr": "share that withstands the attack on the logits ratio; null where there was none",
        "zero_gradients": "share of pixels without a gradient under the first of these attacks",
        "attacks_disagree": "why accuracy_adv is not to be trusted, in words; null where it is",
        "accuracy_adv_doubtful": "whether accuracy_adv is not to be trusted",
        "attack_success": "share of attacked images that the least successful minimum-norm attack fooled with",
        "ddn_at_floor": "why DDN's distances are not to be trusted, in words; null where they are",
        "median_l2_at_floor": "whether median_l2 is not to be trusted, as it is the least that DDN can find",
        "images_attacked": "images that the minimum-norm attacks were given: those classified rightly",
        "attack_forwards": "forward passes of these attacks, per image",
        "attack_backwards": "backward passes of these attacks, per image",
        "attack_s": "these attacks; seconds, beside evaluate_s",
        "best_epoch": "epoch of the training after pruning that was kept, from 1; 0: none",
        "channels_total": "channels before pruning; null where whole ones were not pruned",
        "channels_kept": "channels after pruning; null where whole ones were not pruned",
        "fewest_channels": "the fewest left in any group of layers",
        "layers_at_floor": "groups of layers cut to their last channel",
        "retrain_s": "training after pruning; seconds",
        "perturbations": "a line for each image that a minimum-norm attack fooled the classifier with",
        "perturbations.attack": "the attack, with its norm if it has one, such as fmn_linf",
        "perturbations.image": "which of the test images, from 0",
    }
    | {f"median_{norm}": f"median over images of the least distance: {_DISTANCES[norm]}" for norm in NORMS}
    | {f"median_{norm}_low": "lower end of its 95% interval over images" for norm in NORMS}
    | {f"median_{norm}_high": "upper end of its 95% interval over images" for norm in NORMS}
    | {
        f"median_{norm}_right": f"the same over images that are classified rightly: {_DISTANCES[norm]}"
        for norm in NORMS
    }
    | {f"perturbations.{norm}": f"how far the image was moved: {_DISTANCES[norm]}" for norm in NORMS}
)

MEANINGS = _AFTER | hard_meanings(HARD, _AFTER)
