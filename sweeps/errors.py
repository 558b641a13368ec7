"""The errors a user can cause, and those after which a process cannot go on.

Each message to a user is one sentence: where, what was found, what was expected.
"""

import re


class SweepError(Exception):
    """Something a user can mend; the command line prints it without a traceback and exits with 2."""


class SpecError(SweepError):
    """The spec, or a value set on the command line, is wrong."""


class StorageError(SweepError):
    """The storage cannot be used, or holds something else than expected."""


class ClusterError(SweepError):
    """Ray could not be started or joined."""


class StudyError(SweepError):
    """The study breaks what it declares: its author has to mend it, and no row is to blame."""


class NodeError(SweepError):
    """A node cannot run the study: a module is missing there, say. No row is to blame."""

    def __init__(self, said: str, node: str = "", host: str = "") -> None:
        """Say what is wrong, and where: the node by Ray's id, and by its name."""
        super().__init__(said, node, host)
        self.said, self.node, self.host = said, node, host

    def __str__(self) -> str:
        """Return the sentence."""
        return self.said


class StoppedError(SweepError):
    """A sweep was stopped half way, with rows still missing; the command line exits with 1."""


class DeviceError(Exception):
    """The device of this process cannot be used any more: the engine ends the process, and tries once elsewhere."""


_DEVICE_ERROR = re.compile(r"\b(?:CUDA|CUDA driver|cuDNN|HIP) error: ([^\n]*)")
_LEAVES_DEVICE_USABLE = re.compile(
    r"out of memory|ALLOC|NOT_INITIALIZED|busy or unavailable"
    r"|invalid (argument|configuration|value|resource handle)|INVALID_VALUE|BAD_PARAM|too many resources"
    r"|operation not supported$|NOT_SUPPORTED|no kernel image|invalid device function|captur"
)
"""Of memory, and of calls that were refused before anything ran: these are worth no process. Any other that is told
with such a prefix is taken to break the device, as do the errors of hardware and of kernels, of which each version of
CUDA knows more: to start a process in vain costs seconds, and to go on in a broken one costs rows."""
_BROKEN_DEVICE = re.compile(
    r"illegal memory access|device-side assert triggered|misaligned address|unspecified launch failure"
    r"|uncorrectable (ECC|NVLink)|GPU is lost|fallen off the bus|\bXid\b|longer usable"
    r"|CUDA unknown error|CUDA driver initialization failed|No CUDA GPUs are available|from cudaGetDeviceCount"
)


def is_device_lost(error: BaseException) -> bool:
    """Say whether an error, or one that led to it, means that every later use of this process's device will fail.

    By the messages of CUDA and of PyTorch: the engine imports neither.
    """
    known: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in known:
        known.add(id(link))
        text = str(link)
        if isinstance(link, DeviceError) or _BROKEN_DEVICE.search(text):
            return True
        if any(not _LEAVES_DEVICE_USABLE.search(what) for what in _DEVICE_ERROR.findall(text)):
            return True
        link = link.__cause__ if link.__suppress_context__ else link.__context__
    return False
