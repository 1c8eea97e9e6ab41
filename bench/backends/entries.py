"""One way to run one network: an entry a batch size, held against the literal network in eager float32."""

from __future__ import annotations

import sys
import tempfile
import time
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch

from umd_engine.bench.backends.cases import CASES
from umd_engine.bench.backends.ways import LITERAL
from umd_engine.bench.floor import Entry
from umd_engine.engine.backends.eager import EagerSession
from umd_engine.engine.executor import Session
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.exporters.calibration import Calibration
from umd_engine.exporters.onnx_export import export_int8
from umd_engine.models.ready import open_artifact, open_unit

COMPARED = 2  # items at most, the batch's first
ALLOWED = {"fp32": 1e-4}  # of the range; other precisions are reported, and have to be finite


@dataclass(frozen=True)
class Call:
    """Attributes:
    seconds: of the call alone, on a device until it is done.
    """

    outputs: Tensors
    seconds: float


def entries(model: str, name: str, backend: str, precision: str, form: str, device: str, batches: str) -> list[Entry]:
    """Entries of `batches`, "1,4"; what has to be made is made at their first call, which does not count it; a fault
    there is their row."""
    case, where, sizes = CASES[model], torch.device(device), [int(size) for size in batches.split(",")]

    unit = cache(lambda: case.make(form == LITERAL))

    @cache
    def inputs() -> Tensors:
        return tuple(x.to(where) for x in unit().example(max(sizes)))

    @cache
    def expected() -> Tensors:
        session = EagerSession(case.make(True), where)
        return session.run(tuple(x[:COMPARED] for x in inputs()))

    @cache
    def opened() -> Session:
        if (backend, precision) == ("onnxruntime", "int8"):
            return open_int8(unit(), where)
        return open_unit(unit(), backend, where, precision)

    @cache
    def warm(size: int) -> Session:
        """A backend compiles or captures at the first call of a size."""
        opened().run(tuple(x[:size] for x in inputs()))
        return opened()

    def run(size: int) -> Call:
        session, given = warm(size), tuple(x[:size] for x in inputs())
        _wait(where)
        start = time.perf_counter()
        outputs = session.run(given)
        _wait(where)
        return Call(outputs, time.perf_counter() - start)

    def check(call: Call) -> None:
        error, allowed = error_of(call.outputs, expected()), ALLOWED.get(precision, sys.float_info.max)
        assert error <= allowed, f"{error:.1e} of the range off eager, allowed {allowed:g}"

    def counted(call: Call) -> str:
        return f"error {error_of(call.outputs, expected()):.1e} of the range"

    return [
        Entry(
            model, name, f"{case.title}, batch {size}", partial(run, size), 0, check,
            memory=size == sizes[0], device=where.type, seconds=lambda call: call.seconds, counted=counted,
        )
        for size in sizes
    ]  # fmt: skip


def open_int8(unit: Unit, device: torch.device) -> Session:
    """The unit's int8 graph, its ranges measured on the one random window that it is compared on.

    As fast as any other; its error says nothing of real scans.
    """
    window = {spec.name: x.numpy() for spec, x in zip(unit.inputs, unit.example(1), strict=True)}
    with tempfile.TemporaryDirectory() as home:  # not the user's cache, where one graph a unit may lie
        made = export_int8(unit, Calibration([window], "ct", "a random window"), home=Path(home))
        return open_artifact(made, device)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def error_of(found: Tensors, exact: Tensors) -> float:
    """The largest difference of any output over that output's range, in the items that both have; infinite for NaN."""
    worst = 0.0
    for a, b in zip(found, exact, strict=True):
        items = min(len(a), len(b))
        difference = (a[:items] - b[:items]).abs().max()
        worst = max(worst, float((difference / (b.max() - b.min())).nan_to_num(nan=float("inf"))))
    return worst
