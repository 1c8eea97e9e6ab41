"""Reports: what they say, that figures come back from them, that data cannot break out of them."""

import csv
import io
import json
import math
import os
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from click.testing import CliRunner
from rich.cells import cell_len

from umd_engine.cli import main
from umd_engine.errors import MissingFileError, UnknownNameError
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.failures import find_failures
from umd_engine.evaluation.metrics import METRICS, row_score
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
    gaps = [line for line in lines if line["modality"] == "ct-pet"]
    lines = [line for line in lines if line["modality"] != "ct-pet"]
    assert len(lines) == (3 * 2 * 2) + (2 * 1 * 1) and len(gaps) == 3 * 2
    assert all(line["scans"] == "" and line["synthetic"] == "0" for line in gaps)
    assert float(gaps[0]["mean"]) == 0.5 - 0.9 and gaps[0]["n"] == "1" and gaps[1]["mean"] == ""
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
        ["", "gap", "-0.4000(0.0000)", "-"],
        ["kidney_left", "ct", "1.0000(0.0000)", ""],
        ["", "pet", "", ""],
        ["", "gap", "-", "-"],
        ["Avg", "ct", "0.7500(0.0000)", "1.0000(0.0000)"],
        ["", "pet", "0.9000(0.0000)", ""],
        ["", "gap", "-0.4000(0.0000)", "-"],
    ]
    assert counts[2][2:] == ["n=2 failed=1", "n=1"]
    assert counts[4][2:] == ["n=1", "n=0"]
    assert counts[5][2:] == ["n=1 failed=1 no-reference=1 both-empty=1", ""]
    assert len(petmri) == 2


BORDERS = "┏━┳┓┡╇┩├─┼┤└┴┘"


def assert_tables_are_whole(text, width):
    """No line is wider than `width`, and all lines of a table are alike in width and in where columns end."""
    ends = []
    for line in text.splitlines():
        assert cell_len(line) <= width, line
        if line[:1] not in (*BORDERS, "│", "┃"):
            continue
        places = [i for i, char in enumerate(line) if char in "│┃┳╇┼┴┏┓┡┩├┤└┘"]
        if line[0] == "┏":
            ends = places
        assert places == ends, line


@pytest.mark.parametrize("width", ["40", "60", "100", "300"])
def test_text_fits_the_terminal_and_nothing_is_cut(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    names = [f"a_model_with_a_long_name_{i:02d}" for i in range(30)]
    organs = ("portal_vein_and_splenic_vein", "liver")
    many = [row("a", organ, "ok", 1, 1, 1, model=name) for name in names for organ in organs]
    many += [row("b", organ, "ok", 0, 0, 0, model=name) for name in names for organ in organs]
    many += [row("c", organ, "corrupt-file", model=name) for name in names for organ in organs]
    text = render(tables("nnunet", many), "text", find_failures(many))
    assert_tables_are_whole(text, int(width))
    scores, counts = text.split("Scans\n")
    shown = [[cell.strip() for cell in line.strip("│").split("│")] for line in scores.splitlines()]
    liver = [cells for cells in shown if cells[0] == "liver"]
    assert all(cells[1] == "ct" for cells in liver)
    assert sum(cells.count("0.5000(-)") for cells in liver) == 30
    assert "…" not in text and counts.count("not-counted=1") == 30 * 3
    if int(width) > 60:
        assert all(name in scores for name in names)


@pytest.mark.parametrize("width", ["40", "60", "100"])
def test_one_case_fits_the_terminal(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    one = [row("a", "portal_vein_and_splenic_vein", "ok", 10**8, 10**8, 10**8, voxel_ml=0.5)]
    one += [row("a", "a_mask_whose_organ_has_a_very_long_name_of_55_characters", "unsupported-model")]
    text = render_case(one, convention("umd"))
    assert_tables_are_whole(text, int(width))
    assert text.count("100000000") >= 3 and "100000000.00" in text and "unsupported-mo" in text


def test_without_a_terminal_text_is_100_columns_wide():
    code = "from umd_engine.evaluation.text_tables import output_width; print(output_width())"
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "100\n"


def test_the_title_is_not_wrapped_to_the_tables_width():
    text = render(tables(rows=[row("a", "liver", "ok", 1, 1, 1)]), "text")
    assert text.splitlines()[0] == "Dice, cohort petct: mean(SD) over scans"


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
    hostile += [row("c", HOSTILE, "corrupt-file", message=HOSTILE, model=HOSTILE, cohort=HOSTILE, modality="pet")]
    shown = render(tables(rows=hostile), form, find_failures(hostile))
    assert "\x1b" not in shown or form == "csv"
    if form == "text":
        assert "[red]x[/red]" in shown
        assert_tables_are_whole(shown, 100)
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
    failures = find_failures(ROWS)
    for form in FORMATS:
        assert report_run(tmp_path, convention("umd"), form) == render(tables(), form, failures)
        assert report_run(tmp_path, convention("nnunet"), form) == render(tables("nnunet"), form, failures)
    assert "IoU, cohort petct" in report_run(tmp_path, convention("umd"), "text", "iou")


def test_a_folder_without_a_store_and_an_unknown_format(tmp_path):
    with pytest.raises(MissingFileError, match="no result store"):
        report_run(tmp_path, convention("umd"), "text")
    with pytest.raises(UnknownNameError, match="did you mean markdown"):
        render(tables(), "markdow")
    with pytest.raises(UnknownNameError, match="did you mean rows"):
        report_run(tmp_path, convention("umd"), "row")


def test_no_rows():
    assert render((), "text") == render((), "markdown") == "no results"
    assert json.loads(render((), "json")) == {"tables": [], "failures": []}
    assert len(render((), "csv").splitlines()) == 1


def test_one_case_in_detail(monkeypatch):
    monkeypatch.setenv("COLUMNS", "140")
    rows = [
        row("a", "liver", "ok", 1, 1, 1, voxel_ml=0.5),
        row("a", "brain", "no-reference", None, 4, None, voxel_ml=0.5),
        row("a", "colon", "bad-label"),
    ]
    lines = [[c.strip() for c in line.split("│")[1:-1]] for line in render_case(rows, convention("umd")).splitlines()]
    assert ["liver", "ok", "0.5000", "0.3333", "-", "-", "-", "1", "1", "1", "1.00", "1.00"] in lines
    assert ["brain", "no-reference", *["-"] * 6, "4", "-", "-", "2.00"] in lines
    assert ["colon", "bad-label", *["-"] * 10] in lines


BROKEN = [
    row(s, organ, "bad-checkpoint", message="w.pth: no weights\n (name the folder)")
    for s in "abcde"
    for organ in ("liver", "brain")
] + [row("e", "colon", "ok", 1, 1, 1), row("e", "liver", "corrupt-file", model="n", message="e.nii: truncated")]


def test_failures_are_listed_a_scan_and_model_each():
    shown = json.loads(render(tables(rows=BROKEN), "json", find_failures(BROKEN)))["failures"]
    assert [(f["scan_id"], f["model"], f["status"]) for f in shown] == [
        *((f"{s}_ct", "m", "bad-checkpoint") for s in "abcde"),
        ("e_ct", "n", "corrupt-file"),
    ]
    assert shown[0] == {
        "cohort": "petct", "subject": "a", "scan_id": "a_ct", "model": "m", "status": "bad-checkpoint",
        "message": "w.pth: no weights\n (name the folder)", "organs": ["liver", "brain"],
        "synthetic": False,
    }  # fmt: skip


@pytest.mark.parametrize(("form", "heading", "mark"), [("text", "Failures", ""), ("markdown", "## Failures\n", "- ")])
def test_failures_are_grouped_after_the_tables(form, heading, mark):
    text = render(tables(rows=BROKEN), form, find_failures(BROKEN))
    listed = text.split(f"\n\n{heading}\n")[1].replace("\\", "").splitlines()
    assert listed == [
        f"{mark}m [bad-checkpoint] a_ct, b_ct, c_ct and 2 more: w.pth: no weights (name the folder)",
        f"{mark}n [corrupt-file] e_ct: e.nii: truncated",
    ]
    assert "Failures" not in render(tables(rows=BROKEN), form)


def test_a_failure_that_a_later_step_mended_is_none():
    first = row("a", "liver", "out-of-memory", message="too big")
    assert find_failures([first, replace(first, status="ok", tp=1, fp=1, fn=1, step=1)]) == ()


@pytest.mark.parametrize("name", ["umd", "metrics-reloaded"])
def test_rows_are_every_row_of_the_store(tmp_path, name):
    rows = [*ROWS, row("d", "liver", "bad-label", message=HOSTILE), row("a", "liver", "ok", 1, 0, 0, step=1)]
    rows.append(row("=d", "liver", "ok", 1, 2, 0, voxel_ml=0.1 + 0.2))
    with Store(tmp_path / "store.sqlite") as store:
        store.add(rows)
        stored = list(store.rows())
    text = report_run(tmp_path, convention(name), "rows")
    lines = list(csv.DictReader(io.StringIO(text)))
    assert text.splitlines()[0] == (
        "cohort,subject,scan_id,modality,model,plan,organ,step,repeat,status,tp,fp,fn,voxel_ml,dice,iou,nsd,hd,hd95,assd,"
        "masd,volume,fp-volume,fn-volume,message,synthetic,prompt,prompt_hash,uses_label,seconds,note"
    )
    assert len(lines) == len(stored) == len(rows)
    for line, kept in zip(lines, stored, strict=True):
        for column in ("cohort", "subject", "scan_id", "modality", "model", "plan", "organ", "status", "message"):
            assert line[column].removeprefix("'") == getattr(kept, column)
            assert not line[column].startswith(("=", "+", "-", "@"))
        for column in ("step", "repeat", "tp", "fp", "fn", "voxel_ml"):
            value = getattr(kept, column)
            assert line[column] == ("" if value is None else str(value))
        assert all(same(line[metric], row_score(kept, convention(name), metric)) for metric in METRICS)
    assert sum(line["dice"] == "0.0" for line in lines) == (0 if name == "umd" else 3)


def test_latex_has_every_cell_and_no_text_of_the_data_is_a_command():
    shown = render(tables(rows=[*ROWS, row(r"\input{x}_50%$&#", "liver", "bad-label", model=r"a_b\n{}~^")]), "latex")
    assert shown.count(r"\begin{tabular}") == shown.count(r"\end{tabular}") == 4
    assert r"liver & ct & 1.0000(0.0000)" in shown and r"$-$0.4000(0.0000)" in shown
    assert r"a\_b\textbackslash{}n\{\}\textasciitilde{}\textasciicircum{}" in shown
    assert not re.search(r"(?<!\\)[%$#]", re.sub(r"\$(-|\\pm|\\neq)\$", "", shown))
    rows = [line for line in shown.splitlines() if line.startswith("liver & ct")]
    assert len({len(re.findall(r"(?<!\\)&", line)) for line in rows[:2]}) == 1


def test_the_command_gives_statistics_and_the_paper_in_every_form(tmp_path):
    with Store(tmp_path / "store.sqlite") as store:
        store.add(ROWS)
    for option in (["--stats", "--draws", "100"], ["--paper"]):
        for form in ("text", "markdown", "latex", "csv"):
            result = CliRunner().invoke(main, ["report", str(tmp_path), *option, "--format", form])
            assert result.exit_code == 0 and "liver" in result.output, result.output
        assert json.loads(CliRunner().invoke(main, ["report", str(tmp_path), *option, "--json"]).output)
        assert CliRunner().invoke(main, ["report", str(tmp_path), *option, "--format", "rows"]).exit_code == 1
    assert CliRunner().invoke(main, ["report", str(tmp_path), "--stats", "--paper"]).exit_code == 2
    assert CliRunner().invoke(main, ["report", str(tmp_path), "--by", "sex"]).exit_code == 2
