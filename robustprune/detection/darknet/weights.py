"""Darknet's .weights files: what is in them, in which order.

A header, then for each convolution in the .cfg's order: its biases, with batch norm also gamma, mean and
variance, then the weights [out, in / groups, height, width]; all little-endian float32.
"""

from __future__ import annotations

import itertools
import os
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from robustprune.core.errors import InputError
from robustprune.core.files import mistaken_for
from robustprune.detection.darknet.layers import Convolutional
from robustprune.detection.darknet.network import Detector

MOST_MAJOR = 2000
"""Darknet's are 0, or 1000 where weights were written transposed; what begins with another number is another file."""


def float_count(detector: Detector) -> int:
    """Number of floats in the detector's .weights file, the header not counted."""
    return sum(tensor.numel() for _, tensor in _tensors(detector))


def load_weights(detector: Detector, path: str | os.PathLike[str], *, cutoff: int | None = None) -> None:
    """Fill the detector, its `weights_header` included, from a .weights file.

    With `cutoff` only the first so many layers of the .cfg are filled, as Darknet does with a backbone's weights, such
    as `darknet53.conv.74`; whatever else the file holds is not read.

    Raises `InputError`, and leaves the detector as it was, if the file is missing or of another length; the
    message says how many floats were expected and found, and at which layer they ran out.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise InputError(f"{os.fspath(path)}: the weights cannot be read ({error.strerror})") from error
    if what := mistaken_for(content):
        raise InputError(f"{os.fspath(path)}: found {what}, expected weights as Darknet writes them")
    header, start = _read_header(content, path)
    body = memoryview(content)[start:]
    layers = len(detector.layers)
    if cutoff is not None and cutoff > layers:
        raise InputError(f"{os.fspath(path)}: cut off after {cutoff} layers, expected at most {layers}, all there are")
    filled = [tensor for index, tensor in _tensors(detector) if cutoff is None or index < cutoff]
    _check_length(detector, len(body), path, cutoff, major=header[0])
    count = sum(tensor.numel() for tensor in filled)
    floats = torch.from_numpy(np.frombuffer(body, dtype="<f4", count=count).astype(np.float32))
    if not floats.isfinite().all():
        where = int((~floats.isfinite()).nonzero()[0])
        raise InputError(
            f"{os.fspath(path)}: found {floats[where].item()} as float {where:,} after the header, expected finite "
            "numbers: the file is damaged, or of another .cfg"
        )
    position = 0
    with torch.no_grad():
        for tensor in filled:
            tensor.copy_(floats[position : position + tensor.numel()].view(tensor.shape))
            position += tensor.numel()
    detector.weights_header = header


def save_weights(detector: Detector, path: str | os.PathLike[str]) -> None:
    """Write the detector as a .weights file; what was loaded comes out as the same bytes."""
    with Path(path).open("wb") as file:
        file.write(struct.pack(_layout(*detector.weights_header[:2]), *detector.weights_header))
        for _, tensor in _tensors(detector):
            file.write(tensor.detach().cpu().float().contiguous().numpy().astype("<f4").tobytes())


def _tensors(detector: Detector) -> Iterator[tuple[int, Tensor]]:
    """The index of the layer and the tensor, for everything a file holds in its order."""
    for index, layer in enumerate(detector.layers):
        if not isinstance(layer, Convolutional):
            continue
        norm = layer.batch_norm
        if norm is None:
            assert layer.conv.bias is not None
            yield index, layer.conv.bias
        else:
            assert norm.running_mean is not None
            assert norm.running_var is not None
            for tensor in (norm.bias, norm.weight, norm.running_mean, norm.running_var):
                yield index, tensor
        yield index, layer.conv.weight


def _layout(major: int, minor: int) -> str:
    """Major, minor, revision and images seen, the last with 64 bits from version 0.2 on (`parser.c`)."""
    return "<iiiq" if major * 10 + minor >= 2 and major < 1000 and minor < 1000 else "<iiii"


def _read_header(content: bytes, path: str | os.PathLike[str]) -> tuple[tuple[int, int, int, int], int]:
    """The header, and where the floats begin."""
    layout = _layout(*struct.unpack_from("<ii", content)) if len(content) >= 8 else "<iiii"
    length = struct.calcsize(layout)
    if len(content) < length:
        raise InputError(f"{os.fspath(path)}: expected a header of {length} bytes, found {len(content)} bytes in all")
    major, minor, revision, seen = struct.unpack_from(layout, content)
    return (major, minor, revision, seen), length


def _check_length(
    detector: Detector, length: int, path: str | os.PathLike[str], cutoff: int | None, *, major: int
) -> None:
    sizes = [(index, tensor.numel()) for index, tensor in _tensors(detector) if cutoff is None or index < cutoff]
    expected = sum(size for _, size in sizes)
    found, stray = divmod(length, 4)
    if (found == expected and not stray) or (cutoff is not None and found >= expected):
        return
    message = f"{os.fspath(path)}: expected {expected:,} floats, found {found:,}"
    if stray:
        message += " and a part of another"
    if not 0 <= major < MOST_MAJOR:
        raise InputError(f"{message}; the header, of version {major}, is none of Darknet's")
    if abs(found - expected) == 1 and not stray:
        bits = 64 if found > expected else 32
        raise InputError(
            f"{message}: the header seems to be of another version than it says, as one that counts the images seen "
            f"with {bits} bits (expected are 32 bits up to version 0.1, 64 from 0.2 on)"
        )
    if found == expected:
        raise InputError(message)
    if found > expected:
        raise InputError(f"{message}; {found - expected:,} are left over after the last layer")
    ends = {
        index: total for (index, _), total in zip(sizes, itertools.accumulate(size for _, size in sizes), strict=True)
    }
    for index, total in ends.items():
        if total > found:
            section = detector.sections[index + 1]
            place = f"[{section.name}] in line {section.line} of {section.source}"
            raise InputError(f"{message}; they ran out in layer {index}, {place}{_backbone(ends, found, stray)}")


def _backbone(ends: Mapping[int, int], found: int, stray: int) -> str:
    """What to add where floats run out between two layers: who wrote such a file cut a detector off there."""
    complete = [index for index, total in ends.items() if total == found]
    if stray or not complete:
        return ""
    return (
        f": these are the weights of the first {complete[0] + 1} layers alone, a backbone's, from which a training can "
        f"start (a spec's detector.weights_cutoff: {complete[0] + 1})"
    )
