"""`python -m umd_engine.bench.profile.worker JOB`: the process of ceilings, units and scans."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace

import torch
from pydantic import TypeAdapter

from umd_engine.bench.floor import memory
from umd_engine.bench.floor.job import Job, job_of
from umd_engine.bench.floor.repetition import Rule
from umd_engine.bench.profile.asked import Asked
from umd_engine.bench.profile.ceilings import TYPES, ceilings
from umd_engine.bench.profile.result import CHECK_FAILED, UnitRow
from umd_engine.bench.profile.scan import GLANCE, failed, scan_row
from umd_engine.bench.profile.scanned import Scanned
from umd_engine.bench.profile.subject import name_of, subject_of
from umd_engine.bench.profile.told import unit_of
from umd_engine.bench.profile.trial import Way, fault
from umd_engine.bench.profile.units import IN_A_HURRY, PATIENCE, unit_rows
from umd_engine.engine.host_memory import SETTINGS
from umd_engine.engine.memory import free_on_host

MODULE = "umd_engine.bench.profile.worker"
ALL = "all"  # in place of a unit, where a model cannot be loaded


@dataclass(frozen=True)
class Order:
    """What one process does, in this order: ceilings, units, scans.

    Attributes:
        asked: `models` are those whose units are measured.
        rule: of units. ceilings: whether they are measured.
        conv: FLOP/s of a convolution, where it is known already.
        done: model, unit and batch of rows that are there.
        scans: models with what they run on. wrong: model -> why its scan is not run.
    """

    asked: Asked
    rule: Rule
    ceilings: bool = False
    conv: float | None = None
    done: tuple[tuple[str, str, int], ...] = ()
    scans: tuple[tuple[str, Scanned], ...] = ()
    wrong: Mapping[str, str] = field(default_factory=dict)

    def job(self) -> Job:
        """Its process, with the allocator's settings of the command line."""
        content = TypeAdapter(Order).dump_json(self).decode()
        return Job("profile", MODULE, "", self.rule, (content,), environment=SETTINGS, worker=MODULE)


def work(job: Job) -> None:
    """Tell "ceilings"; for every model "model", then "begin" and "row" of each unit and batch; and of every scan
    "scanning" and "scan"."""
    order = TypeAdapter(Order).validate_json(job.arguments[0])
    asked, conv = order.asked, order.conv
    device = torch.device(asked.device)
    if device.type == "cpu":
        memory.hold_within(free_on_host())
    else:
        torch.cuda.set_device(device)  # whose streams the clock's events are on
    if order.ceilings:
        found = ceilings(device, order.rule, ("fp32", asked.precision) if asked.quick else tuple(TYPES))
        conv = conv_of(found.conv, asked.precision)
        job.tell("ceilings", asdict(found))
    way = Way(
        asked.backend, asked.precision, device, asked.batches, order.rule,
        IN_A_HURRY if asked.quick else PATIENCE, conv, asked.overhead,
    )  # fmt: skip
    wrong = dict(order.wrong)
    for text in asked.models:
        wrong |= wrong_of(list(_units(job, text, way, order)))
    for text, scanned in order.scans:
        job.tell("scanning", {"model": name_of(text)})
        if (why := wrong.get(name_of(text))) is not None:
            row = failed(text, scanned, asked, "not measured", why)
        else:
            row = scan_row(text, scanned, asked, GLANCE if asked.quick else order.rule, conv)
        job.tell("scan", asdict(row))


def _units(job: Job, text: str, way: Way, order: Order) -> Iterator[UnitRow]:
    named = (name_of(text), ALL, way.backend, way.precision, str(way.device))
    whole = UnitRow(*named, min(way.batches), "failed")
    job.tell("begin", asdict(whole))
    try:
        subject = subject_of(text, order.asked.quick)
    except Exception as error:
        job.tell("row", asdict(replace(whole, **fault(error, way.device))))
        return
    memory.settle()
    job.tell("model", {"name": subject.name, "weights": subject.weights, "protocol": subject.protocol})
    done = {(unit, batch) for model, unit, batch in order.done if model == subject.name}
    for row in unit_rows(subject, way, lambda row: job.tell("begin", asdict(row)), done):
        job.tell("row", asdict(row))
        yield row


def wrong_of(rows: Iterable[UnitRow]) -> dict[str, str]:
    """Model -> why its scan is not run: a unit that answers wrong."""
    return {row.model: f"{unit_of(row)} is wrong: {row.reason}" for row in rows if row.status == CHECK_FAILED}


def conv_of(rates: Mapping[str, float], precision: str) -> float | None:
    """FLOP/s of a convolution in what computes the precision; None where that is not measured."""
    return rates.get(precision, None if precision == "int8" else rates.get("fp32"))


if __name__ == "__main__":
    warnings.simplefilter("ignore")  # what a backend says of its speed is in the row
    work(job_of(sys.argv[1]))
