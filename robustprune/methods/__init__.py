"""How weights are chosen or driven to zero, each method in a file of its own, written against `Task` and so for every
task at once.
"""

from robustprune.methods.by_name import (
    INITIALIZERS,
    check_scores,
    initializer_settings,
    method_columns,
    method_meanings,
    method_tables,
)
from robustprune.methods.entry import InitializerEntry, NoSettings
from robustprune.methods.outcome import Outcome, handed
from robustprune.methods.problem import Problem

__all__ = [
    "INITIALIZERS",
    "InitializerEntry",
    "NoSettings",
    "Outcome",
    "Problem",
    "check_scores",
    "handed",
    "initializer_settings",
    "method_columns",
    "method_meanings",
    "method_tables",
]
