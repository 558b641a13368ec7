"""The classification study: how pruning changes what it takes to fool a classifier."""
