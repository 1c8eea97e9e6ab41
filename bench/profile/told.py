"""What a row of a profile says beside its figures: its marks, and its share of the machine's ceilings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from umd_engine.bench.floor.table import machine
from umd_engine.bench.profile.result import SURE_OF_P99, UNSTABLE, Ceilings, Latency, Profile, ScanRow, UnitRow

Row = UnitRow | ScanRow
NONE = "-"
MARKS = {
    "emulated": "the device does not compute in this precision: operators cast to fp32 and back",
    "scaled": "a smaller network or input ran in its place, and figures are of that; x8: its own has 8 times the FLOPs",
    "unstable": "no three windows in a row agreed within 5 %; x1.2: the slowest call took 1.2 times the fastest",
    "timed once": "one call took all the time that there was; how much calls differ is not known",
    "bimodal": "the calls fall into two groups; p50 may describe neither",
}


def rows_of(profile: Profile) -> tuple[Row, ...]:
    return (*profile.units, *profile.scans)


def unit_of(row: Row, unit: str = "") -> str:
    """The name of its unit, or of `unit`, without that of the model, which units carry too."""
    return (row.unit if isinstance(row, UnitRow) else unit).removeprefix(f"{row.model}.")


def latency_of(row: Row) -> Latency | None:
    return row.latency if isinstance(row, UnitRow) else row.seconds


def marks(row: Row) -> list[str]:
    """What keeps a row's figures from being taken at their word."""
    latency = latency_of(row)
    found = ["emulated"] if row.emulated else []
    if row.scaled != 1:
        found.append(f"scaled x{three(row.scaled)}")
    if latency and row.status == UNSTABLE:
        several = len(latency.samples) > 1
        found.append(f"unstable x{three(max(latency.samples) / min(latency.samples))}" if several else "timed once")
    if latency and latency.bimodal:
        found.append("bimodal")
    return found


def legend(profile: Profile) -> dict[str, str]:
    """What the marks that occur mean, and the blanks."""
    rows = rows_of(profile)
    occur = [mark for row in rows for mark in marks(row)]
    told = {name: text for name, text in MARKS.items() if any(mark.startswith(name) for mark in occur)}
    if any(row.computed is not None for row in profile.scans):
        told["computed"] = "windows that a network computed; the others repeat an answer and count as long as those"
    if any(latency.p99 is None for row in rows if (latency := latency_of(row))):
        told["p99"] = f"only from {SURE_OF_P99} calls on"
    return {**told, NONE: "not known here"}


def in_place(profile: Profile) -> Iterator[str]:
    """What ran in place of which units and scans, "a reduced network: nnunet"; a model alone: all that it has here."""
    reasons: dict[str, dict[str, list[str]]] = {}
    for row in rows_of(profile):
        if latency_of(row) and row.scaled != 1:
            what = unit_of(row) if isinstance(row, UnitRow) else "scan"
            reasons.setdefault(row.reason, {}).setdefault(row.model, []).append(what)
    for reason, models in reasons.items():
        alone = {
            model for model in models if not any(model in other for why, other in reasons.items() if why != reason)
        }
        named = (m if m in alone else f"{m} ({', '.join(dict.fromkeys(units))})" for m, units in models.items())
        yield f"{reason}: {', '.join(named)}"


def without_figure(profile: Profile) -> Iterator[tuple[str, str, str]]:
    """Name, status and reason of every row that has no latency."""
    for row in rows_of(profile):
        if latency_of(row) is None:
            what = unit_of(row) if isinstance(row, UnitRow) else "scan"
            yield f"{row.model}, {what}, batch {row.batch} ({way(row)})", row.status, row.reason


def way(row: Row) -> str:
    """How it was run: "torch, fp32, cpu"."""
    return f"{row.backend}, {row.precision}, {row.device}"


def computed_in(row: UnitRow) -> str:
    """The precision whose ceiling is the row's."""
    return "fp32" if row.emulated else row.precision


def roof(ceilings: Ceilings | None, precision: str) -> float | None:
    """FLOP/s: the most that the device was seen to reach, by a product or a convolution."""
    if ceilings is None:
        return None
    return max((rates[precision] for rates in (ceilings.product, ceilings.conv) if precision in rates), default=None)


def compute_share(profile: Profile, row: UnitRow) -> float | None:
    """Of the device's FLOP/s."""
    most = roof(profile.ceilings.get(row.device), computed_in(row))
    return row.flop_s / most if row.flop_s and most else None


def copy_share(profile: Profile, row: UnitRow) -> float | None:
    """Of the device's rate of copying; above 1 where data stays in caches."""
    ceilings = profile.ceilings.get(row.device)
    return row.gb_s / ceilings.copy if row.gb_s and ceilings and ceilings.copy else None


def heading(profile: Profile) -> tuple[str, str]:
    """On what it was measured, and with what."""
    made = profile.made[:16].replace("T", " ")
    return machine(profile.machine), f"version {profile.version}, commit {profile.commit or 'unknown'}, {made} UTC"


def state(profile: Profile) -> str:
    """How the run found the device and left it."""
    found = profile.state
    pairs = (("clock", found.clock, "MHz"), ("temperature", found.temperature, "°C"), ("power", found.power, "W"))
    told = [f"{name} {pair[0]:.0f} to {pair[1]:.0f} {unit}" for name, pair, unit in pairs if pair]
    if found.others is not None:
        told.append(f"processes of others on the device: {found.others}")
    if found.load is not None:
        told.append(f"load of the host {found.load:.2f}")
    return ", ".join(told) or "not told"


def shares(figures: Mapping[str, float]) -> dict[str, float]:
    """Parts of their sum, the largest first."""
    whole = sum(figures.values())
    return {name: figures[name] / whole for name in sorted(figures, key=figures.__getitem__, reverse=True) if whole > 0}


def three(value: float | None) -> str:
    """Three figures; from 1000 on whole numbers with commas."""
    if value is None:
        return NONE
    if abs(value) >= 999.5:
        return f"{value:,.0f}"
    return f"{value:.3g}" if abs(value) >= 0.001 or value == 0 else f"{value:.1e}"


def percent(value: float | None) -> str:
    """Whole percents; a tenth below one."""
    return NONE if value is None else f"{value:.0%}" if value >= 0.01 else f"{value:.1%}"
