"""Fine-tuning of filter-pruned detectors: a training step of what is left, against the step of the whole one.

Whole filters are masked at random, as many of each layer. What is trained in place of the masked detector has only the
others (`robustprune.structures.narrowing`); it takes turns with the whole one, on one batch, under one attack.
`speedup` is the ratio of median times. `operations` is what arithmetic alone would give: multiply–accumulates of the
whole detector over those of what is left. `control` is the whole one against a copy of itself.
"""

from __future__ import annotations

import argparse
import functools

import torch

from benchmarks.adversarial_training import Ours, random_batch
from benchmarks.output import parser, write
from robustprune.core.devices import device_name
from robustprune.core.memory import reuse_freed_memory
from robustprune.core.precision import Compute
from robustprune.core.timing import take_turns
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.compact.narrowing import narrowed
from robustprune.detection.darknet.couplings import couplings
from robustprune.inference.cost import size
from robustprune.structures import draw_masks
from robustprune.structures.removal import departing, kept_decisions


def main() -> None:
    """Time the steps and print a row per ratio."""
    arguments = command_line(__doc__).parse_args()
    torch.set_num_threads(arguments.threads)
    reuse_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    whole = Detector.from_cfg(arguments.detector).to(device)
    images, targets = random_batch(arguments.batch, arguments.image_size, whole.heads[0].classes, device)
    blank = torch.zeros(1, whole.channels, arguments.image_size, arguments.image_size, device=device)
    dense, control = (Ours(whole, Compute(), arguments.attack_steps) for _ in range(2))
    macs = size(whole, blank).macs
    rows = []
    for ratio in arguments.ratios:
        left = filter_pruned(whole, ratio)
        narrow = Ours(left, Compute(), arguments.attack_steps)
        times = take_turns(
            [functools.partial(loop.step, images, targets) for loop in (dense, narrow, control)],
            repeats=arguments.repeats,
            warm_up=1,
            device=device,
        )
        first, second, third = (each.p50 for each in times)
        rows.append(
            {
                "detector": arguments.detector,
                "image_size": arguments.image_size,
                "batch": arguments.batch,
                "device": device_name(device),
                "ratio": ratio,
                "speedup": first / second,
                "operations": macs / size(left, blank).macs,
                "control": first / third,
            }
        )
    write(rows, arguments.format)


def filter_pruned(detector: Detector, ratio: float) -> Detector:
    """Return what is trained in place of a detector with so many filters of each layer masked, drawn at random."""
    layers = detector.prunable_layers()
    groups = couplings(detector, layers)
    importance = {name: torch.rand_like(layer.weight) for name, layer in layers.items()}
    masks = draw_masks("structured", importance, ratio, groups=groups, scope="layer", comparable=False)
    found = narrowed(detector, masks | departing(detector, groups, kept_decisions(groups, masks)))
    assert found is not None
    assert isinstance(found.network, Detector)
    return found.network


def command_line(description: str | None) -> argparse.ArgumentParser:
    """Return the options of benchmarks that prune a detector's filters."""
    options = parser(description)
    options.add_argument("--detector", default="yolov3-tiny", help="bundled .cfg or file (%(default)s)")
    options.add_argument("--image-size", type=int, default=416, help="side in pixels (%(default)s)")
    options.add_argument("--batch", type=int, default=4, help="images (%(default)s)")
    options.add_argument("--attack-steps", type=int, default=5, help="of PGD (%(default)s)")
    options.add_argument("--ratios", type=float, nargs="+", default=[0.5, 0.75, 0.9], help="of filters pruned")
    options.add_argument("--repeats", type=int, default=5, help="steps that are timed (%(default)s)")
    options.add_argument("--threads", type=int, default=1, help="CPU threads (%(default)s)")
    return options


if __name__ == "__main__":
    main()
