"""How weights are scored, each method in a file of its own."""
