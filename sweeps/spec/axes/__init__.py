"""The axes of a grid: those of the study, and any field of its settings, named by its path."""
