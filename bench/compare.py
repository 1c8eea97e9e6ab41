"""Two reports side by side: what became faster or slower, by how much, and whether that is more than the noise."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from umd_engine.bench.floor.report import Report, Row, load
from umd_engine.bench.floor.table import seconds
from umd_engine.errors import OptionError

SAME_MACHINE = ("cpu", "cores", "threads", "device")  # what seconds depend on; packages are flagged, not refused
Key = tuple[str, str, str]


@dataclass(frozen=True)
class Change:
    """One entry of both reports.

    Attributes:
        ratio: seconds after over seconds before, 1.2 is slower by a fifth; None where one has no figure.
        low: the least that the spreads of both allow; with `high` the most.
        note: what keeps the ratio from being taken at its word.
    """

    key: Key
    before: float | None
    after: float | None
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    note: str = ""

    @property
    def verdict(self) -> str:
        """ "faster", "slower", or "same" where the spreads overlap; "" without a ratio."""
        if self.ratio is None or self.low is None or self.high is None:
            return ""
        return "faster" if self.high < 1 else "slower" if self.low > 1 else "same"


def compare(before: Path, after: Path, unlike: bool = False) -> Iterator[str]:
    """Lines: what differs between both runs, then one an entry.

    Args:
        unlike: compare runs of unlike machines too; each line of theirs says so.

    Raises:
        OptionError: the machines are unlike and `unlike` is not set.
        DataError: a file that is not a report.
    """
    first, second = load(before), load(after)
    machines = unlike_machines(first, second)
    if machines and not unlike:
        raise OptionError(
            f"measured on unlike machines: {'; '.join(machines)}",
            where=f"{before} and {after}",
            mend="--unlike compares them all the same, and says so",
        )
    yield from (f"unlike machines: {line}" for line in machines)
    yield from (f"differs: {line}" for line in unlike_code(first, second))
    mark = " [unlike machines]" if machines else ""
    yield from (f"{as_line(change)}{mark}" for change in changes(first, second))


def unlike_machines(first: Report, second: Report) -> list[str]:
    """What of the machines differs, "cpu: A, B"."""
    pairs = ((name, first.machine.get(name), second.machine.get(name)) for name in SAME_MACHINE)
    return [f"{name}: {one}, {other}" for name, one, other in pairs if one != other]


def unlike_code(first: Report, second: Report) -> list[str]:
    """What of the code, the packages under it and the rule differs."""
    pairs = [(name, getattr(first, name), getattr(second, name)) for name in ("version", "commit", "baseline", "rule")]
    pairs.append(("python", first.machine.get("python"), second.machine.get("python")))
    one, other = first.machine.get("packages", {}), second.machine.get("packages", {})
    pairs += [(name, one.get(name), other.get(name)) for name in sorted({*one, *other})]
    return [f"{name}: {a}, {b}" for name, a, b in pairs if a != b]


def changes(first: Report, second: Report) -> list[Change]:
    """Every entry of either, in the order of the first."""
    before, after = _by_key(first), _by_key(second)
    return [_change(key, before.get(key), after.get(key)) for key in {**before, **after}]


def as_line(change: Change) -> str:
    """One line."""
    op, case, implementation = change.key
    name = f"{op}, {case}, {implementation}"
    if change.ratio is None:
        return f"{name}: {change.note}"
    note = f" ({change.note})" if change.note else ""
    return (
        f"{name}: {seconds(change.before or 0)} -> {seconds(change.after or 0)}, {change.ratio:.3g}x the time "
        f"({change.low:.3g} to {change.high:.3g}), {change.verdict}{note}"
    )


def _by_key(report: Report) -> dict[Key, Row]:
    return {(row.op, row.case, row.implementation): row for row in report.rows}


def _change(key: Key, before: Row | None, after: Row | None) -> Change:
    if before is None or after is None:
        return Change(key, None, None, note="only in the second" if before is None else "only in the first")
    one, other = before.timing, after.timing
    if one is None or other is None:
        why = [
            f"{row.status} in the {place}" for row, place in ((before, "first"), (after, "second")) if not row.timing
        ]
        return Change(key, None, None, note=", ".join(why))
    shaky = [place for timing, place in ((one, "first"), (other, "second")) if not timing.stable]
    note = f"unstable in the {' and the '.join(shaky)}" if shaky else ""
    ratios = (other.median / one.median, other.low / one.high, other.high / one.low)
    return Change(key, one.median, other.median, *ratios, note=note)
