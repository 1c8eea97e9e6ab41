"""`models check`: a good checkpoint, and bad ones of every model, whose faults are named."""

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner

from umd_engine.cli import main
from umd_engine.models.fetch.record import NAME, Record

RECORDINGS = Path(__file__).parents[1] / "recordings"
PARITY = Path(__file__).parents[2].parent / "shared" / "parity"
NNUNET = RECORDINGS / "lowres_model"


def check(request, *more, code=0):
    result = CliRunner().invoke(main, ["models", "check", str(request), *more], env={"COLUMNS": "100"})
    assert result.exit_code == code, result.output + result.stderr
    assert "Traceback" not in result.output + result.stderr
    return result


def facts(request, *more, code=0):
    return json.loads(check(request, *more, "--json", code=code).output)


def sha256(path):
    return hashlib.sha256(Path(path).read_bytes()).hexdigest()


def weights_of(folder):
    (path,) = folder.glob("fold_*/checkpoint_final.pth")
    return path


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(NNUNET, tmp_path / "model"))


def edit(path, change):
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


def test_a_good_checkpoint_is_hashed_and_counted(folder):
    found = facts(f"nnunet@x={folder}", "--set", "folds=0")
    assert found["model"] == "nnunet@x" and found["path"] == str(folder) and found["faults"] == []
    assert found["files"] == {
        str(path): sha256(path) for path in (folder / "dataset.json", folder / "plans.json", weights_of(folder))
    }
    state = torch.load(weights_of(folder), weights_only=False)["network_weights"]
    own = {key: t for key, t in state.items() if not key.startswith("decoder.encoder.") and "all_modules" not in key}
    assert found["parameters"] == sum(t.numel() for t in own.values()) and len(found["weights"]) == 64
    assert found["options"]["folds"] == "0" and found["options"]["variant"] == "engine"
    text = check(f"nnunet={folder}").output
    assert found["weights"] in text and f"{found['parameters']:,} parameters" in text and "strictly" in text


def test_all_names_for_programs_and_the_first_for_people(folder):
    renamed = []

    def change(content):
        weights = content["network_weights"]
        for name in sorted(weights)[:9]:
            renamed.append(name)
            weights[f"other.{name}"] = weights.pop(name)

    edit(weights_of(folder), change)
    found = facts(f"nnunet={folder}", code=1)
    assert found["missing"] == renamed and found["unexpected"] == sorted(f"other.{name}" for name in renamed)
    assert found["weights"] == "" and found["parameters"] == 0 and len(found["files"]) == 3
    text = check(f"nnunet={folder}", code=1).output
    assert all(name in text for name in renamed[:5]) and "and 4 more (--json lists all)" in text
    assert "do not match the network" in " ".join(text.split())


def test_shapes_are_named(folder):
    def change(content):
        for name, tensor in content["network_weights"].items():
            content["network_weights"][name] = torch.cat([tensor, tensor])

    edit(weights_of(folder), change)
    found = facts(f"nnunet={folder}", code=1)
    state = torch.load(weights_of(folder), weights_only=False)["network_weights"]
    assert len(found["shapes"]) == len(state) and all(" instead of " in shape for shape in found["shapes"])


def test_a_file_that_is_not_the_one_that_was_fetched(tmp_path):
    root = tmp_path / "nninteractive"
    folder = Path(shutil.copytree(NNUNET, root / "nnInteractive_v1.0"))
    names = [path.relative_to(root).as_posix() for path in folder.rglob("*") if path.is_file()]
    files = {name: {"source": name, "size": 1, "sha256": sha256(root / name)} for name in names}
    Record("nnunet", "a/b", "main", "1" * 40, "http://hub", "now", files).write(root)
    assert facts(f"nnunet={folder}")["faults"] == []
    (folder / "dataset.json").write_text((folder / "dataset.json").read_text() + "\n")
    (fault,) = facts(f"nnunet={folder}", code=1)["faults"]
    assert str(folder / "dataset.json") in fault and files["nnInteractive_v1.0/dataset.json"]["sha256"] in fault
    (root / NAME).write_text("{")
    assert NAME in check(f"nnunet={folder}", code=1).stderr


def test_options_are_those_of_the_model(folder):
    assert "did you mean folds" in check(f"nnunet={folder}", "--set", "fold=0", code=1).stderr
    assert "sets nothing" in check(f"nnunet={folder}", "--set", "folds", code=1).stderr


def test_no_checkpoint_at_all(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CHECKPOINTS", str(tmp_path))
    line = check("segvol", code=1).stderr
    assert str(tmp_path / "segvol" / "pytorch_model.bin") in line and "models fetch segvol" in line


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("bomb-went-off"),))


def nninteractive_folder(tmp_path):
    if not (PARITY / "nninteractive_model").is_dir():
        pytest.skip("no recorded model of nnInteractive")
    folder = tmp_path / "nnInteractive_v1.0"
    for path in (PARITY / "nninteractive_model").rglob("*.*"):
        (folder / path.relative_to(PARITY / "nninteractive_model")).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, folder / path.relative_to(PARITY / "nninteractive_model"))
    return folder


def place(model, tmp_path):
    """What to ask for, and the file of weights in it."""
    if model == "nninteractive":
        folder = nninteractive_folder(tmp_path)
        return folder, weights_of(folder)
    path = tmp_path / "weights.pth"
    return path, path


PROMPTED = ["sam-med3d-turbo", "segvol", "nninteractive"]


@pytest.mark.parametrize("model", PROMPTED)
def test_a_checkpoint_of_another_model(model, tmp_path):
    path, weights = place(model, tmp_path)
    shutil.copyfile(weights_of(NNUNET), weights)
    found = facts(f"{model}={path}", code=1)
    assert str(path) in found["faults"][0] and found["files"][str(weights)] == sha256(weights)


@pytest.mark.parametrize("model", PROMPTED)
@pytest.mark.parametrize("share", [0, 0.3, 0.999])
def test_a_truncated_file(model, tmp_path, share):
    path, weights = place(model, tmp_path)
    whole = weights_of(NNUNET).read_bytes()
    weights.write_bytes(whole[: int(share * len(whole))])
    (fault,) = facts(f"{model}={path}", code=1)["faults"]
    assert str(weights) in fault and "copy or download it again" in fault


@pytest.mark.parametrize("model", PROMPTED)
def test_a_pickle_with_code_is_not_run(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path, weights = place(model, tmp_path)
    torch.save({"model_state_dict": Bomb(), "model": Bomb(), "network_weights": Bomb()}, weights)
    (fault,) = facts(f"{model}={path}", code=1)["faults"]
    assert str(weights) in fault and "code" in fault
    weights.write_bytes(pickle.dumps(Bomb()))
    facts(f"{model}={path}", code=1)
    assert not (tmp_path / "bomb-went-off").exists()


def known_key(model):
    """A state dict of one right weight and one that does not belong."""
    extra = torch.zeros(1)
    if model == "sam-med3d-turbo":
        return {"model_state_dict": {"image_encoder.pos_embed": torch.zeros(1, 8, 8, 8, 768), "some.thing": extra}}
    return {"model": {"module.image_encoder.norm.weight": torch.zeros(768), "module.some.thing": extra}}


@pytest.mark.parametrize("weights", [{1: torch.zeros(1), "a": torch.zeros(1)}, {"a": 1}, 5, {}])
def test_weights_that_are_no_state_dict(tmp_path, weights):
    path = tmp_path / "weights.pth"
    torch.save({"model_state_dict": weights}, path)
    (fault,) = facts(f"sam-med3d-turbo={path}", code=1)["faults"]
    assert str(path) in fault and "weights" in fault


@pytest.mark.parametrize(("model", "missing"), [("sam-med3d-turbo", 323), ("segvol", 275)])
def test_missing_and_extra_names_are_all_listed(model, missing, tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(known_key(model), path)
    found = facts(f"{model}={path}", code=1)
    assert len(found["missing"]) == missing and found["unexpected"] == ["some.thing"] and found["shapes"] == []
    assert "mask_decoder.iou_token.weight" in found["missing"]


def test_missing_and_extra_names_of_nninteractive(tmp_path):
    folder = nninteractive_folder(tmp_path)
    good = facts(f"nninteractive={folder}")
    assert good["prompts"] == ["box", "lasso", "mask", "point", "scribble"] and good["parameters"] > 0
    assert len(good["files"]) == 4

    def change(content):
        content["network_weights"]["some.thing"] = torch.zeros(1)
        del content["network_weights"]["encoder.stem.convs.0.conv.weight"]

    edit(weights_of(folder), change)
    found = facts(f"nninteractive={folder}", code=1)
    # the network shares its encoder with its decoder, where the same weights have further names
    assert {name.removeprefix("decoder.") for name in found["missing"]} >= {"encoder.stem.convs.0.conv.weight"}
    assert all("encoder.stem.convs.0." in name for name in found["missing"]) and found["unexpected"] == ["some.thing"]


@pytest.mark.full
def test_the_count_of_a_whole_sam_med3d(tmp_path):
    from umd_engine.models.catalog import CATALOG
    from umd_engine.models.sam_med3d.network import Network

    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Network(reduced=True).state_dict().items()}
    path = tmp_path / "sam_med3d_turbo.pth"
    torch.save({"model_state_dict": {name: torch.zeros(shape) for name, shape in shapes.items()}}, path)
    found = facts(f"sam-med3d-turbo={path}")
    # the catalogue's figure has the 3 x 128 fixed frequencies of the position encoding in it
    assert found["parameters"] == sum(CATALOG["sam-med3d-turbo"].parameters.values()) - 3 * 128
