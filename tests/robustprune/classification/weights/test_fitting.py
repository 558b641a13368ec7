"""Weights given by the user: all formats and all zoos' names lead to the same bits, and what does not fit is named."""

from __future__ import annotations

import argparse
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from robustprune.classification.classifier import CIFAR10, NORMALISATIONS, Classifier
from robustprune.classification.networks import build
from robustprune.classification.weights.fitting import load_weights
from robustprune.core.errors import InputError

State = dict[str, Tensor]
OTHER = {"mean": torch.tensor([0.1, 0.2, 0.3]), "std": torch.tensor([0.4, 0.5, 0.6])}


def classifier(name: str = "resnet8", *, seed: int) -> Classifier:
    torch.manual_seed(seed)
    made = Classifier(build(name, classes=4, image_size=32), CIFAR10, classes=list("abcd"))
    with torch.no_grad():
        for tensor in made.network.state_dict().values():
            if tensor.is_floating_point():
                tensor.copy_(torch.rand_like(tensor))
    return made


def state(name: str = "resnet8") -> State:
    return classifier(name, seed=0).network.state_dict()


def loaded(path: Path, name: str = "resnet8") -> Classifier:
    made = classifier(name, seed=1)
    load_weights(made, path)
    return made


def assert_same(found: nn.Module, expected: State) -> None:
    assert found.state_dict().keys() == expected.keys()
    for name, tensor in found.state_dict().items():
        assert torch.equal(tensor, expected[name]), name


def prefixed(prefix: str, tensors: State) -> State:
    return {prefix + name: tensor for name, tensor in tensors.items()}


def save_npz(tensors: State, path: Path) -> None:
    arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in tensors.items()}
    np.savez(path, **arrays)


def save_legacy(tensors: State, path: Path) -> None:
    torch.save(tensors, path, _use_new_zipfile_serialization=False)


WRITERS: dict[str, Callable[[State, Path], None]] = {
    "a 0.safetensors": save_file,
    "a'; echo foo.npz": save_npz,
    "resnet.pt": torch.save,
    "RESNET.PTH": torch.save,
    "resnet.pth.tar": save_legacy,
    "resnet20-12fca82f.th": torch.save,
    "pytorch_model.bin": torch.save,
    "epoch=3.ckpt": torch.save,
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_bits(name: str, tmp_path: Path) -> None:
    WRITERS[name](state(), tmp_path / name)
    assert_same(loaded(tmp_path / name).network, state())


def kuangliu(tensors: State) -> State:
    return {name.replace("fc.", "linear.").replace("downsample.", "shortcut."): each for name, each in tensors.items()}


def trades(tensors: State) -> State:
    return tensors | {
        f"sub_{name}": torch.zeros_like(tensor) for name, tensor in tensors.items() if name.startswith("block1")
    }


def robustness(tensors: State) -> dict[str, Any]:
    attacked = prefixed("module.model.", tensors) | prefixed("module.attacker.model.", tensors)
    for place in ("module.normalizer", "module.attacker.normalize"):
        attacked |= {f"{place}.new_{name}": value.view(3, 1, 1) for name, value in OTHER.items()}
    return {"model": attacked, "epoch": 150, "optimizer": {"state": {0: {"momentum_buffer": torch.ones(3)}}}}


ZOOS: dict[str, tuple[str, Callable[[State], Any], bool]] = {
    "lightning": ("resnet8", lambda own: {"state_dict": prefixed("net.", own), "epoch": 3}, False),
    "compiled": ("resnet8", lambda own: {"model_state_dict": prefixed("_orig_mod.module.", own)}, False),
    "average": ("resnet8", lambda own: {"net": {k: v + 1 for k, v in own.items()}, "model_ema": own}, False),
    "sequential": (
        "resnet8",
        lambda own: prefixed("1.", own) | {f"0.{k}": v.view(1, 3, 1, 1) for k, v in OTHER.items()},
        True,
    ),
    "deepmind": ("wrn-10-1", lambda own: own | {"mu": OTHER["mean"], "sigma": OTHER["std"]}, True),
    "our own": ("resnet8", lambda own: prefixed("network.", own) | OTHER, True),
    "kuangliu": ("resnet18", lambda own: {"net": prefixed("module.", kuangliu(own)), "acc": 95.1}, False),
    "trades": ("wrn-10-1", lambda own: prefixed("module.", trades(own)), False),
    "wide layers": (
        "wrn-10-1",
        lambda own: {
            re.sub(r"block(\d).layer", r"layer\1", name).replace("convShortcut", "shortcut.0"): each
            for name, each in own.items()
        },
        False,
    ),
    "normalisation around": ("resnet8", lambda own: {"state_dict": prefixed("net.", own), **OTHER}, True),
    "normalisation in lists": (
        "resnet8",
        lambda own: {"mean": (0.1, 0.2, 0.3), "std": [0.4, 0.5, 0.6], "seeds": [2**64, 1, 2], "ema": {"net": own}},
        True,
    ),
    "normalisation at each level": (
        "resnet8",
        lambda own: {"mu": [0.5] * 3, "sigma": [0.5] * 3, "model": {"net": own | OTHER}},
        True,
    ),
    "hydra": (
        "wrn-10-1",
        lambda own: {
            "epoch": 100,
            "arch": "wrn_28_4",
            "state_dict": trades(own)
            | {name.replace(".weight", ".popup_scores"): each for name, each in own.items() if ".conv" in name},
            "best_prec1": torch.tensor(88.9),
        },
        False,
    ),
    "robustness": ("resnet18", lambda own: robustness(kuangliu(own)), True),
}


@pytest.mark.parametrize("zoo", ZOOS)
def test_the_zoos_names_lead_to_the_same_bits(zoo: str, tmp_path: Path) -> None:
    name, written, normalised = ZOOS[zoo]
    torch.save(written(state(name)), tmp_path / "zoo.pt")
    found = loaded(tmp_path / "zoo.pt", name)
    assert_same(found.network, state(name))
    mean, std = OTHER.values() if normalised else map(torch.tensor, CIFAR10)
    assert torch.equal(found.mean.flatten(), mean)
    assert torch.equal(found.std.flatten(), std)


def test_a_classifier_that_was_loaded_computes_the_same(tmp_path: Path) -> None:
    torch.save(robustness(state()), tmp_path / "robust.pt")
    found, expected = loaded(tmp_path / "robust.pt").eval(), classifier(seed=0).eval()
    images = torch.rand(2, 3, 32, 32)
    mean, std = (value.view(3, 1, 1) for value in OTHER.values())
    with torch.no_grad():
        assert torch.equal(found(images), expected.network((images - mean) / std))


def best_and_last(tmp_path: Path) -> Path:
    last, best = state(), classifier(seed=5).network.state_dict()
    torch.save({"last": {"net": last}, "best": {"net": best, "acc": 0.9}}, tmp_path / "two.pt")
    return tmp_path / "two.pt"


def test_of_several_that_fit_one_is_to_be_chosen(tmp_path: Path) -> None:
    path = best_and_last(tmp_path)
    message = (
        "found weights in 'last.net' and others in 'best.net' that fit as well, expected a choice: {file: two.pt, "
    )
    assert_refused(path, re.escape(message + "part: last.net}"))
    for part, seed in (("best", 5), ("best.net", 5), ("last", 0)):
        made = classifier(seed=1)
        load_weights(made, path, part=part)
        assert_same(made.network, classifier(seed=seed).network.state_dict())
    with pytest.raises(InputError, match="found no part 'bes', expected one of 'last.net', 'best.net'"):
        load_weights(made, path, part="bes")


def test_weights_twice_in_a_file_are_no_choice(tmp_path: Path) -> None:
    torch.save({"last": state(), "best": state()}, tmp_path / "same.pt")
    assert_same(loaded(tmp_path / "same.pt").network, state())


def test_what_a_file_brings_besides_weights_is_told(tmp_path: Path) -> None:
    scores = {"conv1.popup_scores": torch.zeros(16, 3, 3, 3)}
    for content, expected in (
        (state(), (False, False)),
        (state() | OTHER, (True, False)),
        (state() | scores, (False, True)),
    ):
        torch.save(content, tmp_path / "file.pt")
        assert load_weights(classifier(seed=1), tmp_path / "file.pt") == expected
    torch.save(state() | OTHER, tmp_path / "file.pt")
    made = classifier(seed=1)
    load_weights(made, tmp_path / "file.pt", normalise=False)
    assert torch.equal(made.mean.flatten(), torch.tensor(CIFAR10.mean))


def test_statistics_of_none_are_floats(tmp_path: Path) -> None:
    made = Classifier(build("resnet8", classes=4, image_size=32), NORMALISATIONS["none"], classes=list("abcd"))
    torch.save(state() | OTHER, tmp_path / "file.pt")
    load_weights(made, tmp_path / "file.pt")
    assert torch.equal(made.mean.flatten(), OTHER["mean"])  # integers would be cut to 0


components = st.lists(st.sampled_from(["module", "model", "0", "conv1", "layer1", "a b", "fc"]), max_size=3)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(components=components, nesting=components, counters=st.booleans(), respelt=st.booleans())
def test_any_prefix_leads_to_the_same_bits(
    components: list[str], nesting: list[str], counters: bool, respelt: bool, tmp_path: Path
) -> None:
    expected = state()
    kept = {name: tensor for name, tensor in expected.items() if counters or "num_batches" not in name}
    written = {name.replace("linear.", "fc.") if respelt else name: tensor for name, tensor in kept.items()}
    content: Any = prefixed("".join(f"{each}." for each in components), written)
    for key in nesting:
        content = {key: content, "epoch": 3}
    torch.save(content, tmp_path / "any.pt")
    assert_same(loaded(tmp_path / "any.pt").network, classifier(seed=1).network.state_dict() | kept)


names = st.sampled_from([name for name, tensor in state().items() if tensor.ndim])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=30)
@given(name=names, components=components)
def test_a_tensor_of_another_shape_is_named(name: str, components: list[str], tmp_path: Path) -> None:
    prefix, tensors = "".join(f"{each}." for each in components), state()
    shape = tuple(tensors[name].shape)
    tensors[name] = torch.zeros(*shape, 2)
    torch.save(prefixed(prefix, tensors), tmp_path / "other.pt")
    message = f"found tensor {prefix + name!r} of shape {(*shape, 2)}, expected {shape} as the model's {name!r}"
    assert_refused(tmp_path / "other.pt", re.escape(message))


def assert_refused(path: Path, message: str) -> None:
    made = classifier(seed=1)
    before = {name: tensor.clone() for name, tensor in made.state_dict().items()}
    message = re.escape(str(path)) + ": .*" + message
    with warnings.catch_warnings(action="error"), pytest.raises(InputError, match=message) as caught:
        load_weights(made, path)
    assert "\n" not in str(caught.value)
    assert_same(made, before)


def without(name: str) -> State:
    return {own: tensor for own, tensor in state().items() if own != name}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (without("bn1.bias"), r"found no tensor 'bn1.bias', expected one of shape \(16,\)"),
        (
            state("resnet14"),
            r"found tensor 'layer1.1.conv1.weight' of shape \(16, 16, 3, 3\) and 35 others, expected none",
        ),
        (
            {"model": prefixed("module.", state()) | {"scale": torch.ones(2)}},
            r"found tensor 'scale' of shape \(2,\), exp",
        ),
        (state() | {"mean": torch.ones(3)}, r"found tensor 'mean' of shape \(3,\), expected none"),
        (state() | {"bn1.bias": torch.full((16,), torch.nan)}, "found infinities or NaN in tensor 'bn1.bias'"),
        (state() | {"fc.bias": torch.ones(4)}, r"found tensor 'linear.bias' of shape \(4,\), expected none"),
        (
            state() | {"mu": torch.full((3,), 125.0), "sigma": torch.ones(3)},
            r"found \[125.*'mu', expected stat.*\[0, 1\]",
        ),
        (
            state() | {"mean": torch.ones(3), "std": torch.zeros(3)},
            r"found \[0.0, .* in tensor 'std', expected statistics",
        ),
        (
            {"model": state(), "mean": [123.7, 116.3, 103.5], "std": [58.4, 57.1, 57.4]},
            r"found \[123.6.*\] in tensor 'mean', expected statistics of images in \[0, 1\]",
        ),
        (
            {name: torch.full_like(tensor, 1e300, dtype=torch.double) for name, tensor in state().items()},
            "found infinities or NaN in tensor 'conv1.weight', expected finite numbers",
        ),
        (
            state() | {"bn1.running_var": -torch.ones(16)},
            "found negative numbers in tensor 'bn1.running_var', expected variances",
        ),
        (
            state() | {"bn1.bias": torch.ones(16).to_sparse()},
            "found tensor 'bn1.bias' that is sparse, expected a dense",
        ),
        (
            state() | {"bn1.bias": torch.ones(16, device="meta")},
            "found tensor 'bn1.bias' that is meta, without numbers",
        ),
        (state() | {"bn1.bias": torch.ones(16) * 1j}, "found tensor 'bn1.bias' that is complex, expected a dense one"),
        ({"features.0.weight": torch.ones(3)}, "found tensors such as 'features.0.weight', expected .* 'conv1.weight'"),
        ({"epoch": 3}, "found no tensors, expected a state dict"),
        ([torch.ones(3)], "found no tensors, expected a state dict"),
        ({"acc": argparse.Namespace(a=1)}, r"found Python objects \(argparse.Namespace\), .* save the state dict"),
        (nn.Linear(2, 2), r"found Python objects \(torch.nn.modules.linear.Linear\)"),
    ],
)
def test_a_checkpoint_that_does_not_fit_changes_nothing(content: Any, message: str, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pt")
    assert_refused(tmp_path / "other.pt", message)


def test_a_dictionary_in_itself_is_read_once(tmp_path: Path) -> None:
    content: dict[str, Any] = {"net": state()}
    content["net"]["again"] = content["self"] = content
    torch.save(content, tmp_path / "loop.pt")
    assert_same(loaded(tmp_path / "loop.pt").network, state())


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_a_damaged_file_is_named(name: str, damage: str, tmp_path: Path) -> None:
    path = tmp_path / name
    WRITERS[name](state(), path)
    whole = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"hello world", "cut": whole[: len(whole) // 2]}[damage])
    assert_refused(path, "expected a whole .* file of tensors|the weights cannot be read")


def test_objects_in_an_npz_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "objects.npz", weight=np.array([print, {}], dtype=object))
    assert_refused(tmp_path / "objects.npz", "expected a whole .npz file of tensors")


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    for name in ("none.npz", "none.pt", "none.safetensors"):
        assert_refused(tmp_path / name, "cannot be read .*No such file")
    assert_refused(tmp_path / "weights.h5", "found a file that ends in '.h5', expected one of .safetensors, .npz, .pt")


def test_other_precisions_and_byte_orders_are_read(tmp_path: Path) -> None:
    torch.save({name: tensor.double() for name, tensor in state().items()}, tmp_path / "double.pt")
    assert_same(loaded(tmp_path / "double.pt").network, state())
    arrays = {name: tensor.numpy() for name, tensor in state().items()}
    big: dict[str, Any] = {name: array.astype(array.dtype.newbyteorder(">")) for name, array in arrays.items()}
    np.savez(tmp_path / "big.npz", **big)
    assert_same(loaded(tmp_path / "big.npz").network, state())


def test_published_weights_know_cifar10(cifar10_data: Path) -> None:
    from robustprune.classification.data import Folders

    test = Folders(name="folders", root=str(cifar10_data)).load("test")
    made = Classifier(build("resnet20", classes=10, image_size=32), CIFAR10, classes=test.classes).eval()
    load_weights(made, cifar10_data / "resnet20.npz")
    with torch.no_grad():
        right = [made(images).argmax(1) == labels for images, labels in test.batches(100, device=torch.device("cpu"))]
    assert torch.cat(right).float().mean() >= 0.79
