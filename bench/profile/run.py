"""`umd-engine bench`: ceilings, units and scans, what is measured kept as it comes."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from pydantic import TypeAdapter
from rich.console import Console

from umd_engine import __version__
from umd_engine.bench import machine
from umd_engine.bench.demo.study import CT
from umd_engine.bench.floor.repetition import FULL, Rule
from umd_engine.bench.floor.run import commit
from umd_engine.bench.profile import page, table
from umd_engine.bench.profile.asked import Asked
from umd_engine.bench.profile.result import Ceilings, Profile, ScanRow, UnitRow
from umd_engine.bench.profile.scan import failed
from umd_engine.bench.profile.scanned import Scanned, scans_of
from umd_engine.bench.profile.sensors import look, state_of
from umd_engine.bench.profile.subject import check_models, name_of
from umd_engine.bench.profile.told import unit_of
from umd_engine.bench.profile.worker import ALL, Order, conv_of, wrong_of
from umd_engine.engine.backends import BACKENDS, PRECISIONS
from umd_engine.errors import MissingFileError, UnknownNameError
from umd_engine.evaluation.interrupt import exit_status, stopping
from umd_engine.models.stand_in import STAND_INS

QUICK = Rule(window=0.02, warm=0.05, most=10, budget=0.6)
DEMO = f"nnunet@demo={CT}"
STAND_IN_SAID = "without a checkpoint a model has stand-in weights: latency and memory do not depend on what they are"
EMULATED_SAID = (
    "fp16 on a CPU: ONNX Runtime in float32 with casts to fp16 and back, marked `emulated`; the casts cost time, and a "
    "device that computes fp16 is faster"
)


def all_models(quick: bool) -> tuple[str, ...]:
    """What is profiled where no model is named: every stand-in; with `quick` the demo's network too."""
    return (*STAND_INS, DEMO) if quick else tuple(STAND_INS)


def default_backend(precision: str, device: str) -> str:
    """What runs a precision where no backend is named: torch, whose fp16 is of no use on a CPU."""
    return "onnxruntime" if (precision, torch.device(device).type) == ("fp16", "cpu") else "torch"


def perform(asked: Asked, out: Path | None = None, html: Path | None = None) -> int:
    """Measure, print and keep. The exit status: 1 where a check or a run failed, that of the signal that ended it.

    Raises:
        UnknownNameError, MissingFileError, OptionError: before anything is measured.
    """
    check(asked)
    if html is not None:
        page.check_page(html)
    for line in notes(asked):
        print(line, file=sys.stderr)
    found, caught = profile(asked, out)
    table.show(found, Console())
    if html is not None:
        page.write_page(found, html)
    if caught is not None:
        print("interrupted: what was measured is kept", file=sys.stderr)
        return exit_status(caught)
    return int(found.red)


def check(asked: Asked) -> None:
    """Raises:
    UnknownNameError: a model, backend or precision that is not in its list.
    MissingFileError: no such scan or checkpoint.
    OptionError: two models of one name.
    """
    check_models(asked.models)
    for kind, name, known in (("backend", asked.backend, BACKENDS), ("precision", asked.precision, PRECISIONS)):
        if name not in known:
            raise UnknownNameError(kind, name, known, where=f"--{kind}")
    if asked.scan is not None and not asked.scan.exists():
        raise MissingFileError("no such scan", where=asked.scan)


def notes(asked: Asked) -> Iterator[str]:
    """What a reader has to know of the figures."""
    if any(name in STAND_INS for name in asked.models):
        yield STAND_IN_SAID
    if (asked.backend, asked.precision, asked.device) == ("onnxruntime", "fp16", "cpu"):
        yield EMULATED_SAID


class _InterruptError(Exception):
    pass


@dataclass
class _Kept:
    """The profile so far, in its file after every change."""

    found: Profile
    out: Path | None

    def add(self, **more: Any) -> None:
        self.found = replace(self.found, **more)
        if self.out is not None:
            self.found.save(self.out)


def profile(asked: Asked, out: Path | None = None) -> tuple[Profile, int | None]:
    """Measure everything that is asked for; the profile, and the signal that ended it early.

    Args:
        out: a file that holds the profile after every row, `complete` at the end.
    """
    device = torch.device(asked.device)
    kept = _Kept(_empty(asked), out)
    before = look(device)

    def stop() -> None:
        raise _InterruptError

    with stopping(stop) as caught:
        try:
            _measure(asked, kept)
            kept.add(complete=True)
        except _InterruptError:
            pass
    kept.add(state=state_of(before, look(device)))
    return kept.found, caught[0] if caught else None


def _empty(asked: Asked) -> Profile:
    made = datetime.now(UTC).isoformat(timespec="seconds")
    options = json.loads(TypeAdapter(Asked).dump_json(asked))
    rule = QUICK if asked.quick else FULL
    return Profile(__version__, commit(), made, machine.describe(), rule, options, complete=False)


def _measure(asked: Asked, kept: _Kept) -> None:
    with TemporaryDirectory() as folder:
        scans = tuple(scans_of(asked, Path(folder)).items())
        for order in _orders(asked, scans, kept):
            _follow(order, kept)


def _orders(asked: Asked, scans: tuple[tuple[str, Scanned], ...], kept: _Kept) -> Iterator[Order]:
    """Ceilings, every model's units and every scan, a process each; a quick look is one process, whose start takes
    longer than a small unit."""
    rule, none = kept.found.rule, replace(asked, models=())
    if asked.quick:
        yield Order(asked, rule, ceilings=True, scans=scans)
        return
    yield Order(none, rule, ceilings=True)
    conv = conv_of(kept.found.ceilings.get(asked.device, Ceilings()).conv, asked.precision)
    for model in asked.models:
        yield Order(replace(asked, models=(model,)), rule, conv=conv)
    for scan in scans:
        yield Order(none, rule, conv=conv, scans=(scan,), wrong=wrong_of(kept.found.units))


def _follow(order: Order, kept: _Kept) -> None:
    """Keep what the order's process tells. Where it dies, what it was at says so and another one goes on."""
    begun: UnitRow | None = None
    scanning = 0  # scans begun
    for kind, content in order.job().follow():
        if kind == "ceilings":
            kept.add(ceilings={**kept.found.ceilings, order.asked.device: Ceilings(**content)})
            order = replace(order, ceilings=False, conv=conv_of(content["conv"], order.asked.precision))
        elif kind == "model":
            name = content["name"]
            kept.add(
                weights={**kept.found.weights, name: content["weights"]},
                protocol={**kept.found.protocol, name: content["protocol"]},
            )
        elif kind == "begin":
            now = _row(content)
            if begun is None or (now.unit, now.batch) != (begun.unit, begun.batch):
                _progress(f"{now.model}: {'loading' if now.unit == ALL else f'{unit_of(now)}, batch {now.batch}'}")
            begun = now
        elif kind == "row":
            kept.add(units=(*kept.found.units, _row(content)))
        elif kind == "scanning":
            scanning += 1
            _progress(f"{content['model']}: a scan")
        elif kind == "scan":
            kept.add(scans=(*kept.found.scans, TypeAdapter(ScanRow).validate_python(content)))
        elif content:
            at_scans = order.scans and (scanning or not (order.ceilings or order.asked.models))
            left = _after_scan(order, kept, scanning, content) if at_scans else _after(order, kept, begun, content)
            if left is not None:
                _follow(left, kept)


def _after_scan(order: Order, kept: _Kept, begun: int, status: int) -> Order | None:
    """What is left to do when a process died at a scan, before its first or after its last one; that scan's row has
    no figure."""
    begun = max(begun, 1)
    text, scanned = order.scans[begun - 1]
    if name_of(text) not in {row.model for row in kept.found.scans}:
        kept.add(scans=(*kept.found.scans, failed(text, scanned, order.asked, **_death(status))))
    rest = replace(order, asked=replace(order.asked, models=()), ceilings=False, scans=order.scans[begun:])
    return replace(rest, wrong=wrong_of(kept.found.units)) if rest.scans else None


def _death(status: int) -> dict[str, str]:
    """Status and reason of a row whose process ended with an exit status."""
    if status == -signal.SIGKILL:
        return {"status": "does not fit", "reason": "its process was killed, most likely for want of memory"}
    return {"status": "failed", "reason": f"its process ended with {status}"}


def _after(order: Order, kept: _Kept, begun: UnitRow | None, status: int) -> Order | None:
    """What is left to do when a process died; the row that it was at is kept as one without a figure."""
    why: dict[str, Any] = _death(status)
    names = [name_of(text) for text in order.asked.models]
    if begun is None:
        if order.ceilings:
            print(f"the ceilings are not measured: {why['reason']}", file=sys.stderr)
        return replace(order, ceilings=False) if names else None
    done = {(row.model, row.unit, row.batch) for row in kept.found.units}
    larger = [batch for batch in sorted(order.asked.batches) if batch >= begun.batch]  # which fare no better
    lost = [] if begun.unit == ALL else [replace(begun, batch=batch, **why) for batch in larger]
    lost = [row for row in lost if (row.model, row.unit, row.batch) not in done]
    whole = not lost  # it died between units: what is left of the model would, too
    kept.add(units=(*kept.found.units, *(lost or [replace(begun, unit=ALL, **why)])))
    left = order.asked.models[names.index(begun.model) + whole :]
    done |= {(row.model, row.unit, row.batch) for row in lost}
    if not left and not order.scans:
        return None
    asked, wrong = replace(order.asked, models=left), wrong_of(kept.found.units)
    return replace(order, asked=asked, done=tuple(sorted(done)), wrong=wrong)


def _row(content: dict[str, Any]) -> UnitRow:
    return TypeAdapter(UnitRow).validate_python(content)


def _progress(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)
