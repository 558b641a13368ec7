"""Classification as a task: networks with logits, labelled images, cross-entropy, and how little it takes to fool."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from robustprune.attacks import frozen
from robustprune.attacks.by_name import Attack
from robustprune.classification.augmentation import augmented as changed
from robustprune.classification.classifier import Classifier
from robustprune.classification.data import Split
from robustprune.classification.data.images import LabelledImages
from robustprune.classification.explained import true_class_logits
from robustprune.classification.losses import LOSSES
from robustprune.classification.measure.accuracy import accuracy, attacked_accuracy
from robustprune.classification.measure.attacks import unbounded
from robustprune.classification.measure.evaluation import Evaluation, Measured, accuracies, evaluate, under_attack
from robustprune.classification.networks.pruning import channel_groups, output_layer
from robustprune.core.arrays import Arrays
from robustprune.core.progress import NOWHERE, Progress
from robustprune.core.randomness import drawing_from, generator_for, resampled, seed_for
from robustprune.methods.explaining.rewriting import explainable
from robustprune.structures import CoupledGroup, Layer
from robustprune.structures.narrowing import Narrowed, narrowed
from robustprune.task import Batch, Explained
from robustprune.training import Objective

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class ClassificationTask:
    """Name what is in an image; a `task.Task` whose outputs are logits, and whose targets are labels.

    Attributes:
        build: returns a classifier of the architecture in question, with new weights from torch's global generator.
        load: returns a split of the data, `train` or `test`.
        holdout: share of the training images that best epochs are chosen by.
        image_size: side of the square images, in pixels.
        device: where classifiers and batches are.
        weights: fills a classifier with the weights that are given, if any are.
        loss_name: one of `LOSSES`.
        evaluation: how classifiers are measured; None where they are not.
        data_seed: of a sample of the images to train on, as many, drawn with replacement; None for all, once each.
    """

    build: Callable[[], Classifier]
    load: Callable[[Split], LabelledImages]
    holdout: float
    image_size: int
    device: torch.device = CPU
    weights: Callable[[Classifier], object] | None = None
    loss_name: str = "cross-entropy"
    evaluation: Evaluation | None = None
    data_seed: int | None = None

    # Networks

    def fresh(self, seed: int) -> Classifier:
        """Return a classifier drawn from a seed, or with the weights given."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "initialise"))
            classifier = self.build()
        if self.weights is not None:
            self.weights(classifier)
        return self.placed(classifier)

    def restored(self, arrays: Arrays) -> Classifier:
        """Return a classifier with the state that `arrays` hold."""
        with torch.random.fork_rng(devices=[]):
            classifier = self.build()
        # Copies: the arrays may be read-only views of memory that other processes share.
        classifier.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return self.placed(classifier).eval()

    def placed(self, classifier: nn.Module) -> Classifier:
        """Return a classifier where this task's are: what is left of a weight has a memory format of its own."""
        return classifier.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]

    def prunable_layers(self, network: nn.Module) -> dict[str, Layer]:
        """Return the convolutions and fully connected layers, without the one that gives the logits."""
        spared = output_layer(network, self._blank)
        return {
            name: module
            for name, module in network.named_modules()
            if isinstance(module, nn.Conv2d | nn.Linear) and name != spared
        }

    def coupled_groups(self, network: nn.Module) -> list[CoupledGroup]:
        """Return which channels go together, by DepGraph; the network's parameters come out requiring gradients."""
        return channel_groups(network, self._blank)

    def narrowed(self, network: nn.Module, held: Mapping[str, Tensor]) -> Narrowed | None:
        """Return the classifier without idle channels, by DepGraph; see `task.Task`."""
        found = narrowed(network, held, find=self.coupled_groups)
        return None if found is None else Narrowed(self.placed(found.network), found.places)

    # Data

    @property
    def images(self) -> int:
        """How many images there are to train on."""
        return len(self._train)

    def steps(self, images: int, batch_size: int) -> int:
        """Return how many batches there are of so many images: none is of one, that batch norm cannot normalise."""
        return images // batch_size + (images % batch_size > 1)

    def batches(
        self,
        batch_size: int,
        *,
        images: int | None = None,
        generator: torch.Generator | None = None,
        augmented: bool = True,
    ) -> Iterator[Batch]:
        """Yield pixels (N, 3, S, S), mirrored and shifted at random, and labels (N,); see `task.Task`.

        Shuffled, there is no batch of one image, and torch's own generator, which dropout draws from, follows
        `generator` meanwhile.
        """
        used = self._train if images is None else self._train.take(range(min(images, self.images)))
        if generator is None:
            yield from (Batch(*batch) for batch in used.batches(batch_size, device=self.device))
            return
        with drawing_from(generator, self.device):
            for pixels, labels in used.batches(batch_size, device=self.device, generator=generator):
                if len(labels) > 1:
                    yield Batch(changed(pixels, generator) if augmented else pixels, labels)

    # What is learnt

    def outputs(self, network: nn.Module, inputs: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
        """Return logits, (N, classes)."""
        logits: Tensor = functional_call(network, dict(weights), (inputs,))
        return logits

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the mean loss of a batch."""
        return self.losses(outputs, targets).mean()

    def halves(self, outputs: Tensor) -> tuple[Tensor, Tensor]:
        """Part the logits of a batch and its attacked twin."""
        clean, attacked = outputs.chunk(2)
        return clean, attacked

    # What an attack sees

    @contextmanager
    def held_still(self, network: nn.Module, weights: Mapping[str, Tensor]) -> Iterator[Callable[[Tensor], Tensor]]:
        """Yield the classifier as a function of images."""
        with frozen(network):
            yield lambda images: self.outputs(network, images, weights)

    def attack_loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the sum of the images' losses: an image's gradient, and so its attack, is the same in any batch."""
        return self.losses(outputs, targets).sum()

    def losses(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Return the loss of each image, (N,)."""
        losses: Tensor = LOSSES[self.loss_name].provides(outputs, targets)
        return losses

    @property
    def has_logits(self) -> bool:
        """Outputs are logits, and targets labels."""
        return True

    # What DeepLIFT explains

    def explained(self, network: nn.Module) -> Explained:
        """Return the logit of an image's true class.

        Raises:
            InputError: the classifier computes what DeepLIFT cannot explain.
        """
        return Explained(explainable(network).requires_grad_(False), true_class_logits)

    # How well it is learnt

    def chosen_by(self, attack: Attack | None, batch_size: int) -> Callable[[nn.Module], float]:
        """Return what tells how many of the images held out a classifier gets right, under attack if there is one."""

        def reached(network: nn.Module) -> float:
            assert isinstance(network, Classifier)
            if attack is None:
                return accuracy(network, self._held_out, batch_size=batch_size, device=self.device)
            objective = Objective(task=self, attack=attack)
            return attacked_accuracy(
                network, self._held_out, attack=unbounded(objective.attacked), batch_size=batch_size, device=self.device
            )

        return reached

    def measure(self, network: nn.Module, *, seed: int) -> dict[str, Any]:
        """Return how often the classifier is right, and how little fools it, under the names of a row's columns."""
        return self.perturbations(network, seed=seed).columns

    def perturbations(self, network: nn.Module, *, seed: int, progress: Progress = NOWHERE) -> Measured:
        """Return what `measure` does, and what each attack found; `progress` is told of attacks."""
        assert isinstance(network, Classifier)
        assert self.evaluation is not None
        return evaluate(
            network,
            self.load("test"),
            settings=self.evaluation,
            seed=seed_for(seed, "evaluate"),
            progress=progress,
        )

    def accuracies(self, network: nn.Module, *, seed: int) -> dict[str, float | int | str | None]:
        """Return how often the classifier is right, clean and under the attack, as `measure` does, and no distances."""
        assert isinstance(network, Classifier)
        assert self.evaluation is not None
        robust = under_attack(network, self.load("test"), settings=self.evaluation, seed=seed_for(seed, "evaluate"))
        return accuracies(robust)

    # Parts

    @property
    def _blank(self) -> Tensor:
        return torch.zeros(1, 3, self.image_size, self.image_size, device=self.device)

    @functools.cached_property
    def _parts(self) -> tuple[LabelledImages, LabelledImages]:
        """The images to train on and those to choose by, the same for every seed."""
        images = self.load("train")
        order = torch.randperm(len(images), generator=generator_for(0, "holdout"))
        held_out = held_out_of(len(images), self.holdout)
        return images.take(order[held_out:]), images.take(order[:held_out])

    @functools.cached_property
    def _train(self) -> LabelledImages:
        images = self._parts[0]
        return images if self.data_seed is None else images.take(resampled(len(images), self.data_seed))

    @property
    def _held_out(self) -> LabelledImages:
        return self._parts[1]


def held_out_of(images: int, share: float) -> int:
    """Return how many of the training images are held out, at least one."""
    return max(1, round(share * images))
