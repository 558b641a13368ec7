"""What a method found out about a network, and the network that it has made of it where it trains one itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from robustprune.core.arrays import Arrays, to_arrays

STATE, MASK, TABLE, COLUMN = "state/", "mask/", "table/", "column/"
"""What the names of an outcome's arrays begin with; scores have the layers' own, in which there is no slash."""


class Outcome(NamedTuple):
    """What a method returns that has more to say than scores.

    Attributes:
        scores: importance of every weight, per layer, in the shape of its weights; higher is kept longer.
        state: of the network that the method has trained, by name, all of it; empty where weights stay as they were.
        masks: what stays, booleans per scored layer, in the shape of its weights; None: drawn from the scores.
        tables: columns of the entry's `tables`.
        columns: values of the entry's `columns`.
    """

    scores: Mapping[str, Tensor]
    state: Mapping[str, Tensor] = {}
    masks: Mapping[str, Tensor] | None = None
    tables: Mapping[str, Mapping[str, np.ndarray[Any, Any]]] = {}
    columns: Mapping[str, float] = {}

    def to_arrays(self) -> dict[str, np.ndarray[Any, Any]]:
        """Return it as one stage hands it to the next."""
        return {
            **to_arrays(self.scores),
            **to_arrays({f"{STATE}{name}": tensor for name, tensor in self.state.items()}),
            **to_arrays({f"{MASK}{name}": mask for name, mask in (self.masks or {}).items()}),
            **{
                f"{TABLE}{table}/{column}": np.asarray(values)
                for table, columns in self.tables.items()
                for column, values in columns.items()
            },
            **{f"{COLUMN}{name}": np.asarray(value) for name, value in self.columns.items()},
        }


class Handed(NamedTuple):
    """An outcome as it arrives at the next stage; names are without what they began with."""

    scores: Arrays
    state: Arrays
    masks: Arrays
    tables: Mapping[str, Arrays]
    columns: Mapping[str, float]

    def fill(self, network: nn.Module) -> None:
        """Give a network the state that the method has brought its own to; it stays as it is where there is none."""
        if self.state:
            # Copies: the arrays may be read-only views of memory that other processes share.
            network.load_state_dict({name: torch.tensor(array) for name, array in self.state.items()})


def handed(arrays: Arrays) -> Handed:
    """Return what `Outcome.to_arrays` made of an outcome, in its parts."""

    def part(prefix: str) -> dict[str, np.ndarray[Any, Any]]:
        return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}

    tables: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    for name, values in part(TABLE).items():
        table, column = name.split("/")
        tables.setdefault(table, {})[column] = values
    prefixes = (STATE, MASK, TABLE, COLUMN)
    return Handed(
        {name: array for name, array in arrays.items() if not name.startswith(prefixes)},
        part(STATE),
        part(MASK),
        tables,
        {name: float(value) for name, value in part(COLUMN).items()},
    )
