"""Memory between pieces of work that share a process: what one has used, the next one finds free.

On the device, a piece of work leaves nothing behind. On the host, what was freed serves the next tensors, and is handed
back to the system between pieces of work.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import platform
import re
import traceback
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")

_OUT_OF_MEMORY = re.compile(
    r"""
    CUDA\ out\ of\ memory                                     # PyTorch's own allocator
    | (CUDA|CUDA\ driver|HIP)\ error:\ out\ of\ memory | cudaErrorMemoryAllocation
    | (CUBLAS|CUDNN|CUSOLVER|CUSPARSE)_STATUS_(ALLOC_FAILED|NOT_INITIALIZED)
    | CUDNN_STATUS_INTERNAL_ERROR_(HOST|DEVICE)_ALLOCATION_FAILED | CUFFT_ALLOC_FAILED
    | busy\ or\ unavailable                                   # a context cannot be created beside the others
    | DefaultCPUAllocator:\ (can't\ allocate|not\ enough)\ memory
    """,
    re.VERBOSE,
)
"""What libraries say for want of memory. Those of CUDA take theirs when first used, so that one that cannot be
initialised most often found the device full; should it be broken instead, the next attempt is told so."""

# <malloc.h>
_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def frees_device_memory(work: Callable[P, R]) -> Callable[P, R]:
    """Decorate `work` so that it leaves no memory in use, of the device or freed, whether it returns or raises.

    Its arguments and its result must not lie on the device.

    Raises:
        MemoryError: the device had too little memory.
    """

    @functools.wraps(work)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except Exception as error:
            # Its lines are worth keeping, so the frames stay, emptied of their local variables. What a closure among
            # them refers to is freed only with the error.
            link: BaseException | None = error
            while link is not None:
                traceback.clear_frames(link.__traceback__)
                link = link.__context__ if link.__cause__ is None else link.__cause__
            if is_out_of_memory(error):
                # Without its traceback: whoever kept the error would keep what those closures refer to.
                raise MemoryError(f"{work.__name__} ran out of memory on the device") from error.with_traceback(None)
            raise
        finally:
            # After an error that breaks the device, this fails too, and would hide it.
            with contextlib.suppress(RuntimeError):
                if torch.cuda.is_initialized():
                    torch.cuda.empty_cache()
            return_freed_memory()

    return wrapped


def is_out_of_memory(error: BaseException) -> bool:
    """Say whether an error means that the device, which may be the CPU, had too little memory: for a tensor, a library
    or a context; also where it is the cause of another, such as a compiler's.
    """
    while True:
        if isinstance(error, torch.OutOfMemoryError) or _OUT_OF_MEMORY.search(str(error)):
            return True
        if error.__cause__ is None:
            return False
        error = error.__cause__


def reuse_freed_memory() -> None:
    """Let freed memory serve the next tensors of this process, where the C library is glibc.

    By default it asks the system for every large tensor's pages anew, and the system clears them one by one: more than
    a quarter of an adversarial training step at 416 pixels on a CPU. `return_freed_memory` returns them.
    """
    if (libc := _glibc()) is not None:
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, _NEVER)


def return_freed_memory() -> None:
    """Return to the system what this process has freed, where the C library is glibc."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None) if platform.libc_ver()[0] == "glibc" else None
