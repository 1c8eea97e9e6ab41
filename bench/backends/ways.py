"""Ways to run a network: the baseline, what changes it one thing at a time, and every backend at every precision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from umd_engine.bench.backends.cases import Case
from umd_engine.engine.backends import BACKENDS, PRECISIONS
from umd_engine.errors import UnknownNameError

ON_CPU = ("fp32", "bf16", "int8")
LITERAL, SHORT = "literal", "short"


@dataclass(frozen=True)
class Way:
    """Attributes:
    form: "literal", the network as its authors wrote it, or "short", the engine's.
    kept: with the allocator's settings of the command line.
    """

    name: str
    backend: str
    precision: str
    form: str = SHORT
    kept: bool = True


BASE = Way("baseline", "torch", "fp32", LITERAL, kept=False)
ALLOCATOR = Way("literal torch fp32", "torch", "fp32", LITERAL)
EAGER = Way("torch fp32", "torch", "fp32")
AUTOCAST = Way("torch fp16", "torch", "fp16")


def base_of(case: Case) -> Way:
    """What a case's paths are compared with."""
    return AUTOCAST if case.precision == "fp16" else BASE


def ways(case: Case, backends: Sequence[str], precisions: Sequence[str], device: str) -> Iterator[Way]:
    """The three that part the gain (two where nothing is rewritten; in fp16 the baseline), then the named ones; without
    names, all.

    Raises:
        UnknownNameError: a backend or precision that is not in its list.
    """
    for kind, names, known in (("backend", backends, BACKENDS), ("precision", precisions, PRECISIONS)):
        for name in names:
            if name not in known:
                raise UnknownNameError(kind, name, known, where=f"--{kind}")
    first: tuple[Way, ...] = (BASE, *((ALLOCATOR,) if case.rewritten else ()), EAGER)
    listed = tuple(precisions) or (ON_CPU if device == "cpu" else PRECISIONS)
    if case.precision == "fp16":
        first, listed = (AUTOCAST,), ("fp16",)
    yield from first
    for backend in backends or BACKENDS:
        for precision in listed:
            way = Way(f"{backend} {precision}", backend, precision)
            if way not in first:
                yield way
