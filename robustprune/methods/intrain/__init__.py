"""Pruning in the course of a training from scratch, under attack, by masks of channels that are trained beside the
weights (Vemparala et al. 2021).

The formulas are a reconstruction: no text or code of the authors that has them was at hand. Certain are the masks and
their initial value, that both weights and masks are regularised, the loss of operations with its factor b and target
ψ*, that it falls to 0 where the target is reached and does not pull back, and the epochs. Ours are the threshold, the
straight-through gradient, that the decay of masks rests at the target, and which masks are frozen.
"""

from __future__ import annotations

import copy
import warnings

import torch
from torch import nn

from robustprune.core.errors import InputError
from robustprune.core.operations import AttackWork, Work, training
from robustprune.inference.cost import size
from robustprune.methods.entry import InitializerEntry
from robustprune.methods.intrain.channel_masks import ChannelMasks
from robustprune.methods.intrain.operations import Operations
from robustprune.methods.intrain.settings import IntrainSettings
from robustprune.methods.outcome import Outcome
from robustprune.methods.problem import Problem
from robustprune.structures import STRUCTURES
from robustprune.structures.removal import remove
from robustprune.structures.spread import spread
from robustprune.task import Task
from robustprune.training import train


def intrain(network: nn.Module, problem: Problem, settings: IntrainSettings) -> Outcome:
    """Train a network, and which of its channels stay, until the share `ratio` of its operations has gone.

    What is trained is the network without the channels that do not stay: batch norm's scale and shift go with a filter,
    and so do biases. Where the target is not met by the time masks are frozen, a warning says so, and the row what was
    reached: nothing else is pruned.

    Raises:
        DivergedError: the loss became NaN or infinite.
        InputError: no channel of the network can go, or not a single operation is to stay.
    """
    assert problem.structure is not None
    assert problem.ratio is not None
    refused = _refuses(settings, ratio=problem.ratio)
    if refused is not None:
        raise InputError(refused)
    network = copy.deepcopy(network)
    groups = problem.groups(network)
    if not groups:
        raise InputError(
            f"intrain: found no channels that can go from this network in the structure {problem.structure!r}, "
            "expected some that leave it with all that depends on them"
        )
    network.requires_grad_(True)
    layers, task = problem.layers(network, groups), problem.task
    image = next(iter(task.batches(1, images=1))).inputs
    masks = ChannelMasks(
        network,
        groups,
        Operations(network, groups, size(network, image).layer_macs),
        target=1 - problem.ratio,
        settings=settings,
        steps_per_epoch=problem.objective.steps_per_epoch(settings.batch_size),
        removes=STRUCTURES[problem.structure].removes,
    )
    with masks.on_shortcuts():
        train(
            network,
            objective=problem.objective,
            settings=settings.training(),
            generator=problem.generator,
            companion=masks,
            progress=problem.progress,
        )
    reached = 1 - masks.left
    if masks.left > 1 - problem.ratio:
        warnings.warn(
            f"intrain: {reached:.1%} of the operations are gone at the end, where {problem.ratio:.1%} were asked for: "
            "a larger strength, more epochs or a larger mask_learning_rate take it further",
            stacklevel=2,
        )
    history = masks.history.numpy()
    return Outcome(
        scores=spread(masks.importance, groups, layers),
        state={name: tensor.detach() for name, tensor in network.state_dict().items()},
        masks={name: mask > 0 for name, mask in spread([m.float() for m in masks.by_group], groups, layers).items()},
        tables={
            "masks_over_epochs": {
                "epoch": torch.arange(1, settings.epochs + 1).numpy(),
                "operations": history[:, 0],
                "loss_hw": history[:, 1],
                "channels": history[:, 2].astype("int64"),
            }
        },
        columns={"operations_asked": problem.ratio, "operations_reached": reached},
    )


def _check(task: Task, network: nn.Module) -> None:
    """See that operations are what they are taken to be: one channel of each group is removed from a copy, and counted.

    Raises:
        InputError: they are not.
    """
    network = copy.deepcopy(network)
    groups = task.coupled_groups(network)
    if any(group.dependencies is None for group in groups):
        return  # Of Darknet's, whose channels are masked; tests count those.
    image = next(iter(task.batches(1, images=1))).inputs
    operations = Operations(network, groups, size(network, image).layer_macs)
    kept = [torch.arange(group.decisions) >= min(1, group.decisions - 1) for group in groups]
    expected = int(operations(torch.cat(kept).float()))
    remove(groups, kept)
    found = sum(size(network, image).layer_macs.values())
    if found != expected:
        raise InputError(
            f"initializer 'intrain': found a network of which {found:,} operations are left where its channels say "
            f"{expected:,}, such as one whose layers run once per channel; expected each layer to run as often, "
            "whatever goes"
        )


def _refuses(settings: IntrainSettings, *, ratio: float, **_: object) -> str | None:
    if ratio >= 1:
        return (
            f"grid.ratio: found {ratio:g} with the initializer 'intrain', expected less than 1: it is the share of "
            "operations that go, and some have to stay"
        )
    return None


def _work(
    settings: IntrainSettings, *, forward: float, images: int, attack: AttackWork | None, clean_too: bool = True
) -> Work:
    """Weights are trained once, for all that masks do."""
    return training(
        "intrain's training", forward=forward, images=images, epochs=settings.epochs, attack=attack, clean_too=clean_too
    )


INTRAIN = InitializerEntry(
    score=intrain,
    settings=IntrainSettings,
    per_structure=True,
    per_ratio=True,
    comparable=True,
    trains="scratch",
    prunes="operations",
    structures="coupled",
    check=_check,
    refuses=_refuses,
    work=_work,
    tables={"masks_over_epochs": {"epoch": int, "operations": float, "loss_hw": float, "channels": int}},
    columns={"operations_asked": float, "operations_reached": float},
    meanings={
        "operations_asked": "share of the network's operations that intrain was asked to take away: the ratio",
        "operations_reached": "share that it took away; less than asked where its masks were not pulled far enough",
        "masks_over_epochs": "intrain's masks over its training",
        "masks_over_epochs.epoch": "epoch, from 1",
        "masks_over_epochs.operations": "share of operations left after it",
        "masks_over_epochs.loss_hw": "loss of the operations beyond the target after it; 0: met",
        "masks_over_epochs.channels": "channels left after it; those that go together count once",
    },
)
