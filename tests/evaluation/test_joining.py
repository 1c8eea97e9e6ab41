"""`compare` and `merge`: two runs against each other, and shards of one joined."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats

from umd_engine.cli import main
from umd_engine.data.content import Content, Stamp
from umd_engine.errors import OptionError, StoreError, UnknownNameError
from umd_engine.evaluation.click_rows import ClickRow
from umd_engine.evaluation.columns import columns_of
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.merging import merge
from umd_engine.evaluation.prompts.given import Given
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.sheets import rendered
from umd_engine.evaluation.statistics.compare import comparison_sheets, comparisons, pairs_of
from umd_engine.evaluation.statistics.summary import Sampling
from umd_engine.evaluation.store import Store

FEW = Sampling(draws=200)


def row(subject, organ, counts, *, model="m", plan="p", modality="ct", status="ok", number="", **more):
    tp, fp, fn = counts or (None, None, None)
    return Row(
        plan=plan, cohort="petct", subject=subject, scan_id=f"{subject}_{modality}{number}", modality=modality,
        model=model, organ=organ, status=status, tp=tp, fp=fp, fn=fn, **more,
    )  # fmt: skip


def scores(plan, seed, subjects=14, organs=("liver", "spleen"), **more):
    rng = np.random.default_rng(seed)
    return [
        row(f"s{i:02d}", organ, (*rng.integers(3, 12, 2).tolist(), 2), plan=plan, **more)
        for i in range(subjects)
        for organ in organs
    ]


def dice(r):
    return 2 * r.tp / (2 * r.tp + r.fp + r.fn)


def store_of(folder, rows, plan=None, **more):
    folder.mkdir()
    with Store(folder / "store.sqlite") as store:
        for name in {r.plan for r in rows}:
            store.add_plan(name, json.dumps(plan or {"model": "m", "weights": "12ab"}, sort_keys=True))
        store.replace(rows, **more)
    return folder


def compared(first, second, name="umd"):
    (pair,) = pairs_of(columns_of(first), columns_of(second), ("", ""))
    (found,) = comparisons(first, second, *pair, convention(name), "dice", FEW)
    return found


def test_differences_are_paired_by_scan_and_tested():
    first, second = scores("p", 0), scores("q", 1)
    found = compared(first, second)
    line = found.lines[0]
    left, right = ([dice(r) for r in rows if r.organ == "liver"] for rows in (first, second))
    shift = np.array(right) - np.array(left)
    assert (line.first.mean, line.second.mean) == pytest.approx((np.mean(left), np.mean(right)))
    assert line.difference.estimate.mean == pytest.approx(shift.mean())
    assert line.difference.test.wilcoxon == pytest.approx(stats.wilcoxon(shift, zero_method="pratt").pvalue)
    assert line.difference.estimate.low < shift.mean() < line.difference.estimate.high
    assert found.tests == 2 and [line.organ for line in found.lines] == ["liver", "spleen", "Avg"]


def test_only_what_both_sides_have_counts():
    first, second = scores("p", 0), scores("q", 1)
    first += [row("s00", "liver", (9, 0, 0), plan="p", number=2)]  # a second scan that the other run lacks
    second[2] = row("s01", "liver", None, plan="q", status="out-of-memory")
    first += [row("only", "liver", (9, 0, 0), plan="p")]
    line = compared(first, second).lines[0]
    assert line.first.n == line.second.n == line.difference.test.n == 13
    assert line.difference.unpaired == ("only", "s01")
    expected = np.mean([dice(r) for r in first if r.organ == "liver" and r.subject not in ("s01", "only")][:13])
    assert line.first.mean == pytest.approx(expected)


def test_nothing_is_dropped_in_silence():
    first = [*scores("p", 0, subjects=7), row("x", "liver", (9, 0, 0)), row("y", "liver", None, status="bad-label")]
    second = [*scores("q", 1, subjects=7), row("x", "liver", (9, 0, 0), plan="q", number=2)]  # another scan of x
    second += [row("y", "liver", None, plan="q", status="bad-label"), replace(second[0], cohort="petmri")]
    found = compared(first, second)
    line = found.lines[0]
    assert (line.difference.estimate.n, line.difference.unpaired, found.alone) == (7, ("x",), ("petmri",))
    assert line.first.counts == line.second.counts == {"scans": 9, "failed": 1}
    said = rendered(comparison_sheets(found), "markdown")
    assert "Cohorts that only one of the two has, left out: petmri." in said and "scans=9 failed=1" in said


def test_equal_runs_have_no_test_and_say_so():
    line = compared(scores("p", 0), scores("p", 0)).lines[0]
    assert line.difference.estimate.mean == 0 and line.difference.test.why == "zero variance"


def test_which_columns_are_compared():
    two = columns_of([*scores("p", 0), *scores("q", 0, model="n")])
    one = columns_of(scores("x", 0, model="other"))
    assert [(a.model, b.plan) for a, b in pairs_of(two, columns_of(scores("z", 0)), ("", ""))] == [("m", "z")]
    assert pairs_of(one, columns_of(scores("z", 0)), ("", ""))[0][0].model == "other"
    assert pairs_of(two, two, ("m", "q"))[0][1].model == "n"  # by the plan's hash
    with pytest.raises(OptionError, match="name one of each by --first"):
        pairs_of(two, one, ("", ""))
    with pytest.raises(OptionError, match="several columns"):
        pairs_of(two, one, ("", "other"))
    with pytest.raises(UnknownNameError, match="known: m, n"):
        pairs_of(two, one, ("vista", "other"))


def test_the_command_compares_two_models_of_a_run(tmp_path):
    run = store_of(tmp_path / "run", [*scores("p", 0), *scores("q", 1, model="n")])
    command = ["compare", str(run), str(run), "--first", "m", "--second", "n", "--draws", "200", "--metric", "iou"]
    for form in ("text", "markdown", "latex"):
        result = CliRunner().invoke(main, [*command, "--format", form])
        assert result.exit_code == 0 and "IoU, cohort petct: n minus m" in result.output
    (found,) = json.loads(CliRunner().invoke(main, [*command, "--json"]).output)["comparisons"]
    csv_lines = CliRunner().invoke(main, [*command, "--format", "csv"]).output.splitlines()
    assert len(csv_lines) == 1 + 3 * len(found["lines"])


def test_shards_join_into_the_whole_run(tmp_path):
    rows = scores("p", 0, subjects=6)
    click = ClickRow(rows[0].key, 0, Given("point", "own", True, voxel=(1, 2, 3), world=(0.0, 1.0, 2.0)))
    halves = [
        store_of(tmp_path / "a", rows[:6], clicks=[click], files={tmp_path / "x": Content("00", Stamp(1, 2))}),
        store_of(tmp_path / "b", rows[6:]),
    ]
    with Store(halves[1] / "store.sqlite") as store:
        store.group({("petct", "s05", "s05_ct"): {"sex": "F"}})
    done = merge(halves, tmp_path / "out")
    with Store(tmp_path / "out" / "store.sqlite", read_only=True) as store:
        assert list(store.rows()) == rows and list(store.clicks()) == [click]
        assert store.groups() == {("petct", "s05", "s05_ct"): {"sex": "F"}} and len(store.files()) == 1
        assert set(store.plans()) == {"p"}
    assert (done.rows, done.twice) == ((6, 6), 0) and (tmp_path / "out" / "plans" / "p.json").exists()


def test_a_result_in_two_shards_is_taken_once_and_from_where_it_is_finished(tmp_path):
    rows = scores("p", 0, subjects=3, seconds=1.0)
    failed = row("s00", "liver", None, status="out-of-memory")
    again = row("s01", "liver", (rows[2].tp, rows[2].fp, rows[2].fn), seconds=9.0)
    done = merge([store_of(tmp_path / "a", [failed, again]), store_of(tmp_path / "b", rows)], tmp_path / "out")
    with Store(tmp_path / "out" / "store.sqlite", read_only=True) as store:
        found = list(store.rows())
    assert done.twice == 2 and len(found) == len(rows) and {r.status for r in found} == {"ok"}


def test_of_equal_counts_those_with_surfaces_are_taken(tmp_path):
    bare = scores("p", 0, subjects=2)
    first, second = ([replace(r, surfaces=bytes([i]) * 368) for r in bare] for i in (1, 2))  # unlike in their digits
    runs = [store_of(tmp_path / name, rows) for name, rows in zip("abc", (bare, first, second), strict=True)]
    assert merge(runs, tmp_path / "out").twice == len(bare)
    with Store(tmp_path / "out" / "store.sqlite", read_only=True) as store:
        assert list(store.rows()) == first


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"weights": "34cd"}, 'weights: "12ab" and "34cd"'),
        ({"protocol": {"mirroring": False}}, "protocol.mirroring: true and false"),
        ({"precision": "fp16"}, 'precision: null and "fp16"'),
    ],
)
def test_unlike_plans_are_refused_by_name(tmp_path, change, named):
    plan = {"model": "m", "weights": "12ab", "protocol": {"mirroring": True}}
    first = store_of(tmp_path / "a", scores("p", 0), plan)
    second = store_of(tmp_path / "b", scores("q", 0), plan | change)
    with pytest.raises(StoreError, match="m was run in another way") as error:
        merge([first, second], tmp_path / "out")
    assert named in str(error.value) and not (tmp_path / "out").exists()


def test_unlike_counts_of_a_result_are_refused_by_name(tmp_path):
    runs = [store_of(tmp_path / name, scores("p", seed, subjects=1)) for seed, name in enumerate("ab")]
    with pytest.raises(StoreError, match="unlike counts: m petct/s00/s00_ct liver"):
        merge(runs, tmp_path / "out")


def test_what_merge_needs(tmp_path):
    run = store_of(tmp_path / "a", scores("p", 0))
    with pytest.raises(OptionError, match="nothing to be merged"):
        merge([run], tmp_path / "out")
    with pytest.raises(OptionError, match="has a store already"):
        merge([run, run], run)
    with pytest.raises(OptionError, match="a folder of this machine"):
        merge([run, run], Path("s3://bucket/run"))
    result = CliRunner().invoke(main, ["merge", str(run), str(run), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0 and "28 results stood in several runs" in result.output
