"""NIfTI files that an import makes of others: several at once, each whole or not at all, none twice."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from umd_engine.data.layouts.common import LeftOut
from umd_engine.data.nifti import read_header, write
from umd_engine.data.progress import Watch
from umd_engine.data.volume import Volume
from umd_engine.errors import DataError

MOST_WORKERS = 8  # each holds a few volumes; decompression runs outside of Python's lock
Given = TypeVar("Given")
Made = TypeVar("Made")


@dataclass(frozen=True)
class Conversion:
    """What one NIfTI file is made of.

    Attributes:
        case: for messages.
        sources: the files that it is made of; `target` is made again where one of them is newer.
        read: the volume and a note for the user, "" for none; raises DataError where the sources are at fault.
    """

    case: str
    sources: Sequence[Path]
    target: Path
    read: Callable[[], tuple[Volume, str]]


@dataclass(frozen=True)
class Converted:
    """A file that is there. `note` is of its making, "" if it was there before."""

    case: str
    note: str


def convert_all(work: Sequence[Conversion], watch: Watch) -> Iterator[Converted | LeftOut]:
    """Each outcome, in order; a case whose files are damaged is left out.

    Raises:
        DataError: the target cannot be written to, the disk is full.
    """
    yield from in_threads(_convert, work, watch)


def failures(outcomes: Sequence[Converted | LeftOut]) -> list[LeftOut]:
    """What is left out, once a case: its image and its label may both be damaged."""
    return list({one.case: one for one in reversed(outcomes) if isinstance(one, LeftOut)}.values())[::-1]


def in_threads(make: Callable[[Given], Made], work: Sequence[Given], watch: Watch) -> Iterator[Made]:
    """What `make` makes of each, in order."""
    with ThreadPoolExecutor(min(MOST_WORKERS, os.cpu_count() or 1)) as pool:
        try:
            for done, outcome in enumerate(pool.map(make, work), start=1):
                watch(done, len(work))
                yield outcome
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C or a full disk, only what has begun is waited for


def _convert(work: Conversion) -> Converted | LeftOut:
    if _is_current(work.target, work.sources):
        return Converted(work.case, "")
    try:
        volume, note = work.read()
    except DataError as error:
        return LeftOut(work.case, error)
    write(work.target, volume)
    return Converted(work.case, note)


def _is_current(target: Path, sources: Sequence[Path]) -> bool:
    """Whether `target` is a NIfTI file written after every source was."""
    try:
        written = target.stat().st_mtime_ns
        read_header(target)
        return all(written >= path.stat().st_mtime_ns for path in sources)
    except (OSError, DataError):
        return False
