"""What is pruned together, each way in a file of its own: single weights, N of every M, whole filters or channels."""
