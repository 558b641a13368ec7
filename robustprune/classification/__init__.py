"""The second study: how structural pruning changes what it takes to fool a classifier."""
