"""All that a loop over epochs carries from one to the next, saved to a `Progress` and taken up again bit for bit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from robustprune.core.arrays import to_arrays
from robustprune.core.progress import Progress


class Inside(NamedTuple):
    """A place within an epoch: after so many of its steps.

    Attributes:
        steps: that were taken, at least one.
        began: the state of the training's generator when the epoch began: it drew the order of the images then.
        drawing: the state of torch's own generator now, which dropout draws from.
    """

    steps: int
    began: Tensor
    drawing: Tensor

    @classmethod
    def after(cls, steps: int, began: Tensor) -> Inside:
        """Return where a training is now."""
        return cls(steps, began, torch.get_rng_state())

    def arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return it as it is kept."""
        tensors = to_arrays({"inside.began": self.began, "inside.drawing": self.drawing})
        return {"inside.steps": np.array(self.steps), **tensors}

    def go_on(self, batches: Iterator[Any], generator: torch.Generator) -> None:
        """Bring an epoch's batches to this place: those before it are drawn again, and not looked at."""
        now = generator.get_state()
        generator.set_state(self.began)
        for _ in range(self.steps):
            next(batches)
        generator.set_state(now)
        torch.set_rng_state(self.drawing)


@dataclass(frozen=True, kw_only=True)
class TrainingState:
    """The live objects of a training; `save` reads them and `resume` changes them in place.

    Attributes:
        tensors: whatever the steps change, by name: parameters, and statistics of batch norm.
        optimizer: its learning rates are part of the state, its other settings are not.
        generator: on the CPU.
        progress: where states are kept.
    """

    tensors: Mapping[str, Tensor]
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    progress: Progress

    def save(self, epoch: int, inside: Inside | None = None) -> None:
        """Offer the state after `epoch`, counted from 1, and some steps of the next one where there were any."""
        self.progress.save(partial(self._arrays, epoch, inside))

    def resume(self) -> tuple[int, Inside | None]:
        """Go back to the state that was kept, if any; return how many epochs it is after, and where in the next."""
        arrays = self.progress.load()
        if arrays is None:
            return 0, None
        with torch.no_grad():
            for name, tensor in self.tensors.items():
                tensor.copy_(torch.tensor(arrays[f"tensors.{name}"]))
        optimizer = self.optimizer.state_dict()
        for group, learning_rate in zip(optimizer["param_groups"], arrays["learning_rates"].tolist(), strict=True):
            group["lr"] = learning_rate
        for index, parameter in enumerate(p for group in self.optimizer.param_groups for p in group["params"]):
            prefix = f"optimizer.{index}."
            optimizer["state"][index] = {
                name.removeprefix(prefix): _laid_out_as(parameter, torch.tensor(array))
                for name, array in arrays.items()
                if name.startswith(prefix)
            }
        self.optimizer.load_state_dict(optimizer)
        self.generator.set_state(torch.tensor(arrays["generator"]))
        inside = None
        if "inside.steps" in arrays:
            began, drawing = (torch.tensor(arrays[f"inside.{name}"]) for name in ("began", "drawing"))
            inside = Inside(int(arrays["inside.steps"]), began, drawing)
        return int(arrays["epoch"]), inside

    def _arrays(self, epoch: int, inside: Inside | None) -> dict[str, np.ndarray[Any, Any]]:
        moments = {
            f"optimizer.{index}.{name}": tensor
            for index, state in self.optimizer.state_dict()["state"].items()
            for name, tensor in state.items()
        }
        return {
            "epoch": np.array(epoch),
            "learning_rates": np.array([group["lr"] for group in self.optimizer.param_groups]),
            **to_arrays({"generator": self.generator.get_state()}),
            **to_arrays({f"tensors.{name}": tensor for name, tensor in self.tensors.items()}),
            **to_arrays(moments),
            **({} if inside is None else inside.arrays()),
        }


def _laid_out_as(parameter: Tensor, value: Tensor) -> Tensor:
    """Return a moment in its parameter's memory format, so that steps run the kernels of an undisturbed training."""
    return torch.empty_like(parameter).copy_(value) if value.shape == parameter.shape else value
