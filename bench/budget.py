"""Which models a small card holds: at which precision and batch, and what that costs in time. Nothing runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from umd_engine.data.atomic import atomic_file
from umd_engine.data.manifest import Modality, ScanRow, Unit
from umd_engine.engine.profiles import Profile, holding
from umd_engine.errors import UmdEngineError
from umd_engine.evaluation.cases import Settings
from umd_engine.evaluation.forecast.costs import MOVED, Derived, Spilled
from umd_engine.evaluation.forecast.forecast import Setup, forecast
from umd_engine.evaluation.forecast.needs import ASSUMED, need
from umd_engine.evaluation.forecast.planning import NO_WEIGHTS, models_of
from umd_engine.evaluation.forecast.scans import PACKED, PlannedScan
from umd_engine.evaluation.forecast.works import PlannedCase, planned_cases
from umd_engine.models.model import Model, PromptedModel
from umd_engine.models.outline import OUTLINES
from umd_engine.models.unloaded import UnloadedModel

KIND = "umd-engine budget"
BATCHES = (8, 4, 2, 1)
PRECISIONS = ("fp32", "tf32", "fp16")  # bf16 takes the bytes and, where a device has it, the time of fp16
SIMULATED = 2  # scans, one after the other as in a run
HUNDRED = 100
COLUMNS = ("model", "patch", "precision", "fits", "needs", "a scan", f"{HUNDRED} scans")


def _scan(modality: Modality, unit: Unit, shape: tuple[int, int, int], mm: tuple[float, float, float]) -> PlannedScan:
    row = ScanRow(
        cohort="budget", subject=modality, scan_id=modality, modality=modality, images=(Path("assumed"),), unit=unit,
        label=Path("assumed"), label_set="umd13",
    )  # fmt: skip
    voxel = 4 if modality == "pet" else 2
    return PlannedScan(row, shape, mm, voxel, int(PACKED * voxel * shape[0] * shape[1] * shape[2]))


# whole-body PET/CT, as the phantom has it
SCANS = (
    _scan("ct", "HU", (512, 512, 353), (0.977, 0.977, 3.0)),
    _scan("pet", "SUV", (200, 200, 353), (4.07, 4.07, 3.0)),
)


@dataclass(frozen=True)
class Fit:
    """A way to run that fits.

    Attributes:
        spilled: sums are in the host's memory. nbytes: of the device. seconds: a scan.
    """

    batch: int
    spilled: bool
    nbytes: int
    seconds: float


@dataclass(frozen=True)
class Row:
    """A model on a scan at a precision.

    Attributes:
        scan: "ct" or "pet". patch: voxels of the network's windows, or of a point model's crop.
        fit: the fastest way that fits; None: none does.
        least: bytes at batch 1, sums in the host's memory where they can be; None: unknown. reason: why.
    """

    model: str
    scan: str
    patch: tuple[int, ...]
    precision: str
    fit: Fit | None
    least: int | None
    reason: str = ""


@dataclass(frozen=True)
class Budget:
    """Attributes:
    nbytes: of the card. profile: whose speed is taken; chosen: by memory, as none was named.
    scans: what they are, in words. assumed: what the figures rest on.
    """

    nbytes: int
    profile: str
    chosen: bool
    scans: Mapping[str, str]
    rows: tuple[Row, ...]
    assumed: tuple[str, ...]
    kind: str = KIND


def perform(models: Sequence[str], nbytes: int, profile: Profile | None = None, out: Path | None = None) -> int:
    """Print the table, and write it as JSON; the exit status.

    Args:
        models: names, or NAME=PATH with a checkpoint; none: the catalogue.
        profile: whose speed is taken; None: of the nearest memory above.

    Raises:
        As `planning.models_of`.
    """
    found = budget(models, nbytes, profile)
    if out is not None:
        with atomic_file(out) as file:
            file.write((json.dumps(asdict(found), indent=1) + "\n").encode())
    show(found)
    return 0


def budget(models: Sequence[str], nbytes: int, profile: Profile | None = None) -> Budget:
    """What fits."""
    card = profile or holding(nbytes)
    loaded, bare = models_of(models or list(OUTLINES), ())
    rows = tuple(row for scan in SCANS for model in loaded for row in _rows(model, scan, nbytes, card))
    assumed = [ASSUMED, f"{card.name}: {card.source}"]
    assumed += [f"{card.described(precision)}: derived, not measured" for precision in _precisions(card)]
    assumed += [f"host: sums are in the host's memory; outputs cross the link, and the host's cores add them; {MOVED}"]
    assumed += [f"{', '.join(bare)}: {NO_WEIGHTS}"] if bare else []
    return Budget(nbytes, card.name, profile is None, dict(map(_told, SCANS)), rows, tuple(assumed))


def _told(scan: PlannedScan) -> tuple[str, str]:
    shape, mm = ("x".join(f"{n:g}" for n in line) for line in (scan.shape, scan.spacing))
    return scan.row.modality, f"{scan.row.modality.upper()} of {shape} voxels of {mm} mm, 13 organs"


def _precisions(card: Profile) -> list[str]:
    """Those that the card has; tf32 only where it is faster than fp32."""
    rates = card.flops
    return [name for name in PRECISIONS if name in rates and (name != "tf32" or rates[name] > rates["fp32"])]


def _rows(model: Model | PromptedModel, scan: PlannedScan, nbytes: int, card: Profile) -> Iterator[Row]:
    if isinstance(model, UnloadedModel):
        yield Row(model.name, scan.row.modality, (), "", None, None, str(model.error))
        return
    cases = planned_cases([scan], [model], Settings())
    patch = cases[0].calls.works[0].unit.inputs[0].shape[1:]
    for precision in _precisions(card):
        row = Row(model.name, scan.row.modality, patch, precision, None, None)
        try:
            fits = [found for spill in (False, True) if (found := _fit(cases, precision, nbytes, card, spill))]
            least = need(cases, 1, precision, spill=True).total
            yield replace(row, fit=min(fits, key=lambda one: one.seconds, default=None), least=least)
        except UmdEngineError as error:
            yield replace(row, reason=str(error))


def _fit(cases: Sequence[PlannedCase], precision: str, nbytes: int, card: Profile, spill: bool) -> Fit | None:
    """The largest batch that fits; None where none does, or nothing could move to the host.

    The engine moves sums only where one item of a batch does not fit, so then the batch is 1.
    """
    for batch in (1,) if spill else BATCHES:
        found = need(cases, batch, precision, spill)
        if spill and not found.spilled:
            return None
        if found.total <= nbytes:
            # what the scheduler may admit; spilled bytes are declared, and lie elsewhere
            settings = Settings(precision=precision, batch_size=batch, memory=nbytes - found.fixed + found.spilled)
            costs = (Spilled if spill else Derived)(card, precision)
            setup = Setup(settings, costs, (), card.cores, card.readers, 1 if spill else 2 * card.readers)
            return Fit(batch, spill, found.total, _seconds(cases, setup))
    return None


def _seconds(cases: Sequence[PlannedCase], setup: Setup) -> float:
    """Of one of several such scans, one after the other."""
    again = [replace(case, scan=replace(case.scan)) for case in cases for _ in range(SIMULATED)]
    (found,) = forecast(again, setup).models
    return found.seconds / SIMULATED


def show(found: Budget) -> None:
    """A table a scan on standard output; of each model the fastest way in bold."""
    console = Console()
    chosen = ", whose memory is the nearest above" if found.chosen else ""
    console.print(f"{found.nbytes / 1e9:g} GB of a device, times of {found.profile}{chosen}", highlight=False)
    for kind, told in found.scans.items():
        console.print(_table(told, [row for row in found.rows if row.scan == kind]))
    faults = dict.fromkeys(f"{row.model}: {row.reason}" for row in found.rows if row.reason)
    for line in (*faults, *found.assumed):
        console.print(f"- {line}", highlight=False, markup=False)


def _table(title: str, rows: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 2, 0, 0), title=title, title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in COLUMNS[:4] else "right", no_wrap=True)
    for _, group in groupby(rows, key=lambda row: row.model):
        listed = list(group)
        best = min((row for row in listed if row.fit), key=_seconds_of, default=None)
        for row in listed:
            table.add_row(
                *_cells(row, named=row is listed[0]), style="bold" if row is best else "", end_section=row is listed[-1]
            )
    return table


def _seconds_of(row: Row) -> float:
    return row.fit.seconds if row.fit is not None else 0.0


def _cells(row: Row, named: bool) -> tuple[str, ...]:
    patch = "x".join(map(str, row.patch))
    what = (row.model if named else "", patch if named else "", row.precision)
    if row.fit is None:
        least = f">= {row.least / 1e9:.1f} GB" if row.least is not None else ""
        return (*what, "unknown" if row.reason else "no", least, "", "")
    fit = row.fit
    way = f"batch {fit.batch}{', host' if fit.spilled else ''}"
    return (*what, way, f"{fit.nbytes / 1e9:.1f} GB", _time(fit.seconds), _time(HUNDRED * fit.seconds))


def _time(seconds: float) -> str:
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"
