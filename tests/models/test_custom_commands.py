"""`models new`, `models check`, `models try` and `--model my.yaml`."""

import json
import warnings

import pytest
from click.testing import CliRunner
from custom_common import describe, save_as, scan, small_network

from umd_engine.cli import main
from umd_engine.data.nifti import write
from umd_engine.errors import UnknownNameError
from umd_engine.models.catalog.folder import sha256_of
from umd_engine.models.custom.reading import read_description
from umd_engine.models.custom.trial import phantom_images


def run(*arguments, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == code, result.output + result.stderr
    return result


def test_new_writes_a_description_that_is_read(tmp_path):
    path = tmp_path / "my.yaml"
    assert "models check" in run("models", "new", path).output
    assert read_description(path).name == "my" and path.read_text().count("#") > 15
    assert "exists" in run("models", "new", path, code=1).stderr
    assert "torchscript" in run("models", "new", tmp_path / "b.yaml", "--format", "torchscrip", code=1).stderr
    assert ".yaml" in run("models", "new", tmp_path / "b.txt", code=1).stderr
    assert UnknownNameError.status == "unknown-name"


def test_check_loads_and_hashes(tmp_path):
    path = describe(tmp_path, save_as("torchscript", tmp_path, small_network()))
    assert "--trust" in run("models", "check", path, code=1).stderr
    text = "".join(run("models", "check", path, "--trust", path).output.split())
    found = json.loads(run("models", "check", path, "--trust", path, "--json").output)
    assert found["weights"] in text and found["parameters"] == sum(p.numel() for p in small_network().parameters())
    assert found["faults"] == []
    path.write_text(path.read_text().replace("windows:", "window:"))
    broken = json.loads(run("models", "check", path, "--trust", path, "--json", code=1).output)
    assert any("did you mean windows" in fault for fault in broken["faults"])


def test_check_opens_an_onnx_file_and_hashes_what_it_is_made_of(tmp_path):
    import onnx

    network = save_as("onnx", tmp_path, small_network())
    file = tmp_path / "net.onnx"
    model = onnx.load(str(file))
    onnx.save(model, str(file), save_as_external_data=True, location="w.bin", size_threshold=0)
    path = describe(tmp_path, network)
    found = json.loads(run("models", "check", path, "--json").output)
    assert found["files"]["network:w.bin"] == sha256_of(tmp_path / "w.bin") and len(found["files"]) == 3
    assert sha256_of(file) in "".join(run("models", "check", path).output.split())
    model.graph.node[-1].op_type = "NoSuch"
    onnx.save(model, str(file))
    (fault,) = json.loads(run("models", "check", path, "--json", code=1).output)["faults"]
    assert "NoSuch" in fault and str(file) in fault and "delete" not in fault


def test_try_runs_on_the_phantom_and_draws_it(tmp_path):
    path = describe(
        tmp_path, save_as("onnx", tmp_path, small_network(), (32, 32, 32)), windows=None,
        grid={"shape": [32, 32, 32]},
    )  # fmt: skip
    picture = tmp_path / "seen.png"
    told = json.loads(run("models", "try", path, "--picture", picture, "--device", "cpu", "--json").stdout)
    assert told["synthetic"] and set(told["organs_ml"]) == {"liver", "spleen"} and sum(told["organs_ml"].values()) > 0
    assert picture.read_bytes()[:4] == b"\x89PNG"
    first = picture.read_bytes()
    assert "synthetic" in run("models", "try", path, "--picture", picture, "--device", "cpu").output
    assert picture.read_bytes() == first
    assert ".png" in run("models", "try", path, "--picture", tmp_path / "a.txt", code=1).stderr


def test_names_of_organs_are_shown_as_they_are(tmp_path):
    organs = {"$\\bad$": 1, "_red\x1b[31m": 2}
    path = describe(tmp_path, save_as("torchscript", tmp_path, small_network()), output__organs=organs)
    write(tmp_path / "a.nii.gz", scan(), "")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*legend.*")
        told = run("models", "try", path, "--trust", path, "--device", "cpu", "--picture", tmp_path / "a.png",
                   "--image", tmp_path / "a.nii.gz").output  # fmt: skip
    assert "$\\bad$: " in told and "_red\ufffd[31m: " in told and "\x1b" not in told


def test_try_takes_images(tmp_path):
    path = describe(tmp_path, save_as("torchscript", tmp_path, small_network()))
    write(tmp_path / "a.nii.gz", scan(), "")
    common = ("models", "try", path, "--trust", path, "--device", "cpu", "--picture", tmp_path / "a.png")
    told = run(*common, "--image", tmp_path / "a.nii.gz")
    text = told.stdout
    assert "windows over a scan of 31x27x22" in told.stderr
    assert "synthetic" not in text and "liver" in text
    assert (
        "takes 1 channels"
        in run(*common, "--image", tmp_path / "a.nii.gz", "--image", tmp_path / "a.nii.gz", code=1).stderr
    )


@pytest.mark.parametrize(("channels", "alike"), [(["ct", "pet"], (128, 128)), (["T1w", "pet"], None)])
def test_channels_of_the_phantom_lie_on_one_grid(channels, alike):
    first, second = phantom_images(channels)
    assert first.grid == second.grid and first.voxels.std() > 0 and second.voxels.std() > 0
    assert alike is None or first.shape[:2] == alike


def test_a_description_that_fails_becomes_a_status_and_the_others_go_on(tmp_path):
    good = describe(tmp_path, save_as("torchscript", tmp_path, small_network()))
    broken = describe(tmp_path, {"format": "torchscript", "file": "net.pt"}, "broken.yaml", windows__pach=[8, 8, 8])
    write(tmp_path / "a.nii.gz", scan(), "")
    (tmp_path / "scans.csv").write_text("cohort,subject,scan_id,modality,image,unit\npetct,s,1,ct,a.nii.gz,HU\n")
    common = ("predict", tmp_path / "scans.csv", "--out", tmp_path / "run", "--trust", tmp_path)
    result = run(*common, "--model", broken, "--model", good, code=1)
    assert "did you mean patch" in result.stderr and len(list((tmp_path / "run" / "masks" / "mine").rglob("*.gz"))) == 1


def test_predict_takes_a_description(tmp_path):
    path = describe(tmp_path, save_as("torchscript", tmp_path, small_network()))
    write(tmp_path / "a.nii.gz", scan(), "")
    (tmp_path / "scans.csv").write_text("cohort,subject,scan_id,modality,image,unit\npetct,s,1,ct,a.nii.gz,HU\n")
    common = ("predict", tmp_path / "scans.csv", "--out", tmp_path / "run", "--model", path)
    assert "--trust" in run(*common, code=1).stderr
    assert "1 masks" in run(*common, "--trust", path).output
    (plan,) = (tmp_path / "run" / "plans").glob("*.json")
    assert json.loads(plan.read_text())["protocol"]["trusted"] == ["torchscript"]
    assert "--backend torch" in run(*common, "--trust", path, "--backend", "onnxruntime", code=1).stderr
