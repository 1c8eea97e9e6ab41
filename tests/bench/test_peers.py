"""The same windows through the engine and its peers: the same labels, and other labels are rejected."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module

import pytest
import torch

from umd_engine.bench.floor.measure import measure
from umd_engine.bench.floor.repetition import Rule
from umd_engine.bench.peers import MODELS, benches
from umd_engine.bench.peers.cases import Case, case_of, whole_steps
from umd_engine.bench.peers.entries import entries, entry_of
from umd_engine.bench.peers.ways import ENGINES, LOOP, MONAI, Way, ways
from umd_engine.engine.windows import flush_starts, window_starts
from umd_engine.errors import UnknownNameError

CPU = torch.device("cpu")
ONCE = Rule(budget=0.0)


@pytest.fixture(scope="module", params=["vista3d", "nnunet-demo"])
def case(request: pytest.FixtureRequest) -> Case:
    """A corner of the bench's own image: two or three windows."""
    made = case_of(request.param, CPU)
    patch = made.patch
    corner = made.image[:, : patch[0] * 3 // 2, : patch[1], : patch[2]].contiguous()
    return replace(made, image=corner)


def test_a_plain_loop_and_monai_agree(case: Case) -> None:
    expected, found = LOOP.open(case)(), MONAI.open(case)()
    assert expected.unique().numel() > 2 and expected.dtype == found.dtype == torch.uint8
    assert (expected != found).float().mean() <= MONAI.most


def test_rows_hold_labels_against_the_loop() -> None:
    listed = entries("vista3d", "cpu")
    assert [entry.implementation for entry in listed] == [way.name for way in ways(case_of("vista3d", CPU))]
    torch_row = next(entry for entry in listed if entry.implementation == ENGINES[0].name)
    row = measure(torch_row, ONCE, {"cpu": 1.0, "cuda": None})
    assert row.timing is not None and row.counted.endswith(f"of {case_of('vista3d', CPU).image.numel()} labels differ")
    answer = torch_row.run()
    with pytest.raises(AssertionError, match="labels differ from the plain loop's"):
        torch_row.check(replace(answer, labels=(answer.labels + 1) % 18))


def test_a_missing_library_is_said() -> None:
    def missing(case: Case):
        return import_module("no_such_library").run

    entry = entry_of("vista3d", case_of("vista3d", CPU), Way("peer:none", missing, 0.0), lambda: torch.ones(1))
    row = measure(entry, ONCE, {"cpu": 1.0, "cuda": None})
    assert (row.status, row.reason) == ("not measured", "no module no_such_library")


@pytest.mark.parametrize("size", [80, 96, 119, 120, 200])
def test_on_whole_steps_both_rules_place_windows_alike(size: int) -> None:
    kept = whole_steps(torch.zeros(1, size, 80, 80), (80, 80, 80)).shape[1]
    assert size - 40 < kept <= size
    assert window_starts(kept, 80, 0.5) == flush_starts(kept, 80, 0.5)


def test_models_by_name() -> None:
    assert [bench.name for bench in benches()] == list(MODELS)
    with pytest.raises(UnknownNameError, match="nnunet"):
        benches(["nnunett"])
