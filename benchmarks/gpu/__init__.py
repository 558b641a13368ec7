"""What a GPU does with this package, part by part; `__main__` tells how it is run and what comes out."""
