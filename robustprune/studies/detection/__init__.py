"""The detection study: how robust detectors fare when they are scored, pruned and fine-tuned in different ways."""
