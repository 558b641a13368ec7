"""Which filters go together: by hand, against gradients in any graph, and against torch-pruning."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch_pruning
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_pruning.pruner import function

from robustprune.detection.darknet import Detector, build, cfg
from robustprune.detection.darknet.couplings import couplings
from robustprune.detection.darknet.layers import Convolutional, Product, Shortcut
from robustprune.inference.graph import IMAGE
from robustprune.structures import CoupledGroup
from tests.robustprune.detection.darknet.random_cfg import cfg_texts
from tests.robustprune.detection.pruned import rows_of

Filter = tuple[int, int]
"""A layer and the number of one of its filters."""

HEAD = "[convolutional]\nfilters=14\nsize=1\nactivation=linear\n[yolo]\nmask=0,1\nanchors=8,8,16,16\nclasses=2\nnum=2\n"


def conv(filters: int, groups: int = 1) -> str:
    return f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize=1\ngroups={groups}\nactivation=leaky\n"


def shortcut(*sources: int) -> str:
    return f"[shortcut]\nfrom={','.join(map(str, sources))}\nactivation=linear\n"


def detector_of(*sections: str) -> Detector:
    return build(cfg.parse("[net]\nwidth=32\nheight=32\nchannels=3\n" + "".join(sections)))


def decisions(groups: Iterable[CoupledGroup]) -> set[frozenset[Filter]]:
    """Return the filters that are decided on together."""
    return {
        frozenset(
            (int(name.split(".")[1]), int(number)) for name, rows in rows_of(group).items() for number in rows[position]
        )
        for group in groups
        for position in range(group.decisions)
    }


def coupled(detector: Detector, *, heads: bool = False) -> set[frozenset[Filter]]:
    """Return the decisions about more than one filter."""
    groups = couplings(detector, detector.prunable_layers(heads=heads))
    return {filters for filters in decisions(groups) if len(filters) > 1}


def pairs(first: int, second: int, count: int, *, offset: int = 0) -> set[frozenset[Filter]]:
    return {frozenset({(first, number), (second, number + offset)}) for number in range(count)}


def test_a_chain_couples_nothing() -> None:
    detector = detector_of(conv(4), "[maxpool]\nsize=2\nstride=2\n", conv(6), conv(4, groups=2), HEAD)
    groups = couplings(detector, detector.prunable_layers(heads=True))
    assert [{name: rows.tolist() for name, rows in rows_of(group).items()} for group in groups] == [
        {f"layers.{index}.conv": [[number] for number in range(filters)]}
        for index, filters in ((0, 4), (2, 6), (3, 4), (4, 14))
    ]


@pytest.mark.parametrize(("first", "second"), [(8, 5), (5, 8)])
def test_a_sum_couples_the_first_channels_of_unequal_layers(first: int, second: int) -> None:
    detector = detector_of(conv(first), conv(second), shortcut(-2), conv(4), HEAD)
    assert coupled(detector) == pairs(0, 1, 5)
    groups = couplings(detector, detector.prunable_layers())
    sizes = {tuple(group.filters): group.decisions for group in groups}
    wide = f"layers.{0 if first > second else 1}.conv"
    assert sizes == {("layers.0.conv", "layers.1.conv"): 5, (wide,): 3, ("layers.3.conv",): 4}


def test_sums_of_sums_go_on_through_what_hands_channels_on() -> None:
    passing = "[maxpool]\nsize=3\nstride=1\n[dropout]\nprobability=0.5\n"
    detector = detector_of(conv(4), passing, conv(4), shortcut(-2), passing, conv(4), shortcut(-2, 0), HEAD)
    assert coupled(detector) == {frozenset({(0, number), (3, number), (7, number)}) for number in range(4)}


def test_routes_shift_channels_and_couple_nothing_themselves() -> None:
    joined, half = "[route]\nlayers=-1,-2\n", "[route]\nlayers=-1\ngroups=2\ngroup_id=1\n"
    assert coupled(detector_of(conv(4), conv(2), joined, conv(4), half, HEAD)) == set()
    summed = detector_of(conv(4), conv(2), joined, conv(6), shortcut(-2), HEAD)
    assert coupled(summed) == pairs(1, 3, 2) | pairs(0, 3, 4, offset=2)
    sliced = detector_of(conv(6), half, conv(3), shortcut(-2), HEAD)
    assert coupled(sliced) == pairs(2, 0, 3, offset=3)


def test_depthwise_filters_go_with_the_channel_they_read() -> None:
    assert coupled(detector_of(conv(4), conv(4, groups=4), HEAD)) == pairs(0, 1, 4)
    twice = detector_of(conv(4), conv(8, groups=4), HEAD)
    assert coupled(twice) == {frozenset({(0, n), (1, 2 * n), (1, 2 * n + 1)}) for n in range(4)}
    group = couplings(twice, twice.prunable_layers())[0]
    assert rows_of(group)["layers.1.conv"].tolist() == [[0, 1], [2, 3], [4, 5], [6, 7]]


def test_a_product_couples_factors_with_channels() -> None:
    detector = detector_of(conv(4), "[avgpool]\n", conv(2), conv(4), "[scale_channels]\nfrom=-4\n", HEAD)
    assert coupled(detector) == pairs(0, 3, 4)


def test_the_only_channel_of_a_layer_does_not_couple_its_readers() -> None:
    assert coupled(detector_of(conv(1), conv(4), HEAD)) == set()


def test_what_cannot_be_pruned_has_no_say() -> None:
    assert coupled(detector_of(conv(3, groups=3), HEAD)) == set()  # depthwise in the image
    assert coupled(detector_of("[dropout]\n", conv(3), shortcut(0), conv(3), shortcut(-2), HEAD)) == pairs(1, 3, 3)
    head = detector_of(conv(14), HEAD, "[route]\nlayers=1\n", shortcut(0), conv(4), HEAD)
    assert coupled(head) == set()
    assert coupled(head, heads=True) == pairs(0, 1, 14)


def test_what_reads_a_channel_and_its_batch_norms_are_told() -> None:
    plain = conv(5).replace("batch_normalize=1\n", "")
    joined = "[route]\nlayers=-1,0\n"
    (first, second, *_) = couplings(detector := detector_of(conv(4), plain, joined, HEAD), detector.prunable_layers())
    assert {name: members.indices.tolist() for name, members in first.readers.items()} == {
        "layers.1.conv": [0, 1, 2, 3],
        "layers.3.conv": [5, 6, 7, 8],
    }
    assert {name: members.indices.tolist() for name, members in second.readers.items()} == {
        "layers.3.conv": [0, 1, 2, 3, 4]
    }
    assert list(first.norms) == ["layers.0.batch_norm"]
    assert list(second.norms) == []
    for group, count in ((first, 4), (second, 5)):
        for members in (*group.readers.values(), *group.norms.values()):
            assert members.decisions.tolist() == list(range(count))


def test_layers_in_any_order_give_the_same_groups() -> None:
    detector = Detector.from_cfg("yolov3-nano")
    layers = list(detector.prunable_layers())
    for one, other in zip(couplings(detector, layers), couplings(detector, layers[::-1]), strict=True):
        assert list(one.filters) == list(other.filters)
        for name, members in one.filters.items():
            assert all(torch.equal(*columns) for columns in zip(members, other.filters[name], strict=True))


@settings(max_examples=60)
@given(text=cfg_texts(), heads=st.booleans())
def test_any_graph(text: str, heads: bool) -> None:
    detector = build(cfg.parse(text))
    layers = detector.prunable_layers(heads=heads)
    groups = couplings(detector, layers)
    found = [
        (name, number)
        for group in groups
        for name, rows in rows_of(group).items()
        for number in rows.flatten().tolist()
    ]
    assert sorted(found) == sorted((name, n) for name, layer in layers.items() for n in range(len(layer.weight)))
    prunable = {(int(name.split(".")[1]), n) for name, n in found}
    assert decisions(groups) == {both for filters in linked(detector) if (both := filters & prunable)}


def linked(detector: Detector) -> set[frozenset[Filter]]:
    """Return what belongs together as gradients tell: one channel of a sum or product may depend on many filters."""
    images = torch.rand(1, 3, *detector.image_size, dtype=torch.float64, requires_grad=True)
    leaves = {IMAGE: images}
    together: list[set[Filter]] = []

    def depends(channel: Tensor) -> set[Filter]:
        gradients = torch.autograd.grad(channel.sum(), list(leaves.values()), retain_graph=True, allow_unused=True)
        return {
            (index, number)
            for index, gradient in zip(leaves, gradients, strict=True)
            if gradient is not None
            for number in gradient.abs().sum(dim=(0, 2, 3)).nonzero().flatten().tolist()
        }

    def watch(index: int, layer: nn.Module) -> None:
        def hook(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Any:
            if isinstance(layer, Product | Shortcut):
                together.extend(depends(output[:, channel]) for channel in range(output.shape[1]))
                return None
            # Positive and small, so that no activation swallows the gradient; no path leads through a convolution.
            leaf = leaves[index] = (0.1 * (torch.rand_like(output) + 0.5)).requires_grad_()
            assert isinstance(layer, Convolutional)
            groups, count = layer.conv.groups, leaf.shape[1]
            for number in range(count):
                depthwise = groups == inputs[0].shape[1] > 1
                read = depends(inputs[0][:, number * groups // count]) if depthwise else set()
                together.append({(index, number)} | read)
            return leaf

        layer.register_forward_hook(hook)

    for index, layer in enumerate(detector.layers):
        if isinstance(layer, Convolutional | Product | Shortcut):
            watch(index, layer)
    detector.double().eval()(images)
    merged: list[set[Filter]] = []
    for filters in together:
        apart = [other for other in merged if not other & filters]
        merged = [*apart, filters.union(*(other for other in merged if other & filters))]
    return {frozenset(filters) for filters in merged}


@pytest.mark.parametrize("name", ["yolov3-nano", "yolov3-tiny", "yolov3", "yolov3-spp"])
def test_bundled_detectors_as_torch_pruning_sees_them(name: str) -> None:
    assert_as_torch_pruning(Detector.from_cfg(name))


def test_a_published_detector_as_torch_pruning_sees_it(darknet_data: Path) -> None:
    assert_as_torch_pruning(Detector.from_cfg(darknet_data / "yolo-fastest-1.1.cfg"))


def assert_as_torch_pruning(detector: Detector) -> None:
    """Compare, for half of the filters of every convolution but the heads', which others they take with them, where
    their channels are read, and in which batch norms they are.
    """
    layers = detector.prunable_layers()
    groups = couplings(detector, layers)
    ours = {filter: filters for filters in decisions(groups) for filter in filters}
    readers, norms = (depending(groups, kind) for kind in ("readers", "norms"))
    names = {module: name for name, module in detector.named_modules()}
    graph = torch_pruning.DependencyGraph().build_dependency(detector.eval(), torch.zeros(1, 3, 64, 64))
    indices = {layer: int(name.split(".")[1]) for name, layer in layers.items()}
    generator = torch.Generator().manual_seed(0)
    for layer, index in indices.items():
        pruned = torch.randperm(len(layer.weight), generator=generator)[: -(-len(layer.weight) // 2)].tolist()
        prune = graph.get_pruner_of_module(layer).prune_out_channels
        steps = list(graph.get_pruning_group(layer, prune, idxs=pruned))
        theirs = {
            (indices[step.dep.target.module], number)
            for step in steps
            if step.dep.target.module in indices and graph.is_out_channel_pruning_fn(step.dep.handler)
            for number in step.idxs
        }
        assert theirs == set().union(*(ours[index, number] for number in pruned)), index
        for kind, found in ((nn.Conv2d, readers), (nn.BatchNorm2d, norms)):
            depend = {
                (names[step.dep.target.module], number)
                for step in steps
                if isinstance(step.dep.target.module, kind)
                and (kind is nn.BatchNorm2d or step.dep.handler == function.prune_conv_in_channels)
                for number in step.idxs
            }
            assert depend == set().union(*(found[index, number] for number in pruned)), index


def depending(groups: Iterable[CoupledGroup], kind: str) -> dict[Filter, set[tuple[str, int]]]:
    """Return, for every filter, the channels of layers that depend on its decision."""
    found: dict[Filter, set[tuple[str, int]]] = {}
    for group in groups:
        channels: list[set[tuple[str, int]]] = [set() for _ in range(group.decisions)]
        for name, members in getattr(group, kind).items():
            for number, decision in zip(*(column.tolist() for column in members), strict=True):
                channels[decision].add((name, number))
        for name, members in group.filters.items():
            for number, decision in zip(*(column.tolist() for column in members), strict=True):
                found[int(name.split(".")[1]), number] = channels[decision]
    return found
