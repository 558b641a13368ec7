"""Randomness that depends on a seed and on what it is for, never on what ran before or where."""

from __future__ import annotations

import hashlib

import torch


def seed_for(seed: int, purpose: str) -> int:
    """Return a seed of 63 bits for one of the things that a seed is used for, such as a stage."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8]) >> 1


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """Return a generator on the CPU for one of the things that a seed is used for."""
    return torch.Generator().manual_seed(seed_for(seed, purpose))
