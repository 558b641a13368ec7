"""DeepLIFT's promise is completeness: over a cut of the graph, contributions add up to what they explain."""

import copy
import warnings
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import Tensor

from robustprune.attacks import pgd
from robustprune.core.errors import InputError
from robustprune.detection.darknet import Detector, load_weights
from robustprune.detection.data.coco import load_split
from robustprune.detection.data.samples import Samples
from robustprune.detection.losses.assignment import assign
from robustprune.detection.task import DetectionTask
from robustprune.methods import INITIALIZERS, Problem
from robustprune.methods import deeplift as method
from robustprune.methods.deeplift import DeepLiftSettings, deeplift
from tests.robustprune.detection.darknet import published
from tests.robustprune.detection.pruned import convolution
from tests.robustprune.detection.tasks import assigned, task_of, under
from tests.robustprune.training.keeper import Told
from tests.support import batch_norms

pytestmark = pytest.mark.filterwarnings("error")


def experienced(config: str | Path) -> Detector:
    """Return a detector whose batch norm and heads are those of no fresh network."""
    torch.manual_seed(0)
    detector = Detector.from_cfg(config).eval()
    batch_norms.draw(detector)
    with torch.no_grad():
        for name in head_convolutions(detector):
            detector.get_parameter(f"{name}.weight").normal_(std=0.1)
    return detector


def head_convolutions(detector: Detector) -> list[str]:
    inner = detector.prunable_layers()
    return [name for name in detector.prunable_layers(heads=True) if name not in inner]


def scene(detector: Detector, *, size: int, images: int) -> tuple[Tensor, Tensor]:
    """Return random images, and in each an object of a size for every head."""
    sides = (0.06, 0.15, 0.35, 0.8)
    classes = detector.heads[0].classes
    targets = [
        [image, (image + number) % classes, 0.2 + 0.15 * number, 0.7 - 0.1 * number, side, 0.8 * side]
        for image in range(images)
        for number, side in enumerate(sides)
    ]
    return torch.rand(images, 3, size, size), torch.tensor(targets)


def explained(detector: Detector, images: Tensor, targets: Tensor) -> float:
    """Return F, the objectness and true-class logits of all assigned anchors, summed in plain Python."""
    with torch.no_grad():
        outputs = copy.deepcopy(detector).double().eval()(images.double())
    total = 0.0
    for output, positive in zip(outputs, assign(targets, detector.heads, images.shape[-1]), strict=True):
        for image, anchor, row, column, class_ in zip(*(index.tolist() for index in positive[:5]), strict=True):
            logits = output[image, anchor, row, column]
            total += (logits[4] + logits[5 + class_]).item()
    return total


def contributions(
    detector: Detector, images: Tensor, targets: Tensor, *, reference: Tensor, layers: Sequence[str]
) -> dict[str, Tensor]:
    """Return contributions in float64 to what the detector's task explains of images and their objects, (M, 6)."""
    exact = copy.deepcopy(detector).double()
    pixels, positives = assigned(detector, images, targets)
    return method.contributions(
        task_of(detector), exact, pixels.double(), positives, reference=reference.double(), layers=layers
    )


def assert_complete(detector: Detector, images: Tensor, targets: Tensor, reference: Tensor) -> None:
    layers = list(detector.prunable_layers(heads=True))
    found = contributions(detector, images, targets, reference=reference, layers=layers)
    assert all(found[name].shape == detector.get_submodule(name).weight.shape for name in layers)
    expected = explained(detector, images, targets)
    expected -= explained(detector, reference.expand_as(images), targets)
    assert abs(expected) > 0.1
    first, heads = found[layers[0]].sum().item(), sum(found[name].sum().item() for name in head_convolutions(detector))
    assert [first, heads] == pytest.approx([expected] * 2, rel=1e-9)  # what is left is rounding
    batch = assigned(detector, images, targets)
    found = method.contributions(task_of(detector), detector, *batch, reference=reference, layers=layers)
    assert all(each.dtype == torch.float32 for each in found.values())
    first = found[layers[0]].double().sum().item()
    heads = sum(found[name].double().sum().item() for name in head_convolutions(detector))
    assert [first, heads] == pytest.approx([expected] * 2, rel=1e-4)  # which is promised


ZEROS = torch.zeros(())


@pytest.mark.parametrize(("config", "size"), [("yolov3-nano", 64), ("yolov3-tiny", 96), ("yolov3-tiny", 128)])
@pytest.mark.parametrize("images", [1, 3])
def test_contributions_are_complete(config: str, size: int, images: int) -> None:
    detector = experienced(config)
    assert_complete(detector, *scene(detector, size=size, images=images), ZEROS)


def test_contributions_are_complete_against_any_reference() -> None:
    detector = experienced("yolov3-nano")
    assert_complete(detector, *scene(detector, size=64, images=2), torch.rand(3, 64, 64))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov3", "yolov3-spp"])
def test_contributions_are_complete_in_the_detectors_of_the_reference(name: str, coco_root: Path) -> None:
    detector = experienced(coco_root.parent / "darknet" / f"{name}.cfg")
    assert_complete(detector, *scene(detector, size=64, images=1), ZEROS)


@pytest.mark.parametrize("text", [published.yolov4_tiny(), published.yolov3_tiny_prn()], ids=["yolov4-tiny", "prn"])
def test_contributions_are_complete_through_other_published_sections(text: str, tmp_path: Path) -> None:
    (tmp_path / "published.cfg").write_text(text)
    detector = experienced(tmp_path / "published.cfg")
    assert_complete(detector, *scene(detector, size=96, images=1), ZEROS)


@pytest.mark.parametrize("reference", ["zeros", "mean"])
def test_a_published_detector_is_explained_on_real_images(coco_root: Path, reference: str) -> None:
    files = coco_root.parent / "darknet"
    detector = Detector.from_cfg(files / "yolo-fastest-1.1.cfg").eval()
    load_weights(detector, files / "yolo-fastest-1.1.weights")
    batch = Samples(load_split(coco_root, "train2017"), image_size=320).batch([0, 1])
    assert_complete(detector, batch.images, batch.targets, ZEROS if reference == "zeros" else batch.images.mean(dim=0))


def test_a_trained_detector_is_explained_as_well(trained: Detector, samples: Samples) -> None:
    batch = samples.batch(range(4))
    assert_complete(trained, batch.images, batch.targets, ZEROS)


def test_a_layer_of_a_linear_network_by_hand(tmp_path: Path) -> None:
    # One convolution feeds the head, so a contribution is the weight times the pixels it met at assigned cells.
    (tmp_path / "linear.cfg").write_text(
        "[net]\nwidth=32\nheight=32\nchannels=3\n"
        "[convolutional]\nfilters=7\nsize=8\nstride=8\nactivation=linear\n"
        "[yolo]\nanchors=8,8\nnum=1\nclasses=2\n"
    )
    torch.manual_seed(0)
    detector = Detector.from_cfg(tmp_path / "linear.cfg")
    images = torch.rand(1, 3, 32, 32)
    targets = torch.tensor([[0, 1, 0.4, 0.9, 0.25, 0.25]])  # column 1, row 3
    (found,) = contributions(detector, images, targets, reference=torch.tensor(0.25), layers=["layers.0.conv"]).values()
    met = images[0, :, 24:32, 8:16] - 0.25
    expected = torch.zeros(7, 3, 8, 8)
    for output in (4, 5 + 1):
        expected[output] = convolution(detector, 0).weight.detach()[output] * met
    torch.testing.assert_close(found.float(), expected)


def test_images_without_objects_contribute_nothing(trained: Detector, samples: Samples) -> None:
    images = samples.batch([0, 1]).images
    found = contributions(trained, images, torch.zeros(0, 6), reference=ZEROS, layers=["layers.0.conv"])
    assert not found["layers.0.conv"].any()


def problem(detector: Detector, samples: Samples, **options: bool) -> Problem:
    """Return a problem under attack, of which nothing is to be seen in the scores."""
    objective = under(partial(pgd, epsilon=0.1, step_size=0.1, steps=1), detector, samples, **options)
    return Problem(task=objective.task, objective=objective, generator=torch.Generator())


def test_it_tells_of_every_batch(trained: Detector, samples: Samples) -> None:
    told = Told()
    deeplift(trained, replace(problem(trained, samples), progress=told), DeepLiftSettings(images=3, batch_size=2))
    assert told.reports == [(done, 2, "batch", {}) for done in range(3)]


def mean_of_contributions(detector: Detector, samples: Samples, batches: Sequence[Sequence[int]]) -> dict[str, Tensor]:
    """Return the mean over batches of images of |contribution| against zeros."""
    layers = list(detector.prunable_layers())
    expected = dict.fromkeys(layers, ZEROS)
    for indices in batches:
        batch = samples.batch(indices)
        for name, signed in contributions(
            detector, batch.images, batch.targets, reference=ZEROS, layers=layers
        ).items():
            expected[name] = expected[name] + signed.abs() / len(batches)
    return expected


def test_magnitudes_can_be_those_of_single_images(trained: Detector, samples: Samples) -> None:
    settings = DeepLiftSettings(images=3, batch_size=2, reference="zeros", magnitude_of="image")
    importance = deeplift(trained, problem(trained, samples), settings)
    for name, expected in mean_of_contributions(trained, samples, [[0], [1], [2]]).items():
        torch.testing.assert_close(importance[name], expected.float())


def test_every_filter_can_be_made_as_important_as_any_other(trained: Detector, samples: Samples) -> None:
    plain, normalised = (
        deeplift(trained, problem(trained, samples), DeepLiftSettings(images=3, normalise=normalise))
        for normalise in ("none", "filter")
    )
    for name, importance in normalised.items():
        norms = plain[name].flatten(1).norm(dim=1)
        torch.testing.assert_close(importance.flatten(1) * norms[:, None], plain[name].flatten(1))
        assert ((importance.flatten(1).norm(dim=1) - 1).abs() < 1e-5)[norms > 0].all()


def test_importance_is_the_mean_magnitude_over_micro_batches(trained: Detector, samples: Samples) -> None:
    assert not INITIALIZERS["deeplift"].per_ratio
    settings = DeepLiftSettings(images=5, batch_size=2, reference="zeros")
    importance = deeplift(trained, problem(trained, samples), settings)
    assert list(importance) == list(trained.prunable_layers())
    expected = mean_of_contributions(trained, samples, [[0, 1], [2, 3], [4]])
    for name, scores in importance.items():
        assert scores.dtype == torch.float32
        torch.testing.assert_close(scores, expected[name].float())


def test_heads_are_scored_on_request(trained: Detector, samples: Samples) -> None:
    importance = deeplift(trained, problem(trained, samples, prune_heads=True), DeepLiftSettings(images=1))
    assert set(head_convolutions(trained)) < importance.keys()


def test_the_mean_image_is_another_reference(trained: Detector, samples: Samples) -> None:
    zeros, mean = (
        deeplift(trained, problem(trained, samples), DeepLiftSettings(images=None, batch_size=4, reference=reference))
        for reference in ("zeros", "mean")
    )
    assert not torch.allclose(zeros["layers.0.conv"], mean["layers.0.conv"], rtol=0.1)
    batches = [samples.batch(indices) for indices in ([0, 1, 2, 3], [4, 5])]
    reference = torch.cat([batch.images for batch in batches]).mean(dim=0)
    signed = [
        contributions(trained, batch.images, batch.targets, reference=reference, layers=["layers.0.conv"])
        for batch in batches
    ]
    expected = torch.stack([found["layers.0.conv"].abs() for found in signed]).sum(dim=0) / 2
    torch.testing.assert_close(mean["layers.0.conv"], expected.float(), rtol=1e-4, atol=1e-6)


def test_the_detector_is_left_alone(trained: Detector, samples: Samples) -> None:
    trained.train()
    before = copy.deepcopy(trained)
    deeplift(trained, problem(trained, samples), DeepLiftSettings(images=2))
    assert all(torch.equal(tensor, before.state_dict()[name]) for name, tensor in trained.state_dict().items())
    assert str(trained) == str(before)
    assert all(module.training for module in trained.modules())
    assert all(p.requires_grad and p.grad is None for p in trained.parameters())
    assert not any(
        hooks
        for module in trained.modules()
        for hooks in (module._forward_hooks, module._forward_pre_hooks, module._backward_hooks)
    )


@pytest.mark.parametrize(("activation", "module"), [("mish", "Mish"), ("swish", "SiLU"), ("relu6", "ReLU6")])
def test_an_activation_without_a_rule_is_refused(tmp_path: Path, activation: str, module: str) -> None:
    (tmp_path / "other.cfg").write_text(
        "[net]\nwidth=32\nheight=32\nchannels=3\n"
        f"[convolutional]\nfilters=4\nsize=8\nstride=8\nactivation={activation}\n"
        "[convolutional]\nfilters=7\nactivation=linear\n[yolo]\nanchors=8,8\nnum=1\nclasses=2\n"
    )
    detector = Detector.from_cfg(tmp_path / "other.cfg")
    with pytest.raises(InputError, match=f"cannot explain the activation {module} of layers.0.activation"):
        contributions(
            detector,
            torch.rand(1, 3, 32, 32),
            torch.tensor([[0, 1, 0.5, 0.5, 0.25, 0.25]]),
            reference=ZEROS,
            layers=["layers.0.conv"],
        )


def test_what_is_checked_before_a_run_has_no_values_to_copy(
    trained: Detector, samples: Samples, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[Detector] = []

    def explained(self: DetectionTask, network: Detector) -> None:
        looked_at.append(network)

    monkeypatch.setattr(DetectionTask, "explained", explained)
    assert method.DEEPLIFT.check is not None
    method.DEEPLIFT.check(problem(trained, samples).task, trained)
    (network,) = looked_at
    assert all(each.is_meta for each in (*network.parameters(), *network.buffers()))
    assert not any(each.is_meta for each in trained.parameters())


def test_a_product_of_layers_is_refused(tmp_path: Path) -> None:
    (tmp_path / "scaled.cfg").write_text(published.squeeze_and_excitation().replace("swish", "leaky"))
    detector = Detector.from_cfg(tmp_path / "scaled.cfg")
    with pytest.raises(InputError, match=r"cannot explain the product of two layers that is layers\.5"):
        contributions(detector, *scene(detector, size=64, images=1), reference=ZEROS, layers=["layers.0.conv"])


def test_nobodys_warnings_are_swallowed(trained: Detector, samples: Samples) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        deeplift(trained, problem(trained, samples), DeepLiftSettings(images=1))
        warnings.warn("still heard", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["still heard"]
