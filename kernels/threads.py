"""Python threads over compiled loops, which release the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

Result = TypeVar("Result")


def workers(threads: int | None) -> int:
    """`threads`, or the CPUs that this process may use."""
    return threads or len(os.sched_getaffinity(0))


def run_all(tasks: Sequence[Callable[[], Result]], threads: int | None) -> list[Result]:
    """What the tasks return, in their order; they run in no order."""
    count = min(workers(threads), len(tasks))
    if count <= 1:
        return [task() for task in tasks]
    with ThreadPoolExecutor(count) as pool:
        return [job.result() for job in [pool.submit(task) for task in tasks]]


def each_slab(work: Callable[[int, int], None], size: int, threads: int | None = None) -> None:
    """work(first, last) on as many slabs of an axis of `size` as there are threads."""
    run_all([partial(work, *slab) for slab in pieces(0, size, workers(threads))], threads)


def spans(length: int, step: int) -> list[tuple[int, int]]:
    """Half-open spans of at most `step` that cover `length`."""
    return [(first, min(first + step, length)) for first in range(0, length, max(step, 1))]


def pieces(first: int, last: int, count: int) -> list[tuple[int, int]]:
    """At most `count` half-open spans of about one length that cover first to last; none is empty."""
    step = max(1, -(-(last - first) // max(count, 1)))
    return [(at, min(at + step, last)) for at in range(first, last, step)]
