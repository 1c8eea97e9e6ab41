"""The most bytes that a call of a unit holds at once, found without computing."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

from umd_engine.engine.tally import called, check_countable, inputs_of, slots_of, tensors_in
from umd_engine.engine.unit import Unit

# what autocast computes in 16 bit, and what in float32 (torch's documentation, "CUDA Ops that can autocast")
NARROW = {"conv3d", "conv_transpose3d", "linear", "matmul", "__matmul__", "bmm", "baddbmm", "addmm", "mm", "einsum"}
WIDE = {"softmax", "log_softmax", "layer_norm", "group_norm"}
DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16}


def peak(unit: Unit, batch: int = 1, precision: str = "fp32") -> int:
    """Bytes that one call of the torch backend holds, weights left out: inputs, what lies between, outputs.

    In fp16 and bf16 types are those of autocast on CUDA, with its copies of weights. What libraries allocate inside of
    an operator (cuDNN's workspaces) is not seen, and attention is taken as its products: a fused one needs less.

    Raises:
        BackendError: the unit is a file of the user's, whose operators are not seen.
    """
    check_countable(unit)
    held = slots_of(unit.module)
    state = {name: tensor.to("meta") for name, tensor in held.items()}
    live, inputs = _Live(state.values()), inputs_of(unit, batch)
    live.hold(inputs)
    with ExitStack() as modes:
        modes.enter_context(live)
        if precision in DTYPES:
            cached = [state[name] for name, tensor in held.items() if tensor.requires_grad]
            modes.enter_context(_Autocast(DTYPES[precision], cached))
        outputs = called(unit, state, inputs)
        wide = [out.float() if out.is_floating_point() else out for out in outputs]  # as the session hands them out
    assert wide, "the outputs live to the end of the call"
    return live.most


class _Live(TorchDispatchMode):
    """Sums the storages that are alive, of which a view has its tensor's; `most` is the largest sum so far.

    Args:
        weights: do not count.
    """

    def __init__(self, weights: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.now = self.most = 0
        self._known = weakref.WeakSet(tensor.untyped_storage() for tensor in weights)

    def hold(self, tensors: Iterable[torch.Tensor]) -> None:
        """Count storages that are new."""
        for storage in (tensor.untyped_storage() for tensor in tensors):
            if storage not in self._known:
                self._known.add(storage)
                self.now += storage.nbytes()
                weakref.finalize(storage, self._drop, storage.nbytes())
        self.most = max(self.most, self.now)

    def _drop(self, nbytes: int) -> None:
        self.now -= nbytes

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        self.hold(tensors_in(out))
        return out


class _Autocast(TorchFunctionMode):
    """The types of autocast on CUDA, for tensors without memory, which have none of their own.

    Args:
        cached: weights that autocast casts once and keeps to the end of the call; others it casts at each use.
    """

    def __init__(self, dtype: torch.dtype, cached: Iterable[torch.Tensor]) -> None:
        super().__init__()
        self.dtype = dtype
        self._cached = {id(tensor): tensor for tensor in cached}
        self._copies: dict[int, torch.Tensor] = {}

    def __torch_function__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs, name = kwargs or {}, getattr(func, "__name__", "")
        if name in NARROW or name in WIDE:
            cast = self._narrow if name in NARROW else _wide
            args, kwargs = tree_map_only(torch.Tensor, cast, (tuple(args), dict(kwargs)))
        return func(*args, **kwargs)

    def _narrow(self, tensor: torch.Tensor) -> torch.Tensor:
        if tensor.dtype is not torch.float32:
            return tensor
        if id(tensor) not in self._cached:
            return tensor.to(self.dtype)
        if id(tensor) not in self._copies:
            self._copies[id(tensor)] = tensor.to(self.dtype)
        return self._copies[id(tensor)]


def _wide(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.float() if tensor.is_floating_point() else tensor
