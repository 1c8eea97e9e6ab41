"""A profile in short: what binds each model's scan and how near that is to the machine's ceilings; what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from umd_engine.bench.floor.table import seconds
from umd_engine.bench.profile.grids import Grid
from umd_engine.bench.profile.result import RED, Profile, ScanRow, UnitRow
from umd_engine.bench.profile.told import (
    NONE,
    compute_share,
    copy_share,
    latency_of,
    percent,
    rows_of,
    shares,
    unit_of,
    without_figure,
)
from umd_engine.data.words import counted

COLUMNS = ("model", "a scan", "mostly", "busiest network", "computes", "copies")
CAPTION = (
    "Where a scan's time goes, and how near its busiest network comes to the best rates of this machine: below half of "
    "both, neither computing nor copying binds it."
)
SMALLER = "*"


@dataclass(frozen=True)
class Sentence:
    """Attributes:
    about: what of the profile it is.
    """

    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.about}: {self.text}"


def glance(profile: Profile) -> Iterator[Grid]:
    """A line a model, if anything has a figure."""
    models = dict.fromkeys(row.model for row in rows_of(profile) if latency_of(row))
    if rows := tuple(_line(profile, model) for model in models):
        smaller = f" {SMALLER}: a smaller network or input ran in its place."
        caption = CAPTION + (smaller if any(row[1].endswith(SMALLER) for row in rows) else "")
        yield Grid("In short", caption, COLUMNS, rows)


def _line(profile: Profile, model: str) -> tuple[str, ...]:
    units = [row for row in profile.units if row.model == model and row.latency]
    scan = next((row for row in profile.scans if row.model == model and row.seconds), None)
    took = mostly = NONE
    if scan is not None and scan.seconds is not None:
        took = seconds(scan.seconds.p50) + SMALLER * (scan.scaled != 1)
        mostly = " ".join(f"{stage} {share:.0%}" for stage, share in list(shares(scan.stages).items())[:1])
    name, unit = _busiest(scan, units)
    rates = (compute_share(profile, unit), copy_share(profile, unit)) if unit else (None, None)
    return (model, took, mostly, name, *map(percent, rates))


def _busiest(scan: ScanRow | None, units: Sequence[UnitRow]) -> tuple[str, UnitRow | None]:
    """The network in which a scan is the longest, with its row of the batch nearest to the scan's; without a scan
    that of the most FLOPs."""
    if scan is None or not scan.forward:
        found = max(units, key=lambda row: (row.flops or 0, row.windows_s or 0), default=None)
        return (unit_of(found) if found else NONE), found
    name = max(scan.forward, key=scan.forward.__getitem__)
    same = [row for row in units if row.unit == name]
    return unit_of(scan, name), min(same, key=lambda row: abs(row.batch - scan.batch), default=None)


def summary(profile: Profile) -> list[Sentence]:
    """What to know before the figures are believed."""
    return [*_warnings(profile), *_weights(profile)]


def _warnings(profile: Profile) -> Iterator[Sentence]:
    if not profile.complete:
        yield Sentence("Interrupted", "what was measured until then is here, the rest is not.")
    absent = list(without_figure(profile))
    if red := [f"{name} ({reason})" for name, status, reason in absent if status in RED]:
        yield Sentence("Failed, so without a figure", f"{'; '.join(red)}.")
    if others := len(absent) - len(red):
        yield Sentence("Not measured here", f"{counted(others, 'row')}; the reasons are listed with them.")
    if profile.asked.get("quick"):
        yield Sentence("A quick look", "reduced networks, short windows. Compare its rows with each other, quote none.")


def _weights(profile: Profile) -> Iterator[Sentence]:
    bare = [name for name, told in profile.weights.items() if told == "stand-in"]
    if bare and any(map(latency_of, rows_of(profile))):
        told = f"{', '.join(bare)}. Time and memory do not depend on what weights are; accuracy is not told."
        yield Sentence("Stand-in weights", told)
