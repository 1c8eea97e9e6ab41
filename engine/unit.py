"""A unit: one network piece with fixed input shapes, the smallest thing a backend can run."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape without the batch axis, and dtype of an input or output.

    Attributes:
        axes: names of leading axes whose size differs from unit to unit of one module, e.g. ("clicks",): one
            artifact serves all sizes. Inputs that share a name share the size.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32
    axes: tuple[str, ...] = ()

    @property
    def free_shape(self) -> tuple[int | str, ...]:
        """The shape with names in place of the sizes that differ."""
        return (*self.axes, *self.shape[len(self.axes) :])


@dataclass(frozen=True, eq=False)
class Unit:
    """A module in evaluation mode with the shapes it is called at; axis 0 of every tensor is the batch.

    Attributes:
        name: unique within a model, e.g. "network.fold_0".
        module: takes one tensor an input, returns one tensor or a tuple.
        inputs: shapes without the batch axis.
        outputs: names of what the module returns, in order.
    """

    name: str
    module: torch.nn.Module
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...] = ("output",)

    @property
    def interface(self) -> tuple[tuple[str, tuple[int | str, ...], str], ...]:
        """Name, shape and type of every input; units that differ only in sizes of named axes have one in common."""
        return tuple((spec.name, spec.free_shape, str(spec.dtype)) for spec in self.inputs)

    @cached_property
    def content_hash(self) -> str:
        """SHA-256 over architecture, weights and shapes: what results say of a model's weights."""
        digest = hashlib.sha256()
        digest.update(json.dumps([str(self.module), self.interface, self.outputs]).encode())
        add_weights(digest, self.module.state_dict())
        return digest.hexdigest()

    @cached_property
    def attributes_hash(self) -> str:
        """SHA-256 over what the modules hold beside their state: plain attributes, buffers and tensors not stored."""
        digest = hashlib.sha256()
        for name, module in self.module.named_modules():
            held = {key: value for key, value in vars(module).items() if key != "training"}
            plain = sorted((key, repr(value)) for key, value in held.items() if _is_plain(value))
            digest.update(json.dumps([name, plain]).encode())
            held.update((key, getattr(module, key)) for key in held.get("_non_persistent_buffers_set", ()))
            add_weights(digest, {key: x for key, x in held.items() if isinstance(x, torch.Tensor)})
        return digest.hexdigest()

    @property
    def identity(self) -> str:
        """What units have in common that are one function of one interface: an artifact serves them all."""
        return f"{self.content_hash}-{self.attributes_hash}"

    @cached_property
    def code_hash(self) -> str:
        """SHA-256 over the source files of the module's classes and what lies in their folders, libraries' too."""
        names = {type(module).__module__ for module in self.module.modules()}
        files = {getattr(sys.modules.get(name), "__file__", None) for name in names if not name.startswith("torch.")}
        sources = {source for file in files if file for source in Path(file).parent.glob("*.py")}
        digest = hashlib.sha256()
        for source in sorted(sources):
            digest.update(f"{source.parent.name}/{source.name}".encode() + source.read_bytes())
        return digest.hexdigest()

    def example(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Random inputs of the unit's shapes, never zeros: zeros hide wrong indexing and run faster."""
        generator = torch.Generator().manual_seed(0)
        return tuple(torch.randn((batch, *spec.shape), generator=generator).to(spec.dtype) for spec in self.inputs)


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)


def add_weights(digest: hashlib._Hash, state: Mapping[str, torch.Tensor]) -> None:
    """Feed names, types, shapes and values of a state dict to a digest, in the order of names."""
    for name, tensor in sorted(state.items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        if tensor.is_meta:  # a network to count with
            continue
        digest.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
