"""How weights are chosen, each method in a file of its own, written against `Task` and so for every task at once."""

from robustprune.methods.by_name import INITIALIZERS, check_scores, initializer_settings
from robustprune.methods.entry import InitializerEntry, NoSettings
from robustprune.methods.problem import Problem

__all__ = ["INITIALIZERS", "InitializerEntry", "NoSettings", "Problem", "check_scores", "initializer_settings"]
