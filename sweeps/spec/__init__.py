"""The spec of a sweep: what a user writes in YAML, validated, and every mistake in it said in one sentence."""

from sweeps.spec.loading import Engine, Resources, Spec, bundled, descriptions, load, parse

__all__ = ["Engine", "Resources", "Spec", "bundled", "descriptions", "load", "parse"]
