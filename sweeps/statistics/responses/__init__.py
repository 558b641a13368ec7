"""What a metric does as settings are changed: along one of them, or over draws of many."""
