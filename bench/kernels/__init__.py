"""The operations of `umd-engine bench kernels`: a module each with `entries() -> list[Entry]`."""

from __future__ import annotations

from collections.abc import Iterable

from umd_engine.bench.floor.run import Bench
from umd_engine.errors import UnknownNameError

OPERATIONS = (
    "confusion",
    "bounds",
    "windows",
    "resample",
    "distance",
    "components",
    "clicks",
    "surface",
    "norm_act",
)


def benches(operations: Iterable[str] = ()) -> list[Bench]:
    """The benches of the named operations, in the order of the list; without names, of all.

    Raises:
        UnknownNameError: a name that is not in the list.
    """
    wanted = tuple(operations) or OPERATIONS
    for name in wanted:
        if name not in OPERATIONS:
            raise UnknownNameError("operation", name, OPERATIONS, where="--op")
    return [Bench(name, f"{__name__}.{name}") for name in OPERATIONS if name in wanted]
