"""A prompted model that cannot be loaded: rows of every organ that it would have been asked for."""

import nibabel
import numpy as np
import pytest
import torch
from click.testing import CliRunner

from umd_engine.cli import main
from umd_engine.evaluation.store import Store

HEADER = "cohort,subject,scan_id,modality,image,unit,label,label_set"


@pytest.fixture
def manifest(tmp_path):
    rng = np.random.default_rng(0)
    label = np.zeros((12, 12, 12), np.uint8)
    label[2:6], label[7:9] = 1, 6  # liver and spleen of umd13
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    nibabel.save(nibabel.Nifti1Image(rng.integers(-200, 300, label.shape, np.int16), affine), tmp_path / "ct.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, affine), tmp_path / "label.nii.gz")
    path = tmp_path / "scans.csv"
    path.write_text(f"{HEADER}\npetct,P1,P1_ct,ct,ct.nii.gz,HU,label.nii.gz,umd13\n")
    return path


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.pth"
    torch.save({"network_weights": {}}, path)
    return path


def evaluate(manifest, run, *more):
    result = CliRunner().invoke(main, ["evaluate", str(manifest), "--out", str(run), *map(str, more)])
    assert result.exit_code == 1, result.output + result.stderr
    assert "Traceback" not in result.output + result.stderr
    with Store(run / "store.sqlite") as store:
        return list(store.rows())


@pytest.mark.parametrize("model", ["sam-med3d-turbo", "segvol"])
def test_its_rows_are_about_the_organs_asked_for(manifest, broken, tmp_path, model):
    rows = evaluate(manifest, tmp_path / "run", "--model", f"{model}={broken}", "--organs", "spleen,liver")
    assert {row.organ for row in rows} == {"spleen", "liver"} and len(rows) == 2
    assert {row.status for row in rows} == {"bad-checkpoint"} and {row.model for row in rows} == {model}
    assert all(str(broken) in row.message for row in rows)


def test_without_a_choice_they_are_about_the_label_set(manifest, broken, tmp_path):
    rows = evaluate(manifest, tmp_path / "run", "--model", f"segvol={broken}", "--prompt", "text")
    assert len(rows) == 13 and {row.status for row in rows} == {"bad-checkpoint"}


def test_they_are_forgotten_when_it_is_tried_again_however_it_is_asked(manifest, broken, tmp_path):
    asked = ("--model", f"segvol={broken}", "--organs", "liver")
    (first,) = evaluate(manifest, tmp_path / "run", *asked, "--prompt", "text")
    (second,) = evaluate(manifest, tmp_path / "run", *asked, "--prompt", "center-1pt")
    assert (first.prompt, second.prompt) == ("text", "center-1pt")


def test_a_prompt_that_it_would_not_take_is_refused_before_work(manifest, broken, tmp_path):
    command = ["evaluate", str(manifest), "--out", str(tmp_path / "run"), "--model", f"sam-med3d-turbo={broken}"]
    result = CliRunner().invoke(main, [*command, "--prompt", "text"])
    assert result.exit_code == 1 and "takes no" in result.stderr and not (tmp_path / "run" / "store.sqlite").exists()
