"""Tables against examples worked out by hand, and against the figures of the paper."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from umd_engine.evaluation.conventions import CONVENTIONS, convention
from umd_engine.evaluation.paper.published import dice
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.tables import build_tables, organ_order


def row(subject, organ, counts, *, model="m", modality="ct", status="ok", **more):
    tp, fp, fn = counts
    defaults = {"plan": "p", "cohort": "petct", "scan_id": f"{subject}_{modality}"}
    return Row(
        **(defaults | more),
        subject=subject,
        modality=modality,
        model=model,
        organ=organ,
        status=status,
        tp=tp,
        fp=fp,
        fn=fn,
    )


def failed(subject, organ, **more):
    return row(subject, organ, (None, None, None), status="corrupt-file", **more)


def unlabelled(subject, organ, **more):
    return row(subject, organ, (None, 7, None), status="no-reference", **more)


def one_table(rows, name="umd"):
    (table,) = build_tables(rows, convention(name))
    return table


def cell_of(table, organ, modality="ct", title="m"):
    (found,) = [r for r in table.rows if r.organ == organ]
    (line,) = [line for line in found.lines if line.modality == modality]
    return line.cells[[column.title for column in table.columns].index(title)]


# Dice 0.5, 0.75, 1 (liver); 0.25, both empty, no reference (spleen)
EXAMPLE = [
    row("a", "liver", (1, 1, 1)),
    row("b", "liver", (3, 2, 0)),
    row("c", "liver", (4, 0, 0)),
    row("a", "spleen", (1, 6, 0)),
    row("b", "spleen", (0, 0, 0)),
    unlabelled("c", "spleen"),
]


def test_a_small_example_under_umd():
    table = one_table(EXAMPLE)
    liver, spleen, average = (cell_of(table, organ) for organ in ("liver", "spleen", "Avg"))
    assert liver.text == "0.7500(0.2041)"  # population SD of 0.5, 0.75, 1: sqrt(0.125 / 3)
    assert (liver.n, liver.scans, liver.no_reference, liver.both_empty) == (3, 3, 0, 0)
    assert spleen.text == "0.6250(0.3750)"  # 0.25 and 1
    assert (spleen.n, spleen.scans, spleen.no_reference, spleen.both_empty) == (2, 3, 1, 1)
    assert average.text == "0.7500(0.2700)"  # of a 0.375, b 0.875, c 1 (its liver alone)
    assert (average.n, average.no_reference, average.both_empty) == (3, 1, 1)
    assert table.statuses == {"no-reference": 1, "ok": 5}


def test_the_same_rows_under_nnunet_leave_out_what_is_empty_in_both():
    table = one_table(EXAMPLE, "nnunet")
    liver, spleen, average = (cell_of(table, organ) for organ in ("liver", "spleen", "Avg"))
    assert liver.text == "0.7500(0.2500)"  # sample SD
    assert spleen.text == "0.2500(-)"  # one score has no sample SD
    assert (spleen.n, spleen.not_counted, spleen.both_empty) == (1, 1, 1)
    assert average.text == "0.7083(0.3146)"  # of 0.375, 0.75, 1


def test_failures_are_shown_and_never_improve_a_mean_in_silence():
    rows = [row("a", "liver", (1, 1, 1)), failed("b", "liver")]
    left_out, worst = (cell_of(one_table(rows, name), "liver") for name in ("umd", "metrics-reloaded"))
    assert (left_out.text, left_out.n, left_out.failed) == ("0.5000(0.0000)", 1, 1)
    assert (worst.text, worst.n, worst.failed) == ("0.2500(0.3536)", 2, 1)
    assert cell_of(one_table([failed("b", "liver")]), "liver").text == "-"


def test_empty_sides_are_counted_apart():
    rows = [row("a", "liver", (0, 0, 0)), row("b", "liver", (0, 5, 0)), row("c", "liver", (0, 0, 5))]
    for name, n, mean in (("umd", 3, 1 / 3), ("umd-prompted", 1, 0), ("nnunet", 2, 0)):
        cell = cell_of(one_table(rows, name), "liver")
        assert (cell.n, cell.both_empty, cell.label_empty, cell.prediction_empty) == (n, 1, 1, 1)
        assert cell.not_counted == 3 - n and cell.mean == pytest.approx(mean)


def test_the_layout_is_the_papers():
    rows = [
        row("a", organ, (1, 1, 1), model=model, modality=modality, cohort=cohort)
        for cohort in ("petmri", "petct")
        for organ in ("zygoma", "stomach", "adrenal_gland", "liver", "brain")
        for model in ("vista3d", "sat")
        for modality in ("pet", "mr" if cohort == "petmri" else "ct")
    ]
    petct, petmri = build_tables(rows, convention("umd"))
    assert (petct.cohort, petmri.cohort) == ("petct", "petmri")
    assert [r.organ for r in petct.rows] == ["liver", "brain", "stomach", "adrenal_gland", "zygoma", "Avg"]
    assert [c.title for c in petct.columns] == ["sat", "vista3d"]
    assert all([line.modality for line in r.lines] == ["ct", "pet"] for r in petct.rows)
    assert all([line.modality for line in r.lines] == ["mr", "pet"] for r in petmri.rows)
    assert all(cell.text == "0.5000(0.0000)" for r in petct.rows for line in r.lines for cell in line.cells)


def test_a_place_without_rows_is_blank():
    table = one_table([row("a", "liver", (1, 0, 0)), row("a", "brain", (1, 0, 0), model="n", modality="pet")])
    assert cell_of(table, "liver", "pet", "n").text == "" and cell_of(table, "liver", "ct", "m").n == 1


def test_an_organ_named_like_the_average_is_an_organ():
    table = one_table([row("a", "Avg", (1, 1, 1)), row("a", "liver", (1, 0, 0))])
    assert [(r.organ, r.lines[0].cells[0].mean) for r in table.rows] == [("liver", 1), ("Avg", 0.5), ("Avg", 0.75)]


def test_unlike_plans_of_a_model_are_never_merged():
    table = one_table([row("a", "liver", (1, 0, 0)), row("a", "liver", (1, 1, 1), plan="0123456789abcdef")])
    assert [c.title for c in table.columns] == ["m [01234567]", "m [p]"]
    assert [cell.mean for cell in table.organs[0].lines[0].cells] == [0.5, 1.0]


def test_the_last_step_and_the_mean_of_repeats_count():
    rows = [row("a", "liver", (1, 1, 1), step=step) for step in range(3)]
    rows += [row("a", "liver", (1, 0, 0), step=3), row("a", "liver", (1, 1, 1), step=1, repeat=1)]
    cell = cell_of(one_table(rows), "liver")
    assert (cell.n, cell.scans, cell.mean) == (1, 1, 0.75)  # repeat 0 ends at 1, repeat 1 at 0.5


def test_no_rows_no_tables():
    assert build_tables([], convention("umd")) == ()


def test_iou_is_selectable():
    (table,) = build_tables([row("a", "liver", (1, 1, 1))], convention("umd"), "iou")
    assert table.metric == "iou" and cell_of(table, "liver").mean == pytest.approx(1 / 3)


results = st.one_of(
    st.tuples(*[st.integers(0, 3)] * 3).map(lambda counts: ("ok", counts)),
    st.just(("no-reference", (None, 2, None))),
    st.just(("out-of-memory", (None, None, None))),
)


@given(
    st.dictionaries(st.tuples(st.sampled_from("abcd"), st.sampled_from(["liver", "spleen"])), results, min_size=1),
    st.sampled_from(list(CONVENTIONS.values())),
)
def test_a_cell_equals_plain_numpy_and_every_scan_is_accounted_for(given_rows, rules):
    rows = [row(s, organ, counts, status=status) for (s, organ), (status, counts) in given_rows.items()]
    (table,) = build_tables(rows, rules)
    for organ_row in table.organs:
        mine = [result for (_, organ), result in given_rows.items() if organ == organ_row.organ]
        scores = np.array([plain_score(*result, rules) for result in mine])
        scores = scores[~np.isnan(scores)]
        cell = organ_row.lines[0].cells[0]
        assert cell.n == len(scores) and cell.scans == len(mine)
        assert cell.mean == pytest.approx(scores.mean() if len(scores) else math.nan, nan_ok=True)
        enough = len(scores) > rules.ddof
        assert cell.sd == pytest.approx(scores.std(ddof=rules.ddof) if enough else math.nan, nan_ok=True, abs=1e-12)
        left_out = cell.failed if math.isnan(rules.overlap.failed) else 0
        assert cell.n + cell.not_counted + cell.no_reference + left_out == cell.scans


def plain_score(status, counts, rules):
    edges = rules.overlap
    if status != "ok":
        return math.nan if status == "no-reference" else edges.failed
    tp, fp, fn = counts
    if tp + fp + fn == 0:
        return edges.both_empty
    if tp + fn == 0:
        return edges.label_empty
    return edges.prediction_empty if tp + fp == 0 else 2 * tp / (2 * tp + fp + fn)


@given(st.permutations(EXAMPLE))
def test_the_order_of_rows_does_not_matter(rows):
    assert one_table(rows) == one_table(EXAMPLE)


def test_where_every_scan_counts_the_average_is_the_mean_of_the_organ_rows():
    rng = np.random.default_rng(0)
    rows = [row(str(s), o, rng.integers(0, 9, 3).tolist()) for s in range(20) for o in ("liver", "spleen", "colon")]
    table = one_table(rows)
    means = [organ.lines[0].cells[0].mean for organ in table.organs]
    assert cell_of(table, "Avg").mean == pytest.approx(np.mean(means))


@pytest.mark.parametrize(("absent", "scans", "printed"), [(1, 490, "0.0020(0.0451)"), (4, 490, "0.0082(0.0900)")])
def test_the_papers_recurring_cells_are_absent_organs_under_umd(absent, scans, printed):
    rows = [row(str(i), "brain", (0, 0, 0) if i < absent else (0, 0, 9)) for i in range(scans)]
    assert printed in {f"{cell.mean:.4f}({cell.sd:.4f})" for cell in dice().values()}
    assert cell_of(one_table(rows), "brain").text == printed
    assert cell_of(one_table(rows, "umd-prompted"), "brain").text == "0.0000(0.0000)"


def test_organs_of_the_paper_lead_in_its_order():
    assert organ_order(["trachea", "stomach", "adrenal", "liver", "brain"]) == [
        "liver",
        "brain",
        "stomach",
        "adrenal",
        "trachea",
    ]


def test_rows_stay_as_they_are():
    before = [replace(r) for r in EXAMPLE]
    one_table(EXAMPLE)
    assert before == EXAMPLE
