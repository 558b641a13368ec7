"""Randomness that depends on a seed and on what it is for, never on what ran before or where."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch


def seed_for(seed: int, purpose: str) -> int:
    """Return a seed of 63 bits for one of the things that a seed is used for, such as a stage."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{purpose}".encode()).digest()[:8]) >> 1


def generator_for(seed: int, purpose: str) -> torch.Generator:
    """Return a generator on the CPU for one of the things that a seed is used for.

    >>> one, again, other = (generator_for(0, purpose) for purpose in ("pretrain", "pretrain", "score"))
    >>> one.initial_seed() == again.initial_seed(), one.initial_seed() == other.initial_seed()
    (True, False)
    """
    return torch.Generator().manual_seed(seed_for(seed, purpose))


def resampled(count: int, seed: int) -> torch.Tensor:
    """Return the indices of a sample of so many things, (count,) int64, drawn with replacement.

    >>> resampled(1, seed=0)
    tensor([0])
    """
    return torch.randint(count, (count,), generator=generator_for(seed, "data"))


@contextmanager
def drawing_from(generator: torch.Generator, device: torch.device) -> Iterator[None]:
    """Let torch's own generator, which dropout and libraries draw from, follow `generator` meanwhile.

    Args:
        generator: on the CPU; one number is drawn from it.
        device: where numbers are drawn.
    """
    seed = int(torch.randint(2**63 - 1, (), generator=generator))
    on_gpu = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_gpu else []):
        if on_gpu:
            torch.cuda.manual_seed(seed)
        else:
            torch.default_generator.manual_seed(seed)
        yield
