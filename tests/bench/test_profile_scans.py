"""Whole scans in the profiler, on the demo's CT network."""

import json
from dataclasses import replace

import numpy as np
import pytest
from pydantic import TypeAdapter

from umd_engine.bench.demo.study import CT
from umd_engine.bench.floor.repetition import Rule
from umd_engine.bench.profile import run
from umd_engine.bench.profile.asked import Asked
from umd_engine.bench.profile.result import Energy, ScanRow, UnitRow
from umd_engine.bench.profile.scan import cost_of, scan_row
from umd_engine.bench.profile.scanned import boxes, given, phantom, scans_of
from umd_engine.bench.profile.whole import Whole
from umd_engine.bench.profile.worker import Order, wrong_of
from umd_engine.data.nifti import read
from umd_engine.data.volume import Volume
from umd_engine.engine.trace import STAGES, Trace
from umd_engine.evaluation.run import Evaluation, Settings
from umd_engine.kernels.parts import PARTS, doing
from umd_engine.models.catalog import Request

DEMO = f"nnunet@demo={CT}"
ASKED = Asked((DEMO,), batches=(1, 2))
ONE = Rule(window=0.0, warm=0.0, most=1)


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    return {"small": phantom(folder, "small"), "part": phantom(folder, "small", part=True)}


@pytest.fixture(scope="module")
def model():
    return Request.parse(DEMO).load({})


def row_of(scanned, **asked) -> ScanRow:
    return scan_row(DEMO, scanned, replace(ASKED, **asked), ONE)


def test_a_scan_from_its_file_to_its_rows(scans, model):
    row = row_of(scans["part"], hour=3.6, kwh=0.36, watts=100.0)
    volume = read(scans["part"].row.images[0])
    assert row.status in ("measured", "unstable") and row.scaled == 1.0 and row.computed is None
    assert row.windows == model.calls(volume.shape, volume.grid.spacing).items
    assert row.calls == -(-row.windows // row.batch)
    assert row.voxels == volume.voxels.size and row.cold.keys() == {"load", "open", "first run"}
    names = {"read", "decode", "prepare", "resample", "gather", "forward", "accumulate", "finish", "metrics", "store"}
    assert row.stages.keys() == names and all(seconds >= 0 for seconds in row.stages.values())
    # a scan alone does one thing after another, but for the network's next batch
    assert 0.7 * row.seconds.p50 < sum(row.stages.values()) < 1.5 * row.seconds.p50
    assert row.forward.keys() == {"nnunet@demo.fold_all"}
    assert 0.8 * row.stages["forward"] < sum(row.forward.values()) <= row.stages["forward"]
    assert row.memory.host > 10 * volume.voxels.size and row.memory.allocated is None
    times = [moment.seconds for moment in row.timeline]
    assert times == sorted(times) and len(times) > 2 and times[-1] > 0.5 * row.seconds.p50
    assert all(moment.host > 0 and moment.device is None for moment in row.timeline)
    joules = row.energy.joules or 100.0 * row.seconds.p50
    assert row.cost == pytest.approx(row.seconds.p50 + joules / 1e4)
    assert TypeAdapter(ScanRow).validate_json(TypeAdapter(ScanRow).dump_json(row)) == row


def test_calls_that_take_too_long_repeat_an_answer(scans, model):
    whole = Whole(model, scans["small"].row, Settings(batch_size=1), patience=0.0)
    whole.cold()
    assert whole.computed == 2
    watched = whole.watched()
    assert watched.items == 6 and watched.seconds > sum(watched.forward.values())  # none was computed, all count
    assert watched.stages["forward"] >= 0.99 * sum(watched.forward.values())


def test_what_ends_a_scan_is_a_row(scans, tmp_path, monkeypatch):
    torn = tmp_path / "torn.nii.gz"
    torn.write_bytes(scans["part"].row.images[0].read_bytes()[:1000])
    row = row_of(given(tmp_path, torn))
    assert row.status == "failed" and "truncated" in row.reason and row.seconds is None
    refused = row_of(scans["part"], precision="int8")
    assert refused.status == "not measured" and "int8" in refused.reason
    monkeypatch.setattr(Evaluation, "__init__", _full)
    assert row_of(scans["part"]).status == "does not fit"


def _full(*_, **__):
    raise MemoryError


def followed(asked, **order):
    kept = run._Kept(run._empty(asked), None)
    run._follow(Order(replace(asked, models=()), ONE, **order), kept)
    return kept.found.scans


def test_a_process_that_dies_is_a_row_and_the_next_model_goes_on(scans, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_FAULT", "read:1")
    models = {DEMO: scans["part"], f"nnunet@again={CT}": scans["part"]}
    rows = followed(replace(ASKED, quick=True), scans=tuple(models.items()))
    assert [row.model for row in rows] == ["nnunet@demo", "nnunet@again"]
    assert {row.status for row in rows} == {"does not fit"}
    assert all("killed" in row.reason for row in rows)


def test_a_model_whose_unit_answers_wrong_runs_no_scan(scans):
    wrong = wrong_of([UnitRow("nnunet@demo", "nnunet@demo.fold_all", *("",) * 3, 1, "check failed", "far off")])
    (row,) = followed(ASKED, scans=((DEMO, scans["part"]),), wrong=wrong)
    assert (row.status, row.reason, row.seconds) == ("not measured", "fold_all is wrong: far off", None)


def test_a_quick_look_takes_a_part_but_for_checkpoints(tmp_path):
    found = scans_of(Asked((DEMO, "nnunet"), quick=True), tmp_path)
    assert "part of" in found["nnunet"].title and found["nnunet"].organs == ("liver",)
    assert found[DEMO].title == "phantom CT 128x128x212" and not found[DEMO].organs


def test_the_given_scan_has_a_made_up_organ_for_every_prompt(scans, tmp_path):
    scanned = given(tmp_path, scans["part"].row.images[0])
    labels = read(scanned.row.label).voxels
    assert np.unique(labels).tolist() == list(range(14)) and "made-up" in scanned.title
    image = read(scanned.row.images[0])
    assert (image.voxels[labels > 0] > image.voxels.mean()).mean() > 0.5
    dark = Volume.from_array(np.full((20, 20, 20), -1000.0, np.float32), np.eye(4))
    assert np.unique(boxes(dark)).tolist() == list(range(14))


def test_what_scans_cost():
    asked = replace(ASKED, hour=2.0)
    assert cost_of(ASKED, 9.0, None) is None
    assert cost_of(asked, 9.0, None) == pytest.approx(5.0)
    priced = replace(asked, kwh=0.3)
    assert cost_of(priced, 9.0, Energy(None, "no counter")) is None  # part of a cost is none
    assert cost_of(replace(priced, watts=400.0), 9.0, Energy(None, "no counter")) == pytest.approx(5.3)
    assert cost_of(replace(priced, watts=400.0), 9.0, Energy(7200.0, "RAPL")) == pytest.approx(5.6)


def test_parts_lie_within_their_stages(scans, model, tmp_path):
    settings = Settings(trace=tmp_path / "trace.json")
    work = Evaluation([scans["small"].row], [model], tmp_path / "run", settings)
    assert [ended.error for ended in work.run()] == [None]
    trace = work.crew.trace
    assert {span.stage for span in trace.spans} == set(STAGES)
    assert {part.stage for part in trace.parts} == set(PARTS) - {"transfer"}  # nothing moves on a CPU
    within = {(part.stage, part.within) for part in trace.parts}
    assert {("decode", "read"), ("resample", "prepare"), ("accumulate", "collect"), ("metrics", "program")} <= within
    for part in trace.parts:
        outer = [s for s in (*trace.spans, *trace.parts) if (s.stage, s.thread) == (part.within, part.thread)]
        assert any(one.start <= part.start and part.end <= one.end for one in outer), part
    whole = sum(span.end - span.start for span in trace.spans)
    assert sum(trace.seconds.values()) == pytest.approx(whole) and min(trace.seconds.values()) >= 0
    events = json.loads(settings.trace.read_text())["traceEvents"]
    assert {event["cat"] for event in events if event["ph"] == "X"} == {*STAGES, *PARTS} - {"transfer"}


def test_nobody_is_told_of_parts_where_no_trace_is_kept():
    trace = Trace()
    with trace.span("read"), doing("decode"):
        pass
    assert trace.parts == [] and trace.seconds == {}


@pytest.mark.full
def test_what_a_trace_and_a_look_at_the_memory_cost_is_told(scans):
    row = row_of(scans["small"], overhead=True)
    assert -0.5 < row.overhead < 0.5  # docs/bench.md says what was seen; a busy machine varies by far more


@pytest.mark.full
def test_every_model_has_a_scan_that_is_quick():
    from umd_engine.models.stand_in import STAND_INS

    found, _ = run.profile(Asked((*STAND_INS, DEMO), batches=(1,), quick=True))
    rows = found.scans
    assert [row.model for row in rows] == [*STAND_INS, "nnunet@demo"]
    assert all(row.seconds is not None for row in rows), [(row.model, row.reason) for row in rows]
    assert all((row.scaled > 1) == (row.model != "nnunet@demo") for row in rows)
