"""Train a network under an objective: base training, adversarial pretraining and fine-tuning are all this loop."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from robustprune.core.errors import DivergedError
from robustprune.core.progress import NOWHERE, Progress
from robustprune.structures import masks as masking
from robustprune.training.companion import Companion
from robustprune.training.epochs import Epochs
from robustprune.training.objective import Objective
from robustprune.training.overfitting import Watch
from robustprune.training.settings import Training
from robustprune.training.state import Inside, TrainingState


def train(
    network: nn.Module,
    *,
    objective: Objective,
    settings: Training,
    generator: torch.Generator,
    masks: Mapping[str, Tensor] | None = None,
    chosen_by: Callable[[nn.Module], float] | None = None,
    companion: Companion | None = None,
    watch: Watch | None = None,
    progress: Progress = NOWHERE,
) -> int:
    """Train `network` in place; return the epoch that was kept, from 1, or 0 where there was none.

    Args:
        network: left in eval mode.
        objective: what to lower, and on which task's images.
        settings: optimizer and schedule.
        generator: on the CPU; the only source of randomness.
        masks: weights to hold at exactly zero, by layer.
        chosen_by: how well a network does; the epoch after which it does best is kept, the earliest among equals.
            Without it, the last.
        companion: what goes along with it, if anything.
        watch: ends it after an epoch of catastrophic overfitting, of which nothing is kept.
        progress: is offered the state after every epoch, and within one where that is due; training goes on from the
            one it has, to the same bits. It is told of every step.

    Raises:
        DivergedError: the loss became NaN or infinite.
    """
    optimizer = settings.optimizer(network.parameters())
    best = _Best(network) if chosen_by is not None or watch is not None else None
    beside = Companion() if companion is None else companion
    perturbation = None if objective.free is None else objective.free.start(objective.task, settings.batch_size)
    state = TrainingState(
        tensors={
            **(network.state_dict() if best is None else best.tensors),
            **{f"companion.{name}": tensor for name, tensor in beside.tensors.items()},
            **({} if watch is None else {f"watch.{name}": tensor for name, tensor in watch.tensors.items()}),
            **({} if perturbation is None else {"perturbation": perturbation.tensor}),
        },
        optimizer=optimizer,
        generator=generator,
        progress=progress,
    )
    steps_per_epoch = objective.steps_per_epoch(settings.batch_size)
    finished, inside = state.resume()
    epochs = Epochs(progress, epochs=settings.epochs, steps_per_epoch=steps_per_epoch, done=finished)
    ended = watch is not None and watch.has_seen
    last = finished if finished and (ended or beside.stops(finished)) else settings.epochs
    for epoch in range(finished + 1, last + 1):
        network.train()
        batches = objective.task.batches(settings.batch_size, generator=generator, augmented=settings.augmented)
        batches = batches if objective.free is None else objective.free.replayed(batches)
        began, taken = generator.get_state(), 0
        if inside is not None:
            inside.go_on(batches, generator)
            began, taken, inside = inside.began, inside.steps, None
        else:
            beside.before_epoch(epoch)
        for inputs, targets in batches:
            step = (epoch - 1) * steps_per_epoch + taken
            for group in optimizer.param_groups:
                group["lr"] = settings.learning_rate_at(step, steps_per_epoch)
            optimizer.zero_grad(set_to_none=True)
            weights = beside.weights()
            if perturbation is None:
                loss = objective(network, inputs, targets, weights)
            else:
                loss = objective.of_attacked(network, inputs, perturbation.on(inputs), targets, weights)
            penalty = beside.penalty()
            loss = loss if penalty is None else loss + penalty
            if not loss.isfinite():
                raise DivergedError(f"the loss became {loss.item()} in epoch {epoch} of {settings.epochs}")
            loss.backward()
            if perturbation is not None:
                perturbation.climb()
            masking.apply_to_gradients(masks or {}, network)
            beside.after_backward()
            if settings.largest_gradient is not None:
                torch.nn.utils.clip_grad_norm_(network.parameters(), settings.largest_gradient)
            optimizer.step()
            masking.apply(masks or {}, network)
            beside.after_step()
            taken += 1
            epochs.step(epoch, taken, loss)
            if progress.is_due:
                state.save(epoch - 1, Inside.after(taken, began))
        ended = watch is not None and watch.overfitted(epoch, network, began=began, training=settings)
        if best is not None and not ended:
            best.offer(epoch, epoch if chosen_by is None else chosen_by(network.eval()))
        beside.after_epoch(epoch)
        state.save(epoch)
        if ended or beside.stops(epoch):
            last = epoch
            break
    if best is not None:
        best.restore()
    network.eval()
    return last if best is None else best.epoch


class _Best:
    """The state of a network after its best epoch so far, or its last one that is worth keeping, and all that a
    training carries on because of it.
    """

    def __init__(self, network: nn.Module) -> None:
        self._network, self._current = network, network.state_dict()
        self._best = {name: tensor.clone() for name, tensor in self._current.items()}
        # The epoch kept, and how well the network did then.
        self._kept = torch.tensor([0.0, -torch.inf], dtype=torch.float64)

    @property
    def tensors(self) -> dict[str, Tensor]:
        return {
            **{f"current.{name}": tensor for name, tensor in self._current.items()},
            **{f"best.{name}": tensor for name, tensor in self._best.items()},
            "kept": self._kept,
        }

    @property
    def epoch(self) -> int:
        return int(self._kept[0])

    def offer(self, epoch: int, reached: float) -> None:
        if reached > self._kept[1]:
            self._kept.copy_(torch.tensor([epoch, reached], dtype=self._kept.dtype))
            for name, tensor in self._best.items():
                tensor.copy_(self._current[name])

    def restore(self) -> None:
        self._network.load_state_dict(self._best)
