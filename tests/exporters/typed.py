"""What the tests of converted graphs share: small graphs, and a walk that finds mixed types."""

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto

FLOATS = {TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16}
IN_FLOAT32 = {
    "BatchNormalization", "Cos", "Erf", "Exp", "Gelu", "GroupNormalization", "InstanceNormalization",
    "LayerNormalization", "Log", "Pow", "ReduceLogSumExp", "ReduceMean", "ReduceSum", "Sin", "Softmax", "Sqrt",
}  # fmt: skip


def faults_of(path):
    """Nodes whose inputs of one type parameter have several types, and those that must be float32 and are not."""
    onnx.checker.check_model(str(path), full_check=True)
    graph = onnx.shape_inference.infer_shapes(onnx.load(path), strict_mode=True, data_prop=True).graph
    kinds = {v.name: v.type.tensor_type.elem_type for v in (*graph.input, *graph.value_info, *graph.output)}
    kinds |= {tensor.name: tensor.data_type for tensor in graph.initializer}
    opset = onnx.load(path, load_external_data=False).opset_import[0].version
    found = []
    for node in graph.node:
        formal = onnx.defs.get_schema(node.op_type, opset, node.domain).inputs
        of_parameter = {}
        for number, name in enumerate(node.input):
            if name and kinds[name] in FLOATS:
                of_parameter.setdefault(formal[min(number, len(formal) - 1)].type_str, set()).add(kinds[name])
        if any(len(seen) > 1 for seen in of_parameter.values()):
            found.append(f"{node.name} ({node.op_type}) mixes types")
        floats = {kinds[name] for name in (*node.input, *node.output) if name and kinds[name] in FLOATS}
        if node.op_type in IN_FLOAT32 and floats - {TensorProto.FLOAT}:
            found.append(f"{node.name} ({node.op_type}) is not in float32")
    return found


def casts_of(path):
    """(tensor, target type) of every Cast."""
    nodes = [node for node in onnx.load(path, load_external_data=False).graph.node if node.op_type == "Cast"]
    return [(node.input[0], node.attribute[0].i) for node in nodes]


def run(path, feeds):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, feeds)


def feeds_of(unit, batch):
    return {spec.name: x.numpy() for spec, x in zip(unit.inputs, unit.example(batch), strict=True)}


def save(path, nodes, inputs, outputs, weights, opset=20):
    """A graph of `nodes` with float32 inputs and outputs, name -> shape, and `weights`, name -> array."""
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in inputs.items()],
        [onnx.helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in outputs.items()],
        [onnx.numpy_helper.from_array(np.asarray(array), name) for name, array in weights.items()],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)], ir_version=10)
    model = onnx.shape_inference.infer_shapes(model, strict_mode=True, data_prop=True)
    onnx.save(model, path)
    return path
