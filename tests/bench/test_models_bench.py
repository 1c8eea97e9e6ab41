"""What the bench of whole protocols counts, and that the plain script it holds SAM-Med3D against is the same job."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from umd_engine.bench.floor import Entry
from umd_engine.bench.floor.job import Job
from umd_engine.bench.floor.measure import measure
from umd_engine.bench.floor.repetition import QUICK, Rule
from umd_engine.bench.floor.table import lines_of
from umd_engine.bench.models import MODELS, benches
from umd_engine.bench.models.counting import Counts, counting
from umd_engine.engine.executor import run_program
from umd_engine.engine.together import in_turn, together
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import Program, Work, call
from umd_engine.errors import UnknownNameError
from umd_engine.models.ready import open_unit

ONE = (TensorSpec("x", (1,)),)
TWICE, SAME = Unit("twice", torch.nn.Identity(), ONE), Unit("same", torch.nn.Identity(), ONE)


def steps(count: int) -> Program[int]:
    """Three items of one unit, then `count` calls of another, each of which waits for the last."""
    x = torch.ones(1)
    yield Work(TWICE, iter([(x,)] * 3), 3, lambda item, outputs: None)
    for _ in range(count):
        yield from call(SAME, x)
    return count


@pytest.mark.parametrize(("company", "rounds"), [(together, 1 + 4), (in_turn, 3 + 2 + 4 + 0)])
def test_calls_are_those_of_all_and_rounds_those_of_the_longest(company, rounds):
    counts = Counts()
    program = counting(company([steps(2), steps(4), steps(0)]), counts)
    assert run_program(program, lambda unit: open_unit(unit, "torch", torch.device("cpu"))) == [2, 4, 0]
    assert counts.calls == {"twice": 9, "same": 6} and counts.rounds == rounds
    assert str(counts) == f"15 network calls (6 of same, 9 of twice) in {rounds} rounds"


def test_what_a_result_tells_stands_in_its_row():
    row = measure(Entry("a", "b", "c", lambda: 7, 0, lambda _: None, counted=lambda n: f"{n} calls"), QUICK, {"cpu": 1})
    assert row.counted == "7 calls" and any(line.endswith(", 7 calls") for line in lines_of([row]))


def test_models_by_name():
    assert [bench.name for bench in benches()] == list(MODELS)
    assert [bench.name for bench in benches(["segvol"])] == ["segvol"]
    with pytest.raises(UnknownNameError, match="unet"):
        benches(["unet"])
    for bench in benches():
        entries = Job(bench.name, bench.module, "", Rule()).entries()
        assert {entry.op for entry in entries} == {bench.name}
        peers = {entry.case for entry in entries if entry.peer}
        assert peers and peers <= {entry.case for entry in entries if not entry.peer}


@pytest.mark.full
def test_the_plain_script_of_sam_med3d_is_the_official_variant():
    from umd_engine.bench import plain_sam_med3d
    from umd_engine.bench.models import sam_med3d

    organ = "liver"
    ours = sam_med3d.segment_with(sam_med3d.WAYS[0], [organ])[organ]
    ids, clicks = {organ: sam_med3d.ids()[organ]}, {organ: sam_med3d.clicks()[organ]}
    plain = plain_sam_med3d.segment(*sam_med3d.scan(), ids, clicks, sam_med3d.literal())[organ]
    assert ours.any() and np.count_nonzero(ours != plain) <= 1e-4 * np.count_nonzero(ours)
