"""Inference with pruned detectors: one image in the fastest engine, and in the unpruned detector's, in turns.

The unpruned detector has its batch norms folded and runs in the memory format in which it is faster. The pruned ones
are of the same random weights, masked by random scores: trained scores leave more channels without any weight. Batch
norms shift what they normalise, so that pruned filters leave constants behind, as trained ones do. `speedup`, its
interval, its control and the doubt are those of a sweep's rows; `reference_speedup` is that of the reference study's
published mean times where it gives them, `max_abs_difference` that of raw outputs from the masked detector's.

With `--protocol`, what the reference study found a significant difference between: an unpruned detector and itself,
repeatedly timed in turns as every row of a sweep is, and one after the other. `p_value` is of a one-way ANOVA, the
reference's test; `p_value_paired` of a paired t test, which drift does not blind: a bias of a percent does not escape.

What single weights can give, by arithmetic: dense code multiplies a vector that it has loaded by weights of many
filters, and is bound by its multiply-adds, two vectors in a cycle. Where zeros are scattered, every multiply-add wants
a load of its own. Of these a core does two in a cycle as well, but a tap's input begins anywhere, and a load that lies
across two lines of the cache counts twice: every second one of 8 floats, every one of 16. So 256-bit units reach two
thirds of dense code's pace at best (measured: 20 of 30 billion a second), which at 50% is 1.3 times its speed before
anything else is paid; 512-bit units reach half of it, so that half the weights take as long as all of them, and the
reference's 1.2 at 50% is beyond scattered zeros there. Aligned copies for each column of taps avoid these loads, and
are three times as much for the caches; the engine tries them where vectors have 16 floats. Using a loaded input more
than once would take filters whose zeros lie in the same places, and scattered masks do not have them.
"""

from __future__ import annotations

import argparse
import copy
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from scipy.stats import f_oneway, ttest_rel
from torch import Tensor, nn

from benchmarks.output import parser, write
from robustprune.core.devices import device_name
from robustprune.core.memory import reuse_freed_memory
from robustprune.core.timing import TimingSettings, compare, take_turns
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compact.engines import dense_engine, fastest_engine
from robustprune.detection.darknet.couplings import couplings
from robustprune.inference.engine import Engine
from robustprune.structures import draw_masks
from robustprune.structures.masks import apply

RATIOS = (0.0, 0.25, 0.50, 0.65, 0.75, 0.85, 0.90, 0.95, 0.99)
REFERENCE = {
    "structured": dict(zip(RATIOS[1:], (1.1, 1.5, 2.3, 3.2, 4.3, 4.7, 5.0, 5.4), strict=True)),
    "unstructured": {0.90: 2.4, 0.99: 2.8},
}


def main() -> None:
    """Time pruned detectors and print a row for each, or check the protocol."""
    arguments = _command_line().parse_args()
    torch.set_num_threads(arguments.threads)
    reuse_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    image = torch.rand(1, 3, arguments.image_size, arguments.image_size, generator=torch.Generator().manual_seed(0))
    image = image.to(device)
    asked = {"repeats": arguments.repeats, "structures": arguments.structures, "ratios": arguments.ratios}
    asked["round_to"] = arguments.round_to
    if arguments.protocol:
        rows = protocol(arguments.detector, image, times=arguments.protocol, repeats=arguments.repeats)
    else:
        rows = speedups(arguments.detector, image, **asked)
    write([{**row, "threads": arguments.threads} for row in rows], arguments.format)


def speedups(
    config: str,
    image: Tensor,
    *,
    structures: Sequence[str],
    ratios: Sequence[float],
    repeats: int,
    round_to: Sequence[int] | None = None,
) -> Iterator[dict[str, Any]]:
    """Yield a row per structure and ratio: the fastest engine of a pruned detector against the unpruned one's.

    Args:
        config: a Darknet .cfg, or the name of a bundled one.
        image: (1, 3, S, S), on the device.
        structures: of what is pruned.
        ratios: how much of it.
        repeats: turns of each.
        round_to: see `inference.engine.fastest_engine`.
    """
    dense = dense_engine(random_detector(config, image), image)
    for structure in structures:
        for ratio in ratios:
            detector = random_detector(config, image)
            prune(detector, structure, ratio)
            engine = fastest_engine(detector, image, dense=dense, round_to=round_to)
            with torch.inference_mode():
                twin = dense._replace(network=copy.deepcopy(dense.network))
                runs = (each.on(image) for each in (engine, dense, twin))
                settings = TimingSettings(timing_repeats=repeats, timing_warm_up=3)
                compared = compare(*runs, settings=settings, device=image.device)
            yield {
                "structure": structure,
                "ratio": ratio,
                "engine": engine.name,
                "inference_ms": compared.pruned.p50,
                "inference_ms_dense": compared.dense.p50,
                "speedup": compared.speedup.median,
                "speedup_low": compared.speedup.low,
                "speedup_high": compared.speedup.high,
                "speedup_control": compared.control.median,
                "timing_doubtful": compared.is_doubtful,
                "reference_speedup": REFERENCE[structure].get(ratio),
                "max_abs_difference": difference(detector, engine, image),
                "device": device_name(image.device),
            }
            print(f"{structure} {ratio}: done", file=sys.stderr)


def protocol(config: str, image: Tensor, *, times: int, repeats: int) -> Iterator[dict[str, Any]]:
    """Yield a row per way of timing the unpruned detector and itself so many `times`; arguments as for `speedups`."""
    detector = random_detector(config, image)
    dense = dense_engine(detector, image)
    first, second = dense.on(image), fastest_engine(detector, image, dense=dense).on(image)
    timed = partial(take_turns, repeats=repeats, warm_up=3, device=image.device)
    with torch.inference_mode():
        pairs = [timed([first, second]) for _ in range(times)]
        groups = [[timed([run])[0] for _ in range(times)] for run in (first, second)]
    for way, timings in {"in turns": zip(*pairs, strict=True), "one after the other": groups}.items():
        one, other = (np.array([timing.p50 for timing in each]) for each in timings)
        yield {
            "protocol": way,
            "repeats": times,
            "inference_ms": one.mean(),
            "inference_ms_again": other.mean(),
            "mean_ratio": (other / one).mean(),
            "p_value": f_oneway(one, other).pvalue,
            "p_value_paired": ttest_rel(one, other).pvalue,
            "device": device_name(image.device),
        }


@torch.no_grad()
def random_detector(config: str, image: Tensor) -> Detector:
    """Return the same detector each time: random weights, and batch norms that have seen the image."""
    torch.manual_seed(0)
    detector = Detector.from_cfg(config)
    for layer in detector.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0
            layer.weight.uniform_(0.5, 1.5)
            layer.bias.normal_(std=0.3)
    detector.to(image.device).train()(image)
    return detector.eval()


def prune(detector: Detector, structure: str, ratio: float) -> None:
    """Mask a detector in place by random scores."""
    layers = detector.prunable_layers()
    importance = {name: torch.rand_like(layer.weight) for name, layer in layers.items()}
    groups = couplings(detector, importance)
    apply(draw_masks(structure, importance, ratio, groups=groups, scope="layer", comparable=False), detector)


@torch.inference_mode()
def difference(detector: Detector, engine: Engine, image: Tensor) -> float:
    """Return how far an engine's raw outputs are from the detector's at most."""
    outputs = zip(detector(image), engine.on(image)(), strict=True)
    return max(float((masked - pruned).abs().max()) for masked, pruned in outputs)


def _command_line() -> argparse.ArgumentParser:
    command_line = parser(__doc__)
    command_line.add_argument("--detector", default="yolov3-tiny", help="a Darknet .cfg, or the name of a bundled one")
    command_line.add_argument("--image-size", type=int, default=416, help="side of the image in pixels")
    command_line.add_argument("--structures", nargs="+", choices=list(REFERENCE), default=list(REFERENCE))
    command_line.add_argument("--ratios", nargs="+", type=float, default=RATIOS, help="of filters or weights pruned")
    command_line.add_argument("--round-to", nargs="+", type=int, help="multiples of filters to try; 1 rounds nothing")
    command_line.add_argument("--repeats", type=int, default=20, help="turns of each")
    command_line.add_argument("--threads", type=int, default=1, help="of the CPU")
    command_line.add_argument("--protocol", type=int, metavar="N", help="compare the unpruned detector with itself")
    return command_line


if __name__ == "__main__":
    main()
