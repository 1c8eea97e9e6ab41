"""Two reports, or two profiles, side by side."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from umd_engine.bench.compare import NO_DIFFERENCE, Change, compare
from umd_engine.bench.floor.repetition import FULL, QUICK, Timing
from umd_engine.bench.floor.report import Report, Row
from umd_engine.bench.interval import BAND, Spread, of_numbers, of_samples, of_spreads
from umd_engine.bench.profile.result import Energy, Latency, Memory, Profile, ScanRow, UnitRow
from umd_engine.cli import main
from umd_engine.errors import CorruptFileError, OptionError

MACHINE = {"cpu": "A", "cores": 2, "threads": 2, "device": None, "python": "3.11.7", "packages": {"numpy": "2.4.6"}}
MADE = "2026-01-01T00:00:00+00:00"


def row(name: str, seconds: float, noise: float = 0.02, stable: bool = True, windows: int = 4) -> Row:
    timing = Timing(seconds, seconds * (1 - noise), seconds * (1 + noise), windows, 1, stable)
    return Row("sum", name, "x", "measured" if stable else "unstable", timing=timing)


def report(*rows: Row, **more: object) -> Report:
    made = Report("0.1.0", "abc", MADE, MACHINE, FULL, rows)
    return replace(made, **more)  # type: ignore[arg-type]


def drawn(seed: int, centre: float = 0.01, count: int = 40, noise: float = 0.05) -> tuple[float, ...]:
    random = np.random.default_rng(seed)
    return tuple((centre * np.exp(noise * random.standard_normal(count))).tolist())


def latency(samples: tuple[float, ...], **more: bool) -> Latency:
    p50, p90 = np.quantile(samples, [0.5, 0.9])
    return Latency(samples, float(p50), float(p90), None, **{"stable": True, "bimodal": False, **more})


def unit(samples: tuple[float, ...], **more: object) -> UnitRow:
    made = UnitRow("nnunet", "fold_0", "torch", "fp32", "cpu", 4, "measured", latency=latency(samples))
    return replace(made, **more)  # type: ignore[arg-type]


def profile(*units: UnitRow, scans: tuple[ScanRow, ...] = (), **more: object) -> Profile:
    asked = {"models": ["nnunet"], "backend": "torch", "precision": "fp32", "device": "cpu", "batches": [4]}
    hashes = {"nnunet": "1234"}
    made = Profile("0.1.0", "abc", MADE, MACHINE, FULL, asked, units, scans, protocol=hashes, weights=hashes)
    return replace(made, **more)  # type: ignore[arg-type]


@pytest.fixture
def files(tmp_path: Path):
    def write(*saved: Report | Profile) -> list[Path]:
        paths = [tmp_path / f"{number}.json" for number in range(len(saved))]
        for path, made in zip(paths, saved, strict=True):
            made.save(path)
        return paths

    return write


def by_row(changes: tuple[Change, ...]) -> dict[str, Change]:
    return {change.name[2]: change for change in changes}


def umd(*arguments: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["bench", "compare", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


@pytest.mark.parametrize("count", [8, 40])
def test_two_runs_of_the_same_are_called_different_in_about_one_of_twenty_and_a_tenth_is_found(count: int) -> None:
    pairs = [(drawn(seed, count=count), drawn(seed + 1000, count=count)) for seed in range(200)]
    alike = sum(of_samples(before, after).different for before, after in pairs)
    assert alike <= 0.05 * len(pairs) + 2 * np.sqrt(0.05 * 0.95 * len(pairs))
    slower = [of_samples(before, [1.1 * s for s in after]) for before, after in pairs]
    assert sum(found.low > 1 for found in slower) >= (0.99 if count > 8 else 0.8) * len(slower)
    assert np.median([found.ratio for found in slower]) == pytest.approx(1.1, abs=0.01)
    assert sum(found.low <= 1.1 <= found.high for found in slower) == len(pairs) - alike


def test_an_interval_is_the_same_each_time_and_turns_over_with_its_sides() -> None:
    first, second = drawn(1), drawn(2, 0.012, count=200)
    found = of_samples(first, second)
    assert found == of_samples(first, second) and found.low < found.ratio < found.high
    turned = of_samples(second, first)
    assert (1 / turned.high, 1 / turned.low) == pytest.approx((found.low, found.high), rel=0.02)


def test_few_samples_are_held_by_their_spreads_and_fewer_by_the_band_too() -> None:
    four, other = (1.0, 1.01, 1.02, 1.03), (1.04, 1.05, 1.06, 1.07)
    found = of_samples(four, other)  # apart by chance in 2 of 70 orders
    assert (found.low, found.high) == (pytest.approx(1.04 / 1.03), pytest.approx(1.07)) and found.different
    assert not of_samples(four[:3], other[:3]).different  # in 2 of 20
    assert of_samples(four[:3], (1.2, 1.2, 1.21)).different
    once = Spread(1.0, 1.0, 1.0, 1)
    assert of_spreads(once, once) == of_numbers(1.0, 1.0)
    assert not of_numbers(1.0, 1.04).different and of_numbers(1.0, 1 + 1.1 * BAND).different


def test_a_ratio_of_reports_has_a_spread_and_a_verdict(files) -> None:
    before = report(row("a", 1.0), row("b", 1.0), row("c", 1.0), row("d", 1.0, noise=0.3))
    after = report(row("a", 0.5), row("b", 1.5), row("c", 1.01), row("d", 1.4, noise=0.3))
    found = {change.name[2]: change for change in compare(*files(before, after)).changes}
    assert [found[name].verdict for name in "abcd"] == ["faster", "slower", NO_DIFFERENCE, NO_DIFFERENCE]
    interval = found["a"].interval
    assert interval is not None and interval.ratio == pytest.approx(0.5)
    assert (interval.low, interval.high) == (pytest.approx(0.5 * 0.98 / 1.02), pytest.approx(0.5 * 1.02 / 0.98))


def test_figures_of_profiles(files) -> None:
    def made(scale: float, joules: float | None, nbytes: int) -> Profile:
        scan = ScanRow(
            "nnunet", "phantom", "torch", "fp32", "cpu", 4, "measured", seconds=latency((2.0, 2.02, 2.01)),
            memory=Memory(host=nbytes), energy=Energy(joules, "RAPL"),
        )  # fmt: skip
        return profile(unit(drawn(3, scale), file=100), scans=(scan,))

    found = compare(*files(made(0.01, 10.0, 1000), made(0.02, None, 1300)))
    assert not found.unlike and not found.differs
    assert [(change.name[1:], change.verdict, change.state) for change in found.changes] == [
        (("fold_0", "batch 4", "time"), "slower", ""),
        (("fold_0", "batch 4", "file"), NO_DIFFERENCE, ""),
        (("phantom", "time"), NO_DIFFERENCE, ""),
        (("phantom", "memory, host"), "larger", ""),
        (("phantom", "energy"), "", "gone"),
    ]


def test_rows_without_a_partner_or_a_figure_are_said(files) -> None:
    red = Row("sum", "c", "x", "check failed", reason="unequal")
    before = report(row("a", 1.0), row("c", 1.0), row("d", 1.0, stable=False))
    after = report(row("b", 1.0), red, row("d", 1.0))
    notes = {change.name[2]: (change.note, change.state) for change in compare(*files(before, after)).changes}
    assert notes == {
        "a": ("absent in the second", "gone"),
        "b": ("absent in the first", ""),
        "c": ("check failed in the second", "red"),
        "d": ("unstable in the first", "unstable"),
    }


def test_a_unit_on_another_patch_has_no_ratio(files) -> None:
    first, second = unit(drawn(1), shapes=((1, 64, 64, 64),)), unit(drawn(2), shapes=((1, 32, 32, 32),))
    (found,) = compare(*files(profile(first), profile(second))).changes
    assert found.interval is None and found.note.startswith("of other shapes") and found.state == "gone"


@pytest.mark.parametrize(("name", "value"), [("cpu", "B"), ("cores", 64), ("threads", 1), ("device", "NVIDIA H200")])
def test_unlike_machines_are_refused_or_said_on_every_line(files, name: str, value: object) -> None:
    paths = files(report(row("a", 1.0)), report(row("a", 0.5), machine={**MACHINE, name: value}))
    with pytest.raises(OptionError, match=f"unlike: {name}: {MACHINE[name]}, {value}"):
        compare(*paths)
    code, said, _ = umd("--unlike", *paths)
    head, line, _ = said.splitlines()
    assert code == 0 and head == f"unlike: {name}: {MACHINE[name]}, {value}"
    assert line.endswith("[unlike]") and "0.5x" in line


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rule": QUICK}, "rule's window: 0.2, 0.02"),
        ({"asked": {"precision": "fp16"}}, "precision: fp32, fp16"),
        ({"asked": {"scan": "/data/ct.nii.gz"}}, "scan: None, /data/ct.nii.gz"),
        ({"protocol": {"nnunet": "5678"}}, "protocol of nnunet: 1234, 5678"),
    ],
)
def test_profiles_of_unlike_protocols_are_refused(files, change: dict, said: str) -> None:
    first = profile(unit(drawn(1)))
    if "asked" in change:
        change = {"asked": {**first.asked, **change["asked"]}}
    paths = files(first, profile(unit(drawn(2)), **change))
    with pytest.raises(OptionError, match=said):
        compare(*paths)
    assert compare(*paths, unlike=True).changes[0].interval is not None


def test_other_models_are_no_other_protocol(files) -> None:
    other = profile(protocol={"vista3d": "5678"}, weights={"vista3d": "5678"})
    assert not compare(*files(profile(unit(drawn(1))), other)).unlike


def test_other_code_and_packages_are_flagged_not_refused(files) -> None:
    other = {**MACHINE, "python": "3.12.1", "packages": {"numpy": "2.5.0", "scipy": "1.17.1"}}
    paths = files(report(row("a", 1.0)), report(row("a", 1.0), version="0.2.0", commit="def+", machine=other))
    found = compare(*paths)
    assert [line.split(":")[0] for line in found.differs] == ["version", "commit", "python", "numpy", "scipy"]
    _, said, _ = umd(*paths)
    assert "sum, x, a, time: 1 s -> 1 s, 1x (0.961 to 1.04), no significant difference\n" in said


def test_a_report_and_a_profile_are_refused_by_name_and_so_is_anything_else(files, tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="a report and a profile"):
        compare(*files(report(), profile()))
    other = tmp_path / "other.json"
    other.write_text("[1]")
    with pytest.raises(CorruptFileError, match="neither a report nor a profile"):
        compare(other, other)


def test_the_exit_status_for_a_recipe(files) -> None:
    before = report(row("a", 1.0), row("b", 1.0), row("peer:c", 1.0), row("d", 1.0), row("e", 1.0))
    worse = report(row("a", 1.2), row("b", 1.06), row("peer:c", 2.0), row("d", 1.3, noise=0.4, stable=False))
    paths = files(before, worse)
    assert umd(*paths)[0] == 0  # only with the option
    code, _, said = umd(*paths, "--fail-above", 1.05)
    lines = said.splitlines()
    assert code == 1 and [line.split(",")[2] for line in lines if line.startswith("RED")] == [" a"]
    assert [line.split(",")[2] for line in lines if line.startswith("not shown")] == [" d", " e"]
    assert umd(*paths, "--fail-above", 1.5)[0] == 0
    red = report(Row("sum", "a", "x", "failed", reason="a bug"))
    assert umd(*files(before, red), "--fail-above", 9)[0] == 1
    assert umd(*files(red, red), "--fail-above", 9)[0] == 0


def test_as_json(files) -> None:
    code, said, _ = umd(*files(profile(unit(drawn(1))), profile(unit(drawn(2, 0.012)))), "--fail-above", 1.05, "--json")
    told = json.loads(said)
    (change,) = told["changes"]
    assert code == 1 and change["worse"] and change["verdict"] == "slower" and told["fail_above"] == 1.05
    assert change["interval"]["low"] > 1.05 and change["name"] == ["nnunet", "fold_0", "batch 4", "time"]
