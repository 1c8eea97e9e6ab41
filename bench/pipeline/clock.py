"""Wall and CPU seconds of a block, and what a whole job tells."""

from __future__ import annotations

import os
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

Counts = dict[str, dict[str, tuple[int, int, int]]]  # case -> organ -> TP, FP, FN


@dataclass
class Seconds:
    """Of all blocks so far.

    Attributes:
        cpu: of all threads, and of child processes that ended.
    """

    wall: float = 0.0
    cpu: float = 0.0

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Add the block's."""
        wall, cpu = time.perf_counter(), _cpu()
        yield
        self.wall += time.perf_counter() - wall
        self.cpu += _cpu() - cpu


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def cpu_by_process() -> dict[int, float]:
    """CPU seconds of this process and of all that live below it, however deep, by process; Linux's /proc tells."""
    below, used = {os.getpid()}, {}
    table: dict[int, tuple[int, float]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # it ended
            fields = path.read_text().rpartition(")")[2].split()  # from the state on
            ticks = int(fields[11]) + int(fields[12])
            table[int(path.parent.name)] = int(fields[1]), ticks / os.sysconf("SC_CLK_TCK")
    while below:
        used.update({process: table[process][1] for process in below})
        below = {process for process, (parent, _) in table.items() if parent in below}
    return used


@dataclass(frozen=True)
class Told:
    """What a job tells.

    Attributes:
        masks: the folder of its label maps, CASE.nii.gz.
        counts: what it scored.
        note: what else its row should say.
    """

    seconds: Seconds
    masks: Path | None = None
    counts: Counts = field(default_factory=dict)
    note: str = ""
