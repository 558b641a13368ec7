"""Specs bundled with this package, one YAML file each, which `sweeps specs` lists.

A CSV file beside one holds what that study published, for `sweeps report SWEEP --against NAME`.
"""
