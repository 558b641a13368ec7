"""A keeper of states that dies at a moment of the test's choice, and what a computation comes to after such a death."""

from collections.abc import Callable, Mapping
from typing import Any, SupportsFloat, TypeVar

import numpy as np
import pytest
import safetensors.numpy

from robustprune.core.progress import NOWHERE, Nowhere, Progress

Result = TypeVar("Result")


class KilledError(BaseException):
    """The end of a process; nobody but the test catches it."""


class Keeper:
    """Keeps the last state as a file of safetensors would; dies right after saving state number `last`.

    `is_due`: it asks for a state after every step, too.
    """

    def __init__(self, kept: bytes | None = None, *, last: int | None = None, is_due: bool = False) -> None:
        self.kept, self.last, self.is_due = kept, last, is_due
        self.saved = 0

    report = NOWHERE.report

    def load(self) -> dict[str, np.ndarray[Any, Any]] | None:
        if self.kept is None:
            return None
        arrays = safetensors.numpy.load(self.kept)
        for array in arrays.values():
            array.flags.writeable = False
        return arrays

    def save(self, state: Callable[[], Mapping[str, np.ndarray[Any, Any]]]) -> None:
        self.kept = safetensors.numpy.save(dict(state()))
        self.saved += 1
        if self.saved == self.last:
            raise KilledError


class Told(Nowhere):
    """Remembers what was reported: `done` of `of`, the unit, and what was measured."""

    def __init__(self) -> None:
        self.reports: list[tuple[float, float, str, dict[str, float]]] = []

    def report(self, done: float, of: float, unit: str = "epoch", **measured: SupportsFloat) -> None:
        self.reports.append((done, of, unit, {name: float(value) for name, value in measured.items()}))

    def units(self) -> list[str]:
        """What was reported on, in order."""
        return list(dict.fromkeys(unit for _, _, unit, _ in self.reports))


def killed_after(epoch: int, work: Callable[[Progress], Result], *, epochs: int) -> Result:
    """Return what `work` of so many epochs comes to when it is killed after one of them and started again."""
    before = Keeper(last=epoch)
    with pytest.raises(KilledError):
        work(before)
    after = Keeper(before.kept)
    result = work(after)
    assert after.saved == epochs - epoch, "an epoch was lost or done again"
    return result
