"""nnInteractive's protocol with a network that returns the label: grids, organs, prompts, what must be refused."""

import itertools

import numpy as np
import pytest
import torch
from nninteractive_common import (
    CPU,
    PATCH,
    Asking,
    Bright,
    ask,
    box_label,
    counted,
    image_of,
    point,
    run,
    same,
    scene,
    standin,
    stepped,
    turned,
)  # fmt: skip
from torch.nn.functional import interpolate

from umd_engine.data.volume import Volume
from umd_engine.engine.executor import Executor, Job
from umd_engine.errors import ModelError, VoxelError
from umd_engine.models.mask import Mask
from umd_engine.models.nninteractive.protocol import normalize
from umd_engine.models.nninteractive.region import Region
from umd_engine.models.nninteractive.turning import mask_to_file, mask_to_scan
from umd_engine.models.prompts import Box, Prompt
from umd_engine.models.ready import open_unit

LARGE = (80, 84, 88)
ORIENTATIONS = [
    ((0, 1, 2), (False, False, False)), ((0, 1, 2), (True, True, False)), ((1, 0, 2), (False, True, True)),
    ((2, 0, 1), (True, False, False)), ((1, 2, 0), (False, False, True)), ((2, 1, 0), (True, True, True)),
]  # fmt: skip


@pytest.mark.parametrize("angle", [0.0, 0.3])
@pytest.mark.parametrize("variant", ["engine", "official"])
@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_the_label_comes_back(axes, flips, variant, angle):
    label = stepped((70, 62, 50), (20, 15, 12), (51, 44, 30))
    volume, organ = scene(label, turned(axes, flips, angle=angle))
    found, source = ask(volume, point(volume, (25, 20, 15)), model=standin(variant=variant))
    assert same(found, organ)
    assert source.masks[0] is None and source.masks[1] is found


@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS[3:])
def test_an_organ_larger_than_the_patch_comes_back(axes, flips):
    """AutoZoom sees all of it from afar, the patches of the second pass see every voxel of its border."""
    label = stepped((130, 90, 100), (10, 20, 12), (121, 70, 90))
    volume, organ = scene(label, turned(axes, flips))
    model = standin(patch=LARGE)
    found, _ = ask(volume, point(volume, (30, 30, 30)), model=model)
    assert same(found, organ)
    assert model.unit.module.calls > 5


class Everything(Bright):
    def forward(self, patches):
        super().forward(patches)
        return torch.cat([patches[:, :1] * 0, patches[:, :1] * 0 + 1], 1)


def test_autozoom_looks_from_further_away_until_nothing_changes_at_a_face():
    """1, 1.5, 2.25, 3.375 and 4 patches wide; then whole patches, which tell all of the scan."""
    random = np.random.default_rng(0)
    volume = Volume.from_array(random.normal(10, 3, (100, 90, 95)).astype(np.float32))
    model, at = standin(Everything(), LARGE), (60, 50, 40)
    found, _ = ask(volume, point(volume, at), model=model)
    image = model.prepare([volume], CPU).image
    for patch, zoom in zip(model.unit.module.seen, (1, 1.5, 2.25, 3.375, 4), strict=False):
        size = tuple(round(n * zoom) for n in LARGE)
        low = [c - n // 2 for c, n in zip(at, size, strict=True)]
        crop = torch.zeros(size)
        ends = [(max(0, -lo), min(m, n - lo)) for lo, n, m in zip(low, image.shape, size, strict=True)]
        inside = tuple(slice(a + lo, b + lo) for (a, b), lo in zip(ends, low, strict=True))
        crop[tuple(slice(a, b) for a, b in ends)] = image[inside]
        wanted = crop if zoom == 1 else interpolate(crop[None, None], LARGE, mode="trilinear")[0, 0]
        assert torch.equal(patch[0], wanted), zoom
        assert patch[4].max() > 0.3, "a point stays visible"
    refined = model.unit.module.seen[5]
    assert torch.equal(refined[1] == 1, refined[0] != 0), "what the first pass found, within the scan alone"
    assert found.full().all()


def test_without_autozoom_one_patch_is_all():
    label = box_label((130, 90, 100), (10, 20, 12), (121, 70, 90))
    volume, _ = scene(label)
    model = standin(autozoom=False)
    found, _ = ask(volume, point(volume, (60, 45, 50)), model=model)
    assert model.unit.module.calls == 1
    patch = Region.around((60, 45, 50), PATCH)
    wanted = np.zeros(label.shape, bool)
    inside = patch.within(label.shape).seen_from(Region((0, 0, 0), label.shape))
    wanted[inside] = label[inside]
    assert np.array_equal(found.full().numpy().astype(bool), wanted)


def three_organs():
    """A scan with an organ that is brighter towards one end, and prompts of three sources."""
    label = stepped((110, 80, 70), (10, 12, 15), (95, 65, 55))
    image = image_of(label) * np.linspace(0.5, 1.5, 110, dtype=np.float32)[:, None, None]
    volume = Volume.from_array(image, turned((1, 0, 2), (True, False, True)))
    prompts = [
        [point(volume, (20, 20, 20)), point(volume, (80, 60, 20), positive=False)],
        [Prompt(box=Box((5, 10, 30), (60, 90, 31)))],
        [Prompt(box=Box((30, 40, 40), (55, 70, 41)))],
    ]
    return volume, prompts


class Mixing(Bright):
    """What it takes for the organ depends on the prompts that it sees; each item alone."""

    def forward(self, patches):
        image, prompts = patches[:, :1], patches[:, 2:].mean((1, 2, 3, 4), keepdim=True)
        self.calls += len(patches)
        organ = torch.sign(image - (0.2 + (3000 * prompts).clamp(max=1.2)) * image.amax((2, 3, 4), keepdim=True) / 2)
        return torch.cat([-organ, organ], 1)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_organs_side_by_side_are_those_alone(batch_size):
    volume, prompts = three_organs()
    model = standin(Mixing(), LARGE)
    case = model.prepare([volume], CPU)
    organs = ("liver", "spleen", "aorta")
    together = run(model, case, [Asking(p, o) for p, o in zip(prompts, organs, strict=True)], batch_size)
    alone = [run(model, case, [Asking(p, o)], 1)[0] for p, o in zip(prompts, organs, strict=True)]
    assert all(same(a, b) for a, b in zip(together, alone, strict=True))
    assert len({int(mask.full().sum()) for mask in together}) == 3


def test_organs_share_rounds_and_no_call_is_added():
    volume, prompts = three_organs()
    model = standin(Mixing(), LARGE)
    case = model.prepare([volume], CPU)

    def rounds(asked):
        counts = []
        sources = [Asking(p, str(prompts.index(p))) for p in asked]
        executor = Executor(lambda unit: open_unit(unit, "torch", CPU), batch_size=1)
        (outcome,) = executor.run([Job(None, 0, lambda: counted(model.segment(case, sources), counts))])
        assert outcome.error is None and executor.calls == sum(counts)
        return counts

    alone = [rounds([p]) for p in prompts]
    together = rounds(prompts)
    assert sum(together) == sum(map(sum, alone))
    assert len(together) == max(map(len, alone)) < sum(map(len, alone))


def test_the_official_variant_takes_one_organ_after_another():
    volume, prompts = three_organs()
    model = standin(Mixing(), LARGE, variant="official")
    counts = []
    case = model.prepare([volume], CPU)
    program = counted(model.segment(case, [Asking(p) for p in prompts]), counts)
    executor = Executor(lambda unit: open_unit(unit, "torch", CPU), batch_size=4)
    (outcome,) = executor.run([Job(None, 0, lambda: program)])
    assert outcome.error is None and set(counts) == {1}


def test_an_organ_of_one_voxel():
    label = box_label((40, 60, 50), (7, 33, 21), (8, 34, 22))
    volume, organ = scene(label, turned((2, 0, 1), (True, False, False)))
    found, _ = ask(volume, point(volume, (7, 33, 21)))
    assert same(found, organ) and found.voxels.numel() == 1


@pytest.mark.parametrize("shape", [(9, 30, 11), (1, 40, 33), (2, 2, 2)])
def test_a_scan_smaller_than_the_patch(shape):
    low = tuple(n // 3 for n in shape)
    high = tuple(lo + max(1, n // 3) for lo, n in zip(low, shape, strict=True))
    volume, organ = scene(box_label(shape, low, high))
    model = standin()
    found, _ = ask(volume, point(volume, low), model=model)
    assert same(found, organ)
    (patch,) = model.unit.module.seen
    inside = Region((0, 0, 0), shape).seen_from(Region.around(low, PATCH))
    outside = torch.ones(PATCH, dtype=torch.bool)
    outside[inside] = False
    assert not patch[0][outside].any() and (patch[0][inside] != 0).all(), "zeros around the scan"


@pytest.mark.parametrize("official", [False, True])
def test_the_z_score_is_that_of_the_box_that_is_not_zero(official):
    random = np.random.default_rng(0)
    image = np.zeros((30, 25, 20), np.float32)
    image[4:21, 3:22, 5:19] = random.normal(50, 20, (17, 19, 14))
    image[10, 10, 10] = 0
    box = image[4:21, 3:22, 5:19].astype(np.float64)
    found = torch.from_numpy(image.copy())
    normalize(found, official)
    wanted = (image - box.mean()) / box.std(ddof=1)
    assert np.abs(found.numpy() - wanted).max() < 2e-6


@pytest.mark.parametrize("fault", ["constant", "constant with zeros around", "zero", "nan", "inf", "beyond float32"])
def test_scans_that_cannot_be_normalised(fault):
    image = image_of(box_label((12, 13, 14), (3, 3, 3), (8, 8, 8))).astype(np.float64)
    if fault.startswith("constant"):
        image[:] = 7
    if fault == "constant with zeros around":
        image[0], image[:, :, -1] = 0, 0
    if fault == "zero":
        image[:] = 0
    if fault in ("nan", "inf"):
        image[3, 4, 5] = float(fault)
    with np.errstate(over="ignore"):
        if fault == "beyond float32":
            image = np.float64(1e39) * image
        volume = Volume.from_array(image)
    with pytest.raises(VoxelError):
        standin().prepare([volume], CPU)


def test_a_scan_of_one_image():
    volume, _ = scene(box_label((12, 13, 14), (3, 3, 3), (8, 8, 8)))
    with pytest.raises(VoxelError, match="2"):
        standin().prepare([volume, volume], CPU)


def test_logits_that_are_not_finite():
    class Overflow(torch.nn.Module):
        def forward(self, patches):
            return patches[:, :2] / 0

    volume, _ = scene(box_label((20, 20, 20), (3, 3, 3), (8, 8, 8)))
    with pytest.raises(ModelError, match="precision"):
        ask(volume, point(volume, (5, 5, 5)), model=standin(Overflow()))


@pytest.mark.parametrize(("axes", "flips"), itertools.product(itertools.permutations(range(3)), [(0, 0, 1), (1, 1, 0)]))
def test_masks_turn_there_and_back(axes, flips):
    voxels = np.random.default_rng(0).integers(0, 2, (5, 6, 7)).astype(np.uint8)
    volume = Volume.from_array(voxels, turned(axes, flips))
    whole = Mask.of(torch.from_numpy(np.array(volume.voxels, order="C")))
    low, high = (1, 0, 2), tuple(n - 1 for n in volume.shape)
    part = Mask(whole.crop(low, high), low, volume.shape)
    for mask in (whole, part, Mask.empty(volume.shape)):
        file = mask_to_file(mask, volume.grid)
        assert np.array_equal(file.full().numpy(), volume.grid.to_file_order(mask.full().numpy()))
        assert same(mask_to_scan(file, volume.grid), mask)
