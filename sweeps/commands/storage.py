"""`sweeps storage`: what takes how much space, and removing what nobody needs."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.table import Table

from sweeps.storage import Store

if TYPE_CHECKING:
    from sweeps.storage.cleaning import Removal
    from sweeps.storage.usage import Usage

SHARED = "(shared by all)"


@click.command()
@click.argument("storage")
@click.option("--format", "form", type=click.Choice(["table", "json"]), default="table", show_default=True)
@click.option("--clean", is_flag=True, help="Say what nobody needs any more, and remove it once you agree.")
@click.option("--unused", is_flag=True, help="With --clean: also checkpoints that no sweep here refers to.")
@click.option("--yes", is_flag=True, help="With --clean: do not ask.")
@click.pass_obj
def storage(console: Console, storage: str, form: str, clean: bool, unused: bool, yes: bool) -> None:
    """Say what takes how much space in STORAGE, a path or a URI as given to `run --storage`.

    --clean is safe beside sweeps that run: what they could need stays.
    """
    from sweeps.storage import cleaning, usage

    if (unused or yes) and not clean:
        raise click.UsageError(f"found {'--unused' if unused else '--yes'}, expected it beside --clean")
    store = Store(storage)
    found = usage.survey(store)
    wanted = cleaning.removals(store, found, unused=unused)
    remarks = [*found.remarks]
    if unused and (silent := cleaning.cannot_tell(store, found)):
        remarks.append(
            f"--unused: found sweeps that do not say which checkpoints they refer to ({', '.join(silent)}), of "
            "versions before 0.2; `sweeps run` of their specs notes it, and until then no checkpoint counts as unused"
        )
    if form == "json":
        removed = clean and yes
        if removed:
            cleaning.remove(store, wanted)
        click.echo(json.dumps(_described(store, found, wanted, remarks, removed=removed), indent=1))
        return
    if not clean:
        _show(store, found, console)
    for remark in remarks:
        console.print(remark, markup=False, soft_wrap=True)
    if not wanted:
        if clean:
            console.print("nothing to remove")
        return
    for removal in wanted:
        files = "1 file" if len(removal.items) == 1 else f"{len(removal.items)} files"
        console.print(f"{_size(removal.size)} in {files}: {removal.why}", soft_wrap=True)
    if not clean:
        console.print("`sweeps storage --clean` removes this")
    elif yes or (sys.stdin.isatty() and click.confirm("Remove this?")):
        # Meanwhile a run may have begun that needs some of it.
        names = {item for removal in wanted for item in removal.items}
        still = [
            removal._replace(items=tuple(item for item in removal.items if item in names))
            for removal in cleaning.removals(store, usage.survey(store), unused=unused)
        ]
        cleaning.remove(store, still)
        console.print(f"removed {_size(sum(removal.size for removal in still))}")
    else:
        console.print("nothing was removed; --yes removes it")


def _show(store: Store, found: Usage, console: Console) -> None:
    by_sweep = {sweep: found.bytes_by_kind(sweep) for sweep in ("", *found.sweeps)}
    kinds = list(dict.fromkeys(kind for sizes in by_sweep.values() for kind in sizes))
    view = Table("sweep", *kinds, "all")
    for column in view.columns[1:]:
        column.justify = "right"
    for sweep, sizes in by_sweep.items():
        cells = (_size(sizes[kind]) if kind in sizes else "" for kind in kinds)
        view.add_row(sweep or SHARED, *cells, _size(sum(sizes.values())))
    totals = [sum(sizes.get(kind, 0) for sizes in by_sweep.values()) for kind in kinds]
    view.add_section()
    view.add_row("all", *map(_size, totals), _size(sum(totals)))
    console.print(store.location, markup=False, soft_wrap=True)
    console.print(view)


def _described(
    store: Store, found: Usage, wanted: Sequence[Removal], remarks: Sequence[str], *, removed: bool
) -> dict[str, Any]:
    return {
        "storage": store.location,
        "shared": found.bytes_by_kind(""),
        "sweeps": {sweep: found.bytes_by_kind(sweep) for sweep in found.sweeps},
        "removable": [{"why": each.why, "files": len(each.items), "bytes": each.size} for each in wanted],
        "removed": removed,
        "remarks": list(remarks),
    }


def _size(size: float) -> str:
    """Return bytes as people read them."""
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" or size >= 100 else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"
