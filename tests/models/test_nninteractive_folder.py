"""Trained nnInteractive folders that are loaded, and those that must be refused with an error that says why."""

import json
import shutil

import pytest
import torch
from nninteractive_common import RECORDINGS

from umd_engine.errors import CheckpointError, MissingFileError, OptionError, UmdEngineError, UnsupportedModelError
from umd_engine.models.nninteractive.folder import read_settings
from umd_engine.models.nninteractive.model import NnInteractive
from umd_engine.models.nninteractive.protocol import Options

WEIGHTS = "fold_0/checkpoint_final.pth"


@pytest.fixture
def folder(tmp_path):
    """A new folder (capabilities, decay 0.98) that may be changed."""
    return shutil.copytree(RECORDINGS / "queued_model", tmp_path / "model")


def load(folder, **options):
    return NnInteractive("nninteractive", folder, Options(**options))


def refused(folder, *words, kind=CheckpointError, **options):
    with pytest.raises(UmdEngineError) as caught:
        load(folder, **options)
    text = str(caught.value)
    assert type(caught.value) is kind and caught.value.mend, text
    for word in words:
        assert word in text, text


def edit_json(path, **entries):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | entries if isinstance(content, dict) else entries))


def edit_weights(folder, edit):
    content = torch.load(folder / WEIGHTS, weights_only=True)
    edit(content["network_weights"])
    torch.save(content, folder / WEIGHTS)


def test_a_folder(folder):
    model = load(folder)
    assert model.patch == (72, 64, 80) and model.unit.inputs[0].shape == (8, 72, 64, 80)
    assert model.settings.decay == 0.98 and model.settings.pairs["scribble"] == (5, 6)
    assert model.prompts == {"point", "box", "scribble", "lasso", "mask"} and len(model.weights) == 64
    assert list(model.units) == [model.unit] and not model.crops_by_label
    said = json.loads(json.dumps(model.protocol))
    assert said["variant"] == "engine" and said["trainer"] == "nnInteractiveTrainer_stub"
    assert load(folder, autozoom=False).protocol != model.protocol


def test_the_order_of_files_and_the_decay():
    assert read_settings(RECORDINGS / "turned_model").decay == 0.9
    assert read_settings(RECORDINGS / "queued_model").decay == 0.98


def test_an_old_folder_that_says_more_fades_less(tmp_path):
    session = tmp_path / "inference_session_class.json"
    session.write_text(json.dumps({"inference_class": "nnInteractiveInferenceSession", "point_radius": 3}))
    assert (read_settings(tmp_path).decay, read_settings(tmp_path).radius) == (0.98, 3)


def test_weights_without_second_names(folder):
    """`decoder.encoder.*` and `*.all_modules.*` are the same tensors again, in some checkpoints and not in others."""
    weights = load(folder).weights

    def strip(state):
        twins = [name for name in state if name.startswith("decoder.encoder.") or ".all_modules." in name]
        assert twins
        for name in twins:
            del state[name]

    edit_weights(folder, strip)
    assert load(folder).weights == weights


def test_names_that_do_not_match(folder):
    def rename(state):
        state["encoder.extra.weight"] = state.pop("encoder.stem.convs.0.conv.weight")

    edit_weights(folder, rename)
    refused(folder, "missing", "encoder.stem.convs.0.conv.weight", "1 unexpected (encoder.extra.weight")


def test_a_missing_tensor(folder):
    edit_weights(folder, lambda state: state.pop("decoder.seg_layers.1.bias"))
    refused(folder, "1 missing (decoder.seg_layers.1.bias")


def test_an_extra_tensor(folder):
    edit_weights(folder, lambda state: state.update(ema=torch.zeros(3)))
    refused(folder, "1 unexpected (ema")


def test_a_tensor_of_another_shape(folder):
    edit_weights(folder, lambda state: state.update({"decoder.seg_layers.1.bias": torch.zeros(3)}))
    refused(folder, "of another shape", "(3,) instead of (2,)")


@pytest.mark.parametrize("weights", [None, {"decoder": 3}, [torch.zeros(1)]])
def test_weights_that_are_no_tensors(folder, weights):
    content = torch.load(folder / WEIGHTS, weights_only=True)
    torch.save(content | {"network_weights": weights}, folder / WEIGHTS)
    refused(folder)


@pytest.mark.parametrize("keep", [0, 100, 40_000])
def test_a_truncated_checkpoint(folder, keep):
    path = folder / WEIGHTS
    path.write_bytes(path.read_bytes()[:keep])
    refused(folder, str(path))


@pytest.mark.parametrize("content", [{"model_state_dict": {}}, [1, 2], {"network_weights": {}, "trainer_name": "x"}])
def test_a_checkpoint_of_another_model(folder, content):
    torch.save(content, folder / WEIGHTS)
    refused(folder, WEIGHTS)


def test_a_folder_of_nnunet():
    refused(RECORDINGS.parent / "lowres_model", "inference_session_class.json", kind=MissingFileError)


def test_weights_of_nnunet_in_the_right_place(folder):
    (other,) = sorted((RECORDINGS.parent / "lowres_model").glob("fold_*/checkpoint_*.pth"))[:1]
    shutil.copy(other, folder / WEIGHTS)
    refused(folder)


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", WEIGHTS, "inference_info.json", "fold_0"])
def test_missing_files(folder, name):
    path = folder / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    refused(folder, kind=MissingFileError)


def test_folds(folder, tmp_path):
    refused(tmp_path / "nowhere", kind=MissingFileError)
    refused(folder, fold="3", kind=MissingFileError)
    refused(folder, checkpoint="checkpoint_best.pth", kind=MissingFileError)
    shutil.copytree(folder / "fold_0", folder / "fold_all")
    refused(folder, "fold_0, fold_all")
    assert load(folder, fold="all").weights == load(folder, fold="0").weights


@pytest.mark.parametrize(
    ("entries", "word", "kind"),
    [
        ({"inference_class": "AnotherSession"}, "AnotherSession", UnsupportedModelError),
        ({"inference_class_min_version": "2.7.1"}, "2.7.1", UnsupportedModelError),
        ({"supported_interactions": {"gaze": True}}, "gaze", UnsupportedModelError),
        ({"pad_mode_image": "reflect"}, "reflect", UnsupportedModelError),
        ({"point_radius": 2.5}, "2.5", UnsupportedModelError),
        ({"interaction_decay": 0}, "interaction_decay", CheckpointError),
        ({"channel_mapping": {"points": 3}}, "hold together", CheckpointError),
        ({"interaction_channels": 2}, "channels", CheckpointError),
    ],
)
def test_capabilities_that_cannot_be_met(folder, entries, word, kind):
    edit_json(folder / "inference_info.json", **entries)
    refused(folder, word, kind=kind)


def test_a_folder_that_takes_less(folder):
    edit_json(
        folder / "inference_info.json",
        supported_interactions={"scribble": False, "bbox2d": False},
        supports_initial_label=False,
        inference_class_min_version="2.6",
    )
    model = load(folder)
    assert model.prompts == {"point", "lasso"}
    assert model.settings.thin == frozenset(model.settings.pairs["points"])


@pytest.mark.parametrize("name", ["plans.json", "dataset.json", "inference_info.json"])
def test_json_that_is_damaged(folder, name):
    path = folder / name
    path.write_text(path.read_text()[:40])
    with pytest.raises(UmdEngineError, match=name):
        load(folder)


def plans_of(folder, edit):
    path = folder / "plans.json"
    plans = json.loads(path.read_text())
    edit(plans["configurations"], plans["configurations"]["3d_fullres_ps192_bs24"])
    path.write_text(json.dumps(plans))


@pytest.mark.parametrize(
    ("edit", "word", "kind"),
    [
        (lambda all_, own: own.update(patch_size=[48, 192, 192]), "patch", UnsupportedModelError),
        (lambda all_, own: own.update(patch_size=[64, 64]), "patch", UnsupportedModelError),
        (lambda all_, own: all_["3d_fullres"].pop("architecture"), "architecture", CheckpointError),
        (lambda all_, own: all_.pop("3d_fullres"), "3d_fullres", CheckpointError),
        (lambda all_, own: own.update(inherits_from="3d_fullres_ps192_bs24"), "circle", CheckpointError),
    ],
)
def test_plans_that_do_not_fit(folder, edit, word, kind):
    plans_of(folder, edit)
    refused(folder, word, kind=kind)


def test_several_images(folder):
    edit_json(folder / "dataset.json", channel_names={"0": "CT", "1": "PET"})
    refused(folder, "2 images", kind=UnsupportedModelError)


@pytest.mark.parametrize("wrong", [{"variant": "fast"}, {"seed": -1}, {"seed": 2**32}])
def test_options_are_checked(wrong):
    with pytest.raises(OptionError):
        Options(**wrong)


def test_bytes_grow_with_scan_and_organs(folder):
    model = load(folder)
    small, one, many = (
        model.nbytes(shape, (1.0, 1.0, 1.0), organs)
        for shape, organs in [((64, 64, 64), 13), ((512, 512, 300), 1), ((512, 512, 300), 13)]
    )
    assert small < one < many and one > 4 * 512 * 512 * 300
