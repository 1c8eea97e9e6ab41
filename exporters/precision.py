"""A float32 ONNX graph in 16 bit: strongly typed, every Cast explicit, normalisations and softmax in float32."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, ShapeInferencePass

from umd_engine.errors import BackendError, UnknownNameError
from umd_engine.exporters.onnx_export import BF16_OPSET
from umd_engine.exporters.regions import DTYPES, FLOAT, KINDS, TYPELESS, castable, is_float, nodes_in_16_bit

IN_ONE_FILE = 1 << 30  # bytes of weights; more lie in TARGET.data, as a protobuf ends at 2 GiB


def to_precision(source: Path, target: Path, precision: str) -> dict[str, Any]:
    """Write the graph of `source` to `target` with its products, and what lies between them, in fp16 or bf16.

    Inputs and outputs stay float32. docs/export.md says which operators run in what.

    Returns:
        precision, opset, the number of casts, and regions: precision -> operator -> names of its nodes.

    Raises:
        UnknownNameError: another precision.
        BackendError: a weight beyond fp16's range, or an operator whose meaning changes with bf16's opset.
    """
    if precision not in DTYPES:
        raise UnknownNameError("precision of a converted graph", precision, DTYPES)
    model = load_graph(source)
    if precision == "bf16":
        _raise_opset(model, source)
    opset = model.opset_imports[""]
    low = nodes_in_16_bit(model.graph, precision, opset)
    regions = _regions(model.graph, low, precision)
    casts = _Casts(model.graph, precision, source)
    for node in list(model.graph):
        if node in low:
            casts.lower(node, opset)
        elif node.op_type not in TYPELESS:
            casts.raise_inputs(node)
    casts.raise_outputs()
    drop_unused(model.graph)
    save_graph(model, target)
    return {"precision": precision, "opset": opset, "casts": casts.count, "regions": regions}


def load_graph(path: Path) -> ir.Model:
    """The model with the type of every tensor known and constants as initializers."""
    model = ir.load(path)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    if any(value.dtype is None for node in model.graph for value in node.outputs):
        ShapeInferencePass()(model)
    for node in model.graph:
        if any(
            attribute.type in (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
            for attribute in node.attributes.values()
        ):
            raise BackendError(
                f"node {node.name} ({node.op_type}) holds a graph of its own", where=path, mend="use --precision fp32"
            )
    return model


def save_graph(model: ir.Model, path: Path) -> None:
    """One file, or two where the weights are large."""
    nbytes = sum(value.const_value.nbytes for value in model.graph.initializers.values() if value.const_value)
    ir.save(model, path, external_data=f"{path.name}.data" if nbytes > IN_ONE_FILE else None)


def drop_unused(graph: ir.Graph) -> None:
    """Remove initializers that no node reads."""
    for name, value in list(graph.initializers.items()):
        if not value.uses() and not value.is_graph_output():
            del graph.initializers[name]


def _raise_opset(model: ir.Model, source: Path) -> None:
    if any(node.op_type == "GroupNormalization" for node in model.graph):
        raise BackendError(
            "GroupNormalization changes its meaning with the opset that bf16 needs", where=source, mend="use fp16"
        )
    model.opset_imports[""] = max(model.opset_imports[""], BF16_OPSET)
    model.ir_version = max(model.ir_version, 10)


def _regions(graph: ir.Graph, low: set[ir.Node], precision: str) -> dict[str, dict[str, list[str]]]:
    regions: dict[str, dict[str, list[str]]] = {precision: {}, "fp32": {}}
    for node in filter(is_float, graph):
        regions[precision if node in low else "fp32"].setdefault(node.op_type, []).append(node.name or "")
    return regions


class _Casts:
    """Changes types node by node, in topological order; of a tensor and a type there is one Cast."""

    def __init__(self, graph: ir.Graph, precision: str, source: Path):
        self.graph, self.precision, self.source = graph, precision, source
        self.dtype, self.kind, self.count = DTYPES[precision], KINDS[precision], 0
        self._held: dict[tuple[ir.Value, ir.DataType], ir.Value] = {}

    def lower(self, node: ir.Node, opset: int) -> None:
        """A node in 16 bit."""
        for position in castable(node, opset):
            node.replace_input_with(position, self._as(node.inputs[position], self.dtype))
        for value in node.outputs:
            if value.dtype == FLOAT:
                value.dtype = self.dtype

    def raise_inputs(self, node: ir.Node) -> None:
        """A node in float32."""
        for position, value in enumerate(node.inputs):
            if value is not None and value.dtype == self.dtype:
                node.replace_input_with(position, self._as(value, FLOAT))

    def raise_outputs(self) -> None:
        """The graph's outputs in float32, under their names."""
        for position, value in enumerate(self.graph.outputs):
            if value.dtype == self.dtype:
                raised, name = self._as(value, FLOAT), value.name
                value.name = f"{name}_{self.precision}"
                raised.name = name
                self.graph.outputs[position] = raised

    def _as(self, value: ir.Value | None, dtype: ir.DataType) -> ir.Value:
        assert value is not None
        if value.dtype == dtype:
            return value
        key = (value, dtype)
        if key not in self._held:
            self._held[key] = self._stored(value) if value.const_value is not None else self._cast(value, dtype)
        return self._held[key]

    def _cast(self, value: ir.Value, dtype: ir.DataType) -> ir.Value:
        self.count += 1
        node = cast(value, dtype)
        insert(self.graph, value, node)
        return node.outputs[0]

    def _stored(self, value: ir.Value) -> ir.Value:
        assert value.const_value is not None
        exact = value.const_value.numpy()
        with np.errstate(over="ignore"):
            short = exact.astype(self.kind)
        lost = np.isfinite(exact) & ~np.isfinite(short.astype(np.float32))
        if lost.any():
            raise BackendError(
                f"{value.name} holds {exact[lost].flat[0]:g}, beyond the range of {self.precision}",
                where=self.source,
                mend="use --precision bf16",
            )
        return store(self.graph, f"{value.name}_{self.precision}", short)


def cast(value: ir.Value, dtype: ir.DataType) -> ir.Node:
    """A Cast node whose name and output say what it makes of which tensor."""
    name = f"{value.name}_{dtype.name.lower()}"
    output = ir.Value(name=name, shape=value.shape, type=ir.TensorType(dtype))
    return ir.Node("", "Cast", [value], [ir.AttrInt64("to", int(dtype))], outputs=[output], name=f"cast_{name}")


def insert(graph: ir.Graph, value: ir.Value, nodes: ir.Node | Iterable[ir.Node]) -> None:
    """Put nodes right after what makes `value`, first in the graph where it is an input."""
    producer = value.producer()
    if producer is not None:
        graph.insert_after(producer, nodes)
    else:
        graph.insert_before(graph[0], nodes)


def store(graph: ir.Graph, name: str, array: np.ndarray) -> ir.Value:
    """An initializer."""
    value = ir.Value(name=name, const_value=ir.tensor(array, name=name))
    value.shape, value.dtype = ir.Shape(array.shape), value.const_value.dtype  # type: ignore[union-attr]
    graph.register_initializer(value)
    return value
