"""A tiny unit through every backend on every device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

from umd_engine.bench.doctor.asking import Answer
from umd_engine.bench.doctor.diagnosis import ABSENT, MISSING, NEVER, Row

ALLOWED = 1e-2  # of the range: TensorRT's float32 may be TF32, and a wrong answer is off by far more
TRY = "umd_engine.bench.doctor.backends:attempt"
GPU = "pip uninstall -y onnxruntime onnxruntime-gpu && pip install 'umd-engine[gpu]'"


@dataclass(frozen=True)
class Needs:
    """What a backend needs.

    Attributes:
        module: kind of device that it runs on -> what is imported there. mend: the same -> what to do, a command.
        target: function of the backend's name and the device that returns its error.
        group: those of one group are of one library, and are tried in one process.
    """

    module: Mapping[str, str]
    mend: Mapping[str, str]
    target: str = TRY
    group: str = ""


def _torch(module: str, cuda_module: str, cpu: str, cuda: str) -> Needs:
    return Needs({"cpu": module, "cuda": cuda_module}, {"cpu": cpu, "cuda": cuda}, group="torch")


PLAIN = "pip install umd-engine"
NEEDS = {
    "torch": _torch("torch", "torch", PLAIN, PLAIN),
    "torch-compile": _torch("torch", "torch", "install a C++ compiler, e.g. apt install g++", "pip install triton"),
    "torch-fused": _torch("numba", "triton", PLAIN, "pip install triton"),
    "onnxruntime": Needs(
        {"cpu": "onnxruntime", "cuda": "onnxruntime"}, {"cpu": "pip install 'umd-engine[cpu]'", "cuda": GPU}
    ),
    "onnxruntime-tensorrt": Needs({"cuda": "onnxruntime"}, {"cuda": f"{GPU} 'tensorrt>=10.13,<11'"}),
    "openvino": Needs({"cpu": "openvino"}, {"cpu": "pip install 'umd-engine[openvino]'"}),
    "tensorrt": Needs({"cuda": "tensorrt"}, {"cuda": "pip install 'umd-engine[tensorrt]'"}),
    "tensorrt-rtx": Needs({"cuda": "tensorrt_rtx"}, {"cuda": "pip install 'umd-engine[tensorrt-rtx]'"}),
}


def known(backend: str, needs: Needs, device: str, present: bool) -> Row | None:
    """What can be said of a backend on a device without trying; None: it is to be tried.

    Args:
        present: whether the device is here.
    """
    kind = device.partition(":")[0]
    if kind not in needs.module:
        return Row(backend, device, NEVER)
    if find_spec(needs.module[kind]) is None:
        return Row(backend, device, MISSING, f"{needs.module[kind]} is not installed", needs.mend[kind])
    return None if present else Row(backend, device, ABSENT)


def row(backend: str, needs: Needs, device: str, answer: Answer) -> Row:
    """Of an answer; what the error says helps, or else what the backend needs."""
    mend = answer.mend or (needs.mend[device.partition(":")[0]] if answer.reason else "")
    return Row(backend, device, answer.status, answer.reason, mend, answer.seconds)


def attempt(backend: str, device: str) -> float:
    """The error of a backend's answer against eager torch on the CPU, as a share of the range.

    Raises:
        BackendError: it cannot run here, or its answer is wrong.
    """
    import torch

    from umd_engine.engine.backends.device import resolve_device
    from umd_engine.engine.unit import TensorSpec, Unit
    from umd_engine.errors import BackendError
    from umd_engine.exporters.measure import error_of
    from umd_engine.models.ready import open_unit

    torch.manual_seed(0)
    layers: Sequence[torch.nn.Module] = (
        torch.nn.Conv3d(1, 8, 3, padding=1),
        torch.nn.InstanceNorm3d(8, affine=True),
        torch.nn.LeakyReLU(),
        torch.nn.Conv3d(8, 2, 1),
    )
    module = torch.nn.Sequential(*layers).eval().requires_grad_(False)
    unit = Unit("doctor", module, (TensorSpec("image", (1, 16, 16, 16)),), ("logits",))
    where, inputs = resolve_device(device), unit.example(1)
    exact = module(*inputs)
    (found,) = open_unit(unit, backend, where, batches=(1,)).run(tuple(x.to(where) for x in inputs))
    error = error_of(found, exact)["of_range"]
    if not error <= ALLOWED:
        raise BackendError(f"its answer is {error:.1e} of the range off eager torch", mend="do not use it; report this")
    return error
