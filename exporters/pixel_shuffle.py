"""ConvTranspose whose kernel is its stride, as a 1x1x1 convolution and a pixel shuffle: TensorRT has int8 for those."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import onnx_ir as ir

from umd_engine.exporters.precision import drop_unused, load_graph, save_graph, store


def rewrite_transposed(source: Path, target: Path) -> list[str]:
    """Write the graph of `source` to `target` with every such node rewritten; the result is exact.

    Kernel and stride alike means that no two inputs meet in an output: each input voxel makes a block of its own.

    Returns:
        Names of the convolutions that took their place. Nodes with overlapping kernels, padding, dilation or groups
        stay as they are.
    """
    model = load_graph(source)
    names = [_rewrite(model.graph, node) for node in list(model.graph) if _is_block_wise(node)]
    drop_unused(model.graph)
    save_graph(model, target)
    return names


def _ints(node: ir.Node, name: str, default: int) -> list[int]:
    attribute = node.attributes.get(name)
    return [default] if attribute is None else list(attribute.as_ints())


def _is_block_wise(node: ir.Node) -> bool:
    weight = node.inputs[1] if node.op_type == "ConvTranspose" else None
    if weight is None or weight.const_value is None:
        return False
    kernel = list(weight.const_value.shape[2:])
    group = node.attributes.get("group")
    plain = set(_ints(node, "pads", 0) + _ints(node, "output_padding", 0)) == {0} and not node.attributes.get(
        "output_shape"
    )
    return (
        plain
        and _ints(node, "strides", 1) == kernel
        and set(_ints(node, "dilations", 1)) == {1}
        and (group is None or group.as_int() == 1)
        and node.attributes.get_string("auto_pad", "NOTSET") == "NOTSET"
    )


def _rewrite(graph: ir.Graph, node: ir.Node) -> str:
    image, weight, *rest = node.inputs
    output = node.outputs[0]
    assert image is not None and weight is not None and weight.const_value is not None
    assert image.shape is not None and output.name is not None and node.name is not None
    blocks = weight.const_value.numpy()  # [in, out, *kernel]
    channels, kernel = blocks.shape[1], blocks.shape[2:]
    axes = len(kernel)
    # [out * kernel, in, 1, 1, 1]: the channels of a block follow one another
    rows = blocks.reshape(blocks.shape[0], -1).T.reshape(-1, blocks.shape[0], *(1,) * axes)
    inputs = [image, store(graph, f"{node.name}_rows", np.ascontiguousarray(rows))]
    if rest and rest[0] is not None:
        assert rest[0].const_value is not None
        inputs.append(store(graph, f"{node.name}_bias", np.repeat(rest[0].const_value.numpy(), math.prod(kernel))))
    spatial = [n for n in image.shape[2:] if isinstance(n, int)]
    assert len(spatial) == axes, "spatial shapes are static in every unit"
    split = [0, channels, *kernel, *spatial]  # 0: as it is, the batch
    joined = [0, channels, *(n * k for n, k in zip(spatial, kernel, strict=True))]
    order = [0, 1, *(place for axis in range(axes) for place in (2 + axes + axis, 2 + axis))]
    steps = [
        _node("Conv", node.name, inputs, [ir.AttrInt64s("kernel_shape", [1] * axes)]),
    ]
    steps.append(_node("Reshape", node.name, [steps[-1].outputs[0], _shape(graph, f"{node.name}_split", split)]))
    steps.append(_node("Transpose", node.name, [steps[-1].outputs[0]], [ir.AttrInt64s("perm", order)]))
    last = _node("Reshape", f"{node.name}_joined", [steps[-1].outputs[0], _shape(graph, f"{node.name}_whole", joined)])
    ir.convenience.replace_nodes_and_values(graph, node, [node], [*steps, last], [output], [last.outputs[0]])
    return str(steps[0].name)


def _shape(graph: ir.Graph, name: str, shape: list[int]) -> ir.Value:
    return store(graph, name, np.array(shape, np.int64))


def _node(kind: str, name: str, inputs: list[ir.Value], attributes: list[ir.Attr] | None = None) -> ir.Node:
    full = f"{name}_{kind.lower()}"
    output = ir.Value(name=full, type=ir.TensorType(ir.DataType.FLOAT))
    return ir.Node("", kind, inputs, attributes or [], outputs=[output], name=full)
