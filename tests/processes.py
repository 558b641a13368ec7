"""Another name of `tests.support.processes`, by which specs and scripts know it."""

import sys

from tests.support import processes

sys.modules[__name__] = processes
