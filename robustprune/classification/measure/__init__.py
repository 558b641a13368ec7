"""Measurements of a classifier: how often it is right, and how little it takes to fool it."""
