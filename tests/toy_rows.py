"""Another name of `tests.support.toy_rows`, by which specs and scripts know it."""

import sys

from tests.support import toy_rows

sys.modules[__name__] = toy_rows
