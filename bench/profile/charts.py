"""The pictures of a page, as Plotly's traces and layouts; text is escaped, as Plotly reads a kind of HTML.

Colours are of the page's theme: INK, FAINT and STRONG stand for those of the reader's light or dark page.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from html import escape
from itertools import cycle
from typing import Any

from umd_engine.bench.floor.table import seconds
from umd_engine.bench.profile.result import ScanRow, UnitRow
from umd_engine.bench.profile.told import shares, three, unit_of, way
from umd_engine.data.words import short

# Okabe and Ito's colours, told apart by the colour-blind, on white and on black; the last is not theirs
INK, FAINT, STRONG = "@ink", "@faint", "@strong"
COLOURS = (STRONG, "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#999999")
# in the order of a run: colour, and a pattern where two stages share one
STAGES = {
    **{"read": ("#0072B2", ""), "decode": ("#56B4E9", ""), "transfer": ("#CC79A7", ""), "prepare": ("#E69F00", "")},
    **{"forward": ("#009E73", ""), "accumulate": ("#999999", ""), "finish": ("#D55E00", "")},
    **{"resample": ("#0072B2", "/"), "metrics": ("#E69F00", "x"), "store": ("#999999", ".")},
}
ABOVE = {"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}  # a legend's place
MOST_POINTS = 300  # that a row shows one by one; of more the outline alone
OUTLINED = 8  # calls, below which quartiles say nothing: dots alone
ROW = 34  # pixels
Trace = dict[str, Any]


@dataclass(frozen=True)
class Chart:
    """Attributes:
    note: how to read it. told: what it shows, for those who do not see it. height: pixels.
    """

    title: str
    note: str
    told: str
    height: int
    data: list[Trace]
    layout: dict[str, Any] = field(default_factory=dict)


def stage_bars(rows: Sequence[ScanRow]) -> Chart | None:
    """A bar a scan, its stages as parts of their sum."""
    measured = [row for row in rows if row.stages]
    if not measured:
        return None
    seen = [stage for stage in STAGES if any(stage in row.stages for row in measured)]
    layout = {
        "barmode": "stack",
        "xaxis": {"range": [0, 100], "ticksuffix": " %"},
        "yaxis": {"autorange": "reversed"},
        "legend": {**ABOVE, "traceorder": "normal"},
        "bargap": 0.35,
        "uniformtext": {"mode": "hide", "minsize": 10},
    }
    told = "; ".join(f"{row.model}: {_largest(row)}" for row in measured)
    note = "Each stage's share of the time of all stages, in the order of a run."
    data = [_stage_bar(measured, stage) for stage in seen]
    return Chart("Where a scan's time goes", note, told, 170 + 2 * ROW * len(measured), data, layout)


def latencies(rows: Sequence[UnitRow]) -> Chart | None:
    """A line a unit and batch: each call and, of enough of them, the box of its quartiles."""
    measured = [(row, row.latency) for row in rows if row.latency]
    if not measured:
        return None
    several = len({way(row) for row, _ in measured}) > 1
    names = [f"{unit_of(row)} x{row.batch}" + (f" ({way(row)})" if several else "") for row, _ in measured]
    data = [_calls(name, latency.samples) for name, (_, latency) in zip(names, measured, strict=True)]
    layout = {
        "showlegend": False,
        "xaxis": {"title": {"text": "milliseconds of a call"}, **log_axis(data, "x", three)},
        "yaxis": {"autorange": "reversed"},
    }
    note = "A dot is a call of a unit on a batch (x4: of 4); the box holds the middle half, its line is the median."
    told = "; ".join(
        f"{name}: median {seconds(latency.p50)}" for name, (_, latency) in zip(names, measured, strict=True)
    )
    return Chart("How long its calls take", note, told, 110 + ROW * len(data), data, layout)


def memory(rows: Sequence[ScanRow]) -> Chart | None:
    """Bytes in use while a scan ran."""
    measured = [row for row in rows if row.timeline]
    if not measured:
        return None
    data = []
    for colour, row in zip(cycle(COLOURS), measured):
        name = text_of(row.scan)
        data.append(_bytes(f"host, {name}", row, [moment.host for moment in row.timeline], colour, "solid"))
        if any(moment.device is not None for moment in row.timeline):
            data.append(_bytes(f"device, {name}", row, [moment.device for moment in row.timeline], colour, "dash"))
    layout = {
        "xaxis": {"title": {"text": "seconds since the scan began"}, "rangemode": "tozero"},
        "yaxis": {"title": {"text": "bytes in use"}, "tickformat": "~s", "ticksuffix": "B", "rangemode": "tozero"},
        "showlegend": True,
        "legend": ABOVE,
    }
    told = "; ".join(f"{row.scan}: at most {short(max(m.host for m in row.timeline))}B" for row in measured)
    note = "Bytes in use by the process, weights and libraries included."
    return Chart("Memory while a scan runs", note, told, 300, data, layout)


def _stage_bar(rows: Sequence[ScanRow], stage: str) -> Trace:
    """One stage in the bars of all scans."""
    colour, pattern = STAGES[stage]
    parts = [100 * shares(row.stages).get(stage, 0.0) for row in rows]
    several = len({row.model for row in rows}) < len(rows)
    return {
        "type": "bar",
        "orientation": "h",
        "name": stage,
        "y": [text_of(row.model + (f", {row.scan} ({way(row)})" if several else "")) for row in rows],
        "x": parts,
        "text": [f"{stage} {part:.0f} %" if part >= 12 else "" for part in parts],
        "hovertext": [_stage(row, stage) for row in rows],
        "hoverinfo": "text",
        "textposition": "inside",
        "insidetextanchor": "middle",
        "textangle": 0,
        "insidetextfont": {"color": "#ffffff" if colour == "#0072B2" else "#000000"},
        "marker": {
            "color": colour,
            "pattern": {"shape": pattern, "bgcolor": colour, "fgcolor": "#ffffff", "size": 6},
        },
    }


def _calls(name: str, samples: Sequence[float]) -> Trace:
    outlined = len(samples) >= OUTLINED
    return {
        "type": "box",
        "orientation": "h",
        "name": text_of(name),
        "x": [1000 * sample for sample in samples],
        "boxpoints": "all" if len(samples) <= MOST_POINTS else False,
        "jitter": 0.5,
        "pointpos": 0,
        "marker": {"size": 4, "opacity": 0.55, "color": STRONG},
        "line": {"color": STRONG, "width": 1.5 if outlined else 0},
        "fillcolor": "rgba(86,180,233,0.2)" if outlined else "rgba(0,0,0,0)",
        "hoverinfo": "x",
    }


def _bytes(name: str, row: ScanRow, values: Sequence[int | None], colour: str, dash: str) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": [moment.seconds for moment in row.timeline],
        "y": values,
        "line": {"color": colour, "dash": dash, "width": 2, "shape": "hv"},
    }


def log_axis(data: Sequence[Trace], axis: str, told: Callable[[float], str]) -> dict[str, Any]:
    """A logarithmic axis with room at both ends; marked at 1, 10, 100, of few decades also at 2 and 5."""
    values = [math.log10(value) for trace in data for value in trace[axis] if value > 0]
    low, high = min(values) - 0.3, max(values) + 0.3
    steps = (1,) if high - low > 3 else (1, 2, 5)
    marked = [step * 10.0**power for power in range(math.floor(low), math.ceil(high)) for step in steps]
    return {"type": "log", "range": [low, high], "tickvals": marked, "ticktext": [told(at).strip() for at in marked]}


def _stage(row: ScanRow, stage: str) -> str:
    """What is told when a part of a bar is pointed at."""
    took = row.stages.get(stage)
    if took is None:
        return ""
    of_it = (
        [f"{text_of(unit_of(row, unit))} {seconds(spent)}" for unit, spent in row.forward.items()]
        if stage == "forward"
        else []
    )
    return "<br>".join([f"{stage} {seconds(took)}", *of_it])


def _largest(row: ScanRow) -> str:
    return ", ".join(f"{stage} {share:.0%}" for stage, share in list(shares(row.stages).items())[:3])


def text_of(name: str) -> str:
    return escape(name, quote=False)
