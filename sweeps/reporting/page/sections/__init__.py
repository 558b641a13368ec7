"""What stands in the sections of the page, one a file."""
