"""Attacks within a norm ball around an image, by name."""

from robustprune.attacks.frozen import frozen
from robustprune.attacks.pgd import pgd

ATTACKS = {"pgd": pgd}

__all__ = ["ATTACKS", "frozen", "pgd"]
