"""Units as dots below what the machine allows, as a picture of a page."""

from __future__ import annotations

from collections.abc import Sequence

from umd_engine.bench.profile.charts import COLOURS, FAINT, INK, Chart, Trace, log_axis, text_of
from umd_engine.bench.profile.result import Ceilings, Profile, UnitRow
from umd_engine.bench.profile.told import roof, three, unit_of
from umd_engine.data.words import short

# one a size of batch, the last for all larger ones
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
SIGNS = "●■◆▲✚★"


def roofline(profile: Profile, rows: Sequence[UnitRow]) -> Chart | None:
    """Units as dots below what the device allows: a slope that memory sets, and a roof for each precision."""
    dots = [row for row in rows if row.flop_s and row.intensity and row.device == rows[0].device]
    if not dots:
        return None
    ceilings = profile.ceilings.get(dots[0].device, Ceilings())
    roofs = {p: rate for p in dict.fromkeys((*ceilings.product, *ceilings.conv)) if (rate := roof(ceilings, p))}
    left, right = _span(dots, ceilings, roofs)
    data = [*_ceiling_lines(ceilings, roofs, left, right), *_dots(dots)]
    layout = {
        "showlegend": False,
        "xaxis": {"title": {"text": "FLOP for each byte moved"}, **log_axis(data, "x", short)},
        "yaxis": {"title": {"text": "FLOP/s"}, **log_axis(data, "y", short)},
    }
    told = "; ".join(f"{unit_of(row)} at batch {row.batch}: {short(row.flop_s or 0)}FLOP/s" for row in dots)
    shapes = ", ".join(f"{SIGNS[place]} of {batch}" for place, batch in enumerate(_batches(dots)[: len(SIGNS)]))
    note = f"A dot is a unit on a batch ({shapes}). Lines: what this machine was seen to reach."
    return Chart("How near it comes to what the machine can do", note, told, 380, data, layout)


def _span(dots: Sequence[UnitRow], ceilings: Ceilings, roofs: dict[str, float]) -> tuple[float, float]:
    """FLOP a byte from left of every dot and ridge to right of them."""
    found = [row.intensity for row in dots if row.intensity]
    if ceilings.copy:
        found += [rate / ceilings.copy / 1e9 for rate in roofs.values()]
    return min(found) / 4, max(found) * 6


def _ceiling_lines(ceilings: Ceilings, roofs: dict[str, float], left: float, right: float) -> list[Trace]:
    lines = []
    slope = ceilings.copy * 1e9 if ceilings.copy else None
    if slope:
        end = max(roofs.values()) / slope if roofs else right
        lines.append(_line([left, end], [left * slope, end * slope], f"memory: {three(ceilings.copy)} GB/s", 0))
    for precision, rate in roofs.items():
        start = rate / slope if slope else left
        lines.append(_line([start, right], [rate, rate], f"{text_of(precision)}: {short(rate)}FLOP/s", 1))
    return lines


def _line(x: list[float], y: list[float], name: str, labelled: int) -> Trace:
    """A line with its name at one of its ends."""
    text = ["", ""]
    text[labelled] = name
    return {
        "type": "scatter",
        "mode": "lines+text",
        "x": x,
        "y": y,
        "text": text,
        "textposition": ["bottom right", "top left"],
        "textfont": {"color": INK},
        "line": {"color": FAINT, "width": 2},
        "hoverinfo": "skip",
        "cliponaxis": False,
    }


def _dots(rows: Sequence[UnitRow]) -> list[Trace]:
    batches, data = _batches(rows), []
    for number, unit in enumerate(dict.fromkeys(unit_of(row) for row in rows)):
        same = [row for row in rows if unit_of(row) == unit]
        best = max(same, key=lambda row: row.flop_s or 0)
        data.append(
            {
                "type": "scatter",
                "mode": "lines+markers+text",
                "name": text_of(unit),
                "x": [row.intensity for row in same],
                "y": [row.flop_s for row in same],
                "text": [text_of(unit) if row is best else "" for row in same],
                "textposition": "middle right" if number % 2 else "middle left",
                "textfont": {"color": INK},
                "hovertext": [f"{text_of(unit)} x{row.batch}: {short(row.flop_s or 0)}FLOP/s" for row in same],
                "hoverinfo": "text",
                "line": {"color": COLOURS[number % len(COLOURS)], "width": 1},
                "marker": {
                    "size": 11,
                    "color": COLOURS[number % len(COLOURS)],
                    "symbol": [SYMBOLS[min(batches.index(row.batch), len(SYMBOLS) - 1)] for row in same],
                },
            }
        )
    return data


def _batches(rows: Sequence[UnitRow]) -> list[int]:
    return sorted({row.batch for row in rows})
