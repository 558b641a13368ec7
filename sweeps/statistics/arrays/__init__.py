"""Tests on arrays of values, one pair of samples or many at once; which rows they are of is told one folder up."""
