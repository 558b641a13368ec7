"""The one exception of this package that is the user's to mend; broken invariants are assertions."""


class InputError(ValueError):
    """A file, field or setting of the user is wrong; the message is one sentence that says which."""
