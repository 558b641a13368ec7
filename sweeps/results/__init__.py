"""Sweeps opened to be read, and values from the literature to put beside them."""
