"""Relatives of nnU-Net: TotalSegmentator against its own code and nnunetv2, ResEnc folders, those that are refused."""

import json
import shutil
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch

from umd_engine.data.nifti import read
from umd_engine.engine.executor import run_program
from umd_engine.errors import CheckpointError, MissingFileError, OptionError, UnsupportedModelError, VoxelError
from umd_engine.models.catalog import Request
from umd_engine.models.checkpoint import load_checkpoint
from umd_engine.models.ready import open_unit

TOTAL = Path(__file__).parents[1] / "recordings" / "custom_total"
PLAIN, RESENC = sorted(path.parent for path in TOTAL.glob("Dataset*/*/plans.json"))


def segment(model, image):
    opened = {unit: open_unit(unit, "torch", torch.device("cpu")) for unit in model.units}
    case = model.prepare([image], torch.device("cpu"))
    return case, run_program(model.segment(case), opened.__getitem__)


@pytest.fixture
def recorded(tmp_path):
    with np.load(TOTAL / "recorded.npz") as stored:
        arrays = dict(stored)
    nibabel.save(nibabel.Nifti1Image(arrays["image"], arrays["affine"]), tmp_path / "ct.nii.gz")
    return arrays, read(tmp_path / "ct.nii.gz")


@pytest.mark.parametrize(("variant", "voxels", "values"), [("official", 5, 0), ("engine", 60, 30)])
def test_parts_are_merged_as_totalsegmentator_does(variant, voxels, values, recorded):
    arrays, image = recorded
    model = Request.parse(f"totalsegmentator={TOTAL}").load({"variant": variant})
    assert model.organs == {"spleen": (1,), "liver": (2,), "aorta": (3,), "heart": (4,)}
    case, found = segment(model, image)
    shown = case.resampled.voxels
    assert shown.shape == arrays["resampled"].shape and shown.dtype == np.int32
    different = np.abs(shown.astype(int) - arrays["resampled"])
    assert (different != 0).sum() <= values and different.max() <= 1
    labels = image.grid.to_file_order(found.labels.numpy())
    assert (labels != arrays["seg"]).sum() <= voxels
    assert len(model.units) == 2 and list(model.protocol["parts"]) == ["291", "292"]
    assert json.dumps(dict(model.protocol))


def test_later_parts_are_painted_over_earlier_ones_and_may_be_chosen(recorded):
    _, image = recorded
    both = segment(Request.parse(f"totalsegmentator={TOTAL}").load({}), image)[1].labels
    first = Request.parse(f"totalsegmentator={TOTAL}").load({"parts": "291"})
    second = Request.parse(f"totalsegmentator={TOTAL}").load({"parts": "292"})
    assert first.organs == {"spleen": (1,), "liver": (2,)} and second.organs == {"aorta": (1,), "heart": (2,)}
    one, two = (segment(model, image)[1].labels for model in (first, second))
    assert bool(((one != 0) & (two != 0)).any())  # they overlap
    assert torch.equal(both, torch.where(two != 0, two + 2, one))


def test_five_parts(recorded, tmp_path):
    _, image = recorded
    for number in range(291, 296):
        folder = shutil.copytree(PLAIN if number % 2 else RESENC, tmp_path / f"Dataset{number}_x" / "t__p__3d_fullres")
        said = json.loads((folder / "dataset.json").read_text())
        said["labels"] = {f"{name}{number}" if id_ else name: id_ for name, id_ in said["labels"].items()}
        (folder / "dataset.json").write_text(json.dumps(said))
    model = Request.parse(f"totalsegmentator={tmp_path}").load({})
    assert sorted(i for ids in model.organs.values() for i in ids) == list(range(1, 11)) and len(model.units) == 5
    labels = segment(model, image)[1].labels
    assert set(torch.unique(labels).tolist()) <= set(range(11)) and bool((labels > 8).any())


def test_a_resenc_folder_is_an_nnunet_folder(recorded):
    _, image = recorded
    assert json.loads((RESENC / "plans.json").read_text())["plans_name"] == "nnUNetResEncUNetMPlans"
    model = Request.parse(f"nnunet@resenc={RESENC}").load({"variant": "official", "step": "0.8", "mirroring": "false"})
    assert type(model.units[0].module).__name__ == "ResidualEncoderUNet"
    part = Request.parse(f"totalsegmentator={TOTAL}").load({"parts": "292", "spacing": "0", "variant": "official"})
    assert torch.equal(segment(model, image)[1].labels, segment(part, image)[1].labels)


def test_one_image_and_sensible_options(recorded):
    _, image = recorded
    model = Request.parse(f"totalsegmentator={TOTAL}").load({})
    with pytest.raises(VoxelError, match="takes one image"):
        model.prepare([image, image], torch.device("cpu"))
    assert model.nbytes((512, 512, 600), (0.8, 0.8, 1.5)) > 512 * 512 * 600 * 10
    for options in ({"spacing": "-1"}, {"step": "0"}, {"variant": "fast"}):
        with pytest.raises(OptionError):
            Request.parse(f"totalsegmentator={TOTAL}").load(options)


def test_folders_that_are_no_parts(tmp_path):
    request = Request.parse(f"totalsegmentator={tmp_path}")
    with pytest.raises(MissingFileError, match="Dataset"):
        request.load({})
    with pytest.raises(MissingFileError, match=r"no Dataset293_.*291, 292"):
        Request.parse(f"totalsegmentator={TOTAL}").load({"parts": "291,293"})
    shutil.copytree(PLAIN, tmp_path / "Dataset291_a" / PLAIN.name)
    shutil.copytree(PLAIN, tmp_path / "Dataset292_a" / PLAIN.name)
    with pytest.raises(CheckpointError, match="two parts have the organ 'spleen'"):
        request.load({})
    shutil.copytree(PLAIN, tmp_path / "Dataset291_a" / "other__plans__3d_fullres")
    with pytest.raises(CheckpointError, match="part 291 has two models"):
        request.load({})


@pytest.mark.parametrize(
    "trainer", ["STUNetTrainer_base", "nnUNetTrainerV2_MedNeXt_M_kernel3", "nnUNetTrainerUMambaBot"]
)
def test_networks_of_no_maintained_package_are_refused(trainer, tmp_path):
    folder = shutil.copytree(PLAIN, tmp_path / "model")
    path = folder / "fold_0" / "checkpoint_final.pth"
    checkpoint = load_checkpoint(path)
    checkpoint["trainer_name"] = trainer
    torch.save(checkpoint, path)
    with pytest.raises(UnsupportedModelError, match=r"not supported.*models new"):
        Request.parse(f"nnunet={folder}").load({})


def test_folders_of_nnunets_first_version_are_refused(tmp_path):
    (tmp_path / "plans.pkl").write_bytes(b"")
    with pytest.raises(UnsupportedModelError, match=r"nnU-Net v1.*MedNeXt.*models new"):
        Request.parse(f"nnunet={tmp_path}").load({})
