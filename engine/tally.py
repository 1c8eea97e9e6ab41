"""FLOPs and bytes of a unit, counted without computing: its operators run on tensors that have no memory."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError


@dataclass(frozen=True)
class Tally:
    """What a call moves and computes, every value of 4 bytes; products and sums of products apart from the rest.

    Attributes:
        flops: 2 a multiplication and addition, of convolutions and matrix products.
        product_bytes: what these read and write; other_bytes: what all other operators do.
        operators: calls of either kind, each a kernel of its own in eager mode.
        weights: bytes of the unit's parameters.
        outputs: shapes, with the batch axis.
    """

    flops: int
    product_bytes: int
    other_bytes: int
    operators: int
    weights: int
    outputs: tuple[tuple[int, ...], ...]

    @property
    def nbytes(self) -> int:
        return self.product_bytes + self.other_bytes


def tally(unit: Unit, batch: int = 1) -> Tally:
    """Of a call with so many items.

    Raises:
        BackendError: the unit is a file of the user's, whose operators are not seen.
    """
    check_countable(unit)
    held = slots_of(unit.module)
    state = {name: tensor.to("meta") for name, tensor in held.items()}
    inputs, counter = inputs_of(unit, batch), _Counter()
    with counter:
        outputs = called(unit, state, inputs)
    weights = sum({id(tensor): tensor.nbytes for tensor in held.values()}.values())
    shapes = tuple(tuple(output.shape) for output in outputs)
    return Tally(counter.flops, counter.product_bytes, counter.other_bytes, counter.operators, weights, shapes)


def check_countable(unit: Unit) -> None:
    """Raises:
    BackendError: the unit is a file of the user's, whose operators are not seen.
    """
    if getattr(unit.module, "runtime", None) is not None:
        raise BackendError(f"{unit.name} is a file: its operators cannot be counted", mend="use plan --measure")


def inputs_of(unit: Unit, batch: int) -> Tensors:
    """Inputs without memory."""
    return tuple(torch.empty((batch, *spec.shape), dtype=spec.dtype, device="meta") for spec in unit.inputs)


def called(unit: Unit, state: dict[str, torch.Tensor], inputs: Tensors) -> Tensors:
    """The outputs of the unit's module with a state without memory.

    Attention runs as matrix products: the fused operators of a device are not in the registry of every other one.
    """
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), torch.device("meta"):
        outputs = torch.func.functional_call(unit.module, state, inputs, tie_weights=False)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def slots_of(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Every place that holds a parameter or a buffer, by one name each: of a module that is used twice, the first."""
    found = {}
    for prefix, inner in module.named_modules():
        for name, tensor in (*inner.named_parameters(recurse=False), *inner.named_buffers(recurse=False)):
            found[f"{prefix}.{name}" if prefix else name] = tensor
    return found


class _Counter(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.flops = self.product_bytes = self.other_bytes = self.operators = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        read, written = (tensors_in(values) for values in ((args, kwargs), out))
        if func.is_view or not written:
            return out
        moved = sum(_nbytes(tensor) for tensor in (*read, *written))
        self.operators += 1
        if (flops := flop_registry.get(func._overloadpacket)) is not None:
            self.flops += int(flops(*args, **kwargs, out_val=out))
            self.product_bytes += moved
        else:
            self.other_bytes += moved
        return out


def tensors_in(values: Any) -> list[torch.Tensor]:
    """Those in nested tuples, lists and dictionaries."""
    return [leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor)]


def _nbytes(tensor: torch.Tensor) -> int:
    """Of the values that are there: a broadcast one is read once."""
    spread = [n for n, step in zip(tensor.shape, tensor.stride(), strict=True) if step]
    return math.prod(spread) * tensor.element_size()
