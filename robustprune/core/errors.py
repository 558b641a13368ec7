"""The exceptions of this package; broken invariants are assertions."""


class InputError(ValueError):
    """A file, field or setting of the user is wrong; the message is one sentence that says which."""


class DivergedError(RuntimeError):
    """The loss of a training is no longer a finite number."""
