"""Figures that the README and closing notes quote: `python -m benchmarks.NAME [--format table|csv|json]`."""
