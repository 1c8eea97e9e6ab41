"""Small graphs in ONNX's own text form."""

import numpy as np
import onnx

HEADER = '<ir_version: {ir}, opset_import: ["" : {opset}, "mine" : 1]>\n'
VOLUME = "float[batch,2,8,8,8]"


def save(path, graph, ir=10, opset=20):
    onnx.save(onnx.parser.parse_model(HEADER.format(ir=ir, opset=opset) + graph), path)
    return path


def save_with_weights_beside(path):
    """As models above 2 GB are kept: the file, and `weights` in its folder."""
    model = onnx.parser.parse_model(HEADER.format(ir=10, opset=20) + one_node("[add] y = Add(x, w)"))
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((1, 2, 8, 8, 8), np.float32), "w"))
    onnx.save(model, path, save_as_external_data=True, location="weights", size_threshold=0)
    return path


def one_node(text, inputs=f"{VOLUME} x", outputs=f"{VOLUME} y"):
    """A graph of one node, `[name] y = Operator(x)`."""
    return f"g ({inputs}) => ({outputs}) {{ {text} }}"


RELU = one_node("[relu] y = Relu(x)")

# statistics of the normalisation in float32, the convolution in the short type, casts explicit
SHORT_CONVOLUTION = """
g (float[batch,2,8,8,8] x) => (float[batch,3,8,8,8] y)
<float[3,2,1,1,1] weight = {1, 2, 3, 4, 5, 6}, float[3] scale = {1, 2, 3}, float[3] bias = {1, 2, 3}> {
    [short_x] a = Cast <to = TYPE> (x)
    [short_weight] w = Cast <to = TYPE> (weight)
    [convolution] b = Conv (a, w)
    [long] c = Cast <to = 1> (b)
    [normalisation] d = InstanceNormalization (c, scale, bias)
    [short_d] e = Cast <to = TYPE> (d)
    [activation] f = LeakyRelu (e)
    [output] y = Cast <to = 1> (f)
}
"""

# static Q/DQ, weights quantised per channel; TYPE is Conv or ConvTranspose
INT8_CONVOLUTION = """
g (float[batch,2,8,8,8] x) => (float[batch,2,8,8,8] y)
<float x_scale = {0.05}, int8 x_zero = {0}, int8[2,2,1,1,1] weight = {1, -2, 3, 127},
 float[2] weight_scale = {0.01, 0.02}, int8[2] weight_zero = {0, 0}> {
    [quantise] a = QuantizeLinear (x, x_scale, x_zero)
    [dequantise] b = DequantizeLinear (a, x_scale, x_zero)
    [weights] w = DequantizeLinear <axis = AXIS> (weight, weight_scale, weight_zero)
    [convolution] y = TYPE (b, w)
}
"""
