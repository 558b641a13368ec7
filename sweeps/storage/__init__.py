"""The one door to storage: nothing else in the package reads or writes a file of it.

`files` publishes whole files on a disk or an object store; `store` knows which files a sweep is made of.
"""

from sweeps.storage.store import Store

__all__ = ["Store"]
