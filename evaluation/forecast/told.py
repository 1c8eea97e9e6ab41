"""A forecast as a table, as JSON, and as the page that documents it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from umd_engine.data.words import markdown_table, short
from umd_engine.engine.simulate import STAGES, Simulated
from umd_engine.evaluation.forecast.forecast import ModelForecast
from umd_engine.evaluation.forecast.planning import Told

COLUMNS = ("model", "cases", "calls", "at least to at most", "FLOP", "moved", "device", "host", "disk", "alone")
ASKED = ("model", "cases", "calls", "at least to at most", "FLOP", "moved")
HELD = ("model", "device", "host", "disk", "alone")
RUNS = ("devices", "time", "binding stage", "share of the time of a stage's workers")
Line = tuple[str, ...]


def as_json(told: Told) -> dict[str, Any]:
    """Everything, JSON-able: bytes, FLOPs and seconds as they are."""
    found = told.forecast
    return {
        "scans": found.scans,
        "bytes_read": found.reads,
        "device": told.device,
        "assumed": list(told.assumed),
        "warnings": list(told.warnings),
        "models": [vars(model) for model in found.models],
        "runs": [
            {
                "devices": devices,
                "seconds": run.seconds,
                "binding": run.binding,
                "share": {stage: round(run.share[stage], 4) for stage in STAGES},
                "peak_declared": run.peak,
            }
            for devices, run in found.runs.items()
        ],
        "faults": [{"where": where, "status": fault.status, "error": str(fault)} for where, fault in found.faults],
    }


def show(told: Told) -> None:
    """Tables on standard output."""
    console, found = Console(), told.forecast
    console.print(f"{found.scans} scans, {short(found.reads)}B to read", highlight=False)
    rows = [_cells(model) for model in found.models]
    for columns in (ASKED, HELD):
        _print(console, columns, [tuple(row[COLUMNS.index(column)] for column in columns) for row in rows])
    _print(console, RUNS, [_run(devices, run) for devices, run in found.runs.items()])
    for line in notes(told):
        console.print(f"- {line}", highlight=False)


def markdown(told: Told) -> str:
    """The two tables and what they rest on."""
    found = told.forecast
    runs = [_run(devices, run) for devices, run in found.runs.items()]
    models = [_cells(model) for model in found.models]
    tables = [*markdown_table(RUNS, runs), "", *markdown_table(COLUMNS, models)]
    lines = [*tables, "", *(f"- {line}" for line in notes(told))]
    return "\n".join(lines) + "\n"


def notes(told: Told) -> list[str]:
    """What the figures rest on, and what is left out."""
    found = told.forecast
    units = [f"{name} {source}" for model in found.models for name, source in model.units.items() if source]
    by_model = [f"{model.model}: {text}" for model in found.models for text in (*model.assumed, *model.fails)]
    return [
        *(f"warning: {line}" for line in told.warnings),
        told.device,
        *told.assumed,
        *by_model,
        *([f"unit costs: {', '.join(units)}"] if units else []),
        *(f"left out: {where}: {fault}" for where, fault in found.faults),
    ]


def _print(console: Console, columns: Sequence[str], rows: Sequence[Line]) -> None:
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0))
    for column in columns:
        table.add_column(column, justify="right" if "model" in columns and column != "model" else "left")
    for row in rows:
        table.add_row(*row)
    console.print(table)


def _run(devices: int, run: Simulated) -> Line:
    return str(devices), _time(run.seconds), run.binding, _shares(run)


def _cells(model: ModelForecast) -> Line:
    few, many = model.least, model.most
    return (
        model.model,
        f"{model.cases}",
        short(model.calls).strip(),
        ("at most" if model.assumed else "known")
        if few == many
        else f"{short(few)} to {short(many)}".replace("  ", " "),
        "unknown" if model.flops is None else short(model.flops).strip(),
        "unknown" if model.moved is None else f"{short(model.moved)}B",
        f"{short(model.device)}B",
        f"{short(model.host)}B",
        f"{short(model.disk)}B",
        _time(model.seconds),
    )


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds:.1f} s"


def _shares(run: Simulated) -> str:
    return ", ".join(f"{stage} {run.share[stage]:.0%}" for stage in STAGES)
