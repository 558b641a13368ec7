"""The one door to storage: nothing else in the package reads or writes a file of it.

`location` opens a path or URI, `files` publishes whole files there, and `store` knows which files a sweep is made of;
`compaction` reads many rows at once, and `leases` keep two runs from doing the same work.
"""

from sweeps.storage.store import Store

__all__ = ["Store"]
