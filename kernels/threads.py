"""Python threads over compiled loops, which release the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor


def workers(threads: int | None) -> int:
    """`threads`, or the CPUs that this process may use."""
    return threads or len(os.sched_getaffinity(0))


def run_all(tasks: Sequence[Callable[[], None]], threads: int | None) -> None:
    """Every task once, in no order."""
    count = min(workers(threads), len(tasks))
    if count <= 1:
        for task in tasks:
            task()
        return
    with ThreadPoolExecutor(count) as pool:
        for done in [pool.submit(task) for task in tasks]:
            done.result()


def spans(length: int, step: int) -> Iterable[tuple[int, int]]:
    """Half-open spans of at most `step` that cover `length`."""
    return [(first, min(first + step, length)) for first in range(0, length, max(step, 1))]
