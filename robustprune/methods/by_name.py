"""Methods that score weights, by name."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel, create_model
from torch import Tensor

from robustprune.core.settings import Settings
from robustprune.methods.deeplift import DEEPLIFT
from robustprune.methods.entry import InitializerEntry
from robustprune.methods.first_order.snip import SNIP
from robustprune.methods.first_order.taylor import TAYLOR
from robustprune.methods.hydra import HYDRA
from robustprune.methods.intrain import INTRAIN
from robustprune.methods.lagrangian import ADMM, SLR
from robustprune.methods.magnitude import MAGNITUDE
from robustprune.methods.random import RANDOM
from robustprune.plugins import Registry, check_callable
from robustprune.structures import Layer


def _check(name: str, entry: InitializerEntry) -> None:
    check_callable(entry.score)
    required = [field for field, info in entry.settings.model_fields.items() if info.is_required()]
    if required:
        raise ValueError(f"its settings have no default for {required[0]}")
    entry.settings()


INITIALIZERS: Registry[InitializerEntry] = Registry(
    "robustprune.initializers",
    kind="initializer",
    entry=InitializerEntry,
    bundled={
        "hydra": HYDRA,
        "deeplift": DEEPLIFT,
        "magnitude": MAGNITUDE,
        "taylor": TAYLOR,
        "snip": SNIP,
        "random": RANDOM,
        "admm": ADMM,
        "slr": SLR,
        "intrain": INTRAIN,
    },
    check=_check,
)


def initializer_settings() -> type[BaseModel]:
    """Return the settings of all methods, plug-ins included: a field of its name for each that has any."""
    fields = {
        name: (entry.settings, entry.settings()) for name, entry in INITIALIZERS.items() if entry.settings.model_fields
    }
    return create_model("InitializerSettings", __base__=Settings, **fields)  # type: ignore[call-overload, no-any-return]


def method_columns() -> dict[str, type]:
    """Return the columns of rows that methods fill themselves, plug-ins' among them; null in rows of others."""
    return {name: kind for entry in INITIALIZERS.values() for name, kind in entry.columns.items()}


def method_tables() -> dict[str, dict[str, type]]:
    """Return the tables that methods keep beside rows, plug-ins' among them; a method's row has its own alone."""
    return {name: dict(columns) for entry in INITIALIZERS.values() for name, columns in entry.tables.items()}


def method_meanings() -> dict[str, str]:
    """Return what these columns and tables are."""
    return {name: meaning for entry in INITIALIZERS.values() for name, meaning in entry.meanings.items()}


def check_scores(name: str, scores: Mapping[str, Tensor], layers: Mapping[str, Layer], *, some: bool) -> None:
    """See that an initializer returned what it has to, before masks are drawn from it.

    Args:
        name: of the initializer.
        scores: that it returned.
        layers: of the network that may be pruned.
        some: it scores only some of them: those that are decided on where whole channels are pruned.

    Raises:
        ValueError: a layer is missing, unknown, of another shape, or has a score that is NaN.
    """
    if not isinstance(scores, Mapping) or not all(isinstance(score, Tensor) for score in scores.values()):
        raise ValueError(f"initializer {name!r}: found a {type(scores).__name__}, expected a tensor per layer")
    unlike = scores.keys() - layers.keys() if some else scores.keys() ^ layers.keys()
    if unlike:
        first = min(map(str, unlike))
        found = "scores of no such layer" if first in scores else "no scores"
        raise ValueError(f"initializer {name!r}: found {found}, {first}, expected one tensor per layer to prune")
    for layer, score in scores.items():
        expected = layers[layer].weight.shape
        if score.shape != expected:
            raise ValueError(
                f"initializer {name!r}: found scores of shape {tuple(score.shape)} for {layer}, "
                f"expected that of its weights, {tuple(expected)}"
            )
        if score.isnan().any():
            raise ValueError(f"initializer {name!r}: {int(score.isnan().sum())} scores of {layer} are NaN")
