"""The refinement planner against the same rules written plainly, voxel by voxel; its boxes and their order."""

import numpy as np
import pytest
import torch
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from nninteractive_common import CPU

from umd_engine.models.mask import Mask
from umd_engine.models.nninteractive.coarse import Crop
from umd_engine.models.nninteractive.draws import keyed, name_of, numpys_stream
from umd_engine.models.nninteractive.planner import cover
from umd_engine.models.nninteractive.refine import canvas_of, levels, pasted, plan
from umd_engine.models.nninteractive.region import Region, hull, tight

PATCH = (58, 65, 72)  # inner parts of 10, 17 and 24 voxels
MARGIN = 24


def plainly(mask, draw, depth=0, strides=None):
    """The official planner's rules; [low] of the boxes."""
    mask = mask.copy()
    if not mask.any():
        return []
    if depth > 3:
        return at_random(mask, draw, 25)
    ends = [(at.min(), at.max()) for at in np.nonzero(mask)]
    strides = strides or [max(1, round((high - low) / 4)) for low, high in ends]
    lattice = [range(low, high + 1, stride) for (low, high), stride in zip(ends, strides, strict=True)]
    centers = [(x, y, z) for x in lattice[0] for y in lattice[1] for z in lattice[2] if mask[x, y, z]]
    if not centers:
        return plainly(mask, draw, depth + 1, [max(1, stride // 2) for stride in strides])
    boxes = []
    while centers and mask.any():
        gains = [mask[inner(center, mask.shape)].sum() for center in centers]
        best = centers[int(np.argmax(gains))]
        if max(gains) == 0:
            break
        boxes.append(best)
        mask[inner(best, mask.shape)] = 0
        centers = [center for center in centers if mask[center]]
    return [tuple(c - p // 2 for c, p in zip(box, PATCH, strict=True)) for box in boxes] + at_random(mask, draw, 10)


def at_random(mask, draw, draws):
    boxes = []
    while mask.any():
        voxels = np.argwhere(mask)
        centers = [tuple(voxels[draw(len(voxels))]) for _ in range(draws)]
        best = centers[int(np.argmax([mask[inner(center, mask.shape)].sum() for center in centers]))]
        mask[inner(best, mask.shape)] = 0
        boxes.append(tuple(int(c) - p // 2 for c, p in zip(best, PATCH, strict=True)))
    return boxes


def inner(center, shape):
    low = [c - p // 2 + MARGIN for c, p in zip(center, PATCH, strict=True)]
    return tuple(slice(max(0, lo), min(n, lo + p - 2 * MARGIN)) for lo, p, n in zip(low, PATCH, shape, strict=True))


def counting(seed):
    stream, asked = numpys_stream(seed)(0), []

    def draw(count):
        asked.append(count)
        return stream(count)

    return draw, asked


@st.composite
def masks(draw):
    """A few boxes and a few single voxels."""
    shape = draw(st.tuples(*[st.integers(3, 40)] * 3))
    mask = np.zeros(shape, np.uint8)
    random = np.random.default_rng(draw(st.integers(0, 2**31)))
    for _ in range(draw(st.integers(0, 3))):
        low = [int(random.integers(0, n)) for n in shape]
        mask[tuple(slice(lo, lo + int(random.integers(1, 20))) for lo in low)] = 1
    for _ in range(draw(st.integers(0, 4))):
        mask[tuple(int(random.integers(0, n)) for n in shape)] = 1
    return mask


@settings(max_examples=80, deadline=None)
@given(masks(), st.integers(0, 99))
def test_boxes_are_the_official_ones(mask, seed):
    (ours, asked), (theirs, wanted) = counting(seed), counting(seed)
    boxes = cover(torch.from_numpy(mask), PATCH, ours)
    assert [box.low for box in boxes] == plainly(mask, theirs)
    assert asked == wanted, "the same draws from the same numbers of voxels"
    assert all(box.size == PATCH for box in boxes)


@settings(max_examples=40, deadline=None)
@given(masks(), st.integers(0, 99))
def test_every_changed_voxel_lies_well_within_a_box(mask, seed):
    left = torch.from_numpy(mask).clone()
    whole = Region((0, 0, 0), mask.shape)
    for box in cover(left.clone(), PATCH, numpys_stream(seed)(0)):
        left[box.grown(-MARGIN).overlap(whole).seen_from(whole)] = 0
    assert not left.any()


def test_a_mask_between_all_lattices_is_drawn_at_random():
    """Strides of 25, 12, 6 and 3 voxels meet none of its voxels: 25 draws a box, none from a lattice."""
    mask = np.zeros((100, 100, 100), np.uint8)
    for voxel in ((0, 1, 1), (99, 2, 2), (1, 0, 1), (2, 99, 4), (1, 1, 0), (4, 4, 99)):
        mask[voxel] = 1
    (draw, asked), (other, wanted) = counting(5), counting(5)
    boxes = cover(torch.from_numpy(mask), PATCH, draw)
    assert [box.low for box in boxes] == plainly(mask, other) and asked == wanted
    assert asked[0] == 6 and len(asked) == 25 * len(boxes) and len(boxes) > 1


def test_nothing_changed_is_no_box():
    assert cover(torch.zeros((9, 9, 9), dtype=torch.uint8), PATCH, numpys_stream(0)(0)) == []


def test_one_voxel_is_one_box_around_it():
    mask = torch.zeros((9, 9, 9), dtype=torch.uint8)
    mask[8, 0, 4] = 1
    assert cover(mask, PATCH, numpys_stream(0)(0)) == [Region.around((8, 0, 4), PATCH)]


boxes_ = st.lists(
    st.tuples(*[st.integers(-20, 60)] * 3).map(lambda low: Region(low, tuple(lo + 16 for lo in low))),
    min_size=1,
    max_size=12,
)


@settings(max_examples=100, deadline=None)
@given(boxes_)
def test_boxes_that_share_a_batch_do_not_meet_and_none_overtakes_one_that_it_meets(boxes):
    found = levels(boxes, apart=False)
    level_of = {}
    for number, level in enumerate(found):
        assert not any(a.meets(b) for i, a in enumerate(level) for b in level[:i])
        level_of.update({id(box): number for box in level})
    assert sorted(level_of) == sorted(id(box) for box in boxes)
    for place, box in enumerate(boxes):
        assert all(level_of[id(b)] < level_of[id(box)] for b in boxes[:place] if b.meets(box))
    assert levels(boxes, apart=True) == [[box] for box in boxes]


def mask_of(shape, low, high):
    voxels = torch.zeros(shape, dtype=torch.uint8)
    voxels[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    return Mask.of(voxels)


def test_thin_changes_are_not_looked_at_again():
    """Opened with 5^3: a sheet of four voxels is gone, one of five is not; at the border it need not be as thick."""
    shape = (90, 90, 90)
    crop, none = Crop((45, 45, 45), 1.5, PATCH), Mask.empty(shape)
    size = crop.region.size
    last = Region.around((45, 45, 45), PATCH)
    for thick, start, looks in ((4, 40, False), (5, 40, True), (3, 0, True), (2, 0, False)):
        coarse = torch.zeros(size, dtype=torch.uint8)
        first = start - crop.region.low[0] if start else max(0, -crop.region.low[0])
        coarse[first : first + thick, 30:60, 30:60] = 1
        boxes = plan(coarse, crop, none, False, last, numpys_stream(0)(0))
        assert (boxes != [last]) is looks, (thick, start)


def test_the_whole_mask_is_looked_at_again_where_it_is_asked_for():
    shape = (150, 70, 70)
    held = mask_of(shape, (5, 20, 20), (140, 40, 45))
    crop = Crop((30, 30, 30), 1.2, PATCH)
    coarse = held.crop(crop.region.low, crop.region.high)  # the same: nothing changed
    last = Region.around((30, 30, 30), PATCH)
    assert plan(coarse, crop, held, False, last, numpys_stream(0)(0)) == [last]
    boxes = plan(coarse, crop, held, True, last, numpys_stream(0)(0))
    covered = torch.zeros(shape, dtype=torch.uint8)
    whole = Region((0, 0, 0), shape)
    for box in boxes:
        covered[box.grown(-MARGIN).overlap(whole).seen_from(whole)] = 1
    assert (covered | (1 - held.full())).all()


@settings(max_examples=60, deadline=None)
@given(boxes_, st.integers(0, 2**31))
def test_the_canvas_and_what_is_pasted(boxes, seed):
    """Against whole volumes: the first pass only within the scan, the result only within the boxes."""
    shape, random = (50, 40, 45), np.random.default_rng(seed)
    crop = Crop((3, 38, 22), 1.5, (16, 16, 16))
    held = random.integers(0, 2, shape).astype(np.uint8)
    coarse = random.integers(0, 2, crop.region.size).astype(np.uint8)
    assume(any(not box.within(shape).empty for box in boxes))
    canvas = canvas_of(boxes, torch.from_numpy(coarse), crop, Mask.of(torch.from_numpy(held)))
    whole = held.copy()
    seen = crop.region.within(shape)
    scan = Region((0, 0, 0), shape)
    whole[seen.seen_from(scan)] = coarse[seen.seen_from(crop.region)]
    frame = hull(boxes)
    assert torch.equal(canvas.voxels, Mask.of(torch.from_numpy(whole)).crop(frame.low, frame.high))
    result = random.integers(0, 2, frame.size).astype(np.uint8)
    wanted = held.copy()
    for box in boxes:
        inside = box.within(shape)
        if not inside.empty:
            wanted[inside.seen_from(scan)] = result[inside.seen_from(frame)]
    found = pasted(Mask.of(torch.from_numpy(held)), boxes, torch.from_numpy(result), frame)
    assert np.array_equal(found.full().numpy(), wanted)
    assert found.voxels.shape == Mask.of(torch.from_numpy(wanted)).voxels.shape


@example(np.zeros((4, 5, 6), np.uint8))
@given(masks())
@settings(max_examples=40, deadline=None)
def test_a_mask_in_a_wide_box_is_the_same_in_its_tight_one(voxels):
    shape = tuple(n + 7 for n in voxels.shape)
    wide = Mask(torch.from_numpy(voxels), (3, 0, 7), shape)
    found = tight(wide)
    assert torch.equal(found.full(), wide.full())
    assert found.voxels.shape == Mask.of(wide.full()).voxels.shape


def test_numpys_stream_runs_on():
    draws = numpys_stream(7)
    found = [draws(0)(1000), draws(0)(1000), draws(1)(10)]
    np.random.seed(7)
    assert found == [np.random.choice(1000), np.random.choice(1000), np.random.choice(10)]


def test_philox_depends_on_seed_scan_organ_and_prediction_alone():
    def some(*key, prediction=0):
        draw = keyed(*key)(prediction)
        return [draw(10**6) for _ in range(4)]

    first = some(0, "scan", "liver")
    assert first == some(0, "scan", "liver")
    others = [some(1, "scan", "liver"), some(0, "scan2", "liver"), some(0, "scan", "spleen")]
    others.append(some(0, "scan", "liver", prediction=1))
    assert all(first != other for other in others)
    assert all(0 <= keyed(0, "s", "o")(0)(n) < n for n in (1, 2, 7))


@pytest.mark.parametrize("shape", [(3, 4, 5), (90, 80, 70)])
def test_a_scan_is_named_by_its_voxels(shape):
    image = torch.from_numpy(np.random.default_rng(0).normal(size=shape).astype(np.float32)).to(CPU)
    name = name_of(image)
    assert name == name_of(image.clone()) != name_of(image + 1)
    assert name != name_of(image.reshape(shape[1], shape[0], shape[2]))
