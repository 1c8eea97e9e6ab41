"""`python -m umd_engine.bench.floor.worker JOB`: the process of one operation. Results go to the job's file."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import asdict, replace
from pathlib import Path

from umd_engine.bench.floor import memory, registers
from umd_engine.bench.floor.ceiling import ceilings
from umd_engine.bench.floor.job import Job, job_of, told
from umd_engine.bench.floor.measure import measure
from umd_engine.bench.floor.report import Row
from umd_engine.errors import UmdEngineError


def work(job: Job) -> None:
    """Measure every entry of the job, or one entry's peak memory."""
    if job.memory_of is not None:
        job.tell("memory", memory.peak(job.entries()[job.memory_of]))
        return
    try:
        entries = job.entries()
    except UmdEngineError as error:
        job.tell("row", asdict(Row(job.name, "all", "all", "not measured", reason=str(error))))
        return
    rates = ceilings(job.rule)
    for index, entry in enumerate(entries):
        _progress(f"{entry.op} {index + 1} of {len(entries)}: {entry.implementation}, {entry.case}")
        row = measure(entry, job.rule, rates)
        if entry.memory and row.timing:
            row = replace(row, memory=_peak_elsewhere(job, index))
        job.tell("row", asdict(row))
    for use in registers.of_operation(job.name):
        job.tell("kernel", asdict(use))


def _peak_elsewhere(job: Job, index: int) -> int | None:
    """Bytes at the peak of a call in a process of its own; None where that process failed (it says why)."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "memory"
        job.for_memory(index, out).start()
        return next((content for kind, content in told(out) if kind == "memory"), None)


def _progress(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    work(job_of(sys.argv[1]))
