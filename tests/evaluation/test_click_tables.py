"""Clicks tables and the SD between draws, against plain references and by hand."""

import csv
import io
import json
import math
import statistics
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umd_engine.evaluation.conventions import CONVENTIONS, convention
from umd_engine.evaluation.curves import Curve, auc, make_curve, never, number_of_clicks
from umd_engine.evaluation.report import FORMATS, render
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.tables import build_tables

BASE = Row(
    plan="p", cohort="petct", subject="a", scan_id="a_ct", modality="ct", model="m", organ="liver", status="ok",
    tp=1, fp=1, fn=1, prompt="ritm-3", prompt_hash="0123456789abcdef", uses_label="click",
)  # fmt: skip


def step(number, score, **more):
    """A row whose Dice is `score` percent."""
    return replace(BASE, step=number, tp=score, fp=100 - score, fn=100 - score, **more)


def draw(*scores, **more):
    return [step(i, score, **more) for i, score in enumerate(scores)]


def failed(number, **more):
    return replace(BASE, step=number, status="bad-prompt", tp=None, fp=None, fn=None, **more)


def curve_of(scores, first_click=0):
    return Curve((BASE,), tuple(scores), first_click)


def figures(rows, organ="liver", name="umd", modality="ct"):
    (table,) = build_tables(rows, convention(name))
    (clicks,) = table.clicks
    (line,) = [one for one in clicks.lines if (one.organ, one.modality) == (organ, modality)]
    return dict(zip(clicks.names, line.figures, strict=True)) | {"line": line}


def plain_noc(scores, threshold):
    for clicks, score in enumerate(scores, start=1):
        if score >= threshold:
            return clicks
    return len(scores)


scores_of = st.lists(st.integers(0, 100), min_size=1, max_size=8)


@given(scores_of)
def test_auc_and_noc_are_those_of_a_plain_script(percents):
    scores = [p / 100 for p in percents]
    expected = np.trapezoid(scores) / (len(scores) - 1) if len(scores) > 1 else scores[0]
    assert auc(curve_of(scores)) == pytest.approx(expected, abs=1e-12)
    assert auc(curve_of([0.5, *scores], first_click=1)) == pytest.approx(expected, abs=1e-12)
    for percent in (80, 90):
        assert number_of_clicks(curve_of(scores), percent) == plain_noc(scores, percent / 100)
        assert never(curve_of(scores), percent) == float(max(scores) < percent / 100)
        boxed = number_of_clicks(curve_of([0.95, *scores], first_click=1), percent)
        assert boxed == 0


def test_a_table_by_hand():
    rows = [*draw(50, 80, 95), *draw(20, 40, 60, subject="b", scan_id="b_ct")]
    found = figures(rows)
    means = {name: round(found[name].mean, 6) for name in found if name != "line"}
    assert means == {
        "Dice@1": 0.35, "Dice@2": 0.6, "Dice@3": 0.775, "final": 0.775, "AUC": round((0.7625 + 0.4) / 2, 6),
        "NoC@80": 2.5, "NoC@90": 3.0, "never@80": 0.5, "never@90": 0.5,
    }  # fmt: skip
    assert found["Dice@1"].sd == pytest.approx(0.15) and found["final"].n == 2
    assert (found["line"].scans, found["line"].failed, found["line"].absent) == (2, 0, 0)


def test_a_draw_that_ended_early_keeps_its_score():
    found = figures(draw(50, 100))
    assert (found["Dice@2"].mean, found["Dice@3"].mean, found["final"].mean) == (1, 1, 1)
    assert found["AUC"].mean == pytest.approx((0.75 + 1) / 2) and found["NoC@90"].mean == 2


def test_a_box_first_is_no_click():
    boxed = [replace(row, prompt="box+ritm-2") for row in draw(70, 80, 85)]
    found = figures(boxed)
    assert list(found)[:3] == ["Dice@0", "Dice@1", "Dice@2"]
    assert found["NoC@80"].mean == 1 and found["NoC@90"].mean == 2 and found["AUC"].mean == pytest.approx(0.825)


def test_failures_and_absent_organs():
    rows = [*draw(90, 90, 90), step(0, 50, subject="b", scan_id="b_ct"), failed(1, subject="b", scan_id="b_ct")]
    rows.append(replace(BASE, subject="c", scan_id="c_ct", status="absent", tp=0, fp=0, fn=0))
    out, worst = figures(rows), figures(rows, name="metrics-reloaded")
    assert (out["line"].scans, out["line"].failed, out["line"].absent) == (3, 1, 1)
    assert (out["Dice@1"].mean, out["Dice@1"].n, out["NoC@80"].n) == (0.9, 1, 1)
    assert (worst["Dice@1"].n, worst["Dice@1"].mean) == (3, pytest.approx((0.9 + 0 + 1) / 3))
    assert (worst["NoC@80"].n, worst["NoC@80"].mean) == (2, 2) and worst["never@80"].mean == 0.5


def test_repeats_are_averaged_within_a_scan_and_their_sd_is_shown():
    rows = [
        *draw(50),
        *draw(70, repeat=1),
        *draw(10, subject="b", scan_id="b_ct"),
        *draw(20, subject="b", scan_id="b_ct", repeat=1),
    ]
    rows += [replace(r, organ="brain") for r in draw(90)] + [replace(r, organ="brain", repeat=1) for r in draw(30)]
    for name in ("umd", "nnunet"):
        (table,) = build_tables(rows, convention(name))
        liver, average = table.organs[0].lines[0].cells[0], table.average.lines[0].cells[0]
        sd = statistics.pstdev if name == "umd" else statistics.stdev
        assert liver.mean == pytest.approx((0.6 + 0.15) / 2) and liver.n == 2
        assert liver.between_draws == pytest.approx((sd([0.5, 0.7]) + sd([0.1, 0.2])) / 2)
        assert average.between_draws == pytest.approx((sd([0.7, 0.5]) + sd([0.1, 0.2])) / 2)
    text = render(build_tables(rows, convention("umd")), "text")
    assert "between draws=0.0750" in text and "between draws: mean over scans" in text
    assert math.isnan(build_tables(draw(50), convention("umd"))[0].organs[0].lines[0].cells[0].between_draws)
    # nothing was drawn for an absent organ, also where it counts
    rows = [replace(BASE, status="absent", tp=0, fp=0, fn=0, subject="c", scan_id="c_ct", repeat=i) for i in range(2)]
    (table,) = build_tables([*rows, *draw(50), *draw(70, repeat=1)], convention("flare"))
    cell = table.organs[0].lines[0].cells[0]
    assert cell.n == 2 and cell.between_draws == pytest.approx(statistics.stdev([0.5, 0.7]))


@pytest.mark.parametrize("name", CONVENTIONS)
def test_what_an_absent_organ_counts_as_is_the_conventions(name):
    rows = [replace(BASE, status="absent", tp=0, fp=0, fn=0), step(0, 50, subject="b", scan_id="b_ct")]
    (table,) = build_tables(rows, convention(name))
    cell = table.organs[0].lines[0].cells[0]
    counts = name in ("metrics-reloaded", "flare", "sat")
    assert (cell.n, cell.absent, cell.not_counted, cell.both_empty) == (2 if counts else 1, 1, 0, 0)
    assert cell.mean == (0.75 if counts else 0.5)
    text = " ".join(render([table], "text").split())
    effect = "1" if counts else "not counted"
    assert f"an absent organ of a prompted model {effect}," in text and f"could not be asked; {effect}. 1 rows" in text
    assert "failed:" not in text and "absent=1" in text


ROWS = [
    *draw(50, 80, 95),
    *[replace(r, model="n", plan="q", prompt="", prompt_hash="", uses_label="none") for r in draw(50)],
]


def test_every_form_says_prompt_label_and_clicks():
    tables = build_tables(ROWS, convention("umd"))
    for form in FORMATS:
        shown = " ".join(render(tables, form).replace("\\", "").split())
        assert "ritm-3" in shown and "0123456789abcdef" in shown, form
    for form in ("text", "markdown"):
        shown = " ".join(render(tables, form).replace("\\", "").split())
        assert "Prompt of m: ritm-3 (0123456789abcdef); uses of the label: click (a click drawn from it)" in shown
        assert "Prompt of n: none; uses of the label: none" in shown
        assert shown.count("Clicks of") == 1 and "Clicks of m, cohort petct" in shown
        assert "divided by k - 1" in shown and "0.7625" in shown
    document = json.loads(render(tables, "json"))["tables"][0]
    (clicks,) = document["clicks"]
    assert clicks["names"][:3] == ["Dice@1", "Dice@2", "Dice@3"] and clicks["column"]["uses_label"] == "click"
    assert clicks["lines"][0]["figures"][1] == {"mean": 0.8, "sd": 0.0, "n": 1}
    lines = list(csv.DictReader(io.StringIO(render(tables, "csv"))))
    by_metric = {line["metric"]: line for line in lines if line["model"] == "m" and line["organ"] == "liver"}
    assert float(by_metric["auc"]["mean"]) == pytest.approx(0.7625) and by_metric["noc@80"]["mean"] == "2.0"
    assert by_metric["dice"]["mean"] == "0.95" and by_metric["dice@1"]["mean"] == "0.5"
    assert {line["uses_label"] for line in lines if line["model"] == "m"} == {"click"}


def test_a_single_step_has_no_clicks_table():
    (table,) = build_tables(draw(50), convention("umd"))
    (once,) = build_tables([replace(r, prompt="paper-1pt") for r in draw(50)], convention("umd"))
    assert once.clicks == () and table.clicks  # one row of three clicks: the mask was perfect, or the rest is missing


def test_a_replay_counts_its_steps():
    found = figures([replace(r, prompt="replay") for r in draw(50, 80)])
    assert list(found)[:3] == ["Dice@1", "Dice@2", "final"]


def test_a_failure_anywhere_is_a_failure_everywhere():
    curve = make_curve([step(0, 99), failed(1)], 3, 0, lambda row: math.nan if row.failed else 0.99)
    assert curve.failed and all(math.isnan(score) for score in curve.scores) and math.isnan(never(curve, 80))
