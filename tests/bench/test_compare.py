"""Two reports side by side."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from umd_engine.bench.compare import changes, compare, unlike_code
from umd_engine.bench.floor.repetition import FULL, QUICK, Timing
from umd_engine.bench.floor.report import Report, Row
from umd_engine.cli import main
from umd_engine.errors import OptionError

MACHINE = {"cpu": "A", "cores": 2, "threads": 2, "device": None, "python": "3.11.7", "packages": {"numpy": "2.4.6"}}


def row(name: str, seconds: float, noise: float = 0.02, stable: bool = True, op: str = "sum") -> Row:
    timing = Timing(seconds, seconds * (1 - noise), seconds * (1 + noise), 3, 1, stable)
    return Row(op, name, "x", "measured" if stable else "unstable", timing=timing)


def report(*rows: Row, **more: object) -> Report:
    made = Report("0.1.0", "abc", "2026-01-01T00:00:00+00:00", MACHINE, FULL, rows)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def files(tmp_path: Path):
    def write(*reports: Report) -> list[Path]:
        paths = [tmp_path / f"{number}.json" for number in range(len(reports))]
        for path, made in zip(paths, reports, strict=True):
            made.save(path)
        return paths

    return write


def test_a_ratio_has_a_spread_and_a_verdict() -> None:
    before = report(row("a", 1.0), row("b", 1.0), row("c", 1.0), row("d", 1.0, noise=0.3))
    after = report(row("a", 0.5), row("b", 1.5), row("c", 1.01), row("d", 1.4, noise=0.3))
    found = {change.key[2]: change for change in changes(before, after)}
    assert {name: change.verdict for name, change in found.items()} == {
        "a": "faster",
        "b": "slower",
        "c": "same",
        "d": "same",
    }
    assert found["a"].ratio == pytest.approx(0.5)
    assert (found["a"].low, found["a"].high) == (pytest.approx(0.5 * 0.98 / 1.02), pytest.approx(0.5 * 1.02 / 0.98))


def test_rows_without_a_partner_or_a_figure_are_said() -> None:
    red = Row("sum", "c", "x", "check failed", reason="unequal")
    before = report(row("a", 1.0), row("c", 1.0), row("d", 1.0, stable=False))
    after = report(row("b", 1.0), red, row("d", 1.0))
    notes = {change.key[2]: change.note for change in changes(before, after)}
    assert notes == {
        "a": "only in the first",
        "b": "only in the second",
        "c": "check failed in the second",
        "d": "unstable in the first",
    }


@pytest.mark.parametrize(("name", "value"), [("cpu", "B"), ("cores", 64), ("threads", 1), ("device", "NVIDIA H200")])
def test_unlike_machines_are_refused_or_said_on_every_line(files, name: str, value: object) -> None:
    paths = files(report(row("a", 1.0)), report(row("a", 0.5), machine={**MACHINE, name: value}))
    with pytest.raises(OptionError, match=f"unlike machines: {name}: {MACHINE[name]}, {value}"):
        list(compare(*paths))
    head, line = compare(*paths, unlike=True)
    assert head == f"unlike machines: {name}: {MACHINE[name]}, {value}"
    assert line.endswith("[unlike machines]") and "0.5x the time" in line


def test_other_code_packages_and_rules_are_flagged_not_refused(files) -> None:
    other = {**MACHINE, "python": "3.12.1", "packages": {"numpy": "2.5.0", "scipy": "1.17.1"}}
    before, after = (
        report(row("a", 1.0)),
        report(row("a", 1.0), version="0.2.0", commit="def+", machine=other, rule=QUICK),
    )
    names = [line.split(":")[0] for line in unlike_code(before, after)]
    assert names == ["version", "commit", "rule", "python", "numpy", "scipy"]
    *flags, line = compare(*files(before, after))
    assert all(flag.startswith("differs: ") for flag in flags) and len(flags) == 6
    assert line == "sum, x, a: 1 s -> 1 s, 1x the time (0.961 to 1.04), same"


def test_the_command(files) -> None:
    paths = files(report(row("a", 1.0)), report(row("a", 0.5), machine={**MACHINE, "cpu": "B"}))
    refused = CliRunner().invoke(main, ["bench", "compare", *map(str, paths)])
    assert refused.exit_code == 1 and "measured on unlike machines: cpu: A, B" in refused.output
    said = CliRunner().invoke(main, ["bench", "compare", "--unlike", *map(str, paths)])
    assert said.exit_code == 0 and "faster [unlike machines]" in said.output
