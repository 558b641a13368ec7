"""`python -m robustprune export`: a kept model in formats that other engines read, each checked before it is there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
import torch
from torch import Tensor

from robustprune.cli.inputs import SizeType, checked_size
from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, cfg, load_weights, save_weights
from robustprune.detection.darknet.compact.compaction import CompactDetector, compact
from robustprune.detection.darknet.compact.export import as_darknet
from robustprune.detection.image_size import ImageSize, sides
from robustprune.detection.kept_models import KeptModel, load_model
from robustprune.inference.cost import size
from robustprune.inference.onnx import check_packages, run_onnx, save_onnx

TOLERANCE = 1e-4
"""By what part of the image's side, of a box that is larger, or of 1 an exported model's numbers may differ."""

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
    height, width = sides(checked_size(kept.detector, image_size or kept.spec.size))
    network = compact(kept.detector)
    blank = torch.zeros(1, kept.detector.channels, height, width)
    before, after = (size(each, blank).params for each in (kept.detector, network))
    click.echo(f"{before:,} parameters in {model}, {after:,} in the smaller detector")
    images = torch.rand(2, kept.detector.channels, height, width, generator=torch.Generator().manual_seed(0))
    longest = max(height, width)
    expected = _boxes(kept.detector, images)
    pair = [] if darknet is None else [darknet, darknet.with_suffix(".weights")]
    said = []
    with _appearing([*pair, *([] if onnx is None else [onnx])]) as new:
        if darknet is not None:
            found = _by_darknet(kept, network, images, *(new[path] for path in pair))
            said.append(
                f"{pair[0]}, {pair[1]}: {_difference(found, expected, 'a Darknet detector', image_size=longest)}"
            )
        if onnx is not None:
            found = _by_onnx(kept, network, images, new[onnx])
            said.append(f"{onnx}: {_difference(found, expected, 'onnxruntime', image_size=longest)}")
    click.echo("\n".join(said))


def _by_onnx(kept: KeptModel, network: CompactDetector, images: Tensor, path: Path) -> Tensor:
    """Write a model, and return the boxes that are found with what was written."""
    detector, spec = kept
    save_onnx(
        network,
        path,
        decode=detector.decode,
        channels=detector.channels,
        image_size=(images.shape[-2], images.shape[-1]),
        metadata={"spec": spec.model_dump_json()},
    )
    return run_onnx(path, images)


def _by_darknet(kept: KeptModel, network: CompactDetector, images: Tensor, config: Path, weights: Path) -> Tensor:
    """Write a model, and return the boxes that are found with what was written."""
    written = as_darknet(
        network, kept.detector.sections, image_size=(images.shape[-2], images.shape[-1]), fit=kept.spec.fit
    )
    config.write_text(cfg.dump(written.sections), encoding="utf-8")
    save_weights(written, weights)
    read = Detector.from_cfg(config).eval()
    load_weights(read, weights)
    return _boxes(read, images)


@torch.inference_mode()
def _boxes(detector: Detector, images: Tensor) -> Tensor:
    return detector.decode(detector(images), (images.shape[-2], images.shape[-1]))


def _difference(found: Tensor, expected: Tensor, engine: str, *, image_size: int) -> str:
    """Return by how much boxes differ at most, in words.

    Raises:
        click.ClickException: they differ by more than rounding.
    """
    largest = []
    for kind, unit in ((slice(0, 4), image_size), (slice(4, None), 1)):
        difference = (found - expected)[..., kind].abs()
        largest.append(f"{difference.max():.1e}")
        # In this sense, because NaN is never less.
        if not (difference <= TOLERANCE * expected[..., kind].abs().clamp(min=unit)).all():
            raise click.ClickException(f"{engine} found boxes that differ by {largest[-1]}; nothing was written")
    return f"its boxes differ by at most {largest[0]} pixels and {largest[1]} in probabilities"


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
