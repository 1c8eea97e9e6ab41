"""A panel's rows: an organ's means, a marker a modality, and a line from each structural image to PET."""

from __future__ import annotations

import math

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from umd_engine.evaluation.gaps import FUNCTIONAL
from umd_engine.evaluation.tables import OrganRow, Table
from umd_engine.evaluation.wording import metric_title, plain

# Okabe and Ito's colours, told apart by the colour-blind; the shapes do too
LOOKS = {"ct": ("#0072B2", "o"), "mr": ("#009E73", "s"), "pet": ("#D55E00", "D")}
OTHER = ("#555555", "^")
INK, GREY, PALE = "#222222", "#8a8a8a", "#f3f3f3"
BODY, SMALL, TINY = 8.5, 7.5, 6.5  # points
LIMITS = (-0.2, 1.2)  # room for the figures beside markers at 0 and 1


def shown_modality(modality: str) -> str:
    return plain(modality).upper()


def draw_frame(axes: Axes, table: Table) -> None:
    rows = len(table.rows)
    axes.set_xlim(*LIMITS)
    axes.set_ylim(-0.5, rows - 0.5)
    axes.set_yticks([])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], labels=["0", "", "0.5", "", "1"])
    axes.tick_params(axis="x", labelsize=SMALL, color=GREY, labelcolor=INK, length=2.5)
    axes.set_xlabel(f"Mean {metric_title(table.metric)}", fontsize=SMALL, color=INK, labelpad=2)
    for side in ("left", "right", "top"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set(color=GREY, bounds=(0, 1))
    for y in range(0, rows, 2):
        axes.axhspan(y - 0.5, y + 0.5, color=PALE, linewidth=0, zorder=0)
    axes.vlines([0, 0.25, 0.5, 0.75, 1], -0.5, rows - 0.5, color="#d8d8d8", linewidth=0.5, zorder=1)
    axes.axhline(0.5, color=GREY, linewidth=0.8, zorder=2)  # above the average


def draw_row(axes: Axes, y: float, row: OrganRow, number: int) -> None:
    """An organ of a model: its means, from each structural one a line to PET."""
    means = {line.modality: line.cells[number].mean for line in row.lines}
    shown = {name: mean for name, mean in means.items() if not math.isnan(mean)}
    if not shown:
        axes.barh(
            y, 1, left=0, height=0.62, facecolor="none", edgecolor="#b0b0b0", hatch="/////", linewidth=0, zorder=3
        )
        axes.text(0.5, y, "-", size=BODY, color=INK, ha="center", va="center", zorder=4)
        return
    for name, mean in shown.items():
        if name != FUNCTIONAL and FUNCTIONAL in shown:
            axes.plot(
                [mean, shown[FUNCTIONAL]], [y, y], color="#a8a8a8", linewidth=2.2, solid_capstyle="butt", zorder=3
            )
    for name, mean in shown.items():
        colour, shape = LOOKS.get(name, OTHER)
        axes.plot(
            [mean], [y], shape, color=colour, markersize=4.6, markeredgecolor="white", markeredgewidth=0.4, zorder=5
        )
    _figures(axes, y, shown)
    if missing := [shown_modality(name) for name in means if name not in shown]:
        at, side = (0.0, "left") if min(shown.values()) > 0.5 else (1.0, "right")
        axes.text(at, y, f"no {', '.join(missing)}", size=TINY, color=GREY, ha=side, va="center_baseline")


def _figures(axes: Axes, y: float, shown: dict[str, float]) -> None:
    """The lowest mean to the left of its marker, the highest to the right."""
    ordered = sorted(shown, key=shown.__getitem__)
    ends = [(ordered[-1], 0.045, "left")] + [(ordered[0], -0.045, "right")] * (len(ordered) > 1)
    for name, away, side in ends:
        colour, _ = LOOKS.get(name, OTHER)
        text = f"{shown[name]:.2f}"
        axes.text(shown[name] + away, y, text, size=TINY, color=colour, ha=side, va="center_baseline", zorder=6)


def marker(modality: str) -> Line2D:
    colour, shape = LOOKS.get(modality, OTHER)
    return Line2D([], [], color=colour, marker=shape, linestyle="none", markersize=5, label=shown_modality(modality))
