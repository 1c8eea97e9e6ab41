"""SAT's files: strict loading, layers with two names, the text encoder's place; and the model as a whole."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from memory_common import peak
from sat_common import CPU, TINY, Asking, filled, save, scene, text_weights, vocabulary

from umd_engine.engine.executor import run_program
from umd_engine.errors import CheckpointError, MissingFileError, OptionError, UnknownNameError, VoxelError
from umd_engine.models.catalog import CATALOG
from umd_engine.models.check import count_parameters
from umd_engine.models.mask import Mask
from umd_engine.models.model import is_prompted
from umd_engine.models.prompts import Prompt
from umd_engine.models.ready import open_unit
from umd_engine.models.sat.model import Sat, SatNano, SatPro
from umd_engine.models.sat.network import NANO, PATCH, PRO
from umd_engine.models.sat.options import Options
from umd_engine.models.sat.published import load_published

LAYER = "backbone.encoder.stages.2.0.convs.1"


@pytest.fixture(scope="module")
def state():
    return filled(TINY)[1]


@pytest.fixture(scope="module")
def home(state, tmp_path_factory):
    """A folder as users have it: network, text encoder and, below it, the tokenizer."""
    folder = tmp_path_factory.mktemp("sat")
    save(folder / "SAT_Tiny.pth", state | {"mid_mask_embed_proj.0.weight": torch.zeros(2, 2)})
    save(folder / "text_encoder.pth", text_weights())
    vocabulary(folder / "BioLORD-2023-C")
    return folder


def test_the_file_and_its_folder_load(home, state):
    for path in (home, home / "SAT_Tiny.pth"):
        found = load_published(path, TINY).state_dict()
        assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)


@pytest.mark.parametrize(
    ("change", "attribute", "name"),
    [
        (lambda s: s.pop(f"{LAYER}.conv.bias"), "missing", f"{LAYER}.conv.bias"),
        # the second name of a layer, without which official code would not load it either
        (lambda s: s.pop(f"{LAYER}.all_modules.0.bias"), "missing", f"{LAYER}.all_modules.0.bias"),
        (lambda s: s.pop("transformer_decoder.layers.3.norm1.weight"), "missing", "layers.3.norm1.weight"),
        (lambda s: s.update({"more.weight": torch.zeros(1)}), "unexpected", "more.weight"),
        (lambda s: s.update({f"{LAYER}.norm.bias": torch.zeros(9)}), "shapes", f"{LAYER}.norm.bias"),
        (lambda s: s.update({f"{LAYER}.all_modules.1.bias": torch.zeros(8)}), "unexpected", "all_modules.1.bias"),
    ],
)
def test_what_does_not_fit_is_named(state, tmp_path, change, attribute, name):
    changed = dict(state)
    change(changed)
    path = save(tmp_path / "SAT_Tiny.pth", changed)
    with pytest.raises(CheckpointError) as caught:
        load_published(path, TINY)
    assert any(name in found for found in getattr(caught.value, attribute)) and str(path) in str(caught.value)


def test_the_other_size_is_named(tmp_path):
    first = {"backbone.encoder.stages.0.0.convs.0.conv.weight": torch.zeros(128, 3, 3, 3, 3)}
    with pytest.raises(CheckpointError, match=r"of SAT-Pro, not of SAT-Nano.*--model sat-pro"):
        load_published(save(tmp_path / "SAT_Nano.pth", first), NANO)


def test_files_of_another_kind(tmp_path, home):
    with pytest.raises(MissingFileError, match=r"SAT_Pro\.pth"):
        load_published(tmp_path, PRO)
    torch.save({"state_dict": {}}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match="model_state_dict"):
        load_published(tmp_path / "a.pth", NANO)
    with pytest.raises(CheckpointError, match="not a checkpoint of SAT's network"):
        load_published(home / "text_encoder.pth", TINY)  # the two files mixed up
    torch.save({"model_state_dict": {"backbone.x": 3}}, tmp_path / "b.pth")
    with pytest.raises(CheckpointError, match="no dictionary of tensors"):
        load_published(tmp_path / "b.pth", TINY)


@pytest.mark.parametrize(("model", "size", "name"), [(SatNano, NANO, "sat-nano"), (SatPro, PRO, "sat-pro")])
def test_without_a_text_encoder_the_error_says_where_it_belongs(model, size, name, tmp_path):
    (tmp_path / size.file).touch()
    with pytest.raises(MissingFileError) as caught:
        model(name, tmp_path / size.file, Options())
    assert str(tmp_path / "text_encoder.pth") in str(caught.value)
    assert CATALOG[name].checkpoint.places == (size.file,) and "text_encoder.pth" in CATALOG[name].needs
    assert set(CATALOG[name].prompts) == model.prompts == {"text"} and model.default_prompt == "text"


def test_options_are_checked():
    for wrong in ({"variant": "fast"}, {"names": "all"}):
        with pytest.raises(OptionError, match="is unknown"):
            Options(**wrong)
    with pytest.raises(UnknownNameError, match="mr"):
        Options(modality="mri")


@pytest.fixture(scope="module")
def model(home):
    return Sat("sat-tiny", home, Options(tokenizer=str(home / "BioLORD-2023-C")), size=TINY)


def test_what_enters_the_plan(model, home, tmp_path):
    assert is_prompted(model) and not model.crops_by_label
    assert not any(str(home) in str(value) for value in model.protocol.values())
    assert model.protocol["modality"] == "scan" and model.protocol["patch"] == PATCH
    elsewhere = shutil.copytree(home, tmp_path / "copy")
    options = Options(text_encoder=str(shutil.move(elsewhere / "text_encoder.pth", tmp_path / "text.pth")))
    again = Sat("other", elsewhere, options, size=TINY)
    assert again.weights == model.weights and again.protocol == model.protocol
    changed = text_weights()
    changed["projection.2.bias"][5] += 1
    save(tmp_path / "text.pth", changed)
    assert Sat("other", elsewhere, options, size=TINY).weights != model.weights
    assert len(model.units) == 1 and model.unit(13) is model.units[0]
    assert count_parameters(model) == sum(p.numel() for p in model.network.parameters())


def test_one_image_a_scan(model):
    volume, _ = scene()
    with pytest.raises(VoxelError, match="takes one image"):
        model.prepare([volume, volume], CPU)


def test_a_scan_says_its_modality_unless_the_option_does(model):
    ct, _ = scene()
    pet = replace(ct.with_voxels(np.maximum(ct.voxels, 0)), modality="pet")
    assert [model.prepare([volume], CPU).modality for volume in (ct, pet)] == ["ct", "pet"]
    assert Options(modality="us").modality_of(pet) == "us"
    with pytest.raises(OptionError, match=r"nothing says .*set modality=ct\|mr"):
        model.prepare([replace(ct, modality=None)], CPU)


def test_bytes_grow_with_the_slab_not_with_the_scan(model):
    """The formula of docs/models/sat.md, 13 and 100 organs, a body of 1.8 m: the sums are those of 96 planes."""
    sums = 4 * 14 * 500 * 500 * 96
    short = model.nbytes((500, 500, 96), (1.0, 1.0, 3.0), 13)
    tall = model.nbytes((500, 500, 600), (1.0, 1.0, 3.0), 13)
    assert short > sums
    whole = 4 * 14 * 500 * 500 * 600
    assert tall - short < (whole - sums) / 2
    assert model.nbytes((500, 500, 600), (1.0, 1.0, 3.0), 100) > tall + 4 * 87 * 500 * 500 * 96


def test_bytes_of_preparing_are_declared(model, monkeypatch):
    """Fine voxels, as they count most in the interpolation; `official` holds them in float64 too."""
    volume, _ = scene((150, 140, 130), np.diag([0.4, 0.4, 0.4, 1.0]))
    for variant in ("engine", "official"):
        monkeypatch.setattr(model, "options", Options(variant=variant))
        found = peak(lambda: model.prepare([volume], CPU)) + 4 * volume.voxels.size  # NumPy's copy of the scan
        assert found <= model.nbytes(volume.shape, volume.grid.spacing, 0)


@pytest.mark.full
def test_a_scan_from_text_to_masks(model):
    """All of it at the published patch, with stand-in weights; a second run has the same bits."""
    random = np.random.Generator(np.random.Philox(0))
    volume, _ = scene((60, 50, 40), np.diag([-1.0, 1.0, 3.0, 1.0]))
    volume = volume.with_voxels((volume.voxels + random.normal(0, 9, volume.shape)).astype(np.float32))
    masks = []
    for _ in range(2):
        asked = [Asking(organ, [Prompt(text=organ)]) for organ in ("liver", "left kidney", "splen")]
        program = model.segment(model.prepare([volume], CPU), asked)
        found = run_program(program, lambda unit: open_unit(unit, "torch", CPU), 1)
        assert isinstance(found[2], UnknownNameError) and "spleen" in str(found[2])
        assert all(isinstance(mask, Mask) and mask.shape == volume.shape for mask in found[:2])
        assert [source.masks for source in asked] == [[found[0]], [found[1]], []]
        masks.append([mask.full() for mask in found[:2]])
    assert all(torch.equal(a, b) for a, b in zip(*masks, strict=True))
    assert [len(unit.inputs[1].shape) for unit in model.units] and model.units[-1].inputs[1].shape == (2, 768)
