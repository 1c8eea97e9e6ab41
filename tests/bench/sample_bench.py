"""Benches for the floor's tests: a module with `entries()` that a worker process imports."""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np

from umd_engine.bench.floor import Entry
from umd_engine.errors import BackendError, KernelError

PIECE = 64 << 20


def entries(mode: str = "good") -> list[Entry]:
    made = {"good": good, "crash": crash, "memory": memory, "environment": environment, "variables": variables}
    return made[mode]()


def good() -> list[Entry]:
    values = np.arange(200_000)
    total = int(values.sum())

    def equal(found: Any) -> None:
        assert found == total, f"sum is {found}, not {total}"

    def in_python() -> int:
        return sum(values.tolist())

    def missing() -> int:
        import a_library_that_nobody_has

        return int(a_library_that_nobody_has.sum(values))

    def without_library() -> int:
        raise BackendError("backend 'cpu' of kernel sum needs numba, which is not installed")

    def refused() -> int:
        raise KernelError("sum: values is int64, not float32")

    def entry(name: str, run: Any, **more: Any) -> Entry:
        return Entry("sum", name, "200,000 integers", run, values.nbytes, equal, **more)

    return [
        entry("cpu", lambda: int(values.sum())),
        entry("one-off", lambda: total + 1),
        entry("gpu", lambda: total),
        entry("without", without_library),
        entry("refused", refused),
        entry("peer:python", in_python, peer=True, call="sum(values.tolist())", target=2.0),
        entry("peer:absent", missing, peer=True),
    ]


def crash() -> list[Entry]:
    def run() -> None:
        os._exit(7)

    first = good()[0]
    return [first, Entry("sum", "crash", "200,000 integers", run, 0, lambda found: None)]


def memory() -> list[Entry]:
    def run() -> np.ndarray:
        return np.ones(PIECE, np.uint8)

    def check(found: np.ndarray) -> None:
        assert found.all()

    return [Entry("ones", "cpu", "64 MiB", run, PIECE, check, memory=True)]


def environment() -> list[Entry]:
    def check(found: list[str]) -> None:
        assert not found, f"allocator settings reached the process: {found}"

    def run() -> list[str]:
        return [name for name in os.environ if name.startswith("MALLOC_")]

    return [Entry("environment", "cpu", "variables", run, 0, check)]


def variables() -> list[Entry]:
    """Tells the allocator's variables of its process."""

    def run() -> dict[str, str]:
        return {name: value for name, value in os.environ.items() if name.startswith("MALLOC_")}

    return [Entry("variables", "cpu", "MALLOC_", run, 0, lambda found: None, counted=json.dumps)]
