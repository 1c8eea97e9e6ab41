"""Phantoms are never taken for patients: every output says what they are."""

import csv
import io
import json
import shutil
from dataclasses import replace

import nibabel
import pytest
from click.testing import CliRunner
from cohort import COLUMNS, MODEL, make_cohort

from umd_engine.cli import main
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.failures import find_failures
from umd_engine.evaluation.report import render, render_case
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.spreadsheet import rows_csv
from umd_engine.evaluation.store import Store
from umd_engine.evaluation.synthetic import warning
from umd_engine.evaluation.tables import build_tables

ALL = "SYNTHETIC DATA: computer-made phantoms, no patients. These figures say nothing about how a model does on people."
MIXED = "SYNTHETIC DATA: 1 of 3 scans are synthetic (computer-made phantoms, no patients)."


def row(subject, modality="ct", status="ok", counts=(1, 1, 1), **more):
    tp, fp, fn = counts
    return Row(
        plan="p", cohort="c", subject=subject, scan_id=f"{subject}_{modality}", modality=modality, model="m",
        organ="liver", status=status, tp=tp, fp=fp, fn=fn, **more,
    )  # fmt: skip


PATIENTS = [row("a"), row("a", "pet"), row("b", status="corrupt-file", counts=(None,) * 3, message="torn")]
PHANTOMS = [replace(r, synthetic=True) for r in PATIENTS]
MIXTURE = [PHANTOMS[0], *PATIENTS[1:]]


def rendered(rows, form):
    return render(build_tables(rows, convention("umd")), form, find_failures(rows))


def test_the_words():
    assert warning(0, 40) == "" and warning(40, 40) == ALL
    assert warning(12, 40).startswith("SYNTHETIC DATA: 12 of 40 scans are synthetic")
    assert "These masks" in warning(1, 1, "masks")


@pytest.mark.parametrize("form", ["text", "markdown", "csv", "json"])
def test_nothing_is_said_of_patients(form):
    shown = rendered(PATIENTS, form)
    assert "SYNTHETIC" not in shown and "(synthetic)" not in shown


@pytest.mark.parametrize("width", ["40", "100", "200"])
def test_text_says_it_first(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", width)
    shown = " ".join(rendered(PHANTOMS, "text").split())
    assert shown.startswith(f"{ALL} Dice, cohort c") and "b_ct (synthetic): torn" in shown
    assert " ".join(rendered(MIXTURE, "text").split()).startswith(MIXED)


def test_each_cohort_speaks_for_itself():
    text = rendered([*PATIENTS, *(replace(r, cohort="d") for r in PHANTOMS)], "text")
    first, second = text.split("Dice, cohort d")
    assert text.startswith("Dice, cohort c") and first.rstrip().endswith("people.") and "SYNTHETIC" not in second


def test_markdown_says_it_before_any_figure():
    for rows, said in ((PHANTOMS, ALL), (MIXTURE, MIXED)):
        shown = rendered(rows, "markdown")
        assert shown.splitlines()[2].startswith(f"**{said}") and shown.index(said) < shown.index("| organ")
    assert "b_ct (synthetic): torn" in rendered(PHANTOMS, "markdown")


def test_csv_counts_phantoms_in_every_line():
    for rows, expected in ((PATIENTS, "000"), (PHANTOMS, "211"), (MIXTURE, "101")):
        lines = list(csv.DictReader(io.StringIO(rendered(rows, "csv"))))[:3]
        assert [line["modality"] for line in lines] == ["ct", "pet", "ct-pet"]
        assert "".join(line["synthetic"] for line in lines) == expected


def test_json_has_counts_and_words():
    for rows, count, said in ((PATIENTS, 0, ""), (PHANTOMS, 3, ALL), (MIXTURE, 1, MIXED)):
        document = json.loads(rendered(rows, "json"))
        (table,) = document["tables"]
        assert (table["scans"], table["synthetic"]) == (3, count) and table["warning"].startswith(said)
        assert bool(table["warning"]) == bool(count)
        assert [failure["synthetic"] for failure in document["failures"]] == [count == 3]


def test_rows_say_yes():
    lines = list(csv.DictReader(io.StringIO(rows_csv(MIXTURE, convention("umd")))))
    assert [line["synthetic"] for line in lines] == ["yes", "", ""]


def test_a_single_case_says_it_first():
    assert " ".join(render_case(PHANTOMS[:1], convention("umd")).split()).startswith(ALL)
    assert "SYNTHETIC" not in render_case(PATIENTS[:1], convention("umd"))


def umd(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


@pytest.fixture
def manifest(tmp_path):
    """s000 and s002 are phantoms, s001 is none; the file of s002 is missing."""
    path = make_cohort(tmp_path / "cohort", 2)
    lines = path.read_text().splitlines()
    third = lines[1].replace("s000", "s002")
    path.write_text("\n".join([f"{COLUMNS},synthetic", f"{lines[1]},yes", f"{lines[2]},", f"{third},yes"]) + "\n")
    return path


def options(run):
    return ("--out", run, "--model", f"nnunet={MODEL}", "--set", "nnunet.folds=0")


def descriptions(run):
    """What a mask's says before it names its images."""
    masks = run.glob("masks/nnunet/*/petct/*/*.nii.gz")
    return {p.name[:4]: nibabel.load(p).header["descrip"].item().partition(b" mask of ")[0] for p in masks}


def test_the_mark_goes_from_the_manifest_into_rows_masks_and_report(manifest, tmp_path):
    run = tmp_path / "run"
    result = umd("evaluate", manifest, *options(run), "--save-masks", code=1)
    assert " ".join(result.stdout.split()).startswith("SYNTHETIC DATA: 2 of 3 scans are synthetic")
    assert "failed: s002_ct (synthetic) nnunet [missing-file]" in result.stderr
    with Store(run / "store.sqlite") as store:
        marks = {(r.subject, r.status == "missing-file"): r.synthetic for r in store.rows()}
    assert marks == {("s000", False): True, ("s001", False): False, ("s002", True): True}
    assert descriptions(run) == {"s000": b"synthetic phantom", "s001": b"umd-engine"}


def test_a_mark_that_comes_later_reaches_the_rows_that_are_there(manifest, tmp_path):
    run, text = tmp_path / "run", manifest.read_text()
    manifest.write_text(text.replace("yes", ""))
    umd("evaluate", manifest, *options(run), "--limit", 2)
    assert "SYNTHETIC" not in umd("report", run).stdout
    manifest.write_text(text)
    umd("evaluate", manifest, *options(run), "--limit", 2)
    assert "1 of 2 scans are synthetic" in umd("report", run).stdout


def test_predict_says_it(manifest, tmp_path):
    shutil.copy(manifest.parent / "s000.nii.gz", manifest.parent / "s002.nii.gz")
    run = tmp_path / "run"
    said = umd("predict", manifest, *options(run)).stdout
    assert said.startswith("SYNTHETIC DATA: 2 of 3 scans are synthetic") and "3 masks under" in said
    assert descriptions(run) == {"s000": b"synthetic phantom", "s001": b"umd-engine", "s002": b"synthetic phantom"}
    document = json.loads(umd("predict", manifest, *options(run), "--json").stdout)
    assert (document["scans"], document["synthetic"], len(document["masks"])) == (3, 2, 3)
    (manifest.parent / "s000.nii.gz").unlink()
    document = json.loads(umd("predict", manifest, *options(tmp_path / "other"), "--json", code=1).stdout)
    assert [(f["scan_id"], f["synthetic"]) for f in document["failures"]] == [("s000_ct", True)]
