"""Which methods fit which structures."""

from robustprune.methods import INITIALIZERS
from robustprune.structures import STRUCTURES

FITTING = [
    (name, structure)
    for name, method in INITIALIZERS.items()
    for structure, entry in STRUCTURES.items()
    if method.structures == "any" or entry.coupled == (method.structures == "coupled")
]
