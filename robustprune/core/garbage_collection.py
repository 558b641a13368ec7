"""Python's search for unreachable cycles of objects, and when to do without."""

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def paused() -> Iterator[None]:
    """Search for no cycles meanwhile.

    Python searches whenever there are many more objects than before. Where millions are made that hold no cycles, such
    as those of COCO's annotations, it finds nothing and takes as long as making them.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
