"""Which rows of a sweep are meant: those of its grid, as they are compared, left out by rules, or asked for."""
