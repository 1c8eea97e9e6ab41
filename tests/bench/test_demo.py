"""`umd-engine demo`: from nothing to a paired table that says its data are synthetic."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from statistics import fmean

import nibabel
import pytest
from PIL import Image

from umd_engine.bench.demo.study import CT, MODELS, PET
from umd_engine.bench.floor.watched import used, watched
from umd_engine.data.labelset import load_label_set
from umd_engine.evaluation.synthetic import MARK

ORGANS = set(load_label_set("umd13").ids)
GIGABYTE = 1_000_000_000


def demo(*arguments: object, peak: Path | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "umd_engine.cli", "demo", *map(str, arguments)]
    if peak is not None:
        command = watched(command, peak)
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    out = tmp_path_factory.mktemp("demo") / "demo-run"
    done = demo("--out", out, "--subjects", 1, peak=out.with_name("peak"))
    assert done.returncode == 0, done.stderr
    return out, done


def test_the_table_is_paired_and_says_that_the_data_are_synthetic(finished):
    _, done = finished
    lines = done.stdout.splitlines()
    assert lines[0].startswith(MARK)
    for word in (*ORGANS, *MODELS, "ct", "pet", "gap", "Avg"):
        assert word in done.stdout, word


def test_memory_stays_below_two_gigabytes(finished):
    out, _ = finished
    assert 0.1 * GIGABYTE < used(out.with_name("peak")).peak < 2 * GIGABYTE


def test_the_picture_is_drawn(finished):
    out, _ = finished
    picture = Image.open(out / "organs.png")
    assert min(picture.size) > 500
    assert len(picture.convert("RGB").getcolors(1 << 24)) > 50


def test_the_same_command_does_nothing_again(finished):
    out, _ = finished
    again = demo("--out", out, "--subjects", 1, "--json")
    assert again.returncode == 0, again.stderr
    assert "6 of 6 cases are already done" in again.stderr
    (table,) = json.loads(again.stdout)["tables"]
    assert table["synthetic"] == table["scans"] == 2


def test_the_networks_know_their_modality_and_the_ct_network_not_pet(finished):
    out, _ = finished
    again = demo("--out", out, "--subjects", 1, "--json")
    (table,) = json.loads(again.stdout)["tables"]
    scores: dict[tuple[str, str], list[float]] = defaultdict(list)
    for row in table["organs"]:
        for line in row["lines"]:
            for column, cell in zip(table["columns"], line["cells"], strict=True):
                if not cell["label_empty"] and not cell["both_empty"]:  # subject 0 has lost a kidney
                    scores[line["modality"], column["title"]].append(cell["mean"])
    score = {place: fmean(values) for place, values in scores.items()}
    assert score["ct", "nnunet@ct"] > 0.8 and score["pet", "nnunet@pet"] > 0.8
    assert score["pet", "nnunet@ct"] < 0.5, "a shift of modality is what the study is about"
    assert score["pet", "nnunet@ct-zscore"] < 0.7
    assert {row["organ"] for row in table["organs"]} == ORGANS


def test_another_number_of_subjects_is_refused(finished):
    out, _ = finished
    done = demo("--out", out, "--subjects", 3)
    assert done.returncode == 1
    assert "it holds 1 subjects" in done.stderr


def test_predictions_of_phantoms_say_so_too(finished, tmp_path):
    out, _ = finished
    command = [sys.executable, "-m", "umd_engine.cli", "predict", str(out / "scans" / "manifest.csv")]
    command += ["--out", str(tmp_path / "run"), "--model", f"nnunet={PET}", "--modality", "pet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert MARK in done.stdout
    (mask,) = (tmp_path / "run" / "masks").rglob("*.nii.gz")
    assert bytes(nibabel.load(mask).header["descrip"].item()).startswith(b"synthetic phantom")


def test_the_networks_are_small_and_say_what_they_are():
    files = [path for folder in (CT, PET) for path in folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 6_000_000
    for folder in (CT, PET):
        assert "synthetic" in json.loads((folder / "dataset.json").read_text())["description"].lower()


def test_no_folder_to_write_to(tmp_path):
    (tmp_path / "file").write_text("x")
    done = demo("--out", Path(tmp_path / "file"), "--subjects", 1)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
