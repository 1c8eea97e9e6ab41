"""The bench's floor: the rule of repetition on a clock of numbers, checks before figures, processes, reports."""

from __future__ import annotations

import json
import os
import random
import re
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import sample_bench
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from umd_engine.bench import kernels, machine
from umd_engine.bench.floor import Entry, Promise
from umd_engine.bench.floor.clock import HostClock
from umd_engine.bench.floor.job import Job, job_of
from umd_engine.bench.floor.measure import measure, missed, with_ratios
from umd_engine.bench.floor.repetition import FULL, QUICK, Rule, Timing, repeat
from umd_engine.bench.floor.report import SCHEMA, Report, Row, load, row_of
from umd_engine.bench.floor.run import Bench, commit, run
from umd_engine.bench.floor.table import lines_of, seconds
from umd_engine.cli import main
from umd_engine.errors import CorruptFileError, DataError, MissingFileError, UnknownNameError

COPY = {"cpu": 20.0, "cuda": None}
FAST = Rule(window=0.002, warm=0.0, most=60, budget=2.0, agree=0.5)


class Scripted:
    """A clock that tells the seconds of a call from a list; the last one stays."""

    def __init__(self, *calls: float):
        self.told, self.counts = list(calls), list[int]()

    def seconds(self, run: Callable[[], Any], calls: int) -> float:
        for _ in range(calls):
            run()
        self.counts.append(calls)
        return calls * (self.told.pop(0) if len(self.told) > 1 else self.told[0])


def nothing() -> None:
    pass


def test_three_windows_in_a_row_within_five_percent_end_it() -> None:
    found = repeat(nothing, Scripted(1.0, 1.4, 1.0, 1.06, 1.04, 1.08), FULL, warmed=1.0)
    assert found == Timing(median=1.06, low=1.0, high=1.4, windows=6, calls=1, stable=True, p90=1.4)


def test_two_windows_that_agree_are_not_enough() -> None:
    found = repeat(nothing, Scripted(1.0, 1.0, 2.0, 1.0, 1.0, 2.0, 3.0), replace(FULL, most=6), warmed=1.0)
    assert not found.stable and found.windows == 6


def test_a_machine_that_gets_no_quieter_is_unstable_with_its_spread() -> None:
    found = repeat(nothing, Scripted(*[1.0, 1.2] * 30), FULL, warmed=1.0)
    assert not found.stable and found.windows == FULL.most
    assert (found.low, found.high, found.median) == (1.0, 1.2, statistics.median([1.0, 1.2]))


def test_the_ninth_decile_is_of_all_windows() -> None:
    tenths = [1.0 + number / 2 for number in range(20)]
    assert repeat(nothing, Scripted(*tenths), replace(FULL, most=20), warmed=1.0).p90 == 9.5


def test_a_short_call_fills_a_window_with_calls() -> None:
    clock = Scripted(1e-4)
    found = repeat(nothing, clock, FULL)
    assert found.stable and found.calls * 1e-4 >= FULL.window and found.windows == 3
    assert sum(clock.counts[:-3]) * 1e-4 >= FULL.warm
    assert all(later <= 10 * earlier for earlier, later in zip(clock.counts, clock.counts[1:], strict=False))


def test_a_clock_too_coarse_for_one_call_still_comes_to_an_end() -> None:
    class Coarse(Scripted):
        def seconds(self, run: Callable[[], Any], calls: int) -> float:
            return 0.01 * (calls // 1000)

    found = repeat(nothing, Coarse(0.0), FULL)
    assert found.stable and found.calls >= 20_000


def test_warm_up_does_not_count() -> None:
    found = repeat(nothing, Scripted(5.0, 0.3, 0.3, 0.3), FULL)
    assert found.high == 0.3 and found.windows == 3


def test_a_slow_call_is_not_repeated_for_its_warm_up() -> None:
    clock = Scripted(20.0)
    assert repeat(nothing, clock, FULL, warmed=20.0).windows == 3 and clock.counts == [1, 1, 1]


def test_the_budget_ends_it_and_says_so() -> None:
    found = repeat(nothing, Scripted(7.0), QUICK, warmed=7.0)
    assert not found.stable and found.windows == 1


def test_a_first_call_that_takes_the_budget_is_all_there_is() -> None:
    clock = Scripted(7.0)
    row = measure(entry_of("cpu"), QUICK, COPY, lambda entry: clock)
    assert row.status == "unstable" and row.timing == Timing(7.0, 7.0, 7.0, 1, 1, False, 7.0) and clock.counts == [1]


@given(st.lists(st.floats(0.3, 3.0), min_size=3, max_size=50))
def test_stable_means_that_the_last_three_agree(calls: list[float]) -> None:
    clock = Scripted(*calls)
    found = repeat(nothing, clock, FULL, warmed=1.0)
    taken = (calls + [calls[-1]] * FULL.most)[: found.windows]
    assert found.stable == (max(taken[-3:]) <= 1.05 * min(taken[-3:]))
    assert (found.low, found.high) == (min(taken), max(taken)) and found.low <= found.median <= found.high


def test_a_noisy_call_on_the_real_clock_is_unstable() -> None:
    rng = random.Random(0)

    def noisy() -> int:
        return sum(range(rng.choice((2_000, 200_000, 1_000_000))))

    found = repeat(noisy, HostClock(), Rule(window=1e-6, warm=0.0, most=25, agree=0.0005))
    assert not found.stable and found.windows == 25 and found.high > 2 * found.low


def entry_of(name: str) -> Entry:
    return next(entry for entry in sample_bench.good() if entry.implementation == name)


def test_a_red_check_has_no_figure_and_is_never_timed() -> None:
    clock = Scripted(0.5)
    row = measure(entry_of("one-off"), FAST, COPY, lambda entry: clock)
    assert clock.counts == [1]  # the call that was checked
    assert (row.status, row.timing, row.gb_s) == ("check failed", None, None)
    assert "not 19999900000" in row.reason
    assert not re.search(r"\d (s|ms|µs|GB/s)\b", "\n".join(lines_of([row])))


@pytest.mark.parametrize(
    ("name", "status", "reason"),
    [
        ("gpu", "not measured", "no CUDA device"),
        ("without", "not measured", "needs numba"),
        ("refused", "failed", "not float32"),
        ("peer:absent", "not measured", "no module a_library_that_nobody_has"),
    ],
)
def test_what_cannot_run_is_said(name: str, status: str, reason: str) -> None:
    row = measure(entry_of(name), FAST, COPY)
    assert row.status == status and reason in row.reason and row.timing is None


def test_a_missing_module_of_ours_is_a_bug() -> None:
    ours = replace(entry_of("peer:absent"), implementation="cpu", peer=False)
    with pytest.raises(ModuleNotFoundError):
        measure(ours, FAST, COPY)


def test_a_call_that_tells_its_seconds_is_timed_by_them() -> None:
    told = Entry("op", "ours", "case", lambda: (0.02, "counts"), 0, lambda found: None, seconds=lambda found: found[0])
    row = measure(told, FAST, COPY)
    assert row.status == "measured" and row.timing is not None and row.timing.median == pytest.approx(0.02)


def test_rates_and_ratios() -> None:
    def row(name: str, seconds: float, **more: Any) -> Row:
        timing = Timing(seconds, 0.9 * seconds, 1.1 * seconds, 3, 1, True)
        return Row("sum", name, "x", "measured", timing=timing, **more)

    ours = row("cpu", 0.01, bytes_moved=100_000_000, copy_gb_s=20.0, memory=100)
    slow = row("cpu-1-thread", 0.04)
    peer = row("peer:numpy", 0.5, peer=True, target=60.0, memory=400)
    other_case = replace(peer, case="y")
    (found, other, *_) = with_ratios([ours, slow, peer, other_case])
    assert found.gb_s == pytest.approx(10) and found.share == pytest.approx(0.5)
    (ratio,) = found.ratios
    assert (ratio.peer, ratio.value, ratio.memory) == ("peer:numpy", pytest.approx(50), 0.25)
    assert (ratio.low, ratio.high) == (pytest.approx(50 * 0.9 / 1.1), pytest.approx(50 * 1.1 / 0.9))
    assert missed([found, other]) == ["sum, x: 50.00x the speed of numpy, target 60x"]
    assert missed(with_ratios([ours, slow, replace(peer, target=40.0, memory_target=0.3)])) == []
    assert missed(with_ratios([ours, slow, replace(peer, target=0.0, memory_target=0.2)])) == [
        "sum, x: cpu needs 0.25 of the memory of numpy, target 0.2"
    ]


def test_a_promise_is_held_on_the_device_it_names() -> None:
    timing = Timing(2e-3, 2e-3, 2e-3, 3, 1, True)
    row = Row("sum", "gpu", "x", "measured", bytes_moved=10**9, copy_gb_s=1000.0, timing=timing, device="cuda")
    slow, far = Promise("H200", seconds=1e-3), Promise("H200", share=0.85)
    assert missed([replace(row, promise=slow)], "NVIDIA H200") == ["sum, x: gpu takes 2 ms, promised 1 ms"]
    assert missed([replace(row, promise=far)], "NVIDIA H200") == ["sum, x: gpu reaches 50% of a copy, promised 85%"]
    kept = Promise("H200", seconds=3e-3, share=0.4)
    assert missed([replace(row, promise=kept)], "NVIDIA H200") == []
    assert missed([replace(row, promise=slow)], "NVIDIA A100") == missed([replace(row, promise=slow)]) == []
    told = "\n".join(lines_of([replace(row, promise=slow), replace(row, promise=far, timing=None)]))
    assert "promised on H200: at most 1 ms" in told and "promised on H200: at least 85% of copy" in told
    assert row_of(asdict(replace(row, promise=slow))) == replace(row, promise=slow)


def test_a_target_on_the_host_is_not_the_devices() -> None:
    timing = Timing(1.0, 1.0, 1.0, 3, 1, True)
    ours = Row("sum", "gpu", "x", "measured", device="cuda", timing=timing)
    peer = Row("sum", "peer:numpy", "x", "measured", peer=True, target=4.0, timing=timing)
    (found, _) = with_ratios([ours, peer])
    assert found.ratios[0].target == 0 and missed([found]) == []


@pytest.fixture(scope="module")
def benches() -> Iterator[Callable[[str], Bench]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
        patch.setenv("MALLOC_ARENA_MAX", "1")
        yield lambda mode: Bench(mode, "sample_bench", (mode,))


@pytest.fixture(scope="module")
def report(benches: Callable[[str], Bench]) -> Report:
    return run([benches(mode) for mode in ("good", "crash", "memory", "environment")], FAST)


def rows(report: Report, op: str) -> dict[str, Row]:
    return {row.implementation: row for row in report.rows if row.op == op}


def test_each_entry_of_a_process_has_a_row(report: Report) -> None:
    found = rows(report, "sum")
    assert set(found) == {entry.implementation for entry in sample_bench.good()}
    assert found["cpu"].timing and found["cpu"].share and found["peer:python"].call == "sum(values.tolist())"
    assert [ratio.peer for ratio in report.rows[0].ratios] == ["peer:python"]


def test_a_process_that_dies_is_red_and_keeps_the_rows_before(report: Report) -> None:
    assert rows(report, "crash")["all"].reason == "its process ended with 7"
    assert [row.implementation for row in report.rows].count("cpu") == 4 and report.red


def test_peak_memory_is_what_one_call_needs(report: Report) -> None:
    memory = rows(report, "ones")["cpu"].memory
    assert memory is not None and 0.98 * sample_bench.PIECE < memory < 1.1 * sample_bench.PIECE


def test_the_process_has_the_default_allocator(report: Report) -> None:
    assert rows(report, "environment")["cpu"].status in ("measured", "unstable")


def test_a_report_survives_its_file(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "r.json")
    again = load(tmp_path / "r.json")
    assert again == report and again.schema == SCHEMA and again.machine["cpu"] and again.version


def test_a_report_of_another_schema_or_kind_is_refused(report: Report, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    report.save(path)
    content = json.loads(path.read_text())
    for change, error, text in (
        ({"schema": SCHEMA + 1}, DataError, f"schema {SCHEMA + 1}, this version reads {SCHEMA}"),
        ({"kind": "another"}, CorruptFileError, "not the report of a bench"),
        ({"rows": [{}]}, CorruptFileError, "status"),
        ({"unknown": 1}, CorruptFileError, "unknown"),
    ):
        path.write_text(json.dumps({**content, **change}))
        with pytest.raises(error, match=text):
            load(path)
    path.write_text("{")
    with pytest.raises(CorruptFileError, match="not JSON"):
        load(path)
    with pytest.raises(MissingFileError):
        load(tmp_path / "none.json")


def test_a_job_survives_the_command_line() -> None:
    job = Job("sum", "sample_bench", "out", QUICK, ("good",), memory_of=3)
    assert job_of(json.dumps(asdict(job))) == job


def test_the_machine_is_described_and_not_named() -> None:
    import socket

    described = machine.describe()
    assert described["threads"] and "numpy" in described["packages"]
    assert socket.gethostname() not in json.dumps(described)


def test_the_commit_is_told_in_a_checkout_and_none_outside(tmp_path: Path) -> None:
    assert commit(tmp_path) is None

    def run_git(*words: str) -> None:
        subprocess.run(["git", "-C", str(tmp_path), *words], check=True, capture_output=True)

    (tmp_path / "file").write_text("one")
    run_git("init")
    run_git("add", "file")
    run_git("-c", "user.name=n", "-c", "user.email=e@x", "commit", "-m", "m")
    clean = commit(tmp_path)
    (tmp_path / "file").write_text("two")
    assert clean and commit(tmp_path) == f"{clean}+"


@pytest.mark.parametrize(("value", "text"), [(1.5, "1.5 s"), (0.01234, "12.3 ms"), (4.2e-5, "42 µs"), (0.0, "0 µs")])
def test_seconds_have_a_unit(value: float, text: str) -> None:
    assert seconds(value) == text


def test_a_case_has_one_heading_wherever_its_rows_are() -> None:
    rows = [Row("sum", name, case, "not measured", "why") for name, case in (("a", "x"), ("b", "y"), ("c", "x"))]
    assert [line.split()[0] for line in lines_of(rows)] == ["sum,", "a", "c", "sum,", "b"]


def test_operations_are_named() -> None:
    assert [bench.name for bench in kernels.benches(["surface", "distance"])] == ["distance", "surface"]
    assert [bench.name for bench in kernels.benches()] == list(kernels.OPERATIONS)
    with pytest.raises(UnknownNameError, match="distanse"):
        kernels.benches(["distanse"])
    done = CliRunner().invoke(main, ["bench", "kernels", "--op", "distanse"])
    assert done.exit_code == 1 and "did you mean distance?" in done.output


def test_the_floor_needs_neither_click_nor_pydantic() -> None:
    code = (
        "import sys; sys.modules.update(dict.fromkeys(('click', 'pydantic', 'nibabel', 'scipy', 'numba')));"
        "import umd_engine.bench.command, umd_engine.bench.floor.worker, umd_engine.bench.kernels"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
