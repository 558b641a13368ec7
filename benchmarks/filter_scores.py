"""HYDRA's scores of whole filters: a step without the work that closed gates make idle, against that of gated weights.

Gates of a detector's filters are closed at random, as many of each layer. The step of gated weights computes every
filter, attacks the whole detector, and takes gradients of weights; it takes turns with ours (`methods.gates.passes`),
on one batch, under one attack. `speedup` is the ratio of median times, `attack_alone` that of a step which leaves work
out in its attack alone, and `control` the first against itself.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.adversarial_training import objective_of, random_batch
from benchmarks.finetuning import command_line
from benchmarks.output import write
from robustprune.core.devices import device_name
from robustprune.core.memory import reuse_freed_memory
from robustprune.core.precision import Compute
from robustprune.core.timing import take_turns
from robustprune.detection.darknet import Detector
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.losses.assignment import assign
from robustprune.methods.gates import GatedPasses, gated
from robustprune.methods.gates.closed import Smaller
from robustprune.structures.masks import keep_count, largest


def main() -> None:
    """Time the steps and print a row per ratio."""
    arguments = command_line(__doc__).parse_args()
    torch.set_num_threads(arguments.threads)
    reuse_freed_memory()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    detector = Detector.from_cfg(arguments.detector).to(device).to(memory_format=torch.channels_last)
    detector.train().requires_grad_(False)
    images, targets = random_batch(arguments.batch, arguments.image_size, detector.heads[0].classes, device)
    images = images.contiguous(memory_format=torch.channels_last)
    assigned = assign(targets, detector.heads, arguments.image_size)
    groups = couplings(detector, detector.prunable_layers())
    objective = objective_of(detector, Compute(), arguments.attack_steps)
    passes, smaller = GatedPasses(detector, groups), Smaller(detector, groups)

    def weights_of(gates: Sequence[Tensor]) -> None:
        objective(detector, images, assigned, gated(detector, groups, gates)).backward()

    def attack_alone(gates: Sequence[Tensor], kept: Sequence[Tensor]) -> None:
        found = objective.attacked(smaller.without(kept, {}), images, assigned)
        objective.of_attacked(detector, images, found, assigned, gated(detector, groups, gates)).backward()

    def ours(gates: Sequence[Tensor], kept: Sequence[Tensor]) -> None:
        passes.loss(objective, images, assigned, gates, kept).backward()

    rows = []
    for ratio in arguments.ratios:
        kept = [largest(torch.rand(group.decisions), keep_count(ratio, group.decisions)) for group in groups]
        gates = [stays.to(device, torch.float32).requires_grad_() for stays in kept]
        whole = functools.partial(weights_of, gates)
        times = take_turns(
            [whole, functools.partial(attack_alone, gates, kept), functools.partial(ours, gates, kept), whole],
            repeats=arguments.repeats,
            warm_up=1,
            device=device,
        )
        first, second, third, control = (each.p50 for each in times)
        rows.append(
            {
                "detector": arguments.detector,
                "image_size": arguments.image_size,
                "batch": arguments.batch,
                "device": device_name(device),
                "ratio": ratio,
                "speedup": first / third,
                "attack_alone": first / second,
                "control": first / control,
            }
        )
    write(rows, arguments.format)


if __name__ == "__main__":
    main()
