"""Device memory between pieces of work that share a process: what one has used, the next one finds free."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

from robustprune.core.host_memory import hand_back_freed

P = ParamSpec("P")
R = TypeVar("R")


def hands_back_memory(work: Callable[P, R]) -> Callable[P, R]:
    """Decorate `work` so that it leaves no memory in use, of the device or freed, whether it returns or raises.

    Its arguments and its result must not lie on the device.

    Raises:
        MemoryError: the device had too little memory.
    """

    @functools.wraps(work)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except torch.OutOfMemoryError as error:
            # Without its traceback: whoever kept the error would keep all tensors of its frames.
            raise MemoryError(f"{work.__name__} ran out of memory on the device") from error.with_traceback(None)
        except Exception as error:
            # Its lines are worth keeping, so the frames stay, emptied of their local variables. What a closure among
            # them refers to is freed only with the error.
            traceback.clear_frames(error.__traceback__)
            raise
        finally:
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
            hand_back_freed()

    return wrapped
