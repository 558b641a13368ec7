"""Data that lies in a bucket, copied to this machine once and read from there like any other file.

A place is a path, or a URI that `pyarrow.fs` opens. `opened` gives the path that stands for it: nothing is copied yet,
and what lies there is told by `listed`. `fetch` copies files by these paths, `local` all that is needed at once.

Files are content: what is computed from a copy has the keys that it would have from a folder with the same files.
"""

from robustprune.staging.places import fetch, listed, listed_below, local, opened, shown, told_by_uri

__all__ = ["fetch", "listed", "listed_below", "local", "opened", "shown", "told_by_uri"]
