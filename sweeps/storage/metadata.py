"""What rows say of themselves in the metadata of their schema, by key."""

AXES = b"sweeps.axes"
"""Which of the columns are axes."""

ROLES = b"sweeps.roles"
"""Which parts the axes play, and what is measured, as JSON; rows of before do not say."""
