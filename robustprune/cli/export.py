"""`python -m robustprune export`: a kept model in formats that other engines read, each checked before it is there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from robustprune.cli.inputs import SizeType, checked_size
from robustprune.core.errors import InputError
from robustprune.detection.exported import Exporter, OtherBoxesError
from robustprune.detection.image_size import ImageSize
from robustprune.detection.kept_models import load_model
from robustprune.inference.onnx import check_packages

_File = click.Path(path_type=Path)


@click.command("export")
@click.argument("model", metavar="MODEL", type=_File)
@click.option("--onnx", type=_File, metavar="FILE.onnx", help="Write it as ONNX.")
@click.option("--darknet", type=_File, metavar="NAME.cfg", help="Write it as NAME.cfg and NAME.weights.")
@click.option("--image-size", type=SizeType(), help="Of the images, a side or WIDTHxHEIGHT. Default: the model's own.")
def export(model: Path, onnx: Path | None, darknet: Path | None, image_size: ImageSize | None) -> None:
    """Write MODEL, which a sweep has kept, for engines that know nothing of this package.

    \b
    sweeps run demo --set name=kept --set keep_models=true
    python -m robustprune export runs/kept/models/ROW_KEY.safetensors --onnx pruned.onnx --darknet pruned.cfg
    pip install 'robust-pruning-sweeps[onnx]'    # what --onnx needs

    What is written is the smaller detector: pruned filters, and all that only they fed, are gone, and batch norms are
    folded into the convolutions. Structured pruning gains most by that.

    ONNX: from `images`, (N, channels, height, width) in [0, 1], to `boxes`, (N, boxes, 5 + classes): cx, cy, w and h in
    pixels, objectness, class probabilities. Overlapping boxes are not suppressed. The model's spec, with the names of
    its classes, is in the file's metadata.

    Darknet: a .cfg and its .weights. Scattered zeros may leave layers that Darknet does not have; then that is said.

    Every file is read back, ONNX by onnxruntime, and has to find the boxes that MODEL finds before it appears under
    its name. Files that exist are left alone. Exit status: 0; 1 if other boxes were found; 2 if a file or an option is
    wrong. Unless it is 0, nothing was written.
    """
    if onnx is None and darknet is None:
        raise InputError("expected --onnx FILE.onnx, --darknet NAME.cfg, or both")
    if onnx is not None:
        check_packages()
    if darknet is not None and darknet.suffix != ".cfg":
        raise InputError(f"--darknet: found {darknet}, expected a name that ends in .cfg")
    kept = load_model(model)
    exporter = Exporter(kept, image_size=checked_size(kept.detector, image_size or kept.image_size))
    before, after = exporter.params
    click.echo(f"{before:,} parameters in {model}, {after:,} in the smaller detector")
    wanted: dict[str, dict[str, Path]] = {}
    if darknet is not None:
        wanted["darknet"] = {".cfg": darknet, ".weights": darknet.with_suffix(".weights")}
    if onnx is not None:
        wanted["onnx"] = {".onnx": onnx}
    said = []
    with _appearing([path for paths in wanted.values() for path in paths.values()]) as new:
        for form, paths in wanted.items():
            try:
                found = exporter.write(form, {ending: new[path] for ending, path in paths.items()})
            except OtherBoxesError as error:
                raise click.ClickException(str(error)) from error
            said.append(f"{', '.join(map(str, paths.values()))}: {found}")
    click.echo("\n".join(said))


@contextmanager
def _appearing(paths: Sequence[Path]) -> Iterator[dict[Path, Path]]:
    """Yield names to write to; the files appear as `paths`, all of them or none, once the block has ended well.

    Raises:
        InputError: there is a file of that name already, or none can be written there.
    """
    for path in paths:
        if path.exists():
            raise InputError(f"{path}: found a file of that name, expected a new one; nothing was written")
    new = {path: path.with_name(f".{path.name}.{os.getpid()}") for path in paths}
    try:
        yield new
        for path, temporary in new.items():
            temporary.replace(path)
    except OSError as error:
        names = ", ".join(map(str, paths))
        raise InputError(f"{names}: cannot be written ({error.strerror or error})") from error
    finally:
        for temporary in new.values():
            temporary.unlink(missing_ok=True)
