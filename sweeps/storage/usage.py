"""What takes the space of a storage: every file in it, by what it is and whose."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from sweeps.errors import StorageError
from sweeps.storage import compaction, tensors
from sweeps.storage.backends import File
from sweeps.storage.leases import FOLDER as LEASES
from sweeps.storage.names import is_files_key, is_row, is_tensors, is_unfinished
from sweeps.storage.store import FOLDERS, Store, row_of

KINDS = (
    "checkpoints",
    "rows",
    "tables",
    "files",
    "failures",
    "progress",
    "reports",
    "leftovers",
    "leases",
    "other",
)
"""`reports` are what can be made again from the rows, `leftovers` what writers left that died before it counted."""

CHECKPOINTS = "checkpoints"


class Item(NamedTuple):
    """A file: its name in the storage, what kind it is of, and what it belongs to.

    `sweep` is empty for what all sweeps share; `of` is the key of a row or a checkpoint, or empty. With an `upload_id`
    it is no file yet: an upload that was begun, of a size that is not known.
    """

    name: str
    size: int
    modified_ns: int
    kind: str
    sweep: str = ""
    of: str = ""
    upload_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Usage:
    """All files of a storage that are its own, and what rows say of others.

    Attributes:
        sweeps: their names.
        items: the files.
        settled: of each sweep, the keys of rows that are published or failed.
        referred: the checkpoints that rows are made from, as far as rows name them.
        remarks: sentences on what could not be told.
    """

    sweeps: tuple[str, ...]
    items: tuple[Item, ...]
    settled: Mapping[str, frozenset[str]]
    referred: frozenset[str]
    remarks: tuple[str, ...] = ()

    def published(self) -> set[str]:
        """Return the keys of checkpoints that count."""
        return {item.of for item in self.items if item.kind == CHECKPOINTS and item.name.endswith(f"/{tensors.META}")}

    def bytes_by_kind(self, sweep: str) -> dict[str, int]:
        """Return how large the files of a sweep are, or of what all share; kinds in their order, no empty ones."""
        found = dict.fromkeys(KINDS, 0)
        for item in self.items:
            if item.sweep == sweep:
                found[item.kind] += item.size
        return {kind: size for kind, size in found.items() if size}


@dataclass
class _Rows:
    """What the rows of a sweep say of other files: how the names of their own begin, and their checkpoints."""

    files_keys: dict[str, str] = field(default_factory=dict)
    checkpoints: set[str] = field(default_factory=set)


def survey(store: Store) -> Usage:
    """Look at all files of a storage. What is no sweep of it is left alone, and not counted.

    Raises:
        StorageError: there are neither sweeps nor checkpoints.
    """
    folders = [name for name in store.files.folders() if not name.startswith(".")]
    spec_of = {f"{name}/spec.yaml": name for name in folders if name != CHECKPOINTS}
    sweeps = tuple(sorted(spec_of[spec] for spec in store.files.existing([*spec_of])))
    if not sweeps and CHECKPOINTS not in folders:
        hint = "; this is a sweep, and the folder above it the storage" if store.files.exists("spec.yaml") else ""
        raise StorageError(
            f"{store.location}: found neither sweeps nor checkpoints, expected a storage, as `--storage` names it{hint}"
        )
    items = [
        Item(file.name, file.size, file.modified_ns or 0, "leftovers")
        for file in store.files.list("", hidden=True)
        if is_unfinished(file.name)
    ]
    items += _uploads(store, sweeps)
    items += _leases(store)
    items += _checkpoints(store)
    settled, referred, remarks = {}, set[str](), []
    for sweep in sweeps:
        listed = store.files.list(sweep, recursive=True, hidden=True)
        try:
            rows = _rows(store, sweep)
        except StorageError as error:
            rows = None
            remarks.append(f"{error}; which files of {sweep} are left over cannot be told before")
        referred |= rows.checkpoints if rows is not None else set()
        own = [*_of_sweep(sweep, listed, rows)]
        settled[sweep] = frozenset(item.of for item in own if item.kind in ("rows", "failures"))
        items += own
    return Usage(
        sweeps=sweeps,
        items=tuple(items),
        settled=settled,
        referred=frozenset(referred),
        remarks=tuple(remarks),
    )


def _uploads(store: Store, sweeps: Collection[str]) -> Iterator[Item]:
    for upload in store.files.unfinished():
        folder, _, rest = upload.name.partition("/")
        if folder == CHECKPOINTS or folder in sweeps:
            sweep, of = ("", rest.partition("/")[0]) if folder == CHECKPOINTS else (folder, "")
            yield Item(upload.name, 0, upload.began_ns, "leftovers", sweep, of, upload.upload_id)


def _leases(store: Store) -> Iterator[Item]:
    for file in store.files.list(LEASES, recursive=True, hidden=True):
        kind = "leftovers" if is_unfinished(file.name) else "leases"
        yield Item(f"{LEASES}/{file.name}", file.size, file.modified_ns or 0, kind)


def _checkpoints(store: Store) -> Iterator[Item]:
    listed = store.files.list(CHECKPOINTS, recursive=True, hidden=True)
    tensors_of: dict[str, list[str]] = {}
    for file in listed:
        key, _, rest = file.name.partition("/")
        if is_tensors(rest):
            tensors_of.setdefault(key, []).append(rest)
    described = {file.name.partition("/")[0] for file in listed if file.name.endswith(f"/{tensors.META}")}
    # One file and its description are a checkpoint; more of them have to be told apart.
    doubtful = [key for key, names in tensors_of.items() if len(names) > 1 and key in described]
    metas = dict(zip(doubtful, store.checkpoint_metas(doubtful), strict=True))
    for file in listed:
        key, _, rest = file.name.partition("/")
        meta = metas.get(key)
        idle = key not in described or (meta is not None and rest != tensors.file_of(meta))
        if is_unfinished(file.name):
            kind = "leftovers"
        elif rest.startswith("progress/"):
            kind = "progress"
        elif rest in tensors_of.get(key, ()):
            kind = "leftovers" if idle else CHECKPOINTS
        else:
            kind = CHECKPOINTS if rest == tensors.META else "other"
        yield Item(f"{CHECKPOINTS}/{file.name}", file.size, file.modified_ns or 0, kind, of=key)


def _of_sweep(sweep: str, listed: Collection[File], rows: _Rows | None) -> Iterator[Item]:
    kinds = {"results": "rows", "failures": "failures", "progress": "progress", "report": "reports", "cache": "reports"}
    assert kinds.keys() == FOLDERS
    for file in listed:
        folder, _, rest = file.name.partition("/")
        kind, of = kinds.get(folder, "other"), ""
        if is_unfinished(file.name):
            kind = "leftovers"
        elif folder == "progress":
            of = rest.partition("/")[0]
        elif kind in ("rows", "failures"):
            ours = is_row(rest, ".parquet" if kind == "rows" else ".json")
            kind, of = (kind, rest.partition(".")[0]) if ours else ("other", "")
        elif kind == "other" and is_files_key(stem := rest.partition(".")[0]):
            of = row_of(stem)
            kind = "tables" if rest.endswith(".parquet") else "files"
            if rows is not None and rows.files_keys.get(of) != stem:
                kind = "leftovers"
        yield Item(f"{sweep}/{file.name}", file.size, file.modified_ns or 0, kind, sweep, of)


def _rows(store: Store, sweep: str) -> _Rows:
    found = compaction.read_rows(
        store.files,
        f"{sweep}/results",
        kept=f"{sweep}/cache/rows",
        columns=("row_key", "files_key", "checkpoint_key"),
    )
    rows = _Rows()
    for row in found.to_pylist() if found is not None else ():
        key = row.get("row_key") or ""
        rows.files_keys[key] = row.get("files_key") or key
        rows.checkpoints |= {row["checkpoint_key"]} if row.get("checkpoint_key") else set()
    return rows
