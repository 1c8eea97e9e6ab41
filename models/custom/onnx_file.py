"""ONNX files: what is looked at before one is opened, and the module that runs it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from umd_engine.engine.backends.onnx_session import OnnxSession
from umd_engine.engine.unit import TensorSpec
from umd_engine.errors import BackendError, CheckpointError, ModelError, UnsupportedModelError

OPSETS = range(11, 27)
FLOATS = ("FLOAT", "FLOAT16", "BFLOAT16", "DOUBLE")  # of an output
DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")  # others are operators from a library beside the file


@dataclass(frozen=True)
class OnnxFacts:
    """What the file says of itself.

    Attributes:
        external: files beside it that hold its weights, as it names them.
        one: it takes one item a call.
    """

    opset: int
    external: tuple[str, ...]
    one: bool


def check_onnx(
    path: Path, patch: Sequence[int], channels: int, told: Sequence[TensorSpec], output: int = 0
) -> OnnxFacts:
    """Look at a file without loading its weights.

    Args:
        path: the file itself, no link to it.
        patch: voxels that it will be called with. told: what it takes after the image. output: the one that is used.

    Raises:
        CheckpointError: no ONNX file; external data that leaves the file's folder or is missing.
        UnsupportedModelError: its opset, or operators of a library. ModelError: its inputs or output do not fit.
        BackendError: the onnx package is missing.
    """
    model = _read(path)
    opsets = {entry.domain: entry.version for entry in model.opset_import}
    if foreign := sorted(set(opsets) - set(DOMAINS)):
        raise UnsupportedModelError(
            f"it needs operators of '{foreign[0]}'", where=path, mend="export with the standard operators"
        )
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    if opset not in OPSETS:
        raise UnsupportedModelError(
            f"its opset is {opset}, of {OPSETS[0]} to {OPSETS[-1]}", where=path, mend="export it again, e.g. opset 20"
        )
    external = tuple(dict.fromkeys(_external(model)))
    for name in external:
        _check_place(name, path)
    own = {tensor.name for tensor in model.graph.initializer}
    given = [value for value in model.graph.input if value.name not in own]
    if len(given) != 1 + len(told):
        fault = f"it has {len(given)} inputs, not {', '.join(['image', *(spec.name for spec in told)])}"
        raise ModelError(fault, where=path, mend="mend prompts, or export again")
    batches = {_checked(given[0], [None, channels, *patch], "input", path)}
    _check_type(given[0], ("FLOAT",), "input", path)
    for value, spec in zip(given[1:], told, strict=True):
        _check_type(value, ("INT64" if spec.dtype is torch.int64 else "FLOAT",), spec.name, path)
        if spec.name == "embedding":
            batches.add(_checked(value, [None, *spec.shape], spec.name, path))
    if output >= len(model.graph.output):
        raise ModelError(f"it has {len(model.graph.output)} outputs", where=path, mend="mend network.output")
    _checked(model.graph.output[output], [None, None, None, None, None], "output", path)
    _check_type(model.graph.output[output], FLOATS, "output", path)
    if fixed := batches - {None, 1}:
        raise ModelError(f"its batch is fixed at {fixed.pop()}", where=path, mend="export it with a batch of 1 or any")
    return OnnxFacts(opset, external, 1 in batches)


class OnnxNetwork(torch.nn.Module):
    """An ONNX file as a module: ONNX Runtime on the device of the inputs, opened at the first call."""

    def __init__(self, path: Path):
        super().__init__()
        self.path = path
        self._sessions: dict[torch.device, OnnxSession] = {}

    def open(self, device: torch.device) -> OnnxSession:
        """The device's session.

        Raises:
            BackendError: ONNX Runtime cannot open the file, or not on this device.
        """
        if device not in self._sessions:
            self._sessions[device] = OnnxSession(self.path, device)
        return self._sessions[device]

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return self.open(inputs[0].device).run(inputs)


def _read(path: Path) -> Any:
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError:
        raise BackendError("the onnx package is missing", mend="pip install onnx") from None
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, OSError, ValueError) as error:
        raise CheckpointError(
            f"not an ONNX file ({type(error).__name__})", where=path, mend="export it again"
        ) from None
    if not model.opset_import or not model.graph.output:
        raise CheckpointError("not an ONNX file (it has no graph)", where=path, mend="export it again")
    return model


def _external(model: Any) -> Iterator[str]:
    """The location of every tensor that lies outside the file, in functions and nested graphs too."""
    from onnx import TensorProto

    for tensor in _tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            yield from (entry.value for entry in tensor.external_data if entry.key == "location")


def _tensors(model: Any) -> Iterator[Any]:
    graphs = [model.graph]
    nodes = [node for function in model.functions for node in function.node]
    while graphs or nodes:
        if graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield from (sparse.values, sparse.indices)
            nodes += graph.node
            continue
        for attribute in nodes.pop().attribute:
            yield from (attribute.t, *attribute.tensors)
            for sparse in (attribute.sparse_tensor, *attribute.sparse_tensors):
                yield from (sparse.values, sparse.indices)
            graphs += [graph for graph in (attribute.g, *attribute.graphs) if graph.node or graph.initializer]


def _check_place(name: str, path: Path) -> None:
    target = path.parent / name
    if Path(name).is_absolute() or not target.resolve().is_relative_to(path.parent.resolve()):
        raise CheckpointError(
            f"its external data '{name}' lies outside the file's folder", where=path, mend="put both in one folder"
        )
    if not target.is_file():
        raise CheckpointError(f"its external data '{name}' is missing", where=path, mend="copy it beside the file")


def _checked(value: Any, wanted: Sequence[int | None], what: str, path: Path) -> int | None:
    """The batch of an input or output that has the wanted shape; None where the file leaves a size open."""
    kind = value.type.tensor_type
    if not kind.HasField("shape"):
        return None
    found = [axis.dim_value if axis.HasField("dim_value") else None for axis in kind.shape.dim]
    fits = len(found) == len(wanted) and all(None in (a, b) or a == b for a, b in zip(found, wanted, strict=True))
    if not fits:
        raise ModelError(
            f"its {what} is {_words(found)}, not {_words(wanted)}",
            where=path,
            mend="mend channels, the patch or texts of the description, or export it again",
        )
    return found[0]


def _check_type(value: Any, wanted: Sequence[str], what: str, path: Path) -> None:
    """Raise ModelError for an input or output of another element type; one that the file leaves open is any."""
    from onnx import TensorProto

    kinds = TensorProto.DataType
    number = value.type.tensor_type.elem_type
    if number and number not in {kinds.Value(name) for name in wanted}:
        found = kinds.Name(number) if number in kinds.values() else number
        raise ModelError(f"its {what} is {found}, not {' or '.join(wanted)}", where=path, mend="export it again")


def _words(shape: Sequence[int | None]) -> str:
    return f"rank {len(shape)} [{', '.join('any' if n is None else str(n) for n in shape)}]"
