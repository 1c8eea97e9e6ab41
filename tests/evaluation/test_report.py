"""Reports: what they say, that figures come back from them, that data cannot break out of them."""

import csv
import io
import json
import math

import pytest

from umd_engine.errors import MissingFileError, UnknownNameError
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.report import FORMATS, render, render_case, report_run
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.store import Store
from umd_engine.evaluation.tables import build_tables


def row(subject, organ, status, tp=None, fp=None, fn=None, **more):
    defaults = {"plan": "0011", "cohort": "petct", "scan_id": f"{subject}_ct", "modality": "ct", "model": "m"}
    return Row(**(defaults | more), subject=subject, organ=organ, status=status, tp=tp, fp=fp, fn=fn)


ROWS = [
    row("a", "liver", "ok", 1, 1, 1),
    row("b", "liver", "ok", 3, 2, 0),
    row("a", "liver", "ok", 9, 1, 1, modality="pet", scan_id="a_pet"),
    row("a", "kidney_left", "ok", 0, 0, 0),
    row("b", "kidney_left", "no-reference", None, 4, None),
    row("c", "liver", "corrupt-file"),
    row("c", "kidney_left", "corrupt-file"),
    row("a", "liver", "ok", 1, 0, 0, model="n", plan="2233"),
    row("a", "liver", "ok", 1, 0, 0, cohort="petmri"),
]


def tables(name="umd", rows=ROWS):
    return build_tables(rows, convention(name))


def cells_of(all_tables):
    for table in all_tables:
        for organ in table.rows:
            for line in organ.lines:
                for column, cell in zip(table.columns, line.cells, strict=True):
                    yield (table.cohort, organ.organ, line.modality, column.model), cell


def same(found, value):
    return math.isnan(value) if found in (None, "") else float(found) == value


@pytest.mark.parametrize("name", ["umd", "nnunet", "metrics-reloaded"])
def test_csv_gives_every_figure_back_unrounded(name):
    lines = list(csv.DictReader(io.StringIO(render(tables(name), "csv"))))
    assert len(lines) == (3 * 2 * 2) + (2 * 1 * 1)
    for line, (place, cell) in zip(lines, cells_of(tables(name)), strict=True):
        assert (line["cohort"], line["organ"], line["modality"], line["model"]) == place
        assert line["convention"] == name and line["metric"] == "dice" and line["plan"] in ("0011", "2233")
        assert all(same(line[field], value) for field, value in vars(cell).items())


@pytest.mark.parametrize("name", ["umd", "nnunet", "metrics-reloaded"])
def test_json_gives_every_figure_back_unrounded(name):
    document = json.loads(render(tables(name), "json"), parse_constant=lambda text: pytest.fail(text))
    for table, shown in zip(tables(name), document["tables"], strict=True):
        assert (shown["cohort"], shown["convention"]["name"]) == (table.cohort, name)
        assert [c["plan"] for c in shown["columns"]] == [c.plan for c in table.columns]
        for organ, shown_organ in zip(table.rows, [*shown["organs"], shown["average"]], strict=True):
            assert organ.organ == shown_organ["organ"]
            for line, shown_line in zip(organ.lines, shown_organ["lines"], strict=True):
                assert line.modality == shown_line["modality"]
                for cell, found in zip(line.cells, shown_line["cells"], strict=True):
                    assert found.keys() == vars(cell).keys()
                    assert all(same(found[field], value) for field, value in vars(cell).items())


def pipe_tables(text):
    """The cells of each Markdown table in `text`."""
    found, last = [], ""
    for line in text.splitlines():
        if line.startswith("|"):
            if not last.startswith("|"):
                found.append([])
            found[-1].append([cell.strip() for cell in line.strip("|").split(" | ")])
        last = line
    return found


def test_markdown_has_the_papers_layout_and_the_counts():
    scores, counts, *petmri = pipe_tables(render(tables(), "markdown"))
    assert scores == [
        ["organ", "modality", "m", "n"],
        ["---", "---", "---:", "---:"],
        ["liver", "ct", "0.6250(0.1250)", "1.0000(0.0000)"],
        ["", "pet", "0.9000(0.0000)", ""],
        ["kidney_left", "ct", "1.0000(0.0000)", ""],
        ["", "pet", "", ""],
        ["Avg", "ct", "0.7500(0.0000)", "1.0000(0.0000)"],
        ["", "pet", "0.9000(0.0000)", ""],
    ]
    assert counts[2][2:] == ["n=2 failed=1", "n=1"]
    assert counts[4][2:] == ["n=1 failed=1 no-reference=1 both-empty=1", ""]
    assert len(petmri) == 2


def test_text_shows_the_same_cells_and_is_never_cut():
    many = [row("a", "liver", "ok", 1, 1, 1, model=f"a_model_with_a_long_name_{i:02d}") for i in range(30)]
    text = render(tables(rows=many), "text")
    assert all(f"a_model_with_a_long_name_{i:02d}" in text for i in range(30)) and "…" not in text
    (line,) = [line for line in text.splitlines() if "liver" in line and "0.5000" in line]
    assert line.count("0.5000(0.0000)") == 30
    assert [cell.strip() for cell in line.strip("│").split("│")][:2] == ["liver", "ct"]


@pytest.mark.parametrize("form", ["text", "markdown"])
def test_header_and_footnotes_say_what_the_figures_mean(form):
    petct, petmri = (" ".join(part.split()) for part in render(tables(), form).split("Dice, cohort")[1:])
    assert "Convention umd (inferred)" in petct and "both masks empty 1" in petct and "divides by n;" not in petct
    assert "Plan of m: 0011" in petct and "Plan of n: 2233" in petct
    assert "no-reference:" in petct and "out of mean, SD and n. Rows by status: corrupt-file 2." in petct
    assert "no-reference:" not in petmri and "failed:" not in petmri and "not-counted:" not in petmri
    nnunet = " ".join(render(tables("nnunet"), form).split())
    assert "not-counted: empty masks" in nnunet and "SD divides by n - 1" in nnunet and "inferred" not in nnunet
    assert "they count as 0" in " ".join(render(tables("metrics-reloaded"), form).split())


HOSTILE = "=cmd|' /C calc'!A0 [red]x[/red] <b>\x1b[31m\n|`*"


@pytest.mark.parametrize("form", FORMATS)
def test_text_from_data_cannot_break_out(form):
    hostile = [row("a", HOSTILE, "ok", 1, 1, 1, model=HOSTILE, cohort=HOSTILE, modality="pet")]
    hostile += [row("b", HOSTILE, "bad\n| x |", model=HOSTILE, cohort=HOSTILE, modality="pet")]
    shown = render(tables(rows=hostile), form)
    assert "\x1b" not in shown or form == "csv"
    if form == "text":
        assert "[red]x[/red]" in shown
    if form == "markdown":
        assert all(len(cells) == 3 for table in pipe_tables(shown.replace(r"\|", "")) for cells in table)
        assert "<b>" not in shown.replace(r"\<b\>", "")
    if form == "csv":
        (line, average) = csv.DictReader(io.StringIO(shown))
        assert line["organ"] == line["model"] == line["cohort"] == "'" + HOSTILE and average["organ"] == "Avg"
    if form == "json":
        assert json.loads(shown)["tables"][0]["organs"][0]["organ"] == HOSTILE


def test_a_run_is_reported_under_any_convention_without_inference(tmp_path):
    with Store(tmp_path / "store.sqlite") as store:
        store.add(ROWS)
    for form in FORMATS:
        assert report_run(tmp_path, convention("umd"), form) == render(tables(), form)
        assert report_run(tmp_path, convention("nnunet"), form) == render(tables("nnunet"), form)
    assert "IoU, cohort petct" in report_run(tmp_path, convention("umd"), "text", "iou")


def test_a_folder_without_a_store_and_an_unknown_format(tmp_path):
    with pytest.raises(MissingFileError, match="no result store"):
        report_run(tmp_path, convention("umd"), "text")
    with pytest.raises(UnknownNameError, match="did you mean markdown"):
        render(tables(), "markdow")


def test_no_rows():
    assert render((), "text") == render((), "markdown") == "no results"
    assert json.loads(render((), "json")) == {"tables": []}
    assert len(render((), "csv").splitlines()) == 1


def test_one_case_in_detail():
    rows = [
        row("a", "liver", "ok", 1, 1, 1, voxel_ml=0.5),
        row("a", "brain", "no-reference", None, 4, None, voxel_ml=0.5),
        row("a", "colon", "bad-label"),
    ]
    lines = [[c.strip() for c in line.split("│")[1:-1]] for line in render_case(rows, convention("umd")).splitlines()]
    assert ["liver", "ok", "0.5000", "0.3333", "1", "1", "1", "1.00", "1.00"] in lines
    assert ["brain", "no-reference", "-", "-", "-", "4", "-", "-", "2.00"] in lines
    assert ["colon", "bad-label", "-", "-", "-", "-", "-", "-", "-"] in lines
