"""Statistics against SciPy, against enumeration, and against the tables."""

import csv
import io
import itertools
import json
import math

import numpy as np
import pytest
from cohort import MODEL, make_cohort
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from umd_engine.data.manifest import read_manifest
from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.metrics import COUNTS
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.run import Evaluation, Settings
from umd_engine.evaluation.statistics.bootstrap import intervals
from umd_engine.evaluation.statistics.groups import age_band, subgroups
from umd_engine.evaluation.statistics.paired import adjusted, holm, paired, rank_biserial
from umd_engine.evaluation.statistics.report import cohorts, told
from umd_engine.evaluation.statistics.scores import collect
from umd_engine.evaluation.statistics.summary import Sampling, summarize
from umd_engine.evaluation.store import Store
from umd_engine.evaluation.tables import build_tables
from umd_engine.models.catalog import Request

FEW = Sampling(draws=200, seed=1)


def row(subject, modality, organ, counts=None, *, model="m", number="", status="ok", **more):
    defaults = {"plan": f"plan-{model}", "cohort": "petct"}
    tp, fp, fn = counts or (None, None, None)
    return Row(
        **(defaults | more), subject=subject, scan_id=f"{subject}_{modality}{number}", modality=modality, model=model,
        organ=organ, status=status, tp=tp, fp=fp, fn=fn,
    )  # fmt: skip


def made(subjects=12, models=("m",), organs=("liver", "spleen"), loss=3, seed=0, structural="ct"):
    rng = np.random.default_rng(seed)
    return [
        row(f"s{s:02d}", m, organ, (*rng.integers(5, 20, 2).tolist(), int(rng.integers(0, 5)) + loss * (m == "pet")),
            model=model)
        for s in range(subjects) for m in (structural, "pet") for organ in organs for model in models
    ]  # fmt: skip


def one(rows, name="umd", sampling=FEW):
    (scores,) = collect(rows, "dice", convention(name))
    return summarize(scores, sampling)


def said(rows, form="markdown"):
    return told(list(cohorts(rows, {}, convention("umd"), "dice", FEW)), form)


def scipy_interval(values, statistic, seed, draws):
    found = stats.bootstrap(
        (values,), statistic, n_resamples=draws, method="BCa", batch=500, rng=np.random.default_rng(seed)
    )
    return [found.confidence_interval.low, found.confidence_interval.high]


@pytest.mark.parametrize("draws", [1000, 1750])
def test_intervals_are_scipys_on_the_same_resamples(draws):
    values = np.random.default_rng(0).beta(2, 6, (40, 3))
    values[values[:, 2] < 0.1, 2] = np.nan
    found = intervals(values, draws, seed=5)
    for column in range(3):
        assert found[:, column] == pytest.approx(
            scipy_interval(values[:, column], np.nanmean, 5, draws), rel=1e-12, abs=1e-14
        )


def test_resampled_means_that_equal_the_mean_count_half():
    values = np.zeros((49, 1))
    values[0] = 1 / 3  # a sum of thirds is not exact: ties must not hang on rounding
    assert intervals(values, 2000)[:, 0] == pytest.approx(
        scipy_interval(values[:, 0] * 3, np.mean, 0, 2000) / np.array(3.0)
    )


def test_no_interval_without_two_unlike_scores():
    values = np.array([[0.5, 0.1, np.nan, np.nan], [0.5, np.nan, np.nan, 0.2], [0.5, np.nan, np.nan, 0.4]])
    found = intervals(values, 500)
    assert np.isnan(found[:, :3]).all() and found[0, 3] >= 0.2 and found[1, 3] <= 0.4


def test_a_seed_gives_the_same_interval_and_another_one_does_not():
    values = np.random.default_rng(0).random((20, 1))
    assert (intervals(values, 300, 1) == intervals(values, 300, 1)).all()
    assert (intervals(values, 300, 1) != intervals(values, 300, 2)).any()


@pytest.mark.parametrize(
    "differences", [[0.3, -0.1, 0.2, 0.5, -0.4, 0.7, 0.6], [0.1, 0.25, 0.3, 0.4, 0.5, 0.6, -0.05, 0.9]]
)
def test_small_p_values_are_those_of_all_sign_flips(differences):
    found = paired(np.array(differences))
    ranks = stats.rankdata(np.abs(differences))
    above = sum(rank for rank, d in zip(ranks, differences, strict=True) if d > 0)
    every = [
        sum(r for r, sign in zip(ranks, signs, strict=True) if sign)
        for signs in itertools.product([0, 1], repeat=len(ranks))
    ]
    tail = min(np.mean([w >= above for w in every]), np.mean([w <= above for w in every]))
    assert found.wilcoxon == pytest.approx(min(1, 2 * tail))


def test_tests_are_scipys():
    rng = np.random.default_rng(0)
    left, right = rng.random((2, 80)).round(1)  # with zeros and ties
    found = paired(left - right)
    assert found.wilcoxon == stats.wilcoxon(left, right, zero_method="pratt").pvalue
    assert found.t == pytest.approx(stats.ttest_rel(left, right).pvalue)


@pytest.mark.parametrize("pairs", range(6, 11))
def test_few_pairs_with_ties_and_zeros_are_scipys(pairs):
    found = np.random.default_rng(pairs).normal(0.4, 1, pairs).round()
    assert paired(found).wilcoxon == pytest.approx(stats.wilcoxon(found, zero_method="pratt").pvalue)


def test_the_effect_size_is_the_balance_of_ranks():
    assert rank_biserial(np.array([0.1, 0.2, 0.3])) == 1 and rank_biserial(-np.array([0.1, 0.2])) == -1
    assert rank_biserial(np.array([0.3, -0.1, 0.2])) == pytest.approx((3 + 2 - 1) / 6)
    assert rank_biserial(np.array([0.0, 0.3, -0.1])) == pytest.approx((3 - 2) / 5)  # the zero has the first rank
    assert math.isnan(rank_biserial(np.zeros(4)))
    assert math.isnan(paired(np.array([0.1 + 0.2 - 0.3] * 3 + [0.0] * 4)).effect)  # rounding is no difference


@pytest.mark.parametrize(
    ("differences", "why"),
    [
        ([], "no pairs"),
        ([0.1, 0.2, 0.3, 0.1, 0.2], "fewer than 6 pairs"),
        ([0.5] * 8, "zero variance"),
        ([0.1 + 0.2, 0.3] * 4, "zero variance"),  # equal but for rounding
    ],
)
def test_where_there_is_no_test_it_says_why(differences, why):
    found = paired(np.array(differences))
    assert found.why == why and math.isnan(found.wilcoxon) and math.isnan(found.t) and found.n == len(differences)


def test_holm_by_hand():
    p = np.array([0.01, 0.04, math.nan, 0.03, 0.005])
    assert holm(p) == pytest.approx([0.03, 0.06, math.nan, 0.06, 0.02], nan_ok=True)
    assert holm(np.array([0.6, 0.7])) == pytest.approx([1, 1])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values):
    found, alpha = holm(np.array(p_values)), 0.05
    rejected, rest = set(), sorted(range(len(p_values)), key=lambda i: p_values[i])
    while rest and p_values[rest[0]] * len(rest) <= alpha:
        rejected.add(rest.pop(0))
    assert {i for i, p in enumerate(found) if p <= alpha} == rejected


def test_shades_are_the_papers():
    tests = [paired(np.arange(1, n) / 100) for n in (8, 12, 30)]
    assert [test.shade for test in adjusted(tests)] == [0, 1, 2]  # 0.0156, 2 * 0.00098, 3 * 4e-9


@pytest.mark.parametrize("name", ["umd", "nnunet", "metrics-reloaded"])
def test_means_and_gaps_are_those_of_the_tables(name):
    rows = made(models=("m", "n"))
    rows += [
        row("x", "ct", "liver", status="corrupt-file"),
        row("x", "pet", "liver", (0, 0, 0)),
        row("y", "ct", "spleen", (0, 3, 0)),
    ]
    rows += [row("s00", "ct", "liver", (9, 9, 9), repeat=1)]
    (table,), found = build_tables(rows, convention(name)), one(rows, name)
    lines = [(r.organ, line.modality, line.cells) for r in table.rows for line in r.lines]
    assert [(m.organ, m.modality) for m in found.means] == [(organ, modality) for organ, modality, _ in lines]
    for means, (_, _, cells) in zip(found.means, lines, strict=True):
        for mine, cell in zip(means.cells, cells, strict=True):
            counts = {name: getattr(cell, name) for name in ("scans", *COUNTS) if getattr(cell, name)}
            assert mine.n == cell.n and {name: n for name, n in mine.counts.items() if n} == counts
            assert (mine.mean, mine.sd) == pytest.approx((cell.mean, cell.sd), nan_ok=True)
    gaps = [gap for r in table.rows for line in r.gaps for gap in line.cells]
    for mine, gap in zip((cell for line in found.gaps for cell in line.cells), gaps, strict=True):
        assert mine.estimate.n == mine.test.n == gap.n
        assert (mine.estimate.mean, mine.estimate.sd) == pytest.approx((gap.mean, gap.sd), nan_ok=True)


def test_what_stands_behind_the_means_is_counted_in_scans():
    rows = [*made(3), row("x", "ct", "liver", (0, 3, 0)), row("x", "pet", "liver", status="out-of-memory")]
    text = said(rows)
    assert "| liver | ct | scans=4 label-empty=1 |" in text and "|  | pet | scans=4 failed=1 |" in text
    assert "scans=" not in said(made(3))  # nothing failed and nothing is empty
    lines = {(x["organ"], x["modality"]): x for x in csv.DictReader(io.StringIO(said(rows, "csv")))}
    line = lines["liver", "pet"]
    assert (line["n"], line["scans"], line["failed"], line["label_empty"]) == ("3", "4", "1", "0")
    assert lines["liver", "ct-pet"]["scans"] == ""


def test_several_scans_of_a_subject_are_one_subject():
    rows = [
        row("a", "ct", "liver", (1, 0, 0)),
        row("a", "ct", "liver", (1, 1, 1), number=2),
        row("b", "ct", "liver", (1, 0, 0)),
    ]
    found = one(rows)
    assert (found.means[0].cells[0].n, found.means[0].cells[0].mean, found.several) == (2, 0.875, ("a",))
    assert "Several scans of a modality, whose mean counts: a." in told(
        list(cohorts(rows, {}, convention("umd"), "dice", FEW)), "markdown"
    )


def test_unpaired_subjects_are_listed_counted_and_out_of_the_tests():
    rows = [
        *made(8),
        row("only-ct", "ct", "liver", (5, 0, 0)),
        row("failed", "ct", "liver", (5, 0, 0)),
        row("failed", "pet", "liver", status="out-of-memory"),
    ]
    gap = one(rows).gaps[0].cells[0]
    assert (gap.unpaired, gap.test.n) == (("failed", "only-ct"), 8)
    text = said(rows, "markdown")
    assert "out of gaps and tests: 2 subjects with scores on one side alone: failed, only-ct." in text
    kept = one(rows, "metrics-reloaded").gaps[0].cells[0]
    assert (kept.unpaired, kept.test.n) == (("only-ct",), 9)  # a failure counts 0 there


def test_one_modality_only_and_all_failed_are_said():
    alone = [r for r in made() if r.modality == "pet"]
    assert one(alone).gaps == ()
    assert "No gaps and no tests" in said(alone, "text")
    failed = [row(f"s{i}", m, "liver", status="corrupt-file") for i in range(7) for m in ("ct", "pet")]
    found = one(failed)
    assert {(c.n, c.counts["failed"]) for line in found.means for c in line.cells} == {(0, 7)}
    assert found.gaps[0].cells[0].test.why == "no pairs" and found.family("ct") == 0
    text = said(failed, "markdown")
    assert "No score counts at all" in text and "no pairs" in text


def test_files_that_two_subjects_share_are_named():
    rows = [row("a", "ct", "liver", (1, 0, 0), inputs="f00d"), row("b", "ct", "liver", (1, 0, 0), inputs="f00d")]
    assert one(rows).alike == (("a/a_ct", "b/b_ct"),)
    assert one([rows[0], row("a", "ct", "spleen", (1, 0, 0), inputs="f00d")]).alike == ()


def test_holm_is_over_organs_and_models_and_the_average_over_models():
    rows = made(20, models=("m", "n"), loss=4)
    found = one(rows)
    tests = [c.test for line in found.gaps for c in line.cells]
    assert found.family("ct") == 4 and len(tests) == 6
    assert [t.wilcoxon_holm for t in tests[:4]] == pytest.approx(holm(np.array([t.wilcoxon for t in tests[:4]])))
    assert [t.t_holm for t in tests[4:]] == pytest.approx(holm(np.array([t.t for t in tests[4:]])))


def test_subgroups_split_the_subjects():
    rows = made(9)
    groups = {
        ("petct", f"s{i:02d}", f"s{i:02d}_{m}"): {"sex": "FM"[i % 2], "age": str(10 * i)}
        for i in range(8)
        for m in ("ct", "pet")
    }
    groups["petct", "s00", "s00_pet"] = {"sex": "M"}
    found = subgroups(groups, "petct", tuple(f"s{i:02d}" for i in range(9)))
    assert list(found) == ["age", "sex"] and list(found["sex"]) == ["F", "F+M", "M", "not given"]
    assert found["sex"]["F+M"] == ["s00"] and found["sex"]["not given"] == ["s08"]
    assert {value: len(names) for value, names in found["age"].items()} == {
        "00-17": 2,
        "18-39": 2,
        "40-59": 2,
        "60-79": 2,
        "not given": 1,
    }
    assert [age_band(years) for years in (17.9, 18, 79, 80, 99)] == [
        "00-17",
        "18-39",
        "60-79",
        "80 and over",
        "80 and over",
    ]
    (one_cohort,) = cohorts(rows, groups, convention("umd"), "dice", FEW, by="sex")
    males = one([r for r in rows if r.subject in found["sex"]["M"]])
    assert one_cohort.parts["sex"][2].means == males.means and one_cohort.parts["sex"][2].group == "sex M"
    with pytest.raises(UnknownNameError, match="known: age, sex"):
        list(cohorts(rows, groups, convention("umd"), "dice", FEW, by="site"))


def test_every_form_holds_the_same_figures():
    found = list(cohorts(made(10, models=("m", "n")), {}, convention("umd"), "dice", FEW))
    gap = found[0].whole.gaps[0].cells[1]
    lines = list(csv.DictReader(io.StringIO(told(found, "csv"))))
    (line,) = [x for x in lines if (x["organ"], x["modality"], x["model"]) == ("liver", "ct-pet", "n")]
    assert (float(line["mean"]), float(line["low"]), float(line["wilcoxon"])) == (
        gap.estimate.mean,
        gap.estimate.low,
        gap.test.wilcoxon,
    )
    (whole,) = json.loads(told(found, "json"))["statistics"]
    assert whole["gaps"][0]["cells"][1]["test"]["wilcoxon_holm"] == gap.test.wilcoxon_holm and whole["family"] == {
        "ct": 4
    }
    for form in ("text", "markdown", "latex"):
        assert f"{gap.estimate.mean:+.4f}".lstrip("-") in told(found, form)


def test_phantoms_are_called_so():
    rows = [*made(6), row("p", "ct", "liver", (1, 0, 0), synthetic=True)]
    assert "1 of 7 subjects are synthetic" in told(
        list(cohorts(rows, {}, convention("umd"), "dice", FEW)), "text"
    ).replace("\n", " ")


def test_evaluate_keeps_what_the_manifest_says_of_the_subjects(tmp_path):
    manifest = make_cohort(tmp_path / "cohort", 2)
    columns, *lines = manifest.read_text().splitlines()
    told_of = [f"{lines[0]},F,61,", f"{lines[1]},,,unit 7"]
    manifest.write_text("\n".join([f"{columns},sex,age,scanner", *told_of]) + "\n")
    model = Request.parse(f"nnunet={MODEL}").load({"folds": "0"})
    work = Evaluation(read_manifest(manifest), [model], tmp_path / "run", Settings())
    with Store(tmp_path / "run" / "store.sqlite", read_only=True) as store:
        groups = store.groups()
    first, second = (case.row.key for case in work.cases)
    assert groups == {first: {"sex": "F", "age": "61"}, second: {"scanner": "unit 7"}}
