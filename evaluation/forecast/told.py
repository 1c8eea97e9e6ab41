"""A forecast as a table, as JSON, and as the page that documents it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from umd_engine.engine.simulate import STAGES, Simulated
from umd_engine.evaluation.forecast.forecast import ModelForecast
from umd_engine.evaluation.forecast.planning import Told

COLUMNS = ("model", "cases", "network calls", "range", "PFLOP", "TB moved", "GB device", "GB host", "MB disk", "time")
Line = tuple[str, ...]


def as_json(told: Told) -> dict[str, Any]:
    """Everything, JSON-able: bytes, FLOPs and seconds as they are."""
    found = told.forecast
    return {
        "scans": found.scans,
        "bytes_read": found.reads,
        "device": told.device,
        "assumed": list(told.assumed),
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
    table = Table(title=f"{found.scans} scans, {found.reads / 1e9:.1f} GB to read")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column == "model" else "right")
    for model in found.models:
        table.add_row(*_cells(model))
    console.print(table)
    runs = Table(title=told.device)
    for column in ("devices", "time", "binding stage", "share of its workers' time, by stage"):
        runs.add_column(column)
    for devices, run in found.runs.items():
        runs.add_row(str(devices), _time(run.seconds), run.binding, _shares(run))
    console.print(runs)
    for line in notes(told):
        console.print(f"- {line}", highlight=False)


def markdown(told: Told) -> str:
    """The two tables and what they rest on."""
    found = told.forecast
    head = ("devices", "hours", "binding stage", "share of its workers' time, by stage")
    runs = [(str(n), f"{run.seconds / 3600:.2f}", run.binding, _shares(run)) for n, run in found.runs.items()]
    models = [_cells(model) for model in found.models]
    lines = [*_table(head, runs), "", *_table(COLUMNS, models), "", *(f"- {line}" for line in notes(told))]
    return "\n".join(lines) + "\n"


def notes(told: Told) -> list[str]:
    """What the figures rest on, and what is left out."""
    found = told.forecast
    units = [f"{name} {source}" for model in found.models for name, source in model.units.items() if source]
    by_model = [f"{model.model}: {text}" for model in found.models for text in (*model.assumed, *model.fails)]
    return [
        told.device,
        *told.assumed,
        *by_model,
        *([f"unit costs: {', '.join(units)}"] if units else []),
        *(f"left out: {where}: {fault}" for where, fault in found.faults),
    ]


def _cells(model: ModelForecast) -> Line:
    few, many = model.least, model.most
    return (
        model.model,
        f"{model.cases}",
        f"{model.calls}",
        "known" if few == many else f"{few} to {many}",
        "unknown" if model.flops is None else f"{model.flops / 1e15:.3g}",
        "unknown" if model.moved is None else f"{model.moved / 1e12:.3g}",
        f"{model.device / 1e9:.2f}",
        f"{model.host / 1e9:.2f}",
        f"{model.disk / 1e6:.1f}",
        _time(model.seconds),
    )


def _time(seconds: float) -> str:
    return f"{seconds / 3600:.2f} h" if seconds >= 3600 else f"{seconds:.1f} s"


def _shares(run: Simulated) -> str:
    return ", ".join(f"{stage} {run.share[stage]:.0%}" for stage in STAGES)


def _table(head: Sequence[str], rows: Sequence[Line]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", "| --- " * len(head) + "|"]
    return [*lines, *(f"| {' | '.join(row)} |" for row in rows)]
