"""Attacks that adv-lib computes, on the logits of classifiers: checked here, and refused where it is wrong."""
