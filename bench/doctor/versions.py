"""What is installed, and versions that are known not to go together."""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from umd_engine.bench.doctor.backends import GPU
from umd_engine.bench.doctor.diagnosis import Fault

Versions = Mapping[str, str | None]
DISTRIBUTIONS = (
    *("torch", "torchvision", "numpy", "numba", "scipy", "monai", "nibabel", "isal", "onnx", "onnxscript"),
    *("dynamic-network-architectures", "transformers", "onnxruntime", "onnxruntime-gpu", "openvino"),
    *("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx-cu13", "triton", "cupy-cuda12x", "cupy-cuda13x"),
    *("nvidia-ml-py", "ray", "plotly", "jinja2", "matplotlib", "SimpleITK", "panoptica"),
)


def installed() -> dict[str, str | None]:
    """Python and every distribution above; None: not installed."""
    return {"python": platform.python_version(), **{name: _version(name) for name in DISTRIBUTIONS}}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


@dataclass(frozen=True)
class Bad:
    """A row of the table below.

    Attributes:
        names: distributions that are told when it applies.
        applies: to the versions, and to the machine as `here.facts` says.
    """

    names: tuple[str, ...]
    applies: Callable[[Versions, Mapping[str, Any]], bool]
    reason: str
    source: str
    mend: str


def parts(text: str | None) -> tuple[int, ...]:
    """The numbers of a release; () of what is not installed.

    >>> parts("2.13.0+cpu")
    (2, 13, 0)
    """
    return tuple(int(number) for number in re.findall(r"\d+", (text or "").partition("+")[0])[:3])


def _has(versions: Versions, *names: str) -> bool:
    return all(versions.get(name) is not None for name in names)


def _below(versions: Versions, name: str, *limit: int) -> bool:
    return _has(versions, name) and parts(versions[name]) < limit


def _from(versions: Versions, name: str, *limit: int) -> bool:
    return _has(versions, name) and parts(versions[name]) >= limit


def _on_gpu(facts: Mapping[str, Any]) -> bool:
    return bool(facts.get("devices"))


BAD = (
    Bad(
        ("onnxruntime", "onnxruntime-gpu"),
        lambda have, here: _has(have, "onnxruntime", "onnxruntime-gpu"),
        "they share a folder: the one installed last removes the other's providers, and CUDA may be gone",
        "github.com/microsoft/onnxruntime/issues/26996; seen here with 1.31.1",
        GPU,
    ),
    Bad(
        ("onnxruntime",),
        lambda have, here: _on_gpu(here) and _has(have, "onnxruntime") and not _has(have, "onnxruntime-gpu"),
        "it has no CUDA provider; asked for one, ONNX Runtime itself takes the CPU without a word, umd-engine refuses",
        "ONNX Runtime's get_providers; seen here with 1.31.1",
        GPU,
    ),
    Bad(
        ("onnxruntime-gpu", "tensorrt"),
        lambda have, here: _has(have, "onnxruntime-gpu") and _from(have, "tensorrt", 11),
        "its TensorRT provider links libnvinfer.so.10 and cannot be loaded: onnxruntime-tensorrt fails",
        "the wheel of onnxruntime-gpu 1.31.1",
        "pip install 'tensorrt>=10.13,<11'",
    ),
    Bad(
        ("tensorrt-rtx-cu13",),
        lambda have, here: any(one["capability"] == "9.0" for one in here.get("devices", ())),
        "TensorRT-RTX builds nothing for compute capability 9.0 (H100, H200)",
        "its list of compute capabilities, 1.7.1",
        "pip install 'umd-engine[tensorrt]'",
    ),
    Bad(
        ("triton", "numpy"),
        lambda have, here: _below(have, "triton", 3, 7) and _from(have, "numpy", 2, 4),
        "kernels fail under TRITON_INTERPRET=1, on a range over an argument; compiled ones do not",
        "github.com/triton-lang/triton/issues/9171; seen here with triton 3.6.0",
        "pip install 'triton>=3.7.1'",
    ),
    Bad(
        ("dynamic-network-architectures",),
        lambda have, here: _from(have, "dynamic-network-architectures", 0, 4, 1),
        "it needs timm, which brings torchvision, whose wheel cannot be imported beside a CPU build of torch",
        "seen here with 0.4.1 and torch 2.13.0+cpu",
        "pip install 'dynamic-network-architectures>=0.3.1,<0.4'",
    ),
    Bad(
        ("torchvision", "torch"),
        lambda have, here: _has(have, "torchvision", "torch") and here.get("cuda", "") is None,
        "torchvision's default wheel is built for CUDA and cannot be imported beside a CPU build of torch",
        "seen here with torchvision 0.28.0 and torch 2.13.0+cpu",
        "pip uninstall -y torchvision",
    ),
    Bad(
        ("panoptica", "numpy"),
        lambda have, here: _has(have, "panoptica") and _below(have, "numpy", 2),
        "panoptica puts an older numpy in place, below what umd-engine needs",
        "seen here",
        "pip uninstall -y panoptica && pip install 'numpy>=2.0'",
    ),
    Bad(
        ("cupy-cuda12x", "cupy-cuda13x"),
        lambda have, here: _has(have, "cupy-cuda12x", "cupy-cuda13x"),
        "they share a folder: which of them is imported is chance",
        "CuPy's installation guide",
        "pip uninstall -y cupy-cuda12x cupy-cuda13x && pip install cupy-cuda13x",
    ),
    Bad(
        ("SimpleITK",),
        lambda have, here: _has(have, "SimpleITK"),
        "asked for z.nii.gz it reads a z.nii lying beside it; umd-engine reads with nibabel, only comparisons use it",
        "seen here with 2.5.7",
        "keep no .nii beside a .nii.gz of its name",
    ),
)


def faults(versions: Versions, facts: Mapping[str, Any]) -> tuple[Fault, ...]:
    """The rows of the table that apply, all of whose distributions are told."""
    found = []
    for bad in BAD:
        if _has(versions, bad.names[0]) and bad.applies(versions, facts):
            told = ", ".join(f"{name} {versions[name]}" for name in bad.names if versions.get(name))
            found.append(Fault(told, bad.reason, bad.source, bad.mend))
    return tuple(found)
