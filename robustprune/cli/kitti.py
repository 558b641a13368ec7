"""`python -m robustprune kitti`: what a model of a sweep has found, as KITTI's server and development kit take it."""

from __future__ import annotations

from pathlib import Path

import click
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from robustprune.core.errors import InputError
from robustprune.core.files import read_utf8
from robustprune.detection.measure.detection_table import COLUMNS
from robustprune.detection.measure.kitti_results import write_kitti_results

_File = click.Path(path_type=Path)
_KEY = "files_key"


@click.command("kitti")
@click.argument("detections", metavar="DETECTIONS", type=_File)
@click.option("--output", type=_File, required=True, metavar="DIR", help="Folder to create.")
@click.option("--key", help="Of the model, its row's `files_key`, where DETECTIONS has several.")
@click.option("--attacked", is_flag=True, help="What was found under attack, not on images as they are.")
@click.option(
    "--ids", type=_File, help="File that lists all pictures, one a line: each gets a file, even an empty one."
)
def kitti(detections: Path, output: Path, key: str | None, attacked: bool, ids: Path | None) -> None:
    """Write the kept detections of a model as KITTI's result files, DIR/000012.txt and so on.

    \b
    sweeps run kitti-demo
    python -m robustprune kitti runs/kitti-demo/detections --key FILES_KEY --output results

    DETECTIONS is the folder where a sweep keeps those of all its models, or one file of it. Of what a detector of boxes
    does not know (angles, sizes and places in metres) the files say so, as KITTI asks for. A picture without any
    detection has a file only with --ids. Exit status: 0, or 2 if a file or an option is wrong.
    """
    table = _of_one_model(_read(detections), detections, key)
    chosen = table.filter(pc.equal(table["attacked"], attacked))
    found = {name: chosen[name].to_pylist() for name in COLUMNS}
    count = write_kitti_results(output, found, [] if ids is None else _listed(ids))
    click.echo(f"{output}: {chosen.num_rows} detections in {count} files")


def _read(path: Path) -> pa.Table:
    try:
        return pq.read_table(path, columns=[_KEY, *COLUMNS])
    except (OSError, ValueError, KeyError) as error:
        # Of what pyarrow says, which is long and names the path again, this much matters.
        if not path.exists():
            why = "no such file or folder"
        elif "Parquet magic bytes" in str(error):
            why = "found a file that is no Parquet"
        else:
            why = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path}: {why}, expected the detections that a sweep keeps, SWEEP/detections") from None


def _of_one_model(table: pa.Table, path: Path, key: str | None) -> pa.Table:
    keys = sorted(pc.unique(table[_KEY]).to_pylist())
    if key is None and len(keys) != 1:
        raise InputError(
            f"{path}: found detections of {len(keys)} models, expected --key with the `files_key` of a row"
        )
    if key is not None and key not in keys:
        raise InputError(f"--key: found {key!r}, expected the `files_key` of one of the {len(keys)} models in {path}")
    return table.filter(pc.equal(table[_KEY], keys[0] if key is None else key))


def _listed(path: Path) -> list[int]:
    words = read_utf8(path, "the names of pictures, one a line").split()
    wrong = next((word for word in words if not word.isdigit()), None)
    if wrong is not None:
        raise InputError(f"{path}: found {wrong.decode(errors='replace')!r}, expected names such as 000012, one a line")
    return [int(word) for word in words]
