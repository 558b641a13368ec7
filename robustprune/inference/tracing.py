"""Any network as a graph of layers, found by tracing it with torch.fx.

Weights are numbers while it is traced: what a network decides by them is decided. A module that decides by its input
stays a layer as it is, whatever is in it; so does the whole network in the worst case. That the graph computes the same
is not believed but tried.
"""

from __future__ import annotations

import copy
import inspect
import operator
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate
from torch.nn import functional

from robustprune.inference.calls import Call, Input, Method, called
from robustprune.inference.compact_layers import Sum
from robustprune.inference.folding import folded
from robustprune.inference.graph import IMAGE, GraphNetwork, Step
from robustprune.inference.without_channels import agree

Function = Callable[..., Any]

_OUT_OF_PLACE: dict[Any, Function] = {
    operator.iadd: operator.add,
    operator.isub: operator.sub,
    operator.imul: operator.mul,
    operator.itruediv: operator.truediv,
}
_RELU = (torch.relu, functional.relu, Method("relu"))
_DROPS = ("dropout", "stochastic_depth", "drop_path")
_ADD = (operator.add, torch.add, Method("add"), Method("__add__"))


class TracedNetwork(GraphNetwork):
    """A network for inference that was traced; its outputs come as those of the network that it was made from."""

    def __init__(self, steps: Sequence[Step], *, heads: Sequence[int], form: Any) -> None:
        """`form` is what the network returns, with an `Input` in place of what each head gives."""
        convolutions = [(name, each) for name, each in nn.ModuleList(step.module for step in steps).named_modules()]
        widths = {name: (each.in_channels, each.out_channels) for name, each in convolutions if type(each) is nn.Conv2d}
        super().__init__(steps, heads=heads, widths=widths)
        self._form = form

    def forward(self, images: Tensor) -> Any:
        """Return what the network returns."""
        return _filled(self._form, super().forward(images))


def _filled(form: Any, outputs: Sequence[Any]) -> Any:
    if isinstance(form, Input):
        return outputs[form.index]
    if isinstance(form, list):
        return [_filled(each, outputs) for each in form]
    if type(form) is tuple:
        return tuple(_filled(each, outputs) for each in form)
    if isinstance(form, dict):
        return {key: _filled(each, outputs) for key, each in form.items()}
    return map_aggregate(form, lambda each: outputs[each.index] if isinstance(each, Input) else each)


@torch.no_grad()
def traced(network: nn.Module, example: Tensor) -> TracedNetwork:
    """Return a graph of layers that computes what a network computes in eval mode; see `folding.folded`.

    Args:
        network: of images, to a tensor or several in any tuple, list or dictionary; not changed.
        example: an input, (1, …), on the network's device; the graph takes others as far as the network does.
    """
    root = copy.deepcopy(network).eval()
    whole = TracedNetwork([Step(root, (IMAGE,))], heads=[0], form=Input(0))
    try:
        steps, heads, form = _translated(copy.deepcopy(root))
        steps, heads = folded(steps, heads)
        found = TracedNetwork(steps, heads=heads, form=form)
    except Exception:  # whatever a tracer trips over in a network
        return whole
    return found if agree(found, whole, example) else whole


class _Tracer(fx.Tracer):
    """Knows weights by their numbers, and hands whole modules on that it cannot see through."""

    def getattr(self, attr: str, attr_val: Any, parameter_proxy_cache: dict[str, Any]) -> Any:
        """Return what there is."""
        return attr_val

    def call_module(self, m: nn.Module, forward: Function, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return what a module gives, by its parts if these can be seen."""
        before, depth = len(self.graph.nodes), len(self.module_stack)
        try:
            return super().call_module(m, forward, args, kwargs)
        except Exception:  # whatever it does that cannot be traced
            for node in list(self.graph.nodes)[: before - 1 : -1]:
                self.graph.erase_node(node)
            while len(self.module_stack) > depth:
                self.module_stack.popitem()
            return self.create_proxy("call_module", self.path_of_module(m), args, kwargs)


def _translated(root: nn.Module) -> tuple[list[Step], list[int], Any]:
    """Return the steps of a network, which of them its outputs are from, and the form of these.

    Nothing is written over: whoever reads a tensor after a step has changed it in place reads that step's output.
    """
    steps: list[Step] = []
    values: dict[fx.Node, Any] = {}  # an `Input` of the step that gives it, or a constant
    for node in _Tracer().trace(root).nodes:
        if node.op == "placeholder":
            values[node] = Input(IMAGE) if not values else node.args[0]
        elif node.op == "get_attr":
            values[node] = operator.attrgetter(str(node.target))(root)
        elif node.op == "output":
            form, heads = _gathered(node.args[0], values)
        else:
            function, args, kwargs, changes = _out_of_place(_function(node, root), node.args, node.kwargs)
            if _hands_on(function, args, kwargs):
                values[node] = values[args[0]]
                continue
            changed = values[args[0]] if changes else None
            (args, kwargs), inputs = _gathered((args, kwargs), values)
            values[node] = step = Input(len(steps))
            steps.append(Step(_layer(function, args, kwargs), tuple(inputs)))
            if isinstance(changed, Input):
                values |= {
                    each: step for each, value in values.items() if isinstance(value, Input) and value == changed
                }
    for place, head in enumerate(heads):
        if head == IMAGE:
            heads[place] = len(steps)
            steps.append(Step(Call(Method("clone"), (Input(0),), {}), (IMAGE,)))
    return steps, heads, form


def _gathered(given: Any, values: dict[fx.Node, Any]) -> tuple[Any, list[int]]:
    """Return arguments with an `Input` for each that a step gives, and which steps these are; constants in place."""
    inputs: list[int] = []

    def placed(each: Any) -> Any:
        value = values[each] if isinstance(each, fx.Node) else each
        if not isinstance(value, Input):
            return value
        inputs.append(value.index)
        return Input(len(inputs) - 1)

    return map_aggregate(given, placed), inputs


def _function(node: fx.Node, root: nn.Module) -> Function:
    if node.op == "call_module":
        return root.get_submodule(str(node.target))
    return Method(str(node.target)) if node.op == "call_method" else node.target  # type: ignore[return-value]


def _out_of_place(function: Function, args: Any, kwargs: Any) -> tuple[Function, Any, Any, bool]:
    """Return a call that writes over none of its arguments, and whether it did."""
    name = called(function)
    if isinstance(function, Method):
        if name == "view" and not isinstance(args[1], torch.dtype):
            return Method("reshape"), args, kwargs, False  # which takes any memory format
        if name.endswith("_") and not name.endswith("__"):
            return Method(name[:-1]), args, kwargs, True
    if function in _OUT_OF_PLACE:
        return _OUT_OF_PLACE[function], args, kwargs, True
    if isinstance(function, nn.Module):
        if not getattr(function, "inplace", False):
            return function, args, kwargs, False
        plain: Any = copy.copy(function)
        plain.inplace = False
        return plain, args, kwargs, True
    if name.endswith("_") and not name.endswith("__"):
        return getattr(torch, name[:-1]), args, kwargs, True
    given = _by_name(function, args, kwargs)
    if given.get("inplace"):
        return function, args[:1], {name: given[name] for name in list(given)[1:]} | {"inplace": False}, True
    return function, args, kwargs, False


def _by_name(function: Function, args: Any, kwargs: Any) -> dict[str, Any]:
    """Return arguments by their names; nothing of a function that does not tell these."""
    try:
        bound = inspect.signature(function).bind(*args, **kwargs)
    except (TypeError, ValueError):
        return {}
    bound.apply_defaults()
    return bound.arguments


def _hands_on(function: Function, args: Any, kwargs: Any) -> bool:
    """Whether a function hands on its first argument, as dropout does in eval mode."""
    if isinstance(function, nn.Module) or not any(word in called(function) for word in _DROPS):
        return False
    return _by_name(function, args, kwargs).get("training") is False


def _layer(function: Function, args: Any, kwargs: Any) -> nn.Module:
    """Return a call as a layer, of a kind that `folded` and engines know where there is one."""
    plain = tuple(args) == tuple(map(Input, range(len(args)))) and not kwargs
    if isinstance(function, nn.Module) and plain:
        return function
    if function in _ADD and plain and len(args) == 2:
        return Sum([None], missing=0, constant=None, activation=nn.Identity())
    if function in _RELU:
        return nn.ReLU()
    if function is torch.conv2d:
        return _convolution(*args, **kwargs) or Call(function, args, kwargs)
    if function is functional.batch_norm:
        return _batch_norm(*args, **kwargs) or Call(function, args, kwargs)
    return Call(function, args, kwargs)


def _convolution(
    x: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: Any = 1,
) -> nn.Module | None:
    """Return a convolution whose weights are no output of other steps."""
    if not isinstance(weight, Tensor) or isinstance(bias, Input) or isinstance(padding, str):
        return None

    def pair(sides: Any) -> Any:
        return (sides, sides) if isinstance(sides, int) else tuple(sides)

    filters, inputs, *size = weight.shape
    stride, padding, dilation = map(pair, (stride, padding, dilation))
    conv = nn.Conv2d(
        inputs * groups, filters, pair(size), stride, padding, dilation, groups=groups, bias=False, device="meta"
    )
    conv.weight = nn.Parameter(weight, requires_grad=False)
    conv.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)
    return conv.eval()


def _batch_norm(
    x: Any,
    mean: Any,
    variance: Any,
    weight: Any = None,
    bias: Any = None,
    training: Any = False,
    momentum: Any = 0.1,
    eps: Any = 1e-5,
) -> nn.Module | None:
    """Return a batch norm with statistics that are there."""
    if training or not isinstance(mean, Tensor) or not isinstance(variance, Tensor):
        return None
    norm = nn.BatchNorm2d(len(mean), eps=eps, device="meta")
    norm.running_mean, norm.running_var = mean, variance
    norm.weight = nn.Parameter(torch.ones_like(mean) if weight is None else weight, requires_grad=False)
    norm.bias = nn.Parameter(torch.zeros_like(mean) if bias is None else bias, requires_grad=False)
    norm.num_batches_tracked = None
    return norm.eval()
