"""Inference with pruned networks: what makes their zeros pay, and how large they are."""
