"""Which nodes of an ONNX graph run in 16 bit and which stay in float32."""

from __future__ import annotations

from collections.abc import Iterable

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir

FLOAT = ir.DataType.FLOAT
KINDS = {"fp16": np.dtype(np.float16), "bf16": np.dtype(ml_dtypes.bfloat16)}
DTYPES = {"fp16": ir.DataType.FLOAT16, "bf16": ir.DataType.BFLOAT16}

PRODUCTS = frozenset({"Conv", "ConvTranspose", "Einsum", "MatMul", "Gemm"})
QUANTIZERS = frozenset({"QuantizeLinear", "DequantizeLinear"})
ARITHMETIC = frozenset({
    "Abs", "Add", "Clip", "Div", "Elu", "HardSigmoid", "HardSwish", "LeakyRelu", "Max", "Min", "Mul", "Neg",
    "PRelu", "Relu", "Sigmoid", "Sub", "Sum", "Where"
})  # fmt: skip
LAYOUT = frozenset({
    "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "GatherElements", "Identity", "MaxPool", "Pad",
    "Reshape", "Resize", "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze"
})  # fmt: skip
# Their arithmetic neighbours belong to the same formula: a decomposed LayerNorm, GELU, an encoding of positions.
FORMULAS = frozenset({
    "CumSum", "Cos", "Erf", "Exp", "Log", "Pow", "Reciprocal", "ReduceL2", "ReduceLogSumExp", "ReduceMean",
    "ReduceProd", "ReduceSum", "ReduceSumSquare", "Sin", "Sqrt"
})  # fmt: skip
# In float32 themselves; what they read may have been 16 bit. Every operator that no list names is read in float32.
NORMS = frozenset({
    "BatchNormalization", "GroupNormalization", "InstanceNormalization", "LayerNormalization",
    "LpNormalization", "RMSNormalization"
})  # fmt: skip
ALONE = NORMS | {"AveragePool", "Gelu", "GlobalAveragePool", "Softplus", "Tanh"}
TYPELESS = frozenset({"Shape", "Size"})


def nodes_in_16_bit(graph: ir.Graph, precision: str, opset: int) -> set[ir.Node]:
    """The nodes that compute in `precision`; all others with floating inputs or outputs stay in float32.

    Products run in 16 bit, arithmetic and layout with them, except where they belong to a formula that needs float32:
    what leads to a sine or cosine (coordinates), what only a formula, a softmax or a comparison reads, and what works
    on a formula's result before the next product. An activation right after a normalisation belongs to it. In bf16,
    whose 8 bits of mantissa move borders, the first and last products stay in float32.
    """
    nodes = [node for node in graph if is_float(node)]
    listed = PRODUCTS | QUANTIZERS | ARITHMETIC | LAYOUT
    low = {node for node in nodes if node.op_type in listed and takes(node, precision, opset)}
    low -= _before_waves(nodes)
    low -= {node for node in low if _activates_norm(node)}
    if precision == "bf16":
        low -= outer_products(graph)
    low -= {n for n in low if n.op_type in ARITHMETIC | LAYOUT and any(not _holds(v, precision) for v in constants(n))}
    exact = {n for n in nodes if n not in low and n.op_type not in ALONE | PRODUCTS and not _activates_norm(n)}
    for node in reversed(nodes):
        if node in low and node.op_type in ARITHMETIC | LAYOUT and _only_read_by(node, exact):
            exact.add(node)
    formula = {n for n in exact if n.op_type in FORMULAS | ARITHMETIC | LAYOUT}
    for node in nodes:
        if node in low and _continues(node, formula):
            formula.add(node)
    return low - formula


def outer_products(graph: ir.Graph, depth: int = 1) -> set[ir.Node]:
    """Products with fewer than `depth` others before them, on any path, or with fewer than `depth` after them."""
    nodes = list(graph)
    before: dict[ir.Node, int] = {}  # products on the longest path to a node
    for node in nodes:
        before[node] = max((before[p] + (p.op_type in PRODUCTS) for p in node.predecessors()), default=0)
    after: dict[ir.Node, int] = {}
    for node in reversed(nodes):
        after[node] = max((after[s] + (s.op_type in PRODUCTS) for s in node.successors()), default=0)
    return {node for node in nodes if node.op_type in PRODUCTS and min(before[node], after[node]) < depth}


def is_float(node: ir.Node) -> bool:
    """Whether a node reads or gives float32."""
    return any(value is not None and value.dtype == FLOAT for value in (*node.inputs, *node.outputs))


def constants(node: ir.Node) -> Iterable[ir.Value]:
    """Its floating inputs that are initializers."""
    return [v for v in node.inputs if v is not None and v.const_value is not None and v.dtype == FLOAT]


def castable(node: ir.Node, opset: int) -> list[int]:
    """Positions of the float32 inputs whose type may change; a scale of Resize, for one, is always float32."""
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    found = []
    for position, value in enumerate(node.inputs):
        formal = schema.inputs[min(position, len(schema.inputs) - 1)]
        if value is not None and value.dtype == FLOAT and formal.type_str != "tensor(float)":
            found.append(position)
    return found


def takes(node: ir.Node, precision: str, opset: int) -> bool:
    """Whether the operator is defined for `precision` in this opset."""
    schema = onnx.defs.get_schema(node.op_type, opset, node.domain)
    wanted = f"tensor({KINDS[precision].name})"
    allowed = {rule.type_param_str: rule.allowed_type_strs for rule in schema.type_constraints}
    formals = [schema.inputs[min(i, len(schema.inputs) - 1)] for i in castable(node, opset)]
    return all(wanted in allowed[formal.type_str] for formal in formals)


def _before_waves(nodes: list[ir.Node]) -> set[ir.Node]:
    """Everything that a sine or cosine is computed from."""
    found: set[ir.Node] = set()
    waiting = [node for node in nodes if node.op_type in ("Sin", "Cos")]
    while waiting:
        node = waiting.pop()
        if node not in found:
            found.add(node)
            waiting += [p for v in node.inputs if v is not None and (p := v.producer()) is not None]
    return found


def _holds(value: ir.Value, precision: str) -> bool:
    """Whether 16 bit hold a constant: none of its values overflows, and a single one does not vanish either."""
    assert value.const_value is not None
    exact = value.const_value.numpy()
    with np.errstate(over="ignore"):
        short = exact.astype(KINDS[precision]).astype(np.float32)
    if np.any(np.isinf(short) & np.isfinite(exact)):
        return False
    smallest = float(ml_dtypes.finfo(KINDS[precision]).smallest_normal)
    return exact.size > 1 or not np.any((exact != 0) & (np.abs(exact) < smallest))


def _only_read_by(node: ir.Node, readers: set[ir.Node]) -> bool:
    uses = [use for out in node.outputs for use in out.uses()]
    return bool(uses) and not any(out.is_graph_output() for out in node.outputs) and all(u[0] in readers for u in uses)


def _continues(node: ir.Node, formula: set[ir.Node]) -> bool:
    """Whether a node works on a formula's result: arithmetic on any of it, layout on nothing else."""
    inside = [value.producer() in formula for value in _computed(node)]
    if node.op_type in ARITHMETIC:
        return any(inside)
    return node.op_type in LAYOUT and bool(inside) and all(inside)


def _activates_norm(node: ir.Node) -> bool:
    producers = [value.producer() for value in _computed(node)]
    return (
        node.op_type in ARITHMETIC
        and bool(producers)
        and all(producer is not None and producer.op_type in NORMS for producer in producers)
    )


def _computed(node: ir.Node) -> list[ir.Value]:
    """Its floating inputs that are not initializers."""
    return [v for v in node.inputs if v is not None and v.dtype == FLOAT and v.const_value is None]
