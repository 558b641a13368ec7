"""Weights given by the user: reading the file, and laying them over a classifier."""
