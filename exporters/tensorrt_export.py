"""A unit to an engine of TensorRT, cached under its graph and the machine that it was built for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from umd_engine.engine.backends.tensorrt_library import open_tensorrt
from umd_engine.engine.backends.tensorrt_record import EngineRecord
from umd_engine.exporters.artifact import Artifact, cache_folder, cached
from umd_engine.exporters.onnx_export import with_fp16
from umd_engine.exporters.operators import check_operators
from umd_engine.exporters.tensorrt_build import build_engine

FILE = "unit.engine"
KEPT = (
    "unit",
    "weights",
    "inputs",
    "outputs",
    "regions",
    "measured_on",
    "calibration",
)  # what an engine's sidecar says as its graph's does
BATCHES = (1, 4, 8)
RANGES = {"clicks": (1, 1, 32), "queries": (1, 13, 64)}  # lowest, likeliest, highest


def export_tensorrt(
    graph: Artifact,
    precision: str = "fp32",
    batches: Sequence[int] = BATCHES,
    library: str = "tensorrt",
    capability: str | None = None,
    home: Path | None = None,
    device: torch.device | None = None,
) -> Artifact:
    """The engine of an exported graph, built when the cache has none.

    Args:
        graph: of the precision; tf32 runs the graph of fp32, int8 that with all else in fp16.
        batches, library, capability: as of `build_engine`.
        home: the cache; default `cache_folder()`.
        device: that TensorRT times its kernels on; None: the current CUDA device.

    Raises:
        BackendError, OptionError: as `build_engine`; or the cache cannot be written.
    """
    if torch.cuda.is_available() and device is not None:
        with torch.cuda.device(device):
            return export_tensorrt(graph, precision, batches, library, capability, home)
    trt = open_tensorrt(library)
    if precision == "int8":
        graph = with_fp16(graph, home)
    here = None
    if torch.cuda.is_available() and not trt.is_rtx:
        here = vars(trt.place(torch.device("cuda")))
    parts: dict[str, Any] = {
        "graph": graph.about["key"],
        "precision": precision,
        "batches": sorted(set(batches)),
        "library": [trt.name, trt.version],
        "capability": capability,
        "place": here,
    }
    timings = (home or cache_folder()) / "timings" / f"{library}.cache"

    def make(folder: Path) -> Mapping[str, Any]:
        check_operators(graph.path)
        named = {axis for spec in graph.about["inputs"] for axis in spec["shape"][1:] if isinstance(axis, str)}
        plan, record = build_engine(
            graph.path,
            batches,
            library=library,
            precision=precision,
            ranges={axis: RANGES[axis] for axis in named},
            capability=capability,
            timing_cache=timings,
        )
        (folder / FILE).write_bytes(plan)
        said = {key: graph.about[key] for key in KEPT if key in graph.about}
        return {"file": FILE, **said, "engine": record.to_json()}

    return cached("tensorrt", parts, make, home)


def record_of(artifact: Artifact) -> EngineRecord:
    """What the engine was built from and for."""
    return EngineRecord.from_json(artifact.about["engine"])
