"""Rows for people: tables, figures, pictures, and the page of a sweep. What is tested is told in `statistics`."""
