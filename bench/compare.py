"""Two files of the bench side by side: what became more or less, by how much, and whether it is more than the noise."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from umd_engine.bench.figures import KINDS, SAME_MACHINE, Figure, Name, Run, read
from umd_engine.bench.floor.table import seconds
from umd_engine.bench.interval import BAND, CONFIDENCE, ENOUGH, Interval
from umd_engine.errors import OptionError

SCHEMA = 1
KIND = "umd-engine comparison"
ABSENT = "absent"
NO_DIFFERENCE = "no significant difference"
VERDICTS = {"s": ("faster", "slower"), "B": ("smaller", "larger"), "J": ("less", "more")}
RULE = (
    f"{CONFIDENCE:.0%} intervals: of {ENOUGH} samples a side or more by bootstrap of the medians, of fewer and of "
    f"unstable ones what the spreads allow, of single figures and few windows at least {BAND:.0%} either way"
)


@dataclass(frozen=True)
class Change:
    """One figure of both files.

    Attributes:
        name: what of which row, e.g. ("distance", "256x256x300", "cpu", "time"). unit: "s", "B" or "J".
        interval: of after over before; None where one has no figure.
        note: why there is none, or what keeps it from being taken at its word.
        state: "unstable" on a side; "gone": there was a figure, and none is now; "red": a check or the run fails now
            that did not; or "".
    """

    name: Name
    unit: str
    before: float | None
    after: float | None
    interval: Interval | None = None
    note: str = ""
    state: str = ""

    @property
    def ours(self) -> bool:
        """What another library takes is shown, and no regression."""
        return not any(part.startswith("peer:") for part in self.name)

    @property
    def verdict(self) -> str:
        """ "faster", "slower" and the like, or "no significant difference" where the interval holds 1; "" without."""
        if self.interval is None:
            return ""
        return VERDICTS[self.unit][self.interval.ratio > 1] if self.interval.different else NO_DIFFERENCE


@dataclass(frozen=True)
class Comparison:
    """Two files.

    Attributes:
        unlike: what differs of machine and protocol. differs: of the code, which is what one compares.
    """

    unlike: tuple[str, ...]
    differs: tuple[str, ...]
    changes: tuple[Change, ...]

    def worse(self, above: float) -> list[Change]:
        """Figures of ours whose whole interval lies above that ratio, and those that are red now."""
        ours = [one for one in self.changes if one.ours]
        return [one for one in ours if one.state == "red" or (one.interval and one.interval.low > above)]

    def open(self, above: float) -> list[Change]:
        """The others of ours that say nothing for sure: unstable ones, and those that are gone."""
        worse = self.worse(above)
        return [one for one in self.changes if one.ours and one.state and one not in worse]


def compare(before: Path, after: Path, unlike: bool = False) -> Comparison:
    """Hold two reports, or two profiles, side by side.

    Args:
        unlike: also those of unlike machines or protocols.

    Raises:
        OptionError: a report and a profile; or unlike machines or protocols, and `unlike` is not set.
        DataError: a file that is neither.
    """
    first, second = read(before), read(after)
    where = f"{before} and {after}"
    if first.kind != second.kind:
        mend = "compare two of `bench`, or two of `bench kernels` and the like"
        raise OptionError(f"{KINDS[first.kind]} and {KINDS[second.kind]}", where=where, mend=mend)
    found = tuple(unlikeness(first, second))
    if found and not unlike:
        mend = "--unlike compares them all the same, and says so"
        raise OptionError(f"measured unlike: {'; '.join(found)}", where=where, mend=mend)
    return Comparison(found, tuple(_differing(first.code, second.code)), tuple(changes(first, second)))


def unlikeness(first: Run, second: Run) -> Iterator[str]:
    """What of machine and protocol differs, "cpu: A, B"; of models that both have."""
    yield from _differing(*({name: run.machine.get(name) for name in SAME_MACHINE} for run in (first, second)))
    shared = [name for name in first.protocol if name in second.protocol]
    yield from _differing(*({name: run.protocol[name] for name in shared} for run in (first, second)))


def _differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> Iterator[str]:
    for name in {**one, **other}:
        if one.get(name) != other.get(name):
            yield f"{name}: {one.get(name)}, {other.get(name)}"


def changes(first: Run, second: Run) -> Iterator[Change]:
    """Every figure of either, in the order of the first."""
    for name in {**first.figures, **second.figures}:
        yield _change(name, first.figures.get(name), second.figures.get(name))


def _change(name: Name, before: Figure | None, after: Figure | None) -> Change:
    there = before or after
    assert there is not None
    old, new = before or replace(there, value=None, status=ABSENT), after or replace(there, value=None, status=ABSENT)
    found = Change(name, there.unit, old.value, new.value)
    places = ((old, "first"), (new, "second"))
    if missing := [f"{figure.status} in the {place}" for figure, place in places if figure.value is None]:
        state = "red" if new.red and not old.red else "gone" if old.value is not None else ""
        return replace(found, note=", ".join(missing), state=state)
    if old.of != new.of:
        return replace(found, note=f"of other shapes: {old.of}, {new.of}", state="gone")
    note = ", ".join(f"{figure.shaky} in the {place}" for figure, place in places if figure.shaky)
    interval = old.to(new)
    if interval is None:
        return replace(found, note="0 in the first")
    return replace(found, interval=interval, note=note, state="" if old.stable and new.stable else "unstable")


def as_line(change: Change) -> str:
    """One line."""
    name = ", ".join(change.name)
    interval, note = change.interval, f" ({change.note})" if change.note else ""
    if interval is None or change.before is None or change.after is None:
        return f"{name}: {change.note}"
    said = [_quantity(value, change.unit) for value in (change.before, change.after)]
    return (
        f"{name}: {said[0]} -> {said[1]}, {interval.ratio:.3g}x ({interval.low:.3g} to {interval.high:.3g}), "
        f"{change.verdict}{note}"
    )


def _quantity(value: float, unit: str) -> str:
    return seconds(value) if unit == "s" else f"{value / 1e6:.3g} MB" if unit == "B" else f"{value:.3g} J"


def perform(before: Path, after: Path, unlike: bool, above: float | None, as_json: bool) -> int:
    """Print a comparison. The exit status: 1 where `above` is given and a figure is surely above it, or red now."""
    found = compare(before, after, unlike)
    worse, left = ([], []) if above is None else (found.worse(above), found.open(above))
    if as_json:
        print(json.dumps(_content(found, above, worse, left), indent=1))
    else:
        _tell(found)
    for one in left:
        print(f"not shown: {as_line(one)}", file=sys.stderr)
    for one in worse:
        print(f"RED {as_line(one)}", file=sys.stderr)
    return int(bool(worse))


def _tell(found: Comparison) -> None:
    for line in found.unlike:
        print(f"unlike: {line}")
    for line in found.differs:
        print(f"differs: {line}")
    mark = " [unlike]" if found.unlike else ""
    for change in found.changes:
        print(f"{as_line(change)}{mark}")
    print(RULE)


def _content(found: Comparison, above: float | None, worse: list[Change], left: list[Change]) -> dict[str, Any]:
    said = [{"verdict": one.verdict, "worse": one in worse, "open": one in left} for one in found.changes]
    return {
        "kind": KIND,
        "schema": SCHEMA,
        "rule": RULE,
        "unlike": found.unlike,
        "differs": found.differs,
        "fail_above": above,
        "changes": [{**asdict(one), **more} for one, more in zip(found.changes, said, strict=True)],
    }
