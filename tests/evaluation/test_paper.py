"""What can be read out of the published tables, exactly, and a run beside them."""

import csv
import io
import json
import math
from collections import Counter
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from umd_engine.errors import UnknownNameError
from umd_engine.evaluation.columns import AVERAGE
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.paper.beside import ORGANS, overview, paper_table
from umd_engine.evaluation.paper.published import MODELS, STUDIES, dice, settings
from umd_engine.evaluation.paper.report import NO_GOAL, report_paper, told
from umd_engine.evaluation.paper.study_run import study_run
from umd_engine.evaluation.rows import Row

PETCT, PETMRI = STUDIES
UNIT = Fraction(1, 10_000)  # of the last printed digit


def exact(value):
    return Fraction(f"{value:.4f}")


def counts_of(study):
    """(mean, sd) of SAT's recurring cells -> how many cells, and k."""
    known = {
        "petct": {(0.0020, 0.0451): 1, (0.0041, 0.0638): 2, (0.0061, 0.0780): 3, (0.0082, 0.0900): 4},
        "petmri": {(0.0043, 0.0655): 2},
    }[study.name]
    cells = Counter((p.mean, p.sd) for (s, _, _, model), p in dice().items() if (s, model) == (study.name, "sat-pro"))
    return {cell: (cells[cell], k) for cell, k in known.items()}


def fits(n, k, mean, sd, ddof):
    """k ones among n scores give the printed mean and SD: |x - printed| <= half a unit, without square roots."""
    share = Fraction(k, n)
    variance = share * (1 - share) * Fraction(n, n - ddof)
    low, high = exact(sd) - UNIT / 2, exact(sd) + UNIT / 2
    return abs(share - exact(mean)) <= UNIT / 2 and low**2 <= variance <= high**2


def test_the_tables_are_complete():
    organs = {organ for _, _, organ, _ in dice()}
    assert organs == set(ORGANS) and len(dice()) == 2 * 2 * 14 * 5
    assert {model for *_, model in dice()} == set(MODELS)
    assert [row.model for row in settings()] == [*MODELS, "nnunet"]


@pytest.mark.parametrize(("study", "cells"), [(PETCT, [8, 4, 3, 1]), (PETMRI, [2])])
def test_sats_recurring_cells_are_k_of_n_and_the_population_sd(study, cells):
    recurring = counts_of(study)
    assert [count for count, _ in recurring.values()] == cells
    for (mean, sd), (_, k) in recurring.items():
        p = k / study.examinations
        assert (f"{p:.4f}", f"{math.sqrt(p * (1 - p)):.4f}") == (f"{mean:.4f}", f"{sd:.4f}")

    def possible(ddof):
        return [
            n for n in range(20, 3000) if all(fits(n, k, mean, sd, ddof) for (mean, sd), (_, k) in recurring.items())
        ]

    assert possible(ddof=0) == [study.examinations]
    assert study.examinations not in possible(ddof=1)


def test_no_number_of_cases_fits_the_sample_sd_in_table_1():
    recurring = counts_of(PETCT)
    assert not [n for n in range(20, 3000) if all(fits(n, k, *cell, 1) for cell, (_, k) in recurring.items())]


def imbalance(study, modality, model):
    """Printed Avg minus the mean of the printed organ rows, exactly."""
    organs = [exact(dice()[study.name, modality, organ, model].mean) for organ in ORGANS if organ != AVERAGE]
    return exact(dice()[study.name, modality, AVERAGE, model].mean) - sum(organs) / len(organs)


def test_the_average_is_that_of_the_organs_for_class_and_text_models_and_not_for_sam_med3d():
    places = [(study, m) for study in STUDIES for m in study.modalities]
    beyond = {
        (study.name, m, model) for study, m in places for model in MODELS if abs(imbalance(study, m, model)) > UNIT
    }  # all 13 rows and Avg are off by half a unit at most
    assert beyond == {
        *((study.name, m, "sam-med3d-turbo") for study, m in places),
        ("petct", "ct", "nninteractive"), ("petct", "pet", "nninteractive"), ("petct", "ct", "segvol"),
    }  # fmt: skip


def test_table_3_names_the_lines_of_tables_1_and_2():
    swapped = 0
    for row in settings():
        for (study, modality), printed in row.umd.items():
            if row.model == "nnunet":
                continue
            assert abs(dice()[study, modality, AVERAGE, row.model].mean - printed.mean) <= 0.00055 + 1e-12
            (other,) = [m for s, m in row.umd if s == study and m != modality]
            swapped += abs(dice()[study, other, AVERAGE, row.model].mean - printed.mean) > 0.00055 + 1e-12
    assert swapped == 20  # no line fits the other modality's column


def test_one_printed_sd_is_larger_than_scores_from_0_to_1_can_have():
    def possible(printed):
        mean = min(printed.mean + 0.00005, 0.5) if printed.mean < 0.5 else max(printed.mean - 0.00005, 0.5)
        return printed.sd - 0.00005 <= math.sqrt(mean * (1 - mean))

    assert [place for place, printed in dice().items() if not possible(printed)] == [
        ("petct", "pet", AVERAGE, "sam-med3d-turbo")
    ]


def row(subject, modality, organ, counts, *, model="sat-pro", cohort="petct", **more):
    tp, fp, fn = counts
    return Row(
        plan=f"plan-{model}", cohort=cohort, subject=subject, scan_id=f"{subject}_{modality}", modality=modality,
        model=model, organ=organ, status="ok", tp=tp, fp=fp, fn=fn, **more,
    )  # fmt: skip


def published_again(k):
    """SAT's 490 PET scans of one organ: k absent from both, in the others nothing is hit."""
    return [row(f"s{i:03d}", m, "brain", (0, 0, 0) if i < k else (0, 0, 9)) for i in range(490) for m in ("ct", "pet")]


def test_rows_that_reproduce_a_published_cell_agree_with_it():
    table = paper_table(study_run(PETCT, published_again(1), convention("umd")))
    (line,) = [line for line in table.lines if (line.organ, line.modality) == ("brain", "pet")]
    cell = line.cells[MODELS.index("sat-pro")]
    assert f"{cell.mean:.4f}({cell.sd:.4f})" == "0.0020(0.0451)" and cell.agrees
    assert all(other.n == 0 for other in line.cells if other is not cell)
    (other,) = [line for line in table.lines if (line.organ, line.modality) == ("liver", "pet")]
    assert other.cells[4].n == 0 and other.cells[4].agrees is None


def test_the_interval_is_welchs_and_half_a_digit():
    rng = np.random.default_rng(0)
    rows = [row(f"s{i}", "ct", "liver", (*rng.integers(0, 9, 2).tolist(), 3), model="segvol") for i in range(30)]
    ours = np.array([2 * r.tp / (2 * r.tp + r.fp + r.fn) for r in rows])
    for name in ("umd", "nnunet"):  # whatever the convention's SD divides by
        table = paper_table(study_run(PETCT, rows, convention(name)))
        cell = table.lines[0].cells[MODELS.index("segvol")]
        theirs = cell.printed.sd * math.sqrt(490 / 489)
        welch = stats.ttest_ind_from_stats(
            ours.mean(), ours.std(ddof=1), 30, cell.printed.mean, theirs, 490, equal_var=False
        )
        a, b = ours.var(ddof=1) / 30, theirs**2 / 490
        half = stats.t.ppf(0.975, (a + b) ** 2 / (a**2 / 29 + b**2 / 489)) * math.sqrt(a + b)
        assert abs(cell.difference) / math.sqrt(a + b) == pytest.approx(abs(welch.statistic))
        assert cell.high - cell.difference == pytest.approx(half + 0.00005)
        assert cell.agrees == (abs(cell.difference) <= half + 0.00005)


def test_one_score_has_no_interval_and_equal_ones_only_the_rounding():
    one = paper_table(study_run(PETCT, [row("a", "ct", "brain", (0, 0, 9), model="vista3d")], convention("umd")))
    two = [row(s, "ct", "brain", (0, 0, 9), model="vista3d") for s in "ab"]
    (cell,) = [line.cells[3] for line in one.lines if (line.organ, line.modality) == ("brain", "ct")]
    assert (cell.n, cell.agrees) == (1, None)
    again = paper_table(study_run(PETCT, two, convention("umd")))
    (cell,) = [line.cells[3] for line in again.lines if (line.organ, line.modality) == ("brain", "ct")]
    assert (cell.low, cell.high, cell.agrees) == (-0.00005, 0.00005, True)


def test_subjects_are_told_apart_by_their_structural_scan():
    rows = [
        row("a", "ct", "liver", (1, 0, 0), cohort="both"), row("a", "pet", "liver", (1, 0, 0), cohort="both"),
        row("b", "mr", "liver", (1, 0, 0), cohort="both"), row("b", "pet", "liver", (1, 1, 1), cohort="both"),
        row("c", "pet", "liver", (1, 0, 0), cohort="both"),  # of neither
        row("a", "ct", "liver", (1, 1, 1), cohort="mine"), row("d", "pet", "liver", (1, 0, 0), cohort="mine"),
    ]  # fmt: skip
    petct, petmri = (study_run(study, rows, convention("umd")) for study in STUDIES)
    assert petct.cohorts == ("both", "mine") and petmri.cohorts == ("both",)
    (column,) = petct.columns("sat-pro")
    assert [petct.cell("liver", m, column).n for m in ("ct", "pet")] == [2, 2]  # both a's, a and d
    assert petct.cell("liver", "ct", column).mean == 0.75
    assert petmri.cell("liver", "pet", petmri.columns("sat-pro")[0]).mean == 0.5


def test_table_3_has_a_line_for_every_column_of_a_model():
    rows = [row("a", "ct", "liver", (1, 1, 1), model=f"nnunet@{name}") for name in ("ct", "pet")]
    rows += [row("m", "mr", "liver", (1, 0, 0), model="nnunet@ct", cohort="petmri")]
    lines = overview([study_run(study, rows, convention("umd")) for study in STUDIES])
    assert [line.title for line in lines] == [*MODELS, "nnunet@ct", "nnunet@pet"]
    ct = lines[-2].cells
    assert (ct["petct", "ct"].mean, ct["petmri", "mr"].mean, ct["petmri", "pet"].n) == (0.5, 1.0, 0)
    assert lines[-1].cells["petmri", "mr"].n == 0


@pytest.mark.parametrize("form", ["text", "markdown", "latex"])
def test_each_form_says_that_agreement_is_no_goal_and_marks_what_differs(form):
    rows = published_again(1)[:40] + [row(f"s{i:03d}", "ct", "liver", (9, 0, 0)) for i in range(20)]
    shown = " ".join(told(rows, convention("umd"), form).split())
    assert NO_GOAL[:40] in shown and "are not in this run" in shown
    assert ("+0.9943 ≠" if form != "latex" else r"+0.9943 $\neq$") in shown
    assert "no scans of PET/MRI in this run" in shown


def test_csv_and_json_hold_every_cell():
    rows = published_again(1)[:40]
    lines = list(csv.DictReader(io.StringIO(told(rows, convention("umd"), "csv"))))
    assert len(lines) == 2 * 2 * 14 * 5 + 6 * 4
    document = json.loads(told(rows, convention("umd"), "json"))
    assert len(document["cells"]) == len(lines) and document["note"] == NO_GOAL
    (line,) = [
        x for x in lines if (x["table"], x["organ"], x["modality"], x["model"]) == ("1", "brain", "pet", "sat-pro")
    ]
    assert (line["published_mean"], line["n"]) == ("0.002", "20")


def test_phantoms_beside_the_paper_are_called_so():
    rows = [replace(r, synthetic=True) for r in published_again(1)[:4]]
    assert "SYNTHETIC DATA" in told(rows, convention("umd"), "markdown")


def test_an_unknown_form_is_refused(tmp_path):
    with pytest.raises(UnknownNameError, match="rows"):
        report_paper(tmp_path, convention("umd"), "rows")
