"""What opens a unit. A named backend that cannot run raises; nothing falls back in silence."""

BACKENDS = (
    "torch",
    "torch-compile",
    "torch-fused",
    "onnxruntime",
    "onnxruntime-tensorrt",
    "openvino",
    "tensorrt",
    "tensorrt-rtx",
)
PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")
