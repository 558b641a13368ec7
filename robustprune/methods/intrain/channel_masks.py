"""Masks of channels that are trained beside the weights, and frozen on the way."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from torch import Tensor, nn

from robustprune.methods.gates import gated
from robustprune.methods.intrain.operations import Operations
from robustprune.methods.intrain.settings import PUBLISHED_RATE, PUBLISHED_STRENGTH, IntrainSettings
from robustprune.structures.groups import CoupledGroup, Members, decided_layers, filter_masks
from robustprune.structures.removal import departing
from robustprune.training.companion import Companion


class ChannelMasks(Companion):
    """A mask M per decision of the coupled groups; a channel stays, M_b = 1, while M > τ, or is the last of its group.

    The gradient of M_b is handed straight on to M. While the network takes more than the target's operations, the loss
    of a step also has

        λ‖M‖²  +  b · max(0, ψ(M_b)/ψ_full − ψ*),   the latter in the epochs from E_start to E_end,

    and M takes a step of plain SGD. The batches of an epoch share b, so that it weighs as much against the task as in
    one step an epoch. At the target neither acts: masks that went on decaying would take every channel. At E_end M_b is
    frozen: the last masks that met the target, or those of the moment where none did.

    Attributes:
        stay: which channels stay: those frozen, or those of the moment.
    """

    def __init__(
        self,
        network: nn.Module,
        groups: Sequence[CoupledGroup],
        operations: Operations,
        *,
        target: float,
        settings: IntrainSettings,
        steps_per_epoch: int,
        removes: bool,
    ) -> None:
        """Begin with masks that are all alike.

        Args:
            network: that is trained.
            groups: of it.
            operations: of it, likewise.
            target: ψ*, the share of operations to keep, in (0, 1]; at 1 every channel stays, whatever its mask.
            settings: of masks.
            steps_per_epoch: of the training.
            removes: channels will leave the network; otherwise they will be masked in it.
        """
        self._network, self._groups, self._operations = network, groups, operations
        self._target, self._settings, self._removes = target, settings, removes
        self._sizes = [group.decisions for group in groups]
        first = next(network.parameters())
        self.masks = torch.full((sum(self._sizes),), settings.initial_mask, device=first.device, requires_grad=True)
        everything = torch.ones(len(self.masks), dtype=torch.bool, device=first.device)
        self._met = everything.new_zeros(1)
        self._frozen = everything
        self._epoch = torch.zeros(1, dtype=torch.int64)
        self._history = torch.zeros(settings.epochs, 3, dtype=torch.float64)
        self.tensors = {
            "masks": self.masks,
            "met": self._met,
            "frozen": self._frozen,
            "epoch": self._epoch,
            "history": self._history,
        }
        self._strength = settings.strength_to(target)
        self._pull = self._strength / (steps_per_epoch if settings.step == "batch" else 1)
        self.learning_rate = settings.mask_learning_rate or self._sufficient()
        # A gate is where a channel is read, be it by weights or by a shortcut: one that is shut still has a gradient.
        # It is where the channel comes from if no weight reads it, or if a norm has to tell a shortcut what is masked.
        stays = not removes and any(group.copied for group in groups)
        self._gated = [replace(group, copied=group.filters if stays or not group.readers else {}) for group in groups]
        self._gates = self._straight_through()

    # As a companion of a training

    def weights(self) -> Mapping[str, Tensor]:
        """Return the parameters of the network without the channels that do not stay."""
        if self._keeps_all:
            return {}
        if self._is_frozen and not self._removes:
            return self._masked()
        self._gates = self.stay.to(self.masks) if self._is_frozen else self._straight_through()
        return gated(self._network, self._gated, self._gates.split(self._sizes))

    def penalty(self) -> Tensor | None:
        """Return what masks add to the loss of a step."""
        if self._is_frozen or self._keeps_all:
            return None
        return self._loss(self._gates, pulled=self._is_pulled and self._settings.step == "batch")

    def before_epoch(self, epoch: int) -> None:
        """Take note of the epoch."""
        self._epoch.fill_(epoch)

    def after_step(self) -> None:
        """Take a step of the masks."""
        if not self._is_frozen:
            self._descend(self.masks.grad)
            self.masks.grad = None

    def after_epoch(self, epoch: int) -> None:
        """Pull masks to the target where that is due once an epoch; freeze them where it is time."""
        if self._is_pulled and self._settings.step == "epoch":
            (gradient,) = torch.autograd.grad(self._loss(self._straight_through(), pulled=True), self.masks)
            self._descend(gradient)
        if epoch == self._settings.end and not self._met:
            self._frozen.copy_(self._binary())
        after = [self.left, self._hardware_loss(), int(self.stay.sum())]
        self._history[epoch - 1] = torch.tensor(after, dtype=torch.float64)

    # What came of it

    @property
    def stay(self) -> Tensor:
        """(decisions,), boolean; see the class."""
        return self._frozen if int(self._epoch) >= self._settings.end else self._binary()

    @property
    def left(self) -> float:
        """The share of operations that is left, in (0, 1]."""
        return float(self._share(self.stay))

    @property
    def by_group(self) -> Sequence[Tensor]:
        """Which channels stay, of every group (decisions,)."""
        found: Sequence[Tensor] = self.stay.split(self._sizes)
        return found

    @property
    def importance(self) -> Sequence[Tensor]:
        """The masks M, of every group (decisions,)."""
        found: Sequence[Tensor] = self.masks.detach().split(self._sizes)
        return found

    @property
    def history(self) -> Tensor:
        """After every epoch the share of operations left, the loss of those beyond the target, and channels left."""
        return self._history

    @contextmanager
    def on_shortcuts(self) -> Iterator[None]:
        """Let modules that copy channels find none that has left, as long as the context is open."""
        handles = [
            self._network.get_submodule(name).register_forward_pre_hook(self._finds(index, members))
            for index, group in enumerate(self._groups if self._removes and not self._keeps_all else [])
            for name, members in group.copied.items()
        ]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    # Parts

    @property
    def _is_frozen(self) -> bool:
        return int(self._epoch) > self._settings.end

    @property
    def _is_pulled(self) -> bool:
        return self._settings.start < int(self._epoch) <= self._settings.end

    @property
    def _keeps_all(self) -> bool:
        return self._target >= 1

    def _sufficient(self) -> float:
        """Return a learning rate with which an average mask, pulled alone, reaches the threshold in half the time.

        With η the rate, E the epochs and g the mean over masks of b · ∂(ψ/ψ_full)/∂M with the published b of 10:
        η = 2 (M − τ) / (g E). As published, .01, where that is enough, or where nothing pulls.
        """
        settings = self._settings
        whole = torch.ones_like(self.masks, requires_grad=True)
        (gradient,) = torch.autograd.grad(self._share(whole), whole)
        pull = PUBLISHED_STRENGTH * float(gradient.mean()) * (settings.end - settings.start)
        needed = 2 * (settings.initial_mask - settings.threshold) / pull if pull and self._strength else 0.0
        return max(PUBLISHED_RATE, needed)

    @torch.no_grad()
    def _binary(self) -> Tensor:
        if self._keeps_all:
            return torch.ones_like(self._frozen)
        kept = []
        for own in self.masks.split(self._sizes):
            above = own > self._settings.threshold
            kept.append(above.index_fill(0, own.argmax(), True))
        return torch.cat(kept)

    def _straight_through(self) -> Tensor:
        return self._binary() + (self.masks - self.masks.detach())

    def _share(self, stay: Tensor) -> Tensor:
        return self._operations(stay) / self._operations.full

    def _loss(self, gates: Tensor, *, pulled: bool) -> Tensor:
        beyond = self._share(gates) - self._target
        loss = self._settings.mask_decay / 2 * self.masks.square().sum()
        if pulled:
            loss = loss + self._pull * beyond
        return torch.where(beyond > 0, loss, 0.0).to(self.masks.dtype)

    def _hardware_loss(self) -> float:
        return self._strength * max(0.0, self.left - self._target)

    @torch.no_grad()
    def _descend(self, gradient: Tensor | None) -> None:
        if gradient is None:
            return
        self.masks -= self.learning_rate * gradient
        if self._is_pulled:
            now = self._binary()
            meets = self._share(now) <= self._target
            self._frozen.copy_(torch.where(meets, now, self._frozen))
            self._met |= meets

    def _masked(self) -> dict[str, Tensor]:
        """Return parameters as a study masks them: filters, and what departs with them."""
        kept = [stays.cpu() for stays in self.by_group]
        weights = {name: layer.weight for name, layer in decided_layers(self._network, self._groups).items()}
        flags = {f"{name}.weight": mask for name, mask in filter_masks(self._groups, kept, weights).items()}
        flags |= departing(self._network, self._groups, kept)
        parameters = dict(self._network.named_parameters())
        return {
            name: parameters[name] * flag.to(parameters[name]).view(-1, *[1] * (parameters[name].ndim - 1))
            for name, flag in flags.items()
        }

    def _finds(self, index: int, members: Members) -> Callable[[nn.Module, tuple[Tensor, ...]], tuple[Tensor, ...]]:
        """Return a hook that multiplies what a module copies of a group's channels by their gates."""

        def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
            gates = self._gates.split(self._sizes)[index]
            places, decisions = (each.to(gates.device) for each in members)
            # What an attack sees of a network held still is a function of images alone.
            chosen = gates[decisions] if module.training else gates.detach()[decisions]
            factors = chosen.new_ones(inputs[0].shape[1]).index_put((places,), chosen)
            return (inputs[0] * factors.view(-1, 1, 1),)

        return hook
