"""A run: one fresh process an operation, one report."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from umd_engine import __version__
from umd_engine.bench import machine
from umd_engine.bench.floor.job import Job, told
from umd_engine.bench.floor.measure import with_ratios
from umd_engine.bench.floor.repetition import FULL, Rule
from umd_engine.bench.floor.report import KernelUse, Report, Row, row_of

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Bench:
    """A module with `entries(*arguments) -> list[Entry]`, and what its process has in its environment besides ours."""

    name: str
    module: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def run(
    benches: Iterable[Bench], rule: Rule = FULL, show: Callable[[tuple[Row, ...]], None] = lambda rows: None
) -> Report:
    """Measure every bench, each in a fresh process; progress goes to standard error.

    Args:
        show: called with the rows of each bench once it ended.
    """
    rows: list[Row] = []
    kernels: list[KernelUse] = []
    listed = list(benches)
    for number, bench in enumerate(listed, 1):
        print(f"[{number}/{len(listed)}] {bench.name}", file=sys.stderr, flush=True)
        found, used = _run_one(bench, rule)
        show(found)
        rows += found
        kernels += used
    made = datetime.now(UTC).isoformat(timespec="seconds")
    return Report(__version__, commit(), made, machine.describe(), rule, tuple(rows), tuple(kernels))


def _run_one(bench: Bench, rule: Rule) -> tuple[tuple[Row, ...], tuple[KernelUse, ...]]:
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "results"
        job = Job(bench.name, bench.module, str(out), rule, bench.arguments, environment=bench.environment)
        status = job.start()
        results = told(out)
    rows = [row_of(content) for kind, content in results if kind == "row"]
    if status:
        rows.append(Row(bench.name, "all", "all", "failed", reason=f"its process ended with {status}"))
    return with_ratios(rows), tuple(KernelUse(**content) for kind, content in results if kind == "kernel")


def commit(root: Path = ROOT) -> str | None:
    """The commit of the code, with "+" after it where files differ from it; None outside a checkout."""
    if shutil.which("git") is None or not (root / ".git").exists():
        return None
    shown = _git(root, "describe", "--always", "--abbrev=12", "--exclude=*", "--dirty=+")
    return shown.stdout.strip() if shown.returncode == 0 else None


def _git(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, check=False)
