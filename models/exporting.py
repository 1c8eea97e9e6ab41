"""Exports the units of a model, one after the other: a row each, what cannot be exported as an error in its row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from umd_engine.engine.executor import Session
from umd_engine.engine.unit import Unit
from umd_engine.errors import BackendError, CalibrationError, UmdEngineError
from umd_engine.exporters.artifact import Artifact, copied
from umd_engine.exporters.calibration import Calibration
from umd_engine.exporters.operators import check_operators
from umd_engine.models.ready import BATCHES, graph_of, measured_on, open_artifact, runtime_of

CPU = torch.device("cpu")
# what channels are called -> modality
CHANNELS = {"ct": "ct", "pet": "pet", "pt": "pet", "suv": "pet", "mr": "mr", "mri": "mr", "t1": "mr", "t2": "mr"}


@dataclass(frozen=True)
class Wanted:
    """What is to be made of every unit.

    Attributes:
        target: onnx, tensorrt or tensorrt-rtx.
        batches, capability: of an engine.
        calibration: of int8, by the unit's identity; None: what was made before.
        stated: the modality that the model is made for; None where nothing says it.
        out: copies go to OUT/UNIT/PRECISION; None: the artifacts stay in the cache alone.
    """

    target: str = "onnx"
    precision: str = "fp32"
    batches: tuple[int, ...] = BATCHES
    capability: str | None = None
    calibration: Mapping[str, Calibration] | None = None
    stated: str | None = None
    out: Path | None = None


@dataclass(frozen=True)
class Exported:
    """A unit's artifact, or the error that it ended with.

    Attributes:
        reason: why the artifact's error was not measured; empty where it was.
    """

    unit: Unit
    artifact: Artifact | None
    reason: str = ""
    error: UmdEngineError | None = None


def export_units(units: Iterable[Unit], wanted: Wanted) -> Iterator[Exported]:
    """Yields each unit as soon as its artifact is made and measured."""
    for unit in units:
        try:
            yield _export(unit, wanted)
        except UmdEngineError as error:
            yield Exported(unit, None, error=error)


def stated_modality(model: object) -> str | None:
    """The modality that a model's files say it is made for: what all its channels are called; None: they do not."""
    described = getattr(model, "plans", None) or getattr(model, "description", None)
    channels = {CHANNELS.get(str(name).lower()) for name in getattr(described, "channels", ())}
    return channels.pop() if len(channels) == 1 else None


def opened_as(wanted: Wanted, device: torch.device, unit: Unit) -> Session:
    """A session of a unit's artifact, made where it is missing."""
    return open_artifact(_artifact(unit, wanted), device, wanted.precision)


def _export(unit: Unit, wanted: Wanted) -> Exported:
    if (own := runtime_of(unit)) is not None:
        raise BackendError(f"{unit.name} is a file that runs in {own}", mend="it needs no export: use it as it is")
    artifact = _artifact(unit, wanted)
    if wanted.target == "onnx":
        check_operators(artifact.path)
    reason = ""
    if "error" not in artifact.about:
        artifact, reason = _measured(artifact, unit, wanted)
    if wanted.out is not None:
        artifact = copied(artifact, wanted.out / unit.name / wanted.precision)
    return Exported(unit, artifact, reason)


def _artifact(unit: Unit, wanted: Wanted) -> Artifact:
    graph = _graph(unit, wanted)
    if wanted.target == "onnx":
        return graph
    from umd_engine.exporters.tensorrt_export import export_tensorrt

    return export_tensorrt(graph, wanted.precision, wanted.batches, wanted.target, wanted.capability)


def _graph(unit: Unit, wanted: Wanted) -> Artifact:
    if wanted.precision != "int8" or wanted.calibration is None:
        return graph_of(unit, wanted.precision)
    from umd_engine.exporters.onnx_export import export_int8

    if unit.identity not in wanted.calibration:
        raise CalibrationError(
            f"no scan to calibrate on made the model call {unit.name}", mend="calibrate on other scans"
        )
    graph_of(unit)  # measured, before int8 is made of it
    return export_int8(unit, wanted.calibration[unit.identity], wanted.stated)


def _measured(artifact: Artifact, unit: Unit, wanted: Wanted) -> tuple[Artifact, str]:
    """The artifact with its error, or without one and why."""
    if wanted.target == "onnx":
        return measured_on(artifact, unit, CPU), ""
    if not torch.cuda.is_available():
        return artifact, "an engine runs on a GPU only, and there is none here"
    return measured_on(artifact, unit, torch.device("cuda"), wanted.precision), ""
