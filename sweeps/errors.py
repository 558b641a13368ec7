"""The errors a user can cause. Each message is one sentence: where, what was found, what was expected."""


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
