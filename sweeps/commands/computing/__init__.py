"""Commands that make rows, or say what making them would take."""
