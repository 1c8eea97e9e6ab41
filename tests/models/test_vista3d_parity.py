"""VISTA3D against recordings of MONAI's own code (record_vista3d.py), and its parts against MONAI's, side by side."""

from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.engine.windows import centred_gaussian, flush_starts
from umd_engine.models.parity.check import check_recordings
from umd_engine.models.parity.recipe import fill
from umd_engine.models.parity.recording import find_recordings
from umd_engine.models.ready import open_unit
from umd_engine.models.vista3d.classes import CT, unique
from umd_engine.models.vista3d.combining import kept_with_positive, merged
from umd_engine.models.vista3d.model import class_pass
from umd_engine.models.vista3d.network import build_network, filled
from umd_engine.models.vista3d.options import Options
from umd_engine.models.vista3d.prepare import prepare_scan
from umd_engine.models.vista3d.protocol import label_slabs
from umd_engine.models.vista3d.recipe import VISTA3D, VISTA3D_CTMR

CPU = torch.device("cpu")
SHARED = Path(__file__).parents[2].parent / "shared" / "parity"
OWN = Path(__file__).parents[1] / "recordings" / "vista3d_parity"


def passes(folder, name, backend):
    if not (folder / f"{name}.spec.json").is_file():
        pytest.skip(f"no recording {name}")
    (recording,) = (found for found in find_recordings(folder) if found.name == name)
    (row,) = check_recordings([recording], backend, CPU)
    assert row.passed, row
    return {deviation.name: deviation.value for deviation in row.deviations}


def test_another_seed_with_points_on_both_sides():
    found = passes(OWN, "vista3d_other", "torch")
    assert {"seg", "one_seg", "point_seg", "both_seg", "special_seg", "logits", "point_logits"} <= found.keys()
    with np.load(OWN / "vista3d_other.npz") as stored:
        for name in ("seg", "one_seg", "point_seg", "both_seg", "special_seg"):
            assert len(np.unique(stored[name])) > 1  # not one-sided


@pytest.mark.full
@pytest.mark.parametrize("name", ["vista3d_research", "vista3d_ctmr"])
def test_research_protocol_and_the_ct_and_mr_model(name):
    passes(OWN, name, "torch")


@pytest.mark.full
@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_the_published_bundle(backend, tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path))
    assert {"seg", "point_seg", "both_seg", "logits"} == passes(SHARED, "vista3d", backend).keys()


def affine(spacing, axes, signs, angle=0.0):
    matrix = np.zeros((4, 4))
    for column in range(3):
        matrix[axes[column], column] = signs[column] * spacing[column]
    c, s = np.cos(angle), np.sin(angle)
    matrix = np.array([[c, -s, 0, 0], [s, c, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]) @ matrix
    matrix[:, 3] = -31, 12.5, 7, 1
    return matrix


GRIDS = {
    "plain": ((41, 37, 29), affine((1.5, 1.5, 1.5), (0, 1, 2), (1, 1, 1))),
    "flipped": ((41, 37, 29), affine((1.1, 1.4, 3.0), (0, 1, 2), (-1, -1, 1))),
    "permuted": ((33, 28, 50), affine((2.5, 0.75, 1.0), (2, 0, 1), (1, -1, -1))),
    "oblique": ((36, 44, 20), affine((0.9, 1.3, 4.0), (1, 0, 2), (-1, 1, -1), 0.2)),
}


def body(shape, seed=0):
    """HU: air, a blob above 0 away from the border, something dense in it."""
    noise = np.random.default_rng(seed).normal(size=shape)
    inside = np.zeros(shape, bool)
    inside[tuple(slice(n // 3, n - n // 4) for n in shape)] = True
    return np.where(inside, 60 + 400 * gaussian_filter(noise, 2), -1000 + 20 * noise).astype(np.float32)


def monai_case(shape, matrix, percentiles=False):
    """The published preprocessing by MONAI, and the way back of a label map."""
    from monai import transforms as tr
    from monai.data import MetaTensor

    window = {"a_min": -963.8247715525971, "a_max": 1053.678477684517, "b_min": 0, "b_max": 1, "clip": True}
    scale = tr.ScaleIntensityRanged(keys="image", **window)
    if percentiles:
        scale = tr.ScaleIntensityRangePercentilesd(keys="image", lower=1, upper=99, b_min=0, b_max=1, clip=True)
    before = tr.Compose(
        [
            tr.Spacingd(keys="image", pixdim=(1.5, 1.5, 1.5), mode="bilinear"),
            tr.CropForegroundd(keys="image", allow_smaller=True, margin=10, source_key="image"),
            scale,
            tr.Orientationd(keys="image", axcodes="RAS"),
        ]
    )
    image = before({"image": MetaTensor(torch.from_numpy(body(shape))[None], affine=torch.from_numpy(matrix))})["image"]

    def back(labels):
        again = tr.Invertd(keys="pred", transform=before, orig_keys="image", nearest_interp=True, to_tensor=True)
        return again({"image": image, "pred": MetaTensor(labels[None].float(), meta=image.meta)})["pred"][0].numpy()

    return image[0].as_tensor(), back


def midway(shape, matrix):
    """Scan voxels midway between two of 1.5 mm along an axis: there the rounding of MONAI's matrix products decides."""
    found = np.zeros(shape, bool)
    for axis, (n, size) in enumerate(zip(shape, np.linalg.norm(matrix[:3, :3], axis=0), strict=True)):
        tie = np.abs(np.arange(n) * size / 1.5 % 1 - 0.5) < 1e-9
        found |= np.expand_dims(tie, [other for other in range(3) if other != axis])
    assert found.mean() < 0.6
    return found


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("recipe", [VISTA3D, VISTA3D_CTMR], ids=["ct", "ctmr"])
def test_the_prepared_image_and_the_way_back_are_monais(name, recipe):
    shape, matrix = GRIDS[name]
    wanted, back = monai_case(shape, matrix, recipe is VISTA3D_CTMR)
    volume = Volume.from_array(body(shape), matrix)
    for variant, tolerance in (("official", 1e-6), ("engine", 2e-5)):
        case = prepare_scan(volume, CPU, recipe, Options(variant=variant))
        assert case.image.shape == wanted.shape
        assert float((case.image - wanted).abs().max()) <= tolerance
    labels = torch.from_numpy(np.random.default_rng(1).integers(0, 9, wanted.shape).astype(np.uint8))
    found = volume.grid.to_file_order(case.lattice.to_scan(labels).numpy())
    assert ((found == back(labels)) | midway(shape, matrix)).all()


def blobs(seed, shape=(24, 22, 26)):
    return (
        torch.from_numpy(gaussian_filter(np.random.default_rng(seed).normal(size=shape), 1.5).astype(np.float32)) * 30
    )


@pytest.mark.parametrize("seed", range(12))
def test_points_change_what_monai_changes(seed):
    from monai.networks.nets import vista3d

    draw = np.random.default_rng(seed)
    logits, point_logits = blobs(seed), blobs(seed + 100)
    points = draw.uniform(0, (23, 21, 25), (4, 3))
    labels = draw.integers(0, 2, 4) + (2 if seed % 3 == 0 else 0)
    wanted = vista3d.VISTA3D.connected_components_combine(
        SimpleNamespace(NINF_VALUE=-9999),
        logits.clone()[None, None],
        point_logits[None, None],
        torch.from_numpy(points)[None],
        torch.from_numpy(labels)[None],
        torch.tensor([True]),
    )[0, 0]
    found = merged(logits, point_logits, points.tolist(), labels.tolist())
    assert torch.equal(found, wanted) and not torch.equal(found, logits)


@pytest.mark.parametrize("seed", range(8))
def test_components_without_a_positive_point_go_as_in_monai(seed):
    from monai.transforms.utils import keep_components_with_positive_points

    draw = np.random.default_rng(seed)
    stitched = blobs(seed) - 1
    stitched[:, :, 20:] = torch.nan
    points = draw.uniform(0, (23, 21, 19), (5, 3))
    labels = np.array([0, 1, 1, 1, 1]) if seed else np.zeros(5, int)  # without any positive point everything stays
    wanted = keep_components_with_positive_points(
        stitched.clone()[None, None], torch.from_numpy(points)[None], torch.from_numpy(labels)[None]
    )[0, 0]
    found = kept_with_positive(stitched, points.tolist(), labels.tolist())
    assert torch.equal(torch.isnan(found), torch.isnan(wanted))
    torch.testing.assert_close(torch.nan_to_num(found), torch.nan_to_num(wanted), rtol=1e-4, atol=1e-5)
    assert torch.equal(found > 0, wanted > 0)


@pytest.mark.parametrize("overlap", [0.25, 0.625])
def test_windows_lie_where_monais_lie(overlap):
    from monai.data.utils import compute_importance_map, dense_patch_slices
    from monai.inferers.utils import _get_scan_interval

    for size in range(32, 150, 3):
        step = _get_scan_interval((size,) * 3, (32,) * 3, 3, (overlap,) * 3)
        wanted = dense_patch_slices((size, 32, 32), (32, 32, 32), (step[0], 32, 32))
        assert flush_starts(size, 32, overlap) == [box[0].start for box in wanted]
    weights = compute_importance_map((32, 16, 48), mode="gaussian", sigma_scale=0.125)
    assert torch.equal(centred_gaussian((32, 16, 48)), weights)


@pytest.mark.full
def test_all_117_classes_as_features_are_those_as_logits():
    network = build_network()
    network = filled(network, fill(network.state_dict(), 11), Path("filled"))
    ids = unique(CT.asked("all"))
    volume = Volume.from_array(body((40, 33, 30), 3), affine((1.5, 1.5, 1.5), (0, 1, 2), (1, 1, 1)))
    found = {}
    for variant in ("engine", "official"):
        options = Options(variant=variant, patch="32x32x32")
        walk = class_pass("v", network, ids, VISTA3D, options)
        assert (walk.table is None) == (variant == "official") and walk.classes == 117
        program = label_slabs(prepare_scan(volume, CPU, VISTA3D, options), walk)
        found[variant] = run_program(program, partial(open_unit, backend="torch", device=CPU))
    assert len(found["official"].unique()) > 5
    assert (found["engine"] != found["official"]).float().mean() <= 1e-4
