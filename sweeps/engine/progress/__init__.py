"""How far the work of a run is: told while it runs, and asked for where a process died."""
