"""Gates of whole channels: what a network computes through them, and how a loss is differentiated by them.

In `parameters` a gate multiplies weights, which is right of any gate. Gates that are open or closed, 1 or 0, leave
work undone that makes no difference: `passes`, of `reading` and `closed`.
"""

from robustprune.methods.gates.parameters import gated
from robustprune.methods.gates.passes import GatedPasses

__all__ = ["GatedPasses", "gated"]
