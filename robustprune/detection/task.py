"""Detection as a task: detectors of any family, images of one size with boxes, and average precision."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from robustprune.attacks import configured, frozen
from robustprune.core.arrays import Arrays
from robustprune.core.precision import Compute
from robustprune.core.progress import NOWHERE, Progress, reporter
from robustprune.core.randomness import drawing_from, generator_for, resampled, seed_for
from robustprune.core.settings import Settings
from robustprune.detection import darknet
from robustprune.detection.augmentation import Augmentation
from robustprune.detection.augmentation import augmented as changed
from robustprune.detection.darknet.compact.narrowing import narrowed as darknet_narrowed
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.darknet.folding import fold
from robustprune.detection.data.samples import Batch as SampleBatch
from robustprune.detection.data.samples import Samples, flip_horizontally
from robustprune.detection.detector import Detector
from robustprune.detection.image_size import ImageSize, sides
from robustprune.detection.measure.evaluation import Evaluation, Measured, evaluate, is_linf, margin_attack
from robustprune.detection.measure.kitti_ap import level_columns
from robustprune.structures import CoupledGroup, Layer
from robustprune.structures.dependency_graph import dependency_groups
from robustprune.structures.narrowing import Narrowed, narrowed
from robustprune.task import Batch, Explained
from robustprune.training import Objective

CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class DetectionTask:
    """Find objects; a `task.Task` whose outputs and targets are those of a detector's family; see `detector`.

    Attributes:
        build: returns a detector of the architecture in question, with new weights from torch's global generator.
        image_size: of the images, in pixels.
        device: where detectors and batches are.
        train: images to train on; None where nothing is trained.
        val: images to measure on; None where nothing is measured.
        weights: fills a detector with the weights that are given, if any are.
        attack_settings: the attack that the detector is measured under, if any.
        compute: how passes of training are carried out.
        evaluation: how detectors are measured.
        augmentation: how images to train on are changed at random, besides being mirrored, if at all.
        prune_heads: heads may be pruned too.
        data_seed: of a sample of the images to train on, as many, drawn with replacement; None for all, once each.
    """

    build: Callable[[], Detector]
    image_size: ImageSize
    device: torch.device = CPU
    train: Samples | None = None
    val: Samples | None = None
    weights: Callable[[Detector], object] | None = None
    attack_settings: Settings | None = None
    compute: Compute = field(default_factory=Compute)
    evaluation: Evaluation = field(default_factory=Evaluation)
    augmentation: Augmentation | None = None
    prune_heads: bool = False
    data_seed: int | None = None

    @classmethod
    def of(cls, detector: Detector, *, image_size: ImageSize, **more: Any) -> DetectionTask:
        """Return the task of one detector at hand, where it is; `more` are further attributes."""
        device = next(detector.parameters()).device
        return cls(build=lambda: detector, image_size=image_size, device=device, **more)

    # Networks

    def fresh(self, seed: int) -> Detector:
        """Return a detector drawn from a seed, or with the weights given."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_for(seed, "initialise"))
            detector = self.build()
        if self.weights is not None:
            self.weights(detector)
        return self._placed(detector)

    def restored(self, arrays: Arrays) -> Detector:
        """Return a detector with the state that `arrays` hold."""
        detector = self.build()
        # Copies: the arrays may be read-only views of memory that other processes share.
        detector.load_state_dict({name: torch.tensor(array) for name, array in arrays.items()})
        return self._placed(detector).eval()

    def prunable_layers(self, network: nn.Module) -> dict[str, Layer]:
        """Return the layers of the detector, without those of the heads unless these are pruned too."""
        assert isinstance(network, Detector)
        return network.prunable_layers(heads=self.prune_heads)

    def coupled_groups(self, network: nn.Module) -> list[CoupledGroup]:
        """Return which filters go together: exactly, along Darknet's graph; by DepGraph for others."""
        if isinstance(network, darknet.Detector):
            return couplings(network, self.prunable_layers(network))
        assert isinstance(network, Detector)
        example = torch.zeros(1, network.channels, *sides(self.image_size), device=self.device)
        groups = dependency_groups(network, example)
        prunable = self.prunable_layers(network)
        return [group for group in groups if group.filters.keys() <= prunable.keys()]

    def narrowed(self, network: nn.Module, held: Mapping[str, Tensor]) -> Narrowed | None:
        """Return the detector without idle filters: along Darknet's graph; by DepGraph for others; see `task.Task`."""
        if isinstance(network, darknet.Detector):
            found = darknet_narrowed(network, held)
        else:
            found = narrowed(network, held, find=self.coupled_groups)
        return None if found is None else Narrowed(self._placed(found.network), found.places)

    # Data

    @property
    def images(self) -> int:
        """How many images there are to train on."""
        return len(self._train)

    def steps(self, images: int, batch_size: int) -> int:
        """Return how many batches there are of so many images."""
        return -(-images // batch_size)

    def batches(
        self,
        batch_size: int,
        *,
        images: int | None = None,
        generator: torch.Generator | None = None,
        augmented: bool = True,
    ) -> Iterator[Batch]:
        """Yield images (N, C, H, W), changed at random, and their objects as targets; see `task.Task`."""
        count = min(images or self.images, self.images)
        order = torch.arange(count) if generator is None else torch.randperm(count, generator=generator)
        order = order if self.data_seed is None else resampled(self.images, self.data_seed)[order]
        stream = self._train.stream(indices.tolist() for indices in order.split(batch_size))
        for batch in stream if generator is None or not self._has_dropout else self._drawing(stream, generator):
            pixels = batch.images.to(self.device, memory_format=torch.channels_last)
            targets = batch.targets.to(self.device)
            if generator is not None and augmented:
                mirrored = torch.rand(len(pixels), generator=generator) < 0.5
                pixels, targets = flip_horizontally(pixels, targets, mirrored.to(self.device))
                if self.augmentation is not None:
                    pixels, targets = changed(pixels, targets, self.augmentation, generator)
            pixels = pixels.contiguous(memory_format=self.compute.memory_format)
            size = (pixels.shape[-2], pixels.shape[-1])
            yield Batch(pixels, self.reader.targets(targets, size, images=len(pixels)))

    # What is learnt

    def outputs(self, network: nn.Module, inputs: Tensor, weights: Mapping[str, Tensor]) -> list[Tensor]:
        """Return raw outputs in float32."""
        return self.compute.outputs(network, weights, inputs)

    def loss(self, outputs: Sequence[Tensor], targets: Any) -> Tensor:
        """Return the loss of a batch, a scalar."""
        return self.reader.loss(outputs, targets)

    def halves(self, outputs: Sequence[Tensor]) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Part the outputs of a batch and its attacked twin."""
        first, second = zip(*(output.chunk(2) for output in outputs), strict=True)
        return first, second

    # What an attack sees

    @contextmanager
    def held_still(
        self, network: nn.Module, weights: Mapping[str, Tensor]
    ) -> Iterator[Callable[[Tensor], Sequence[Tensor]]]:
        """Yield the detector as a function of images; a Darknet one without its batch norms, which is faster."""
        if isinstance(network, darknet.Detector):
            folded = fold(network, weights)
            constant = self.compute.narrowed(folded.tensors)
            yield lambda images: self.compute.outputs(folded.network, constant, images)
        else:
            with frozen(network):
                yield lambda images: self.compute.outputs(network, weights, images)

    def attack_loss(self, outputs: Sequence[Tensor], targets: Any) -> Tensor:
        """Return the sum of the images' own training losses: an image's attack is the same in any batch."""
        return self.losses(outputs, targets).sum()

    def losses(self, outputs: Sequence[Tensor], targets: Any) -> Tensor:
        """Return the loss of each image, (N,), as if it were the whole batch."""
        return self.reader.loss(outputs, targets, per_image=True)

    @property
    def has_logits(self) -> bool:
        """Outputs and targets are those of a family of detectors."""
        return False

    # What DeepLIFT explains

    def explained(self, network: nn.Module) -> Explained:
        """Return the logits that answer for the objects.

        Raises:
            InputError: the detector computes what DeepLIFT cannot explain.
        """
        assert isinstance(network, Detector)
        return network.explained()

    # How well it is learnt

    def measure(self, network: nn.Module, *, seed: int) -> dict[str, Any]:
        """Return average precision, clean and under attack, under the names of a row's columns."""
        return self.precisions(self.detections(network, seed=seed))

    @staticmethod
    def precisions(measured: Measured) -> dict[str, float | None]:
        """Return average precision, clean and under attacks, under the names of a row's columns."""
        assert measured.attacked is not None
        assert measured.interval is not None
        ap, ap50 = measured.interval
        return {
            "map_adv": measured.attacked.ap,
            "map_adv_low": ap.low,
            "map_adv_high": ap.high,
            "map50_adv": measured.attacked.ap50,
            "map50_adv_low": ap50.low,
            "map50_adv_high": ap50.high,
            "map_adv_margin": None if measured.margin is None else measured.margin.ap,
            "map50_adv_margin": None if measured.margin is None else measured.margin.ap50,
            "map_clean": measured.clean.ap,
            "map50_clean": measured.clean.ap50,
            **level_columns(measured.clean_levels, measured.attacked_levels),
        }

    def detections(self, network: nn.Module, *, seed: int, progress: Progress = NOWHERE) -> Measured:
        """Return what the detector finds, clean and under attacks, and how precise that is; in full precision.
        `progress` is told of images.
        """
        assert isinstance(network, Detector)
        assert self.val is not None
        attack = margin = None
        if self.attack_settings is not None:
            generator = generator_for(seed, "evaluate")
            attack = configured(self.attack_settings, generator)
            if self.evaluation.margin is not None and is_linf(self.attack_settings):
                margin = configured(margin_attack(self.attack_settings, steps=self.evaluation.margin.steps), generator)
        objective = Objective(task=self._exact, attack=attack, clean_too=True)
        tell, images = reporter(progress), len(self.val)
        tell(0, images, "image")
        return evaluate(
            network,
            self.val,
            objective=objective,
            settings=self.evaluation,
            margin=margin,
            tell=lambda done: tell(done, images, "image"),
        )

    # Parts

    @property
    def _train(self) -> Samples:
        assert self.train is not None, "there are no images to train on"
        return self.train

    @functools.cached_property
    def _has_dropout(self) -> bool:
        """Whether detectors of this architecture draw random numbers while they are trained."""
        with torch.random.fork_rng(devices=[]):
            return any(isinstance(module, nn.Dropout) for module in self.build().modules())

    def _drawing(self, stream: Iterable[SampleBatch], generator: torch.Generator) -> Iterator[SampleBatch]:
        """Yield what `stream` does; dropout, which draws from torch's own generator, follows `generator` meanwhile."""
        with drawing_from(generator, self.device):
            yield from stream

    @functools.cached_property
    def _exact(self) -> DetectionTask:
        """The same task, its passes carried out without a loss of precision."""
        exact = replace(self, compute=self.compute.exactly())
        exact.__dict__["reader"] = self.reader
        return exact

    @functools.cached_property
    def reader(self) -> Detector:
        """A detector of the architecture, for what its outputs mean: that is the same for all of them."""
        with torch.random.fork_rng(devices=[]):
            return self.build().to(self.device)

    def _placed(self, detector: nn.Module) -> Detector:
        placed: Detector = detector.to(self.device, memory_format=self.compute.memory_format)  # type: ignore[call-overload]
        self.__dict__.setdefault("reader", placed)  # none has to be built for that alone
        return placed
