"""Model folders that must be refused, each with an error that names file, fault and mend."""

import json
import pickle
import random
import shutil
from functools import partial
from pathlib import Path

import pytest
import torch

from umd_engine.engine.executor import run_program
from umd_engine.errors import (
    CheckpointError,
    MissingFileError,
    ModelError,
    OptionError,
    UnknownNameError,
    UnsupportedModelError,
    VoxelError,
)
from umd_engine.models.catalog import Request
from umd_engine.models.checkpoint import load_checkpoint
from umd_engine.models.nnunet.plans import _resampling
from umd_engine.models.nnunet.prepare import prepare_image
from umd_engine.models.ready import open_unit

RECORDINGS = Path(__file__).parents[1] / "recordings"


@pytest.fixture
def folder(tmp_path):
    return Path(shutil.copytree(RECORDINGS / "lowres_model", tmp_path / "model"))


def load(folder, **settings):
    return Request.parse(f"nnunet={folder}").load({key: str(value) for key, value in settings.items()})


def edit_json(path, edit):
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def refused(folder, kind, *words):
    with pytest.raises(kind) as caught:
        load(folder)
    text = str(caught.value)
    assert str(folder) in text and caught.value.mend, text
    for word in words:
        assert word in text, text


def configuration(plans):
    return plans["configurations"]["3d_lowres"]


def test_the_folder_itself_loads(folder):
    model = load(folder)
    assert model.plans.configuration == "3d_lowres" and len(model.units) == 1
    assert len(model.weights) == 64


def test_2d(folder):
    edit_json(folder / "plans.json", lambda plans: configuration(plans).update(patch_size=[32, 32]))
    refused(folder, UnsupportedModelError, "2d", "3d_fullres")


def test_a_cascade(folder):
    edit_json(folder / "plans.json", lambda plans: configuration(plans).update(previous_stage="3d_lowres"))
    refused(folder, UnsupportedModelError, "cascade")


@pytest.mark.parametrize("name", ["os.system", "subprocess.Popen", "my_package.PlainConvUNet", "torch.hub.load"])
def test_a_network_class_outside_the_list(folder, name):
    def edit(plans):
        configuration(plans)["architecture"] = {
            "network_class_name": name, "arch_kwargs": {}, "_kw_requires_import": []
        }  # fmt: skip

    edit_json(folder / "plans.json", edit)
    refused(folder, UnsupportedModelError, name, "allow-list")


@pytest.mark.parametrize("name", ["os.system", "torch.nn.modules.conv.LazyConv3d", "builtins.eval"])
def test_a_layer_class_outside_the_list(folder, name):
    def edit(plans):
        for config in plans["configurations"].values():
            if "architecture" in config:
                config["architecture"]["arch_kwargs"]["nonlin"] = name

    edit_json(folder / "plans.json", edit)
    refused(folder, UnsupportedModelError, name, "allow-list")


def test_weights_of_another_network(folder):
    def edit(plans):
        for config in plans["configurations"].values():
            if "architecture" in config:
                config["architecture"]["arch_kwargs"]["features_per_stage"] = [4, 8, 16]

    edit_json(folder / "plans.json", edit)
    refused(folder, CheckpointError, "of another shape", "instead of")


def test_missing_and_unexpected_weights_are_named(folder):
    path = next(folder.glob("fold_*/checkpoint_final.pth"))
    content = torch.load(path, weights_only=False)
    name = next(iter(content["network_weights"]))
    content["network_weights"]["something.else"] = content["network_weights"].pop(name)
    torch.save(content, path)
    refused(folder, CheckpointError, "1 missing", name, "1 unexpected", "something.else")


class Bomb:
    def __reduce__(self):
        return (Path.touch, (Path("bomb-went-off"),))


@pytest.mark.parametrize("legacy", [False, True])
def test_a_pickle_with_code_is_not_run(folder, legacy, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = next(folder.glob("fold_*/checkpoint_final.pth"))
    if legacy:
        path.write_bytes(pickle.dumps({"network_weights": Bomb()}))
    else:
        torch.save({"network_weights": Bomb()}, path)
    refused(folder, CheckpointError, path.name)
    assert not Path("bomb-went-off").exists()


@pytest.mark.parametrize("keep", [0, 10, 1000])
def test_a_truncated_checkpoint(folder, keep):
    path = next(folder.glob("fold_*/checkpoint_final.pth"))
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, CheckpointError, path.name)


@pytest.mark.parametrize("content", [[1, 2], {"weights": 1}, {"network_weights": {}, "init_args": {}}])
def test_a_checkpoint_of_something_else(folder, content):
    torch.save(content, next(folder.glob("fold_*/checkpoint_final.pth")))
    refused(folder, CheckpointError)


def test_missing_files(folder, tmp_path):
    with pytest.raises(MissingFileError, match="nowhere"):
        load(tmp_path / "nowhere")
    (folder / "dataset.json").unlink()
    refused(folder, MissingFileError, "dataset.json")
    shutil.rmtree(next(folder.glob("fold_*")))
    refused(folder, MissingFileError, "fold_")


def test_plans_that_are_no_json_or_lack_keys(folder):
    edit_json(folder / "plans.json", lambda plans: plans.pop("transpose_forward"))
    refused(folder, CheckpointError, "transpose_forward")
    (folder / "plans.json").write_text("{")
    refused(folder, CheckpointError, "not JSON")


def test_circular_and_unknown_configurations(folder):
    edit_json(folder / "plans.json", lambda plans: configuration(plans).update(inherits_from="3d_lowres"))
    refused(folder, CheckpointError, "circle")
    edit_json(folder / "plans.json", lambda plans: plans["configurations"].pop("3d_lowres"))
    refused(folder, CheckpointError, "3d_lowres")


@pytest.mark.parametrize("what", ["normalization_schemes", "resampling_fn_data"])
def test_rules_that_do_not_exist(folder, what):
    value = ["MyNorm"] if what == "normalization_schemes" else "my_resampling"
    edit_json(folder / "plans.json", lambda plans: configuration(plans).update({what: value}))
    refused(folder, UnsupportedModelError, "My" if what == "normalization_schemes" else "my_resampling")


def test_options_are_checked(folder):
    with pytest.raises(UnknownNameError, match="mirroring"):
        load(folder, mirorring="true")
    with pytest.raises(OptionError, match="true nor false"):
        load(folder, mirroring="maybe")
    with pytest.raises(OptionError, match="variant"):
        load(folder, variant="fast")
    with pytest.raises(OptionError, match="step"):
        load(folder, step="0")
    with pytest.raises(UnknownNameError, match="did you mean nnunet"):
        Request.parse("nnunett=x")
    with pytest.raises(OptionError, match="no path after"):
        Request.parse("nnunet=")
    with pytest.raises(MissingFileError, match="fold_7"):
        load(folder, folds="7")


def test_a_scan_with_the_wrong_number_of_channels(folder):
    from umd_engine.data.nifti import read

    model = load(folder)
    volume = read(RECORDINGS / "oriented.nii.gz")
    with pytest.raises(VoxelError, match="takes 1 channels"):
        model.prepare((volume, volume), torch.device("cpu"))


def test_the_protocol_and_the_weights_are_in_the_identity(folder):
    plain = load(folder)
    assert load(folder).weights == plain.weights and load(folder).protocol == plain.protocol
    assert load(folder, variant="official").protocol != plain.protocol
    assert load(folder, mirroring="false").protocol != plain.protocol
    path = next(folder.glob("fold_*/checkpoint_final.pth"))
    content = torch.load(path, weights_only=False)
    next(iter(content["network_weights"].values())).mul_(1.0001)
    torch.save(content, path)
    assert load(folder).weights != plain.weights


@pytest.mark.parametrize(
    "options", [{"separate_z_order": 2}, {"order": 2}, {"order_z": 5}], ids=lambda options: next(iter(options))
)
def test_resampling_options_that_do_not_exist_here(folder, options):
    edit_json(
        folder / "plans.json",
        lambda plans: [c["resampling_fn_data_kwargs"].update(options) for c in plans["configurations"].values()
                       if "resampling_fn_data_kwargs" in c],
    )  # fmt: skip
    refused(folder, UnsupportedModelError, next(iter(options)))


def test_the_defaults_of_the_official_resampling_functions():
    where = Path("plans.json")

    def rule(function, **options):
        return _resampling({"resampling_fn_data": function, "resampling_fn_data_kwargs": options}, "data", where)

    assert rule("resample_data_or_seg_to_shape").force_separate_z is False
    assert rule("resample_torch_fornnunet").force_separate_z is None
    assert rule("resample_data_or_seg_to_shape", separate_z_anisotropy_threshold=1.5).anisotropy_threshold == 1.5


def test_label_ids_with_gaps(folder):
    edit_json(folder / "dataset.json", lambda dataset: dataset["labels"].update({next(reversed(dataset["labels"])): 9}))
    with pytest.raises(CheckpointError, match="without gaps"):
        load(folder)


@pytest.mark.parametrize("labels", [{}, {"0": "background", "1": "liver"}])
def test_labels_that_are_none(folder, labels):
    edit_json(folder / "dataset.json", lambda dataset: dataset.update(labels=labels))
    refused(folder, CheckpointError)


def test_a_backup_of_a_fold_is_no_fold(folder):
    first = next(folder.glob("fold_*"))
    shutil.copytree(first, folder / f"{first.name}_backup")
    assert len(load(folder).units) == 1


@pytest.mark.parametrize("trainer", ["nnUNetTrainerBN", "nnUNet_Primus_M_Trainer"])
def test_a_trainer_with_another_network(folder, trainer):
    path = next(folder.glob("fold_*/checkpoint_final.pth"))
    content = torch.load(path, weights_only=False)
    torch.save(content | {"trainer_name": trainer}, path)
    refused(folder, UnsupportedModelError, trainer)


def test_logits_that_overflow_are_an_error(folder):
    model = load(folder, variant="official")
    with torch.no_grad():
        for parameter in model.units[0].module.decoder.seg_layers[-1].parameters():
            parameter.mul_(1e6)
    case = prepare_image(torch.randn(1, 20, 24, 22), (2.0, 2.0, 2.0), model.plans)
    with pytest.raises(ModelError, match="infinite"):
        run_program(model.logits(case), partial(open_unit, backend="torch", device=torch.device("cpu")))


@pytest.mark.parametrize("alias", ["", "../up", "a/b", ".hidden"])
def test_an_alias_that_would_leave_the_run_folder(folder, alias):
    with pytest.raises(OptionError, match="alias"):
        Request.parse(f"nnunet@{alias}={folder}")


def test_random_files_are_refused_with_a_typed_error(tmp_path):
    rng = random.Random(0)
    good = next((RECORDINGS / "lowres_model").glob("fold_*/checkpoint_final.pth")).read_bytes()
    path = tmp_path / "x.pth"
    for _ in range(150):
        content = bytearray(good[: rng.randrange(len(good))] if rng.random() < 0.5 else rng.randbytes(200))
        for _ in range(rng.randrange(4)):
            if content:
                content[rng.randrange(len(content))] = rng.randrange(256)
        path.write_bytes(bytes(content))
        with pytest.raises(CheckpointError):
            load_checkpoint(path)
