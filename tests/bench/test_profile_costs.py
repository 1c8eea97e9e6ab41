"""A plan whose network calls are those of a profile's file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from umd_engine.bench import machine
from umd_engine.bench.floor.repetition import FULL
from umd_engine.bench.profile.costs import calls_of
from umd_engine.bench.profile.latency import latency_of
from umd_engine.bench.profile.result import Profile, UnitRow
from umd_engine.cli import main
from umd_engine.errors import OptionError
from umd_engine.evaluation.forecast.costs import BENCHED, DERIVED


def row(seconds: float, batch: int = 1, **more) -> UnitRow:
    found = UnitRow("nnunet", "nnunet.without_weights", "torch", "fp32", "cpu", batch, "measured")
    return replace(found, latency=latency_of([seconds], True), **more)


def saved(path: Path, *rows: UnitRow, **more) -> Path:
    found = Profile("0", None, "now", machine.describe(), FULL, {}, units=rows)
    replace(found, **more).save(path)
    return path


def planned(*arguments: str) -> dict:
    command = ["plan", "umd", "--model", "nnunet", "--modality", "ct", "--limit", "2", "--device", "cpu", "--json"]
    result = CliRunner().invoke(main, [*command, *arguments])
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_a_plan_takes_the_calls_of_a_profile(tmp_path: Path) -> None:
    derived = planned()
    (name,) = derived["models"][0]["units"]
    assert derived["models"][0]["units"] == {name: DERIVED}
    slow, fast = (
        planned("--costs", str(saved(tmp_path / "p.json", row(s, unit=name), row(2 * s, 2, unit=name))))
        for s in (1000.0, 2000.0)
    )
    assert slow["models"][0]["units"] == {name: BENCHED}
    assert any("bench measured" in line for line in slow["assumed"])
    calls, seconds = slow["models"][0]["calls"], slow["models"][0]["seconds"]
    assert seconds == pytest.approx(1000 * calls, rel=0.01), "batches of two, 2000 s each"
    assert fast["models"][0]["seconds"] == pytest.approx(2 * seconds, rel=0.01)


def test_only_whole_units_of_the_same_way_count(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "p.json", row(1.0), row(5.0, 4, scaled=8.0), row(7.0, 8, precision="bf16"),
        replace(row(9.0, 2), latency=None, status="failed"),
    )  # fmt: skip
    assert calls_of(path, "torch", "fp32", "cpu") == {"nnunet.without_weights": {1: 1.0}}
    assert calls_of(path, "torch", "bf16", "cpu") == {"nnunet.without_weights": {8: 7.0}}
    with pytest.raises(OptionError, match="no whole unit by openvino in fp32 on cpu"):
        calls_of(path, "openvino", "fp32", "cpu")


def test_a_file_of_another_machine_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path / "p.json", row(1.0), machine={**machine.describe(), "threads": 4096})
    with pytest.raises(OptionError, match="measured on another machine: threads: 4096"):
        calls_of(path, "torch", "fp32", "cpu")
    result = CliRunner().invoke(main, ["plan", "umd", "--model", "nnunet", "--device", "h200", "--costs", str(path)])
    assert result.exit_code == 1
