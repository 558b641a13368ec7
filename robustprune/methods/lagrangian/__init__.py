"""Methods that train with multipliers until the weights are what pruning would leave of them: ADMM and SLR.

    min f(W) + g(Z)  where  W = Z

f is what training lowers; g is 0 on S, what pruning to a structure, scope and ratio could leave, and infinite off it.
"""

from robustprune.methods.lagrangian.admm import ADMM
from robustprune.methods.lagrangian.slr import SLR

__all__ = ["ADMM", "SLR"]
