"""`sweeps export-models`: kept models of a sweep, many at once."""

from __future__ import annotations

from pathlib import Path

import click


@click.command("export-models")
@click.argument("sweep")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder to write to.")
@click.option("--where", metavar="CONDITION", help="Only of rows for which that holds, as pandas' query has it.")
@click.option(
    "--to", "forms", multiple=True, metavar="FORMAT", help="A format of the study's, such as onnx. Repeatable."
)
@click.option("--onnx", is_flag=True, help="The same as --to onnx.")
@click.option("--study", metavar="NAME", help="The study of SWEEP, where it is not installed: module:Class.")
def export_models(
    sweep: str, output: Path, where: str | None, forms: tuple[str, ...], onnx: bool, study: str | None
) -> None:
    """Write what rows of SWEEP have kept into a folder, named after the cells: models, where its study keeps them.

    \b
    sweeps export-models runs/kept --output models                                     all of them, as they are
    sweeps export-models runs/kept --where "ratio == 0.75" --onnx --output models      some, for other engines
    sweeps export-models runs/kept --where "map50_adv > 0.3 and seed == 0" --output models

    Files that exist are left alone. Exit status: 0; 1 if some could not be exported, which are told; 2 if an option is
    wrong, before anything is written.
    """
    from sweeps.reporting.exports import export_files

    wanted = list(dict.fromkeys([*forms, *(["onnx"] if onnx else [])]))
    export_files(sweep, output, where=where, forms=wanted, tell=click.echo, study=study)
