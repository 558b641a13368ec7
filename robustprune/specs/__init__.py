"""Specs bundled with this package, one YAML file each; `sweeps specs` lists them."""
