"""The list of models, how one is asked for, and where its checkpoint is looked for."""

import json
import math
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from rich.cells import cell_len

from umd_engine.cli import main
from umd_engine.errors import MissingFileError, OptionError, UnknownNameError
from umd_engine.models.catalog import CATALOG, Request
from umd_engine.models.catalog.folder import checkpoints_folder
from umd_engine.models.listing import markdown_table, verified_table

ROOT = Path(__file__).parents[2]
PARITY = ROOT.parent / "shared" / "parity"
PROMPTED = ("sam-med3d-turbo", "segvol", "nninteractive")


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CHECKPOINTS", str(tmp_path))
    return tmp_path


def run(*arguments, width=100, code=0):
    result = CliRunner().invoke(main, [str(a) for a in arguments], env={"COLUMNS": str(width)})
    assert result.exit_code == code, result.output + result.stderr
    return result


def make(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", PROMPTED)
def test_the_catalogue_says_what_the_code_does(name):
    known = CATALOG[name]
    code = known.code()
    if name != "nninteractive":  # whose folder decides: see test_catalog_check
        assert code.load.prompts == set(known.prompts)
    assert known.defaults["variant"] == "engine" and code.options() == code.options(**known.defaults)


@pytest.mark.parametrize("name", ["sam_med3d", "segvol"])
def test_parameters_are_those_of_the_official_networks(name):
    path = PARITY / f"{name}.keys.json"
    if not path.is_file():
        pytest.skip(f"no {path.name}")
    shapes = json.loads(path.read_text())
    shapes = shapes.get("shapes", shapes)
    parts = {"image_encoder": 0, "prompt_encoder": 0, "mask_decoder": 0}
    for key, shape in shapes.items():
        # SegVol's figure leaves out the fixed frequencies of the position encoding, SAM-Med3D's does not
        if name != "segvol" or not key.endswith("gaussian_matrix"):
            parts[key.partition(".")[0]] += math.prod(shape)
    figures = dict(CATALOG["sam-med3d-turbo" if name == "sam_med3d" else name].parameters)
    assert set(parts.values()) == {n for part, n in figures.items() if "text" not in part}


def test_parameters_of_segvols_text_encoder():
    from umd_engine.models.segvol.text import expected_shapes

    figures = CATALOG["segvol"].parameters
    assert sum(map(math.prod, expected_shapes().values())) == figures["CLIP text"] + figures["text projection"]


def test_parameters_of_nninteractive():
    from dynamic_network_architectures.architectures.unet import ResidualEncoderUNet

    with torch.device("meta"):
        network = ResidualEncoderUNet(
            8, 6, [32, 64, 128, 256, 320, 320], torch.nn.Conv3d, 3, [1, 2, 2, 2, 2, 2], [1, 3, 4, 6, 6, 6], 2, [1] * 5,
            conv_bias=True, norm_op=torch.nn.InstanceNorm3d, norm_op_kwargs={"affine": True},
        )  # fmt: skip
    assert sum(p.numel() for p in network.parameters()) == CATALOG["nninteractive"].parameters["network"]


def test_the_documents_tables_are_the_catalogues():
    text = (ROOT / "docs" / "models.md").read_text()
    assert markdown_table() in text and verified_table() in text


@pytest.mark.parametrize("width", [40, 60, 80, 160])
@pytest.mark.parametrize("command", [["models"], ["models", "list"]])
def test_people_get_a_table_no_wider_than_the_terminal(folder, command, width):
    text = run(*command, width=width).output
    assert all(cell_len(line) <= width for line in text.splitlines())
    table = [line for line in text.splitlines() if line.startswith("│")]
    for name in CATALOG:
        assert any(name in line for line in table)
    whole = "".join(text.split())
    for words in ("128x128x128", "1.5mm", "100.51M", "CC-BY-NC-SA-4.0", "blueyo0/SAM-Med3D", "402MB", "notfound"):
        assert words in whole


def test_programs_get_everything(folder):
    rows = {row["model"]: row for row in json.loads(run("models", "--json").output)}
    assert rows.keys() == CATALOG.keys() and json.loads(run("models", "list", "--json").output) == list(rows.values())
    sam = rows["sam-med3d-turbo"]
    assert (sam["prompts"], sam["patch"], sam["spacing"], sam["parameters"]) == (
        ["point"], "128x128x128", "1.5 mm", 100_509_616
    )  # fmt: skip
    assert sam["published"]["repository"] == "blueyo0/SAM-Med3D"
    assert sam["published"]["files"] == [{"file": "sam_med3d_turbo.pth", "size": "402 MB"}]
    assert sam["licence"] == {"code": "Apache-2.0", "weights": "Apache-2.0"} and sam["options"]["centre"] == "label"
    assert sam["checkpoint"] is None and sam["looked_for"] == [str(folder / "sam-med3d-turbo" / "sam_med3d_turbo.pth")]
    assert rows["nnunet"]["published"] is None and rows["nnunet"]["parameters"] is None
    make(folder / "sam-med3d-turbo" / "sam_med3d_turbo.pth")
    rows = {row["model"]: row for row in json.loads(run("models", "--json").output)}
    assert rows["sam-med3d-turbo"]["checkpoint"] == str(folder / "sam-med3d-turbo" / "sam_med3d_turbo.pth")


def test_json_belongs_after_the_subcommand(folder):
    assert "after list" in run("models", "--json", "list", code=2).stderr


def test_a_name_alone_takes_the_checkpoint_folder(folder):
    path = make(folder / "sam-med3d-turbo" / "sam_med3d_turbo.pth")
    assert Request.parse("sam-med3d-turbo") == Request("sam-med3d-turbo", "sam-med3d-turbo", path)
    assert Request.parse("sam-med3d-turbo@old") == Request("sam-med3d-turbo", "sam-med3d-turbo@old", path)
    old = make(folder / "segvol" / "SegVol_v1.pth")
    assert Request.parse("segvol").path == old
    assert Request.parse("segvol").path != make(folder / "segvol" / "pytorch_model.bin") == Request.parse("segvol").path
    make(folder / "nninteractive" / "plans.json")
    assert Request.parse("nninteractive").path == folder / "nninteractive"
    make(folder / "nninteractive" / "nnInteractive_v1.0" / "plans.json")
    assert Request.parse("nninteractive").path == folder / "nninteractive" / "nnInteractive_v1.0"


def test_where_nothing_is_the_error_says_where_it_looked_and_how_to_get_it(folder):
    with pytest.raises(MissingFileError) as caught:
        Request.parse("segvol")
    text = str(caught.value)
    assert str(folder / "segvol" / "pytorch_model.bin") in text and str(folder / "segvol" / "SegVol_v1.pth") in text
    assert "umd-engine models fetch segvol" in text and "segvol=PATH" in text
    with pytest.raises(MissingFileError) as caught:
        Request.parse("nnunet")
    assert str(folder / "nnunet" / "plans.json") in str(caught.value) and "fetch" not in str(caught.value)


def test_a_path_that_is_given_wins_and_must_exist(folder, tmp_path):
    make(folder / "sam-med3d-turbo" / "sam_med3d_turbo.pth")
    other = make(tmp_path / "other" / "mine.pth")
    assert Request.parse(f"sam-med3d-turbo={other}").path == other
    with pytest.raises(MissingFileError, match="no such model path"):
        Request.parse(f"sam-med3d-turbo={other}.gone")
    with pytest.raises(OptionError, match="no path after"):
        Request.parse("sam-med3d-turbo=")
    with pytest.raises(UnknownNameError, match="sam-med3d-turbo"):
        Request.parse("sam-med3d")
    with pytest.raises(OptionError, match="alias"):
        Request.parse(f"sam-med3d-turbo@a/b={other}")


def test_without_the_variable_the_folder_is_the_users(monkeypatch, tmp_path):
    monkeypatch.delenv("UMD_ENGINE_CHECKPOINTS", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert checkpoints_folder() == tmp_path / "umd-engine" / "checkpoints"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checkpoints_folder() == tmp_path / ".local" / "share" / "umd-engine" / "checkpoints"
