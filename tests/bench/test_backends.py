"""The bench of backends: which ways it runs, what it says of each, and how it parts the gain."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from umd_engine.bench.backends import benches
from umd_engine.bench.backends.cases import CASES, Case
from umd_engine.bench.backends.entries import entries, error_of
from umd_engine.bench.backends.summary import summarize
from umd_engine.bench.floor.measure import measure
from umd_engine.bench.floor.repetition import QUICK, Rule, Timing
from umd_engine.bench.floor.report import Row, load
from umd_engine.bench.floor.run import run
from umd_engine.cli import main
from umd_engine.engine.host_memory import SETTINGS
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError, UnknownNameError

COPY = {"cpu": 20.0, "cuda": None}
ONCE = Rule(window=0.0, warm=0.0, in_a_row=1, most=1)


def names(**chosen) -> list[str]:
    return [bench.name.split(", ")[1] for bench in benches(**chosen)]


def test_the_baseline_comes_first_and_only_a_rewritten_network_is_run_literally_twice() -> None:
    assert names(models=["nnunet"], backends=["torch-compile"], precisions=["fp32", "int8"]) == [
        "baseline", "torch fp32", "torch-compile fp32", "torch-compile int8",
    ]  # fmt: skip
    assert names(models=["sam-med3d-turbo"], backends=["torch"], precisions=["fp32"]) == [
        "baseline", "literal torch fp32", "torch fp32",
    ]  # fmt: skip
    every = benches()
    assert [*dict.fromkeys(bench.arguments[0] for bench in every)] == [name for name in CASES if name != "nnunet-amp"]
    assert all((bench.environment == SETTINGS) == (not bench.name.endswith("baseline")) for bench in every)


def test_autocast_is_the_baseline_of_16_bits_on_a_device_alone() -> None:
    listed = benches(["nnunet-amp"], ["torch", "torch-fused"], device="cuda:1")
    assert [bench.arguments for bench in listed] == [
        ("nnunet-amp", f"{name} fp16", name, "fp16", "short", "cuda:1", "8") for name in ("torch", "torch-fused")
    ]
    with pytest.raises(BackendError, match="nnunet-amp is measured on a CUDA device"):
        benches(["nnunet-amp"], device="cpu")


@pytest.mark.parametrize("chosen", [{"models": ["unet"]}, {"backends": ["torhc"]}, {"precisions": ["fp31"]}])
def test_unknown_names(chosen) -> None:
    with pytest.raises(UnknownNameError):
        benches(**chosen)


@pytest.mark.full
def test_every_case_is_a_unit_whose_literal_form_takes_the_same() -> None:
    case = CASES["sam-med3d-turbo"]
    short, literal = case.make(False), case.make(True)
    assert case.rewritten and short.inputs == literal.inputs
    weights = [unit.module.state_dict() for unit in (short, literal)]
    assert weights[0].keys() == weights[1].keys()
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert str(short.module) != str(literal.module)


def test_the_error_is_that_of_the_worst_output() -> None:
    exact = (torch.tensor([[0.0, 2.0]]), torch.tensor([[0.0, 10.0]]))
    found = (torch.tensor([[0.0, 2.5], [9.0, 9.0]]), torch.tensor([[1.0, 10.0], [9.0, 9.0]]))
    assert error_of(found, exact) == pytest.approx(0.25)
    assert error_of((found[0] * torch.nan, found[1]), exact) == float("inf")


def tiny(factor: float = 1.0) -> Unit:
    torch.manual_seed(0)
    inner = [torch.nn.Conv3d(8, 8, 3, padding=1) for _ in range(4)]
    network = torch.nn.Sequential(
        torch.nn.Conv3d(1, 8, 3), torch.nn.InstanceNorm3d(8), *inner, torch.nn.Conv3d(8, 2, 1)
    )
    network[-1].weight.data *= factor
    return Unit("tiny", network.eval(), (TensorSpec("image", (1, 8, 8, 8)),))


@pytest.fixture(autouse=True)
def small_case(monkeypatch):
    """A network that takes no time, under a name of its own."""
    monkeypatch.setitem(CASES, "tiny", Case("conv, norm, conv", lambda literal: tiny()))


def way(backend: str, precision: str) -> list[Row]:
    listed = entries("tiny", f"{backend} {precision}", backend, precision, "short", "cpu", "1,2")
    return [measure(entry, ONCE, COPY) for entry in listed]


def test_what_cannot_run_is_a_row_with_the_reason() -> None:
    for backend, precision, reason in (
        ("torch", "fp16", "fp16 does not run usefully"),
        ("torch", "int8", "int8"),
        ("tensorrt", "fp32", "does not run on cpu"),
        ("onnxruntime-tensorrt", "fp32", "does not run on cpu"),
    ):
        rows = way(backend, precision)
        assert [row.status for row in rows] == ["not measured"] * 2
        assert all(reason in row.reason for row in rows)


def test_a_wrong_network_has_no_figure(monkeypatch) -> None:
    monkeypatch.setitem(CASES, "tiny", Case("off", lambda literal: tiny(1.0 if literal else 1.01), rewritten=True))
    for row in way("torch", "fp32"):
        assert (row.status, row.timing) == ("check failed", None) and "of the range off eager" in row.reason


def test_making_and_warming_a_network_is_not_counted(monkeypatch) -> None:
    class Lazy(torch.nn.Module):
        seen: tuple[int, ...] = ()

        def forward(self, x):
            if len(x) not in self.seen:
                time.sleep(0.5)
                self.seen += (len(x),)
            return x * 2

    def make(literal: bool) -> Unit:
        time.sleep(0.5)
        return Unit("lazy", Lazy(), (TensorSpec("x", (3,)),))

    monkeypatch.setitem(CASES, "tiny", Case("slow to make", make))
    for found in way("torch", "fp32"):
        assert found.timing is not None and found.timing.high < 0.25


def test_a_network_that_gives_no_numbers_has_no_figure(monkeypatch) -> None:
    broken = Case("NaN", lambda literal: tiny(1.0 if literal else float("nan")), rewritten=True)
    monkeypatch.setitem(CASES, "tiny", broken)
    assert {row.status for row in way("torch", "bf16")} == {"check failed"}


@pytest.mark.parametrize(("backend", "precision"), [("torch", "bf16"), ("onnxruntime", "int8")])
def test_a_narrow_type_is_measured_with_its_error(backend, precision) -> None:
    one, _ = way(backend, precision)
    assert one.timing is not None and one.counted.startswith("error ")
    assert 1e-4 < float(one.counted.split()[1]) < 0.5


def row(name: str, seconds: float, batch: int = 1, model: str = "nnunet", **more) -> Row:
    timing = Timing(seconds, seconds, 2 * seconds, 3, 1, True, 1.5 * seconds)
    return Row(
        model, name, f"x, batch {batch}", "measured", timing=timing, counted="error 1.0e-06 of the range", **more
    )


def test_the_gain_is_parted_and_held_against_the_target() -> None:
    model = "sam-med3d-turbo"
    rows = [
        row("baseline", 12.0, model=model), row("literal torch fp32", 8.0, model=model),
        row("torch fp32", 4.0, model=model), row("torch-compile fp32", 3.0, model=model, memory=5_000_000),
        row("torch-compile bf16", 1.0, model=model),
        Row(model, "tensorrt fp32", "x, batch 1", "not measured", reason="no such device"),
    ]  # fmt: skip
    said = summarize(rows)
    assert said.lines[-1] == (
        "best in fp32: torch-compile fp32, 4.00x the baseline = allocator 1.50 x rewrite 2.00 x backend 1.33"
    )
    line = next(line for line in said.lines if line.startswith("torch-compile fp32"))
    assert line.split() == [
        "torch-compile",
        "fp32",
        "3",
        "s",
        "4.5",
        "s",
        "0.333",
        "4.00x",
        "5",
        "1.0e-06",
        "of",
        "the",
        "range",
    ]
    assert any(line.endswith("not measured: no such device") for line in said.lines) and said.below == []
    slow = [row("baseline", 1.0), row("torch fp32", 0.9), row("torch-compile fp32", 0.7)]
    assert summarize(slow).below == [
        "nnunet: the best fp32 path against baseline is 1.43x at batch 1, target 1.5x at one"
    ]
    both = [*slow, row("baseline", 4.0, 4), row("torch fp32", 3.2, 4)]
    assert summarize(both).below == [
        "nnunet: the best fp32 path against baseline is 1.43x at batch 1, 1.25x at batch 4, target 1.5x at one"
    ]
    assert summarize([*both, row("torch-compile fp32", 2.0, 4)]).below == [], "one batch that reaches it is enough"
    on_device = [row("baseline", 1.0, device="cuda"), row("torch fp32", 1.0, device="cuda")]
    assert summarize(on_device).below == [], "promised on a CPU"


def test_16_bits_are_held_against_autocast_and_told_beside_what_others_say() -> None:
    def on_device(name: str, seconds: float) -> Row:
        return row(name, seconds, 8, "nnunet-amp", device="cuda")

    said = summarize([on_device("torch fp16", 0.04), on_device("torch-fused fp16", 0.016)])
    assert said.below == []
    assert said.lines[-1].startswith(
        "best in fp16: torch-fused fp16, 2.50x torch fp16, 2 ms a window; on an H200: 2.28 ms"
    )
    said = summarize([on_device("torch fp16", 0.04), on_device("torch-fused fp16", 0.025)])
    assert said.below == ["nnunet-amp: the best fp16 path against torch fp16 is 1.60x at batch 8, target 2x at one"]


def test_rows_without_a_baseline_are_still_shown() -> None:
    said = summarize([Row("nnunet, baseline", "all", "all", "failed", reason="died"), row("torch fp32", 1.0)])
    assert any("failed: died" in line for line in said.lines) and said.below == []


@pytest.mark.full
def test_one_run(tmp_path: Path) -> None:
    listed = benches(["sat-nano"], ["torch-fused"], ["fp32"], (1,), "cpu")
    report = run(listed, QUICK)
    assert [row.implementation for row in report.rows] == ["baseline", "torch fp32", "torch-fused fp32"]
    assert all(row.timing and row.memory and row.counted for row in report.rows)
    report.save(tmp_path / "report.json")
    assert load(tmp_path / "report.json") == report


def test_the_environment_of_a_way_reaches_its_process(tmp_path: Path, monkeypatch) -> None:
    from umd_engine.bench.floor.job import Job, told

    monkeypatch.setenv("MALLOC_ARENA_MAX", "1")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent), prepend=os.pathsep)
    for settings in ({}, SETTINGS):
        out = tmp_path / f"{len(settings)}"
        Job("environment", "sample_bench", str(out), QUICK, ("variables",), environment=settings).start()
        (found,) = [content for kind, content in told(out) if kind == "row"]
        assert json.loads(found["counted"]) == settings


def test_bad_options() -> None:
    for arguments, fault in (
        (["--batch", "1,x"], "no list of whole numbers"),
        (["--batch", "0"], "no list of whole numbers"),
        (["--model", "unet"], "unknown model 'unet'"),
        (["--device", "tpu"], "unknown device"),
    ):
        result = CliRunner().invoke(main, ["bench", "backends", *arguments], env={**os.environ})
        assert result.exit_code == 1 and fault in result.output
