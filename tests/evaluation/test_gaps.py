"""Gaps between the structural image and PET, against examples by hand and a plain loop."""

import csv
import io
import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umd_engine.evaluation.conventions import CONVENTIONS, convention
from umd_engine.evaluation.figures import signed
from umd_engine.evaluation.report import render
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.tables import build_tables


def row(subject, modality, organ, counts, *, model="m", number="", status="ok", **more):
    tp, fp, fn = counts
    defaults = {"plan": "p", "cohort": "c"}
    return Row(
        **(defaults | more), subject=subject, scan_id=f"{subject}_{modality}{number}", modality=modality,
        model=model, organ=organ, status=status, tp=tp, fp=fp, fn=fn,
    )  # fmt: skip


def gaps_of(rows, name="umd", organ="liver", modality="ct"):
    (table,) = build_tables(rows, convention(name))
    (found,) = [r for r in table.rows if r.organ == organ]
    (line,) = [line for line in found.gaps if line.modality == modality]
    return line.cells


# Dice: a 1 and 0.5, b 0.5 and 0.75, d CT alone, e PET alone
EXAMPLE = [
    row("a", "ct", "liver", (4, 0, 0)),
    row("a", "pet", "liver", (1, 1, 1)),
    row("b", "ct", "liver", (1, 1, 1)),
    row("b", "pet", "liver", (3, 2, 0)),
    row("d", "ct", "liver", (0, 0, 9)),
    row("e", "pet", "liver", (9, 0, 0)),
]


def test_only_subjects_with_both_scans_count():
    (gap,) = gaps_of(EXAMPLE)
    assert (gap.mean, gap.sd, gap.n) == (0.125, 0.375, 2)  # of 0.5 and -0.25
    assert gap.text == "+0.1250(0.3750)"
    (sample,) = gaps_of(EXAMPLE, "nnunet")
    assert sample.sd == pytest.approx(0.375 * math.sqrt(2)) and sample.mean == 0.125


def test_several_scans_of_a_subject_are_averaged():
    (gap,) = gaps_of([*EXAMPLE[:2], row("a", "ct", "liver", (1, 1, 1), number=2)])
    assert (gap.mean, gap.n, gap.text) == (0.25, 1, "+0.2500(0.0000)")  # (1 + 0.5) / 2 - 0.5


def test_the_convention_decides_what_counts():
    rows = [*EXAMPLE[:2], row("b", "ct", "liver", (3, 0, 0)), row("b", "pet", "liver", (0, 0, 0))]
    assert gaps_of(rows)[0].n == 2 and gaps_of(rows, "nnunet")[0].n == 1
    rows[3] = row("b", "pet", "liver", (None, None, None), status="corrupt-file")
    assert gaps_of(rows)[0].n == 1
    assert (gaps_of(rows, "flare")[0].n, gaps_of(rows, "flare")[0].mean) == (2, 0.75)  # 0.5 and 1 - 0
    rows[3] = row("b", "pet", "liver", (None, 5, None), status="no-reference")
    assert gaps_of(rows, "flare")[0].n == 1


def test_no_pairs_no_figure():
    (gap,) = gaps_of([EXAMPLE[4], EXAMPLE[5]])
    assert (gap.n, gap.text) == (0, "-") and math.isnan(gap.mean) and math.isnan(gap.sd)


def test_models_plans_and_cohorts_are_never_paired_with_each_other():
    rows = [
        row("a", "ct", "liver", (4, 0, 0), model="m"), row("a", "pet", "liver", (1, 1, 1), model="n"),
        row("b", "ct", "liver", (4, 0, 0), plan="q"), row("b", "pet", "liver", (1, 1, 1), plan="p"),
    ]  # fmt: skip
    assert [gap.n for gap in gaps_of(rows)] == [0] * 3
    petct, petmri = build_tables([EXAMPLE[0], row("a", "pet", "liver", (1, 0, 0), cohort="d")], convention("umd"))
    assert petct.average.gaps == petmri.average.gaps == ()


def test_the_average_pairs_organs_too():
    rows = [
        row("a", "ct", "liver", (4, 0, 0)), row("a", "pet", "liver", (1, 1, 1)),  # +0.5
        row("a", "ct", "spleen", (3, 2, 0)), row("a", "pet", "spleen", (1, 1, 1)),  # +0.25
        row("a", "ct", "colon", (1, 1, 1)), row("a", "pet", "colon", (None, 3, None), status="no-reference"),
        row("b", "ct", "liver", (1, 1, 1)), row("b", "pet", "liver", (1, 1, 1)),  # 0
    ]  # fmt: skip
    (gap,) = gaps_of(rows, organ="Avg")
    assert (gap.mean, gap.n) == (0.1875, 2)  # of 0.375 and 0


def test_ct_and_mr_each_have_a_gap_and_without_pet_there_is_none():
    rows = [*EXAMPLE[:2], row("a", "mr", "liver", (3, 2, 0))]
    assert (gaps_of(rows)[0].mean, gaps_of(rows, modality="mr")[0].mean) == (0.5, 0.25)
    text = render(build_tables(rows, convention("umd")), "text")
    assert "gap ct" in text and "gap mr" in text and "gap: ct minus pet, mr minus pet" in text
    (table,) = build_tables([rows[0], rows[2]], convention("umd"))
    assert table.average.gaps == () and "gap" not in render([table], "text")


def test_each_form_shows_it():
    tables = build_tables(EXAMPLE, convention("umd"))
    assert "│       │ gap      │ +0.1250(0.3750) │" in render(tables, "text")
    assert "|  | gap | +0.1250(0.3750) |" in render(tables, "markdown") and "|  | gap | n=2 |" in render(
        tables, "markdown"
    )
    (organ,) = json.loads(render(tables, "json"))["tables"][0]["organs"]
    cell = {"mean": 0.125, "sd": 0.375, "n": 2, "synthetic": 0}
    assert organ["gaps"] == [{"modality": "ct", "minus": "pet", "cells": [cell]}]
    lines = list(csv.DictReader(io.StringIO(render(tables, "csv"))))
    assert [(line["organ"], line["modality"], line["mean"], line["n"], line["scans"]) for line in lines] == [
        ("liver", "ct", "0.5", "3", "3"), ("liver", "pet", "0.75", "3", "3"), ("liver", "ct-pet", "0.125", "2", ""),
        ("Avg", "ct", "0.5", "3", "3"), ("Avg", "pet", "0.75", "3", "3"), ("Avg", "ct-pet", "0.125", "2", ""),
    ]  # fmt: skip


def test_a_figure_that_rounds_to_zero_has_no_minus():
    assert [signed(v, 2) for v in (-0.001, 0.0, 0.001, -0.006, math.nan)] == ["+0.00", "+0.00", "+0.00", "-0.01", "-"]


cases = st.tuples(st.sampled_from("abcd"), st.sampled_from(["ct", "pet"]), st.sampled_from(["liver", "spleen"]))
counts = st.one_of(st.tuples(*[st.integers(0, 3)] * 3), st.none())


@given(st.dictionaries(cases, counts, min_size=1), st.sampled_from(list(CONVENTIONS)))
def test_gaps_equal_a_plain_loop(given_rows, name):
    rows = [
        row(s, m, o, c) if c else row(s, m, o, (None, None, None), status="out-of-memory")
        for (s, m, o), c in given_rows.items()
    ]
    (table,) = build_tables(rows, convention(name))
    pairs = {}  # subject -> differences
    for organ in table.organs:
        mine = []
        for subject in "abcd":
            scores = [
                plain_score(given_rows.get((subject, m, organ.organ), ()), CONVENTIONS[name]) for m in ("ct", "pet")
            ]
            if not any(map(math.isnan, scores)):
                mine.append(scores[0] - scores[1])
                pairs.setdefault(subject, []).append(mine[-1])
        for line in organ.gaps:
            same(line.cells[0], mine, CONVENTIONS[name].ddof)
    for line in table.average.gaps:
        same(line.cells[0], [np.mean(values) for values in pairs.values()], CONVENTIONS[name].ddof)


def same(gap, values, ddof):
    assert gap.n == len(values)
    assert gap.mean == pytest.approx(np.mean(values) if values else math.nan, nan_ok=True, abs=1e-12)
    assert gap.sd == pytest.approx(
        np.std(values, ddof=ddof) if len(values) > ddof else math.nan, nan_ok=True, abs=1e-12
    )


def plain_score(counts, rules):
    """Of no row at all: (); of a failed one: None."""
    if counts is None:
        return rules.overlap.failed
    if counts == ():
        return math.nan
    tp, fp, fn = counts
    if tp + fp + fn == 0:
        return rules.overlap.both_empty
    if tp + fn == 0:
        return rules.overlap.label_empty
    return rules.overlap.prediction_empty if tp + fp == 0 else 2 * tp / (2 * tp + fp + fn)
