"""A network rewritten so that DeepLIFT explains it rightly, without a change to what it computes.

What went through an activation at the reference is kept with its module: none may be used twice, as torchvision's
ResNets do, nor be a mere function, nor in place. Through whatever has no rule a plain gradient would pass, silently;
that is refused here.
"""

from __future__ import annotations

import copy
import operator
from collections.abc import Collection

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm, _NormBase

from robustprune.core.errors import InputError
from robustprune.methods.explaining.contributions import EXPLAINED
from robustprune.methods.explaining.max_as_relu import MaxAsReLU, replace

RELU = (torch.relu, functional.relu, "relu", "relu_")

# Of images, a gradient explains these exactly: they are linear, or hand values on.
LINEAR = (
    operator.add,
    operator.sub,
    operator.getitem,
    getattr,
    torch.add,
    torch.cat,
    torch.flatten,
    functional.adaptive_avg_pool2d,
    functional.avg_pool2d,
    functional.pad,
    "contiguous",
    "flatten",
    "mean",
    "reshape",
    "size",
    "view",
)


class ReLU6AsReLU(nn.Module):
    """min(max(x, 0), 6) as y − relu(y − 6) of y = relu(x)."""

    def __init__(self) -> None:
        """Take a module for each of the two."""
        super().__init__()
        self.lower, self.upper = nn.ReLU(), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Return x between 0 and 6."""
        positive: Tensor = self.lower(x)
        output: Tensor = positive - self.upper(positive - 6)
        return output


def explainable(network: nn.Module) -> fx.GraphModule:
    """Return a copy in eval mode that DeepLIFT explains; layers keep their names.

    Raises:
        InputError: it has an activation or a norm without a rule, or computes what DeepLIFT cannot explain.
    """
    for name, module in network.named_modules():
        _check_activation(name, module)
    for name, module in network.named_modules():
        _check_norm(name, module)
    copied: fx.GraphModule = fx.symbolic_trace(copy.deepcopy(network).eval())
    fixed: set[fx.Node] = set()
    for index, node in enumerate(list(copied.graph.nodes)):
        if node.op == "get_attr" or (node.all_input_nodes and fixed.issuperset(node.all_input_nodes)):
            fixed.add(node)  # the same for every image
            continue
        _check_function(node, fixed)
        own = _activation_of_its_own(copied, node)
        if own is not None:
            copied.add_submodule(f"explained_{index}", own)
            node.op, node.target, node.args, node.kwargs = "call_module", f"explained_{index}", node.args[:1], {}
        elif node.target is operator.iadd:
            node.target = operator.add
    copied.delete_all_unused_submodules()
    copied.recompile()
    replace(copied, nn.ReLU6, lambda _: ReLU6AsReLU())
    replace(copied, nn.MaxPool2d, _as_relu)
    return copied


def _activation_of_its_own(network: fx.GraphModule, node: fx.Node) -> nn.Module | None:
    """Return a new module for the activation or max-pool that `node` calls; None where it calls something else."""
    module = network.get_submodule(str(node.target)) if node.op == "call_module" else None
    if isinstance(module, nn.ReLU) or node.target in RELU:
        return nn.ReLU()  # not in place, as torchvision's are: DeepLIFT needs what went in
    if not isinstance(module, (*EXPLAINED, nn.ReLU6, nn.MaxPool2d)):
        return None
    own = copy.deepcopy(module)
    if isinstance(own, nn.LeakyReLU):
        own.inplace = False
    return own


def _as_relu(pool: nn.MaxPool2d) -> MaxAsReLU:
    sides = [pool.kernel_size, pool.stride, pool.padding]
    size, stride, padding = (side if isinstance(side, int) else side[0] for side in sides)
    assert pool.dilation == 1
    assert not pool.ceil_mode
    assert all(isinstance(side, int) or len(set(side)) == 1 for side in sides)
    return MaxAsReLU(size=size, stride=stride, padding=(padding, padding))


def _check_activation(name: str, module: nn.Module) -> None:
    if type(module).__module__ == "torch.nn.modules.activation" and not isinstance(module, (*EXPLAINED, nn.ReLU6)):
        raise InputError(
            f"deeplift cannot explain the activation {type(module).__name__} of {name}: expected ReLU, ReLU6, "
            "LeakyReLU or Sigmoid throughout"
        )


def _check_norm(name: str, module: nn.Module) -> None:
    # Other norms divide by what they find in each image.
    is_linear = isinstance(module, _BatchNorm) and module.running_mean is not None
    if isinstance(module, (_NormBase, nn.GroupNorm, nn.LayerNorm, nn.LocalResponseNorm)) and not is_linear:
        raise InputError(
            f"deeplift cannot explain the norm {type(module).__name__} of {name}: expected batch norm with running "
            "statistics throughout"
        )


def _check_function(node: fx.Node, fixed: Collection[fx.Node]) -> None:
    if node.op not in ("call_function", "call_method") or node.target in (*LINEAR, *RELU, operator.iadd):
        return
    computed = [argument for argument in node.args if isinstance(argument, fx.Node) and argument not in fixed]
    if node.target in (operator.mul, torch.mul) and len(computed) <= 1:
        return
    if node.target in (operator.truediv, torch.div) and computed == [node.args[0]]:
        return
    called = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", str(node.target))
    raise InputError(f"deeplift cannot explain the function {called} that the network calls")
