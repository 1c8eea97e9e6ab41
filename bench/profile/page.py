"""A profile as one HTML file that needs nothing else: no network, no other file."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from umd_engine.bench.profile import charts, grids, told
from umd_engine.bench.profile.charts import Chart
from umd_engine.bench.profile.grids import Grid
from umd_engine.bench.profile.result import Profile
from umd_engine.bench.profile.roofline import roofline
from umd_engine.bench.profile.summary import glance, summary
from umd_engine.data.atomic import atomic_file
from umd_engine.errors import OptionError

TEMPLATE = Path(__file__).with_name("page.html.jinja")
NEEDS = ("jinja2", "plotly")


@dataclass(frozen=True)
class Section:
    """What is told of one model, run in one way or more."""

    model: str
    facts: Mapping[str, str]
    charts: Sequence[Chart]
    grids: Sequence[Grid]


def check_page(path: Path) -> None:
    """That a page can be written at all, before any work.

    Raises:
        OptionError: Jinja2 or Plotly is not installed.
    """
    if missing := [name for name in NEEDS if find_spec(name) is None]:
        raise OptionError(f"pages need {' and '.join(missing)}", where=path, mend="pip install 'umd-engine[report]'")


def write_page(profile: Profile, path: Path) -> None:
    """Write the page, whole or not at all; about 5 MB, nearly all of it Plotly's script.

    Raises:
        OptionError: as `check_page`.
    """
    check_page(path)
    with atomic_file(path) as file:
        file.write(render(profile).encode())


def render(profile: Profile) -> str:
    """The page. All text of the profile is escaped."""
    from jinja2 import Environment, StrictUndefined
    from plotly.offline import get_plotlyjs

    overview = [chart for chart in (charts.stage_bars(profile.scans),) if chart]
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        heading=told.heading(profile),
        glance=list(glance(profile)),
        summary=summary(profile),
        overview=overview,
        scans=list(grids.scans(profile)),
        sections=list(_sections(profile)),
        absent=list(told.without_figure(profile)),
        in_place=list(told.in_place(profile)),
        ceilings=list(grids.ceilings(profile)),
        state=told.state(profile),
        machine=dict(_flat(profile.machine)),
        asked={name: _said(value) for name, value in profile.asked.items() if value not in (None, False)},
        rule=profile.rule,
        legend=told.legend(profile),
        plotly=get_plotlyjs(),
    )


def _sections(profile: Profile) -> Iterator[Section]:
    for model in dict.fromkeys(row.model for row in told.rows_of(profile)):
        units = [row for row in profile.units if row.model == model]
        scans = [row for row in profile.scans if row.model == model]
        pictures = (charts.latencies(units), charts.memory(scans), roofline(profile, units))
        tables = (*grids.units(profile, units), *(grids.stages(row) for row in scans if row.stages))
        yield Section(model, dict(_facts(profile, model)), [chart for chart in pictures if chart], tables)


def _facts(profile: Profile, model: str) -> Iterator[tuple[str, str]]:
    for name, known in (("weights", profile.weights), ("protocol", profile.protocol)):
        if model in known:
            yield name, known[model]


def _flat(machine: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """What the machine is, its packages as one line."""
    for name, value in machine.items():
        if value is not None:
            yield name, _said(value)


def _said(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {said}" for name, said in value.items())
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
