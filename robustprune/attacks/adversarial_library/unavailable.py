"""What of the library is not offered, because it does not hold on linear networks, where the optimum is known."""

from __future__ import annotations

from typing import Any

UNAVAILABLE = {
    ("fmn", "l2"): (
        "adv-lib moves perturbations inside the L2 ball too, and hardly ever fools a linear network where pixels are "
        "saturated; expected l0, l1 or linf here, and ddn for L2"
    ),
    ("apgd", "l1"): (
        "adv-lib's projection leaves the L1 ball where pixels are saturated, and the attack misses images of linear "
        "networks that the ball allows to fool; expected l2 or linf here, and fmn for L1"
    ),
}
"""By attack and norm, why, and what else there is. Tests notice when the library is mended."""


def available(attack: str, norm: Any) -> Any:
    """Return `norm`, unknown ones too.

    Raises:
        ValueError: the attack is not offered in this norm.
    """
    if isinstance(norm, str) and (attack, norm) in UNAVAILABLE:
        raise ValueError(f"found {norm!r}, which is unavailable: {UNAVAILABLE[attack, norm]}")
    return norm
