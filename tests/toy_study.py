"""Another name of `tests.support.toy_study`, by which specs and scripts know it."""

import sys

from tests.support import toy_study

sys.modules[__name__] = toy_study
