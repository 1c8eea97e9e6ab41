"""SAT's protocol with a network that returns what it sees, on grids of any orientation."""

import numpy as np
import pytest
import torch
from sat_common import CPU, LEVELS, SMALL, Asking, Looking, dice, in_file_order, scene, seeing, turned

from umd_engine.data.volume import Volume
from umd_engine.errors import ModelError, PromptError, UmdEngineError, UnknownNameError, VoxelError
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import Click, Prompt
from umd_engine.models.quantile import quantile
from umd_engine.models.sat.frame import SPACING, lattice_shape
from umd_engine.models.sat.prepare import normalise, prepare_scan

ORIENTATIONS = [
    ((0, 1, 2), (False, False, False)), ((0, 1, 2), (True, True, False)), ((1, 0, 2), (False, True, True)),
    ((2, 0, 1), (True, False, False)), ((1, 2, 0), (False, False, True)), ((2, 1, 0), (True, True, True)),
]  # fmt: skip


def prepared(volume, official=False, modality="ct"):
    return prepare_scan(volume, CPU, modality, official)


def sources(*organs):
    return [Asking(organ, [Prompt(text=organ)]) for organ in organs or LEVELS]


def segmented(volume, official=False, batch_size=2):
    case = prepared(volume, official)
    looking = seeing(case, official)
    asked = sources()
    masks = looking.run(case, asked, batch_size)
    for source, mask in zip(asked, masks, strict=True):
        if isinstance(mask, UmdEngineError):
            raise mask
        assert source.masks == [mask] and mask.shape == volume.grid.shape  # shown once, then no more was asked
    assert list(looking.units) == [len(LEVELS)]  # one pass for all
    return {source.organ: in_file_order(volume, mask) for source, mask in zip(asked, masks, strict=True)}


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_the_labels_come_back_where_the_grids_meet(axes, flips, oblique, official):
    """2 x 3 x 6 mm along X, Y, Z: every voxel of the scan is one of the lattice, through several windows."""
    spacing = [(2.0, 3.0, 6.0)[world] for world in axes]
    volume, organs = scene(affine=turned(axes, flips, spacing, oblique))
    for organ, found in segmented(volume, official).items():
        # the foreground above 0 leaves nothing out of these organs, and they overlap in "everything"
        assert (found == organs[organ]).all(), (organ, int((found != organs[organ]).sum()))


@pytest.mark.parametrize(("official", "least"), [(False, 0.97), (True, 0.93)])
@pytest.mark.parametrize("spacing", [(0.8, 1.3, 2.1), (1.7, 0.9, 5.0)])
def test_elsewhere_resampling_is_the_limit(spacing, official, least):
    """One organ, found by what is nearer to its value than to the body's."""
    volume, organs = scene(affine=turned((1, 0, 2), (True, False, True), spacing, True))
    kidney = organs["left kidney"]
    image = np.where(organs["everything"], 40.0, -1000.0) + 560.0 * kidney
    volume = Volume.from_array(image.astype(np.float32), volume.grid.file_affine)
    case = prepared(volume, official)
    looking = seeing(case, official)
    plain = looking.pieces.embed

    def embed(organ):
        body, own = plain("everything"), plain(organ)
        body[0] += (own[0] - body[0]) * 320 / 600  # 320 HU, midway
        return body

    (mask,) = Looking(looking.module, embed, official).run(case, sources("left kidney"))
    score = dice(in_file_order(volume, mask), kidney)
    print(f"{spacing} official={official}: {score:.3f}")
    assert score > least


def test_a_batch_changes_no_voxel():
    volume, _ = scene()
    by_size = [segmented(volume, batch_size=size) for size in (1, 3)]
    assert all((by_size[0][organ] == by_size[1][organ]).all() for organ in LEVELS)


def test_organs_together_are_as_each_alone():
    volume, _ = scene(affine=turned((0, 1, 2), (False, True, False), (1.2, 0.9, 2.0), False))
    case = prepared(volume)
    together = dict(zip(LEVELS, seeing(case).run(case, sources()), strict=True))
    for organ, mask in together.items():
        (alone,) = seeing(case).run(case, sources(organ))
        assert torch.equal(alone.full(), mask.full())
    overlap = together["everything"].full() & together["spleen"].full()
    assert torch.equal(overlap, together["spleen"].full()) and overlap.any()  # no voxel belongs to one organ alone


class Order:
    """A source that notes when it is asked."""

    label = None

    def __init__(self, organ, log, times=1):
        self.organ, self.log, self.times = organ, log, times

    def next(self, mask, view=None, note=""):
        self.log.append((self.organ, mask is not None))
        self.times -= 1
        return Prompt(text=self.organ) if self.times >= 0 else None


def test_all_organs_are_asked_before_one_pass_and_shown_after_it():
    volume, _ = scene()
    case = prepared(volume)
    log = []
    looking = seeing(case)
    masks = looking.run(case, [Order("liver", log), Order("spleen", log, 2)])
    first = [("liver", False), ("spleen", False), ("liver", True), ("spleen", True), ("spleen", True)]
    assert log == first and list(looking.units) == [2, 1]  # the second question of one organ is a pass of its own
    assert all(isinstance(mask, Mask) and mask.voxels.any() for mask in masks)


def test_an_error_ends_its_organ_alone():
    volume, _ = scene()
    case = prepared(volume)
    looking = seeing(case)
    plain = looking.pieces.embed

    def embed(organ):
        if organ not in LEVELS:
            raise UnknownNameError("organ", organ, LEVELS)
        return plain(organ)

    looking = Looking(looking.module, embed)
    asked = [
        *sources("spleen", "splen"),
        Asking("liver", [Prompt(clicks=(Click((0.0, 0.0, 0.0)),), text="liver")]),
        Asking("liver", [Prompt()]),
        Asking("liver", []),
    ]
    found = looking.run(case, asked)
    assert isinstance(found[0], Mask) and found[0].voxels.any() and list(looking.units) == [1]
    assert isinstance(found[1], UnknownNameError) and "spleen" in str(found[1])
    assert isinstance(found[2], PromptError) and "text alone" in str(found[2])
    assert isinstance(found[3], PromptError) and "nothing was asked" in str(found[3])
    assert isinstance(found[4], Mask) and not found[4].voxels.numel()  # never asked, nothing found
    assert looking.run(case, []) == []


def test_nothing_found_is_an_empty_mask():
    volume, _ = scene()
    case = prepared(volume)

    class Never(torch.nn.Module):
        def forward(self, image, queries):
            return torch.full((*queries.shape[:2], *SMALL), -1.0)

    found = Looking(Never(), lambda organ: torch.zeros(768)).run(case, sources())
    assert all(not mask.voxels.numel() and mask.shape == volume.shape for mask in found)


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_undefined_logits_are_no_empty_mask(value):
    volume, _ = scene()

    class Broken(torch.nn.Module):
        def forward(self, image, queries):
            return torch.full((*queries.shape[:2], *SMALL), value)

    with pytest.raises(ModelError, match="infinite or undefined"):
        Looking(Broken(), lambda organ: torch.zeros(768)).run(prepared(volume), sources())


@pytest.mark.parametrize("affine", [None, turned((2, 0, 1), (True, False, True), (0.7, 2.2, 1.3), True)])
@pytest.mark.parametrize("modality", ["ct", "pet"])
def test_preparation_is_monais(affine, modality):
    """Orientation, Spacing and CropForeground of MONAI, then NumPy: what the description names, by other code."""
    from monai.data import MetaTensor
    from monai.transforms import Compose, CropForeground, Orientation, Spacing

    random = np.random.Generator(np.random.Philox(5))
    image = random.normal(0, 60, (37, 29, 33)).astype(np.float32)
    image[3:-4, 2:-2, 5:-1] += 300
    image[:, :, :5] = -700
    if modality == "pet":
        image = np.abs(image)
        image[:2], image[:, :, :5] = 0, 0
    image[-1] = min(image.min(), 0)
    image[-1, 10] = 0.5  # just above 0: the cut holds it
    affine = np.eye(4) if affine is None else affine
    placed = MetaTensor(torch.from_numpy(image)[None], affine=torch.from_numpy(affine))
    chain = Compose([
        Orientation(axcodes="RAS", labels=(("L", "R"), ("P", "A"), ("I", "S"))), Spacing(SPACING, mode="bilinear"),
    ])  # fmt: skip
    lattice = chain(placed)
    crop = CropForeground(select_fn=lambda x: x > 0, allow_smaller=True)(lattice)[0].numpy().astype(np.float64)
    low, high = (-500, 1000) if modality == "ct" else np.percentile(crop, (0.5, 99.5))
    wanted = np.clip(crop, low, high)
    wanted = (wanted - wanted.mean()) / wanted.std()
    for official in (True, False):
        case = prepared(Volume.from_array(image, affine), official, modality)
        assert lattice_shape(case.frame.grid.shape, case.frame.grid.spacing) == tuple(lattice.shape[1:])
        assert case.frame.size == tuple(wanted.shape) == tuple(case.image.shape)
        error = np.abs(case.image.numpy() - wanted).max() / np.ptp(wanted)
        print(f"{modality} official={official}: {error:.1e} of the range")
        assert error <= (1e-6 if official else 1e-5)


def test_quantiles_are_numpys():
    values = torch.rand((7, 11, 13), generator=torch.Generator().manual_seed(0))
    for share in (0.0, 0.005, 0.3, 0.995, 1.0):
        assert abs(quantile(values, share) - np.quantile(values.numpy(), share)) < 1e-7


def test_scans_that_cannot_be_prepared():
    def image(value, shape=(8, 8, 8)):
        return Volume.from_array(np.full(shape, value, np.float32))

    holed = np.full((8, 8, 8), -1000.0, np.float32)
    with pytest.raises(VoxelError, match="no voxel is above 0"):
        prepared(Volume.from_array(holed))
    holed[3, 3, 3] = np.nan
    with pytest.raises(VoxelError, match="infinite or not numbers"):
        prepared(Volume.from_array(holed))
    with pytest.raises(VoxelError, match="all alike"):
        prepared(image(5.0), modality="mr")
    one = np.full((8, 8, 8), -1000.0, np.float32)
    one[2:5, 2:5, 3] = 4000
    one[3, 3, 3] = 3000
    with pytest.raises(VoxelError, match="all alike"):  # beyond the window everywhere
        normalise(torch.from_numpy(one[2:5, 2:5, 3:4].copy()), "ct", image(1.0))


def test_a_modality_that_the_intensities_contradict_is_refused():
    pet = Volume.from_array(np.random.Generator(np.random.Philox(0)).gamma(1, 3, (9, 9, 9)).astype(np.float32))
    with pytest.raises(VoxelError, match=r"no CT in HU.*modality=mr, pet"):
        prepared(pet)
    ct, _ = scene()
    for modality in ("mr", "us", "pet"):
        assert prepared(pet, modality=modality).image.shape
        with pytest.raises(VoxelError, match="modality=ct"):
            prepared(ct, modality=modality)


def test_the_cut_may_be_smaller_than_a_window():
    image = np.full((20, 18, 12), -1000.0, np.float32)
    image[5:12, 4:9, 3:8] = 600
    image[5:8, 4:9, 3:8] = 300
    image[9, 6, 5] = -800
    volume = Volume.from_array(image, np.diag([1.0, 1.0, 3.0, 1.0]))
    case = prepared(volume)
    assert case.image.shape == (7, 5, 5)
    found = seeing(case).run(case, sources("left kidney", "liver"))
    assert (in_file_order(volume, found[0]) == (image == 600)).all()
    assert (in_file_order(volume, found[1]) == (image == 300)).all()
