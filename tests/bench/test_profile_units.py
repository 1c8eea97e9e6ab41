"""Units alone: checks before figures, smaller patches, what does not fit or cannot run, cold and warm."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import profile_units as samples
import pytest
import torch

from umd_engine.bench.floor.clock import HostClock
from umd_engine.bench.floor.repetition import Rule
from umd_engine.bench.profile.latency import overhead_of
from umd_engine.bench.profile.patch import counted, smaller
from umd_engine.bench.profile.result import UnitRow
from umd_engine.bench.profile.subject import STAND_IN, Subject, subject_of
from umd_engine.bench.profile.trial import Way
from umd_engine.bench.profile.units import unit_rows
from umd_engine.errors import MissingFileError, UnknownNameError
from umd_engine.models.stand_in import stand_in_units

FAST = Rule(window=0.001, warm=0.0, most=5, budget=1.0, agree=0.5)
WAY = Way("torch", "fp32", torch.device("cpu"), (1, 2), FAST, patience=10.0)
SIDE = 16


def rows(subject: Subject, way: Way = WAY, begun: list[UnitRow] | None = None) -> list[UnitRow]:
    return list(unit_rows(subject, way, (begun if begun is not None else []).append))


def convolution() -> Subject:
    return samples.subject(samples.unit(torch.nn.Conv3d(1, 4, 3, padding=1), SIDE))


def test_a_unit_has_a_row_a_batch_with_every_figure() -> None:
    begun: list[UnitRow] = []
    one, two = rows(convolution(), WAY, begun)
    assert (one.batch, two.batch) == (1, 2) and one.status in ("measured", "unstable") and not one.emulated
    assert {row.batch for row in begun} == {1, 2}
    for row in (one, two):
        assert row.latency and len(row.latency.samples) >= 3 and row.latency.p99 is None
        assert min(row.latency.samples) <= row.latency.p50 <= row.latency.p90 <= max(row.latency.samples)
        assert row.cold.keys() == {"load", "first call"} and row.error is not None and row.error <= 1e-4
        assert row.flops == 2 * 27 * 4 * SIDE**3 and row.shapes == ((1, SIDE, SIDE, SIDE),) and row.scaled == 1
        assert row.file == 4 * (4 * 27 + 4)
        assert row.energy and (row.energy.joules or row.energy.source)
    assert one.nbytes == two.nbytes == 4 * (SIDE**3 + 4 * SIDE**3 + 4 * 27 + 4)


def test_peak_memory_is_that_of_a_call() -> None:
    class Wide(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.expand(-1, 256, -1, -1, -1).contiguous()[:, :1] * 1.0

    row, _ = rows(samples.subject(samples.unit(Wide(), 32)))
    assert row.memory.host is not None and 32 << 20 <= row.memory.host < 40 << 20


def test_a_unit_that_answers_otherwise_has_no_figure() -> None:
    for row in rows(samples.subject(samples.unit(samples.Drifting(), SIDE))):
        assert (row.status, row.latency, row.error, dict(row.cold)) == ("check failed", None, None, {})
        assert "of the range off eager" in row.reason


def test_a_batch_that_does_not_fit_is_a_row_and_the_others_are_timed() -> None:
    some = samples.subject(samples.unit(samples.Full(), SIDE))
    one, two, beyond = rows(some, replace(WAY, batches=(2, 1, 1 << 40)))
    assert one.batch == 1 and one.latency and one.error == 0
    assert (two.batch, two.status, two.latency) == (2, "does not fit", None) and "more memory" in two.reason
    assert (beyond.status, beyond.latency) == ("does not fit", None), "nor do its inputs"


@pytest.mark.parametrize(
    ("backend", "precision", "reason"),
    [("torch", "fp16", "fp16 does not run usefully"), ("torch", "int8", "int8"), ("tensorrt", "fp32", "on cpu")],
)
def test_what_a_backend_lacks_is_a_row_with_the_reason(backend: str, precision: str, reason: str) -> None:
    found = rows(convolution(), replace(WAY, backend=backend, precision=precision))
    assert [row.status for row in found] == ["not measured"] * 2 and all(reason in row.reason for row in found)


def test_a_graph_is_exported_anew_and_the_users_cache_stays(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path))
    (row,) = rows(convolution(), replace(WAY, backend="onnxruntime", batches=(1,)))
    assert row.cold.keys() == {"load", "export", "first call"} and row.latency and row.file
    assert not list(tmp_path.iterdir())


def test_fp16_on_a_cpu_is_emulated_and_finite() -> None:
    (row,) = rows(convolution(), replace(WAY, backend="onnxruntime", precision="fp16", batches=(1,)))
    assert row.emulated and row.latency and row.error is not None and 0 < row.error < 0.01
    assert row.nbytes == rows(convolution())[0].nbytes, "it is computed in float32"


def test_a_slow_unit_runs_at_a_smaller_patch_and_says_the_ratio() -> None:
    slow = samples.subject(samples.unit(samples.Slow(0.2)))
    (row,) = rows(slow, replace(WAY, batches=(1,), patience=0.1))
    assert (row.scaled, row.shapes, row.reason) == (8.0, ((1, 32, 32, 32),), "patch 32x32x32")
    assert row.latency and row.latency.p50 < 0.1
    (row,) = rows(slow, replace(WAY, batches=(1,), patience=0.1, conv=1e6))
    assert row.scaled == 8, "its FLOPs alone say that it takes too long"
    (row,) = rows(samples.subject(samples.unit(samples.Positions())), replace(WAY, batches=(1,), patience=1e-9))
    assert row.scaled == 1 and row.latency, "there is no smaller one"


@pytest.mark.parametrize(
    "name",
    ["nnunet", "sat-nano", *(pytest.param(name, marks=pytest.mark.full) for name in ("nninteractive", "vista3d"))],
)
def test_patches_are_halved_down_to_what_the_networks_take(name: str) -> None:
    for unit in stand_in_units(name, weights=False):
        less = smaller(unit, name)
        assert less is not None and less.module is unit.module
        image, small = unit.inputs[0], less.inputs[0]
        assert all(
            0.3 * n < half <= 0.5 * n and half % 32 == 0
            for n, half in zip(image.shape[1:], small.shape[1:], strict=True)
        )
        assert counted(less).flops < 0.2 * counted(unit).flops


def test_a_table_of_positions_has_the_reduced_network_in_its_place() -> None:
    encoder, decoder = stand_in_units("sam-med3d-turbo", weights=False)
    less = smaller(encoder, "sam-med3d-turbo")
    assert less is not None and less.name == encoder.name and less.inputs == encoder.inputs
    assert counted(less).flops < counted(encoder).flops
    assert smaller(decoder, "sam-med3d-turbo") is None


def test_stand_ins_without_weights_have_the_same_counts() -> None:
    for with_weights, without in zip(
        stand_in_units("nnunet", True), stand_in_units("nnunet", True, False), strict=True
    ):
        assert counted(with_weights) == counted(without)
        assert all(tensor.is_meta for tensor in without.module.parameters())


def test_a_quick_model_is_reduced_and_knows_the_whole() -> None:
    subject = subject_of("nnunet", quick=True)
    (row,) = rows(subject, replace(WAY, batches=(1,)))
    assert subject.weights == STAND_IN and len(subject.protocol) == 32
    assert row.file == counted(subject.units[0]).weights, "each once, though its decoder holds the encoder too"
    (whole,) = stand_in_units("nnunet", weights=False)
    assert (
        row.flops and math.isclose(row.scaled * row.flops, counted(whole).flops) and row.reason == "a reduced network"
    )


def test_models_by_name_have_stand_ins_and_by_path_have_to_be_there() -> None:
    with pytest.raises(UnknownNameError, match="did you mean nnunet"):
        subject_of("nnunett", quick=True)
    with pytest.raises(MissingFileError):
        subject_of("nnunet=/nowhere", quick=True)


@pytest.mark.full
def test_sampling_costs_less_than_a_percent() -> None:
    """The bound is loose: a busy machine is no fault. `bench --overhead` tells the figure."""
    a = torch.randn(256, 256)
    assert overhead_of(lambda: a @ a, HostClock(), 200) < 0.05
