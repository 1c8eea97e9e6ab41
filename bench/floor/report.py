"""The rows of a run and the file they are kept in."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from umd_engine.bench.floor.promise import Promise
from umd_engine.bench.floor.repetition import Rule, Timing
from umd_engine.errors import CorruptFileError, DataError, MissingFileError

SCHEMA = 1
HISTORY = {1: "rows, ratios, kernels; since then p90, promises, the baseline and the driver, absent in older files"}
KIND = "umd-engine bench"
BASELINE = "a fresh process an operation, default allocator, interpreter start excluded"
STATUSES = ("measured", "unstable", "not measured", "check failed", "failed")
MAKES_ONE = "umd-engine bench kernels --json makes one"
RED = ("check failed", "failed")


@dataclass(frozen=True)
class Ratio:
    """How many times as long a peer takes on the same input in the same process.

    Attributes:
        value: the peer's median over ours; `low` and `high` from the spreads of both.
        stable: whether both times are.
        memory: our peak memory over the peer's, where both were asked for.
        target: the least value promised; 0 for none.
        memory_target: the most of its memory promised; 0 for none.
    """

    peer: str
    value: float
    low: float
    high: float
    stable: bool
    memory: float | None
    target: float
    memory_target: float


@dataclass(frozen=True)
class Row:
    """One entry as measured. `timing` is None unless the status is "measured" or "unstable".

    Attributes:
        reason: why there is no figure.
        copy_gb_s: GB/s of a copy on the same device in the same process.
        memory: bytes that one call needs at its peak beyond its inputs; None where not asked for.
    """

    op: str
    implementation: str
    case: str
    status: str
    reason: str = ""
    peer: bool = False
    call: str = ""
    counted: str = ""
    device: str = "cpu"
    bytes_moved: int = 0
    timing: Timing | None = None
    copy_gb_s: float | None = None
    memory: int | None = None
    target: float = 0.0
    memory_target: float = 0.0
    promise: Promise | None = None
    ratios: tuple[Ratio, ...] = ()

    @property
    def gb_s(self) -> float | None:
        """The least bytes to move over the median, in 1e9 bytes a second."""
        return self.bytes_moved / self.timing.median / 1e9 if self.timing and self.bytes_moved else None

    @property
    def share(self) -> float | None:
        """Part of the copy's rate; above 1 where the input stays in a cache."""
        return self.gb_s / self.copy_gb_s if self.gb_s and self.copy_gb_s else None


@dataclass(frozen=True)
class KernelUse:
    """What the assembler made of one GPU kernel.

    Attributes:
        target: "sm_90".
        registers: of a thread.
        spills: bytes of registers that a thread stores to memory.
        stack: bytes of a thread's frame, local arrays included; None where it is not told.
    """

    op: str
    kernel: str
    target: str
    registers: int
    spills: int
    stack: int | None


@dataclass(frozen=True)
class Report:
    """A run: its rows, and what they were measured with and on."""

    version: str
    commit: str | None
    made: str
    machine: Mapping[str, Any]
    rule: Rule
    rows: tuple[Row, ...]
    kernels: tuple[KernelUse, ...] = ()
    baseline: str = BASELINE
    schema: int = SCHEMA
    kind: str = KIND

    @property
    def red(self) -> bool:
        """Whether a check or a run failed."""
        return any(row.status in RED for row in self.rows)

    def save(self, path: Path) -> None:
        """Write JSON."""
        path.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")


def load(path: Path) -> Report:
    """Read what `save` wrote.

    Raises:
        MissingFileError: no such file.
        CorruptFileError: not a bench's report.
        DataError: a report of another schema.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise MissingFileError("there is no such file", where=path, mend=MAKES_ONE) from None
    except ValueError as error:
        raise CorruptFileError(f"not JSON: {error}", where=path) from error
    if not isinstance(content, dict) or content.get("kind") != KIND:
        raise CorruptFileError(
            "not the report of a bench", where=path, mend="umd-engine bench kernels --json makes one"
        )
    if content["schema"] != SCHEMA:
        raise DataError(f"schema {content['schema']}, this version reads {SCHEMA}", where=path, mend="measure again")
    try:
        return _report(content)
    except (TypeError, KeyError, AttributeError) as error:
        raise CorruptFileError(f"not a report of schema {SCHEMA}: {error}", where=path) from error


def _report(content: dict[str, Any]) -> Report:
    rows = tuple(row_of(row) for row in content["rows"])
    kernels = tuple(KernelUse(**kernel) for kernel in content["kernels"])
    return Report(**{**content, "rule": Rule(**content["rule"]), "rows": rows, "kernels": kernels})


def row_of(content: Mapping[str, Any]) -> Row:
    """The row that `asdict` took apart.

    Raises:
        TypeError: a field that is unknown or missing, a status that is unknown.
    """
    if content["status"] not in STATUSES:
        raise TypeError(f"status {content['status']!r}")
    timing = Timing(**content["timing"]) if content["timing"] else None
    promise = Promise(**content["promise"]) if content.get("promise") else None
    ratios = tuple(Ratio(**ratio) for ratio in content["ratios"])
    return Row(**{**content, "timing": timing, "promise": promise, "ratios": ratios})
