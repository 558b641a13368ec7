"""Parts of every study of pruning."""
