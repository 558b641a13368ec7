"""What a run of a spec has to compute: the difference between its grid and the storage, and what that costs."""
