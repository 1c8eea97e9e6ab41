"""A 16-bit graph as a float32 one that rounds where it rounds: its accuracy on machines that lack the type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx_ir as ir

from umd_engine.exporters.precision import cast, drop_unused, insert, load_graph, save_graph, store
from umd_engine.exporters.regions import DTYPES, FLOAT, LAYOUT


def emulate(source: Path, target: Path) -> None:
    """Write the graph of `source` so that it computes in float32 and rounds every 16-bit tensor to its 16 bits.

    Products add up in float32 as tensor cores do; no time measured on it says anything of the 16-bit graph.
    """
    model = load_graph(source)
    graph = model.graph
    short = set(DTYPES.values())
    for value in list(graph.initializers.values()):
        if value.dtype in short and value.const_value is not None:
            widened = store(graph, f"{value.name}_widened", value.const_value.numpy().astype(np.float32))
            value.replace_all_uses_with(widened)
    for node in list(graph):
        for value in node.outputs:
            if value.dtype in short:
                _round(graph, node, value)
    drop_unused(graph)
    save_graph(model, target)


def _round(graph: ir.Graph, node: ir.Node, value: ir.Value) -> None:
    dtype = value.dtype
    assert dtype is not None
    if node.op_type == "Cast":
        back = cast(value, FLOAT)
        value.replace_all_uses_with(back.outputs[0])
        back.replace_input_with(0, value)
        insert(graph, value, back)
        return
    value.dtype = FLOAT
    if node.op_type in LAYOUT - {"Resize"}:
        return
    down = cast(value, dtype)
    back = cast(down.outputs[0], FLOAT)
    value.replace_all_uses_with(back.outputs[0])
    down.replace_input_with(0, value)
    insert(graph, value, [down, back])
