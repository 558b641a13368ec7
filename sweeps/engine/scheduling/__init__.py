"""Which trial starts next and where, and when the whole sweep stops; nothing here computes."""
