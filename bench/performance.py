"""`python -m umd_engine.bench.performance` writes docs/performance.md: all of bench/results, and what `plan` says.

Nothing on that page is typed: a test holds it against what is written here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from umd_engine.bench import plan
from umd_engine.bench.floor import report
from umd_engine.bench.floor.repetition import Rule, Timing
from umd_engine.bench.floor.report import Ratio, Report, Row
from umd_engine.bench.floor.table import machine, seconds, spread
from umd_engine.bench.profile import grids, result
from umd_engine.bench.profile.grids import Grid
from umd_engine.bench.profile.result import Profile
from umd_engine.bench.profile.summary import glance, summary
from umd_engine.bench.profile.told import in_place, legend, percent, state, without_figure
from umd_engine.data.words import markdown_table, short
from umd_engine.errors import CorruptFileError

ROOT = Path(__file__).parents[1]
RESULTS, PAGE = ROOT / "bench" / "results", ROOT / "docs" / "performance.md"
PLANNED = (
    *("umd", "--model", "nnunet", "--model", "sam-med3d-turbo", "--model", "segvol", "--model", "nninteractive"),
    *("--model", "vista3d", "--set", "vista3d.images=any", "--model", "sat-pro", "--device", "h200"),
    *("--precision", "fp16", "--batch", "8", "--devices", "1,4,8"),
)
INTRODUCTION = """\
# Performance

Written by `python -m umd_engine.bench.performance` from the reports in [bench/results](../bench/results) and from
`plan`; no figure here is typed. First what was measured, machine by machine; then what the whole study would take on
an H200, which is derived. How it is measured, and what a row means: [bench.md](bench.md).
"""
ROWS = """\
A time is the median of the windows that agreed, then the fastest and the slowest window; "unstable": no three agreed
within 5 %. "of copy" is the part of the rate at which the same process copied memory. A ratio is how many times as
long the other takes on the same input in the same process. Seconds belong to the machine; ratios travel better.
"""
NO_GPU = """\
### A GPU

Not measured yet: no report of a GPU is in bench/results.
"""
DERIVED = """\
## Derived: the whole study on an H200

**Derived, not measured.** No figure below was timed on a GPU. It is what `plan` computes from counts, data sheets and
the assumptions listed with it; [plan.md](plan.md) says how. The same command writes it again, to the last digit:
"""
READING = """\
### Reading it
The networks bind, by far: nothing is won by faster reading before they are faster. Half of the time is SAT-Pro's,
whose windows of 288 x 288 x 96 overlap by half, and most of the rest nnU-Net's, whose eight mirrored views of each
window are kept (`--set nnunet.mirroring=false` asks for an eighth of its calls), on grids that hold whole fields of
view, air included. The models of points take minutes: their calls do not grow with the scan, and the wide ranges of
SegVol and nnInteractive are what their networks may still ask for. The published figures that the assumed share of
the peak lies between are those of PyTorch in 16 bit; TensorRT is faster: MLPerf's 3D-UNet in int8 reaches 2.28 ms a
window of 128^3 on an H200.
"""


def written(results: Path = RESULTS) -> str:
    """The page.

    Raises:
        CorruptFileError, DataError: a file of the folder that cannot be read.
    """
    files = [(path, _content(path)) for path in sorted(results.glob("*.json"))]
    parts = [INTRODUCTION, "## Measured\n", ROWS]
    for place in dict.fromkeys(_place(content) for _, content in files):
        parts.append("\n".join(f"{line}\n" for line in place))
        parts += ["\n".join(_lines(path, content)) + "\n" for path, content in files if _place(content) == place]
    if not any(content["machine"].get("device") for _, content in files):
        parts.append(NO_GPU)
    return "\n".join([*parts, DERIVED, _command(), planned(), READING])


def planned() -> str:
    """What the command on the page writes."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "plan.md"
        command = [sys.executable, "-m", "umd_engine.cli", "plan", *PLANNED, "--markdown", str(out)]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return out.read_text(encoding="utf-8")


def _command() -> str:
    lines, line = [], "    umd-engine plan"
    for word in (*PLANNED, "--markdown", "FILE"):
        if len(line) + len(word) > 100 and word.startswith("--"):
            lines.append(f"{line} \\")
            line = "       "
        line += f" {word}"
    return "\n".join([*lines, line]) + "\n"


def _content(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CorruptFileError(f"not JSON: {error}", where=path) from error
    if not isinstance(content, dict) or not isinstance(content.get("machine"), dict):
        raise CorruptFileError("it does not say what machine it is of", where=path)
    return content


def _place(content: Mapping[str, Any]) -> tuple[str, str]:
    """A machine's heading, and the versions on it."""
    told = content["machine"]
    driver = f", driver {told['driver']}" if told.get("driver") else ""
    packages = ", ".join(f"{name} {version}" for name, version in told.get("packages", {}).items())
    return f"### {machine(told)}", f"Python {told.get('python')}{driver}; {packages}."


def _lines(path: Path, content: Mapping[str, Any]) -> Iterator[str]:
    yield f"#### [{path.name}](../bench/results/{path.name})"
    made, commit = str(content.get("made", ""))[:10], content.get("commit") or "unknown"
    yield f"\n{content.get('kind')}, version {content.get('version')}, commit {commit}, {made}."
    match content.get("kind"):
        case report.KIND:
            yield from _report(report.load(path))
        case result.KIND:
            yield from _profile(result.load(path))
        case plan.KIND:
            yield from _plan(content["rows"])
        case _:
            yield "\nIts kind has no table on this page."


def _report(found: Report) -> Iterator[str]:
    yield f"{_rule(found.rule)}; {found.baseline}.\n"
    measured = [dict(_row(row)) for row in found.rows if row.timing]
    kept = [name for name in dict(_row(found.rows[0])) if any(row.get(name) for row in measured)]
    yield from markdown_table(kept, ([row[name] for name in kept] for row in measured))
    yield from _absent(
        (f"{row.op} {row.implementation}", f"{row.status}: {row.reason}") for row in found.rows if not row.timing
    )


def _row(row: Row) -> Iterator[tuple[str, str]]:
    yield from (("operation", row.op), ("case", row.case), ("implementation", row.implementation))
    yield "time", _time(row.timing) if row.timing else ""
    yield "of copy", percent(row.share) if row.share else ""
    yield "memory", f"{short(row.memory)}B" if row.memory is not None else ""
    yield "the others take", ", ".join(map(_ratio, row.ratios))


def _time(timing: Timing) -> str:
    if timing.windows == 1:
        return f"{seconds(timing.median)} (once)"
    return f"{seconds(timing.median)} ({spread(timing)}{'' if timing.stable else ', unstable'})"


def _ratio(ratio: Ratio) -> str:
    target = f" (target {ratio.target:g}x)" if ratio.target else ""
    return f"{ratio.value:.3g}x {ratio.peer.removeprefix('peer:')}{target}"


def _absent(rows: Iterable[tuple[str, str]]) -> Iterator[str]:
    """A line a reason, what it holds for behind it."""
    reasons: dict[str, dict[str, None]] = {}
    for name, reason in rows:
        reasons.setdefault(reason, {})[name] = None
    for reason, names in reasons.items():
        yield f"\n{reason[:1].upper()}{reason[1:]}: {', '.join(names)}."


def _rule(rule: Rule) -> str:
    return (
        f"Windows of {rule.window:g} s until {rule.in_a_row} in a row agree within {rule.agree:.0%}, at most "
        f"{rule.most} of them or {rule.budget:g} s"
    )


def _profile(found: Profile) -> Iterator[str]:
    yield f"{_rule(found.rule)}; state of the device: {state(found)}.\n"
    yield from (f"- {line}" for line in summary(found))
    stages = (grids.stages(row) for row in found.scans if row.stages)
    tables = (*grids.scans(found), *stages, *grids.units(found, found.units), *grids.ceilings(found))
    for grid in (*glance(found), *tables):
        yield from _grid(grid)
    yield from _absent((name, f"{status}: {reason}") for name, status, reason in without_figure(found))
    yield ""
    yield from (f"- {name}: {text}" for name, text in legend(found).items())
    yield from (f"- In place of the whole, {line}" for line in in_place(found))


def _grid(grid: Grid) -> Iterator[str]:
    yield f"\n**{grid.title}.** {grid.caption}\n"
    yield from markdown_table(grid.columns, grid.rows)
    if grid.unknown:
        yield f"\nNot known: {', '.join(grid.unknown)}."


def _plan(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield ""
    yield from markdown_table(
        ("run", "scans", "predicted", "real", "predicted over real"),
        (
            (row["case"], str(row["scans"]), seconds(row["predicted"]), seconds(row["real"]), f"{row['ratio']:.2f}")
            for row in rows
        ),
    )


if __name__ == "__main__":
    PAGE.write_text(written(), encoding="utf-8")
