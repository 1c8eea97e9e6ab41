"""A profile in sentences: what is wrong, then what binds each scan and how near that is to the machine's ceilings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from umd_engine.bench.floor.table import seconds
from umd_engine.bench.profile.result import RED, Profile, ScanRow, UnitRow
from umd_engine.bench.profile.told import (
    Row,
    compute_share,
    computed_in,
    copy_share,
    latency_of,
    percent,
    roof,
    rows_of,
    shares,
    three,
    unit_of,
    way,
    without_figure,
)
from umd_engine.data.words import counted, short

NEAR = 0.5  # of a ceiling


@dataclass(frozen=True)
class Sentence:
    """Attributes:
    about: a model, or what the whole profile is.
    """

    about: str
    text: str

    def __str__(self) -> str:
        return f"{self.about}: {self.text}"


def summary(profile: Profile) -> list[Sentence]:
    """What a reader should know who reads nothing else."""
    return [*_warnings(profile), *_scans(profile), *_units(profile), *_weights(profile)]


def _warnings(profile: Profile) -> Iterator[Sentence]:
    if not profile.complete:
        yield Sentence("Interrupted", "what was measured until then is here, the rest is not.")
    absent = list(without_figure(profile))
    if red := [f"{name} ({reason})" for name, status, reason in absent if status in RED]:
        yield Sentence("Failed, so without a figure", f"{'; '.join(red)}.")
    if others := len(absent) - len(red):
        yield Sentence("Not measured here", f"{counted(others, 'row')}; the reasons are listed with them.")
    if profile.asked.get("quick"):
        yield Sentence("A quick look", "reduced units and short windows. Compare its rows with each other, quote none.")


def _scans(profile: Profile) -> Iterator[Sentence]:
    for row in profile.scans:
        if row.seconds:
            took = f"{seconds(row.seconds.p50)} for {row.scan}, {three(row.scans_h)} scans/h{_way(profile, row)}."
            yield Sentence(row.model, f"{took} {_binding(profile, row)}".strip())


def _binding(profile: Profile, row: ScanRow) -> str:
    for stage, share in shares(row.stages).items():
        if stage != "forward" or not row.forward:
            return f"{share:.0%} of its stages' time is {stage}: that binds it."
        unit, most = next(iter(shares(row.forward).items()))
        binds = f"{share:.0%} of its stages' time is forward, {most:.0%} of that in {unit_of(row, unit)}"
        return f"{binds}: that binds it. {_nearest(profile, row, unit)}"
    return ""


def _way(profile: Profile, row: Row) -> str:
    """How it was run where rows differ in that, and whether it was scaled, in brackets."""
    several = len({way(other) for other in rows_of(profile)}) > 1
    told = [way(row)] * several + ["scaled"] * (row.scaled != 1)
    return f" ({', '.join(told)})" if told else ""


def _nearest(profile: Profile, scan: ScanRow, unit: str) -> str:
    """Of the scan's unit, at the batch that is nearest to the scan's."""
    rows = [
        row for row in profile.units if row.latency and (row.model, row.unit, way(row)) == (scan.model, unit, way(scan))
    ]
    return _reached(profile, min(rows, key=lambda row: abs(row.batch - scan.batch))) if rows else ""


def _units(profile: Profile) -> Iterator[Sentence]:
    """Of every model that no scan tells of, the unit with the most FLOPs."""
    told = {row.model for row in profile.scans if row.seconds}
    rows = [row for row in profile.units if row.latency and row.model not in told]
    for model in dict.fromkeys(row.model for row in rows):
        row = max((row for row in rows if row.model == model), key=lambda row: ((row.flops or 0), row.windows_s or 0))
        rate = (
            f"{three(row.windows_s)} windows/s by {unit_of(row)} ({way(row)}{'; scaled' if row.scaled != 1 else ''})."
        )
        yield Sentence(model, f"{rate} {_reached(profile, row)}".strip())


def _reached(profile: Profile, row: UnitRow) -> str:
    most, share = roof(profile.ceilings.get(row.device), computed_in(row)), compute_share(profile, row)
    if row.flop_s is None or most is None or share is None:
        return ""
    copied = copy_share(profile, row) or 0.0
    near = "neither is near" if max(share, copied) < NEAR else f"{'copying' if copied > share else 'computing'} is near"
    return (
        f"At batch {row.batch} it computes {percent(share)} of the {computed_in(row)} ceiling "
        f"({short(row.flop_s)}FLOP/s of {short(most)}FLOP/s) and moves {percent(copied)} of the copy rate: {near}."
    )


def _weights(profile: Profile) -> Iterator[Sentence]:
    bare = [name for name, told in profile.weights.items() if told == "stand-in"]
    if bare and any(map(latency_of, rows_of(profile))):
        told = f"{', '.join(bare)}. Time and memory do not depend on what the weights are; accuracy is not told."
        yield Sentence("Stand-in weights", told)
