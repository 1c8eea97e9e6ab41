"""`umd-engine bench`: what it refuses before work, what a dying or interrupted process leaves, counters, ceilings."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from umd_engine.bench.floor.repetition import Rule
from umd_engine.bench.profile import run
from umd_engine.bench.profile.asked import Asked
from umd_engine.bench.profile.ceilings import ceilings, precisions_of
from umd_engine.bench.profile.result import UnitRow, load
from umd_engine.bench.profile.sensors import Look, Meter, Rapl, look, state_of
from umd_engine.bench.profile.worker import ALL, Order, conv_of
from umd_engine.cli import main
from umd_engine.engine.host_memory import SETTINGS
from umd_engine.errors import MissingFileError, OptionError, UnknownNameError
from umd_engine.models.stand_in import STAND_INS

CPU = torch.device("cpu")
FAST = Rule(window=0.001, warm=0.0, most=3, budget=0.1, agree=9.0)
ASKED = Asked(("nnunet", "sat-nano"), batches=(1, 4, 8), quick=True)


@pytest.mark.parametrize(
    ("arguments", "fault"),
    [
        (["--model", "nnunett"], "did you mean nnunet"),
        (["--model", "nnunet=/nowhere"], "no such model path"),
        (["--model", "nnunet", "--model", "nnunet"], "two models have the same name"),
        (["--device", "tpu"], "unknown device"),
        (["--device", "cuda:7"], "no device 'cuda:7'"),
        (["--backend", "torhc"], "unknown backend"),
        (["--precision", "fp31"], "unknown precision"),
        (["--batch", "1,x"], "no list of whole numbers"),
        (["--scan", "/nowhere.nii.gz"], "no such scan"),
        (["--scan", "a.nii.gz", "--phantom"], "give one of them"),
        (["--quick", "kernels"], "options before 'kernels' mean nothing to it"),
    ],
)
def test_what_is_refused_before_any_work(arguments: list[str], fault: str) -> None:
    result = CliRunner().invoke(main, ["bench", *arguments])
    assert result.exit_code == 1 and fault in result.output


def test_commands_below_it_stay() -> None:
    shown = CliRunner().invoke(main, ["bench", "--help"]).output
    assert all(name in shown for name in ("kernels", "models", "backends", "pipeline", "plan", "compare", "--quick"))
    assert CliRunner().invoke(main, ["bench", "kernels", "--help"]).exit_code == 0


def test_fp16_on_a_cpu_is_onnx_runtimes_and_said() -> None:
    assert run.default_backend("fp16", "cpu") == "onnxruntime"
    assert run.default_backend("fp16", "cuda:0") == run.default_backend("fp32", "cpu") == "torch"
    assert list(run.notes(replace(ASKED, backend="onnxruntime", precision="fp16"))) == [
        run.STAND_IN_SAID, run.EMULATED_SAID,
    ]  # fmt: skip
    assert list(run.notes(replace(ASKED, models=(run.DEMO,)))) == []


def test_all_models_are_those_with_a_stand_in_and_quick_has_the_demos_network() -> None:
    assert run.all_models(False) == tuple(STAND_INS)
    assert run.all_models(True) == (*STAND_INS, run.DEMO)
    run.check(replace(ASKED, models=run.all_models(True)))
    with pytest.raises(OptionError, match="same name"):
        run.check(replace(ASKED, models=("nnunet", "nnunet")))
    with pytest.raises(UnknownNameError):
        run.check(replace(ASKED, backend="cuda"))
    with pytest.raises(MissingFileError):
        run.check(replace(ASKED, scan=Path("/nowhere")))


def test_a_process_tells_ceilings_and_rows_as_they_come() -> None:
    asked = replace(ASKED, models=("nnunet",), batches=(1,))
    job = Order(asked, FAST, ceilings=True).job()
    assert job.environment == SETTINGS
    kinds = [kind for kind, _ in job.follow()]
    assert kinds[0] == "ceilings" and kinds[-2:] == ["row", "end"] and kinds.count("model") == 1


def kept() -> run._Kept:
    return run._Kept(run._empty(ASKED), None)


def row(unit: str = "nnunet.fold_0", batch: int = 1, status: str = "failed") -> UnitRow:
    return UnitRow("nnunet", unit, "torch", "fp32", "cpu", batch, status)


def test_a_killed_process_leaves_rows_and_the_rest_to_another() -> None:
    so_far, order = kept(), Order(ASKED, FAST)
    so_far.add(units=(row(status="measured"),))
    left = run._after(order, so_far, row(batch=4), -signal.SIGKILL)
    assert [(one.batch, one.status) for one in so_far.found.units] == [
        (1, "measured"), (4, "does not fit"), (8, "does not fit"),
    ]  # fmt: skip
    assert left is not None and left.asked.models == ASKED.models
    assert set(left.done) == {("nnunet", "nnunet.fold_0", batch) for batch in (1, 4, 8)}


def test_a_model_that_ends_its_process_while_it_is_loaded_is_left_out() -> None:
    so_far = kept()
    left = run._after(Order(ASKED, FAST), so_far, row(ALL), -signal.SIGSEGV)
    assert left is not None and left.asked.models == ("sat-nano",)
    (lost,) = so_far.found.units
    assert (lost.unit, lost.status) == (ALL, "failed") and "-11" in lost.reason and so_far.found.red
    assert (
        run._after(replace(Order(ASKED, FAST), asked=replace(ASKED, models=("nnunet",))), so_far, row(ALL), 1) is None
    )


def test_a_process_that_dies_after_its_last_row_is_not_started_for_ever() -> None:
    so_far = kept()
    so_far.add(units=tuple(row(batch=batch, status="measured") for batch in (1, 4, 8)))
    left = run._after(Order(ASKED, FAST), so_far, row(batch=8), -signal.SIGSEGV)
    assert left is not None and left.asked.models == ("sat-nano",)
    assert [(one.unit, one.status) for one in so_far.found.units[3:]] == [(ALL, "failed")]


def test_ceilings_that_end_their_process_stop_nothing() -> None:
    left = run._after(Order(ASKED, FAST, ceilings=True), kept(), None, 1)
    assert left is not None and not left.ceilings and left.asked == ASKED
    assert run._after(Order(replace(ASKED, models=()), FAST, ceilings=True), kept(), None, 1) is None


def test_a_batch_beyond_the_free_memory_raises_and_nobody_is_killed() -> None:
    code = (
        "import torch; from umd_engine.bench.floor.memory import hold_within; hold_within(200 << 20)\n"
        "from umd_engine.engine.executor import is_out_of_memory\n"
        "torch.ones(100 << 18)\n"
        "try: torch.ones(300 << 18)\n"
        "except RuntimeError as error: assert is_out_of_memory(error), error\n"
        "else: raise SystemExit('it was given')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_ceilings_of_a_cpu() -> None:
    found = ceilings(CPU, FAST, ["fp32", "fp16"])
    assert found.copy and found.copy > 0.1
    assert found.product.keys() == found.conv.keys() == {"fp32"}
    assert found.product["fp32"] > 1e8 and found.conv["fp32"] > 1e8
    assert "fp16" not in precisions_of(CPU)
    assert conv_of({"fp32": 2.0}, "fp16") == 2.0 and conv_of({"fp32": 2.0}, "int8") is None


def powercap(root: Path, **zones: tuple[str, int, int]) -> Path:
    for zone, (name, energy, span) in zones.items():
        folder = root / "class/powercap" / zone.replace("_", ":").replace("rapl", "intel-rapl")
        folder.mkdir(parents=True)
        (folder / "name").write_text(f"{name}\n")
        (folder / "energy_uj").write_text(f"{energy}\n")
        (folder / "max_energy_range_uj").write_text(f"{span}\n")
    return root


def test_packages_are_added_across_their_wraps_and_their_parts_left_out(tmp_path: Path) -> None:
    root = powercap(
        tmp_path, rapl_0=("package-0", 900, 999), rapl_1=("package-1", 0, 999), rapl_0_0=("core", 5, 999),
        rapl_2=("psys", 5, 999),
    )  # fmt: skip
    counter = Rapl(root)
    first, second = sorted(counter.zones)
    assert counter.joules() == 0
    (first / "energy_uj").write_text("100")
    (second / "energy_uj").write_text("300")
    assert counter.joules() == pytest.approx(500e-6), "900 to 999 and on to 100, and 300 of the other"
    (first / "energy_uj").write_text("99")
    assert counter.joules() == pytest.approx((500 + 999) * 1e-6)


def test_energy_is_of_a_call_or_says_why_there_is_none(tmp_path: Path) -> None:
    meter = Meter(CPU, powercap(tmp_path, rapl_0=("package-0", 0, 1 << 40)))
    since = meter.joules()
    assert meter.spent(since, 2).joules is None, "the counter stood still"
    (tmp_path / "class/powercap/intel-rapl:0/energy_uj").write_text("6000000")
    found = meter.spent(since, 2)
    assert (found.joules, found.source) == (3.0, "RAPL")
    without = Meter(CPU, tmp_path / "nothing")
    assert without.joules() is None and without.spent(None, 1).source.startswith("not available")


def test_the_state_is_of_both_moments() -> None:
    found = state_of(Look(1000.0, 40.0, None, 1, 0.5), Look(900.0, 60.0, 30.0, 3, 2.0))
    assert (found.clock, found.temperature, found.power) == ((1000.0, 900.0), (40.0, 60.0), None)
    assert (found.others, found.load) == (3, 0.5), "the load of afterwards is the profiler's own"
    assert look(CPU).load is not None


@pytest.mark.faults
def test_an_interrupted_run_keeps_what_it_measured(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    command = [sys.executable, "-m", "umd_engine.cli", "bench", "--quick", "--json", str(out)]
    process = subprocess.Popen(command, env={**os.environ}, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    until = time.monotonic() + 120
    while time.monotonic() < until and not (out.exists() and json.loads(out.read_text())["units"]):
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    found = load(out)
    assert process.returncode == 130 and b"what was measured is kept" in errors
    assert found.units and not found.complete and found.ceilings["cpu"].copy


@pytest.mark.full
def test_a_quick_look_at_one_model(tmp_path: Path) -> None:
    out = tmp_path / "profile.json"
    result = CliRunner().invoke(main, ["bench", "--quick", "--model", "nnunet", "--overhead", "--json", str(out)])
    assert result.exit_code == 0, result.output
    found = load(out)
    assert found.complete and found.weights == {"nnunet": "stand-in"} and found.protocol["nnunet"]
    (one,) = found.units
    assert one.latency and one.scaled > 100 and one.overhead is not None
