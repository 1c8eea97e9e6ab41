"""Prompts kept sparsely against the official way: whole float16 volumes, cropped, pooled and resized."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nninteractive_common import CPU
from scipy.ndimage import distance_transform_edt
from torch.nn.functional import interpolate, max_pool3d

from umd_engine.models.mask import Mask
from umd_engine.models.nninteractive.channels import Channels, ball
from umd_engine.models.nninteractive.coarse import Crop, changes_at_border, network_input, seen_before
from umd_engine.models.nninteractive.folder import Settings
from umd_engine.models.nninteractive.pooling import block_means, dilated, nearest_indices, nearest_odd, opened
from umd_engine.models.nninteractive.region import Region, cut, placed

PATCH = (12, 9, 10)
SHAPE = (26, 19, 22)
PAIRS = {"box": (1, 2), "lasso": (1, 2), "point": (3, 4), "scribble": (5, 6)}


class Dense:
    """The official channels: seven float16 volumes of the scan's shape."""

    def __init__(self, decay, radius):
        self.volumes = torch.zeros((7, *SHAPE), dtype=torch.float16)
        self.decay, self.radius, self.intensity = decay, radius, 1.0

    def add(self, kind, positive, low, high, voxels=None):
        self.intensity /= self.decay
        if self.intensity > 65504:
            scale = 6550.4 / self.intensity
            self.volumes[1:] *= scale
            self.intensity = 6550.4
        view = self.volumes[PAIRS[kind][0 if positive else 1]]
        if kind == "point":
            self._point(view, low)
            return
        view = view[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
        if kind == "box":
            view[:] = self.intensity
        else:
            new = voxels.numpy().astype(np.float16) * np.float16(self.intensity)
            view[:] = torch.maximum(view, torch.from_numpy(new))

    def _point(self, view, center):
        for at in np.ndindex((2 * self.radius + 1,) * 3):
            voxel = tuple(c + a - self.radius for c, a in zip(center, at, strict=True))
            if all(0 <= v < n for v, n in zip(voxel, SHAPE, strict=True)):
                new = torch.tensor(BALLS[self.radius][at] * self.intensity, dtype=torch.float16)
                view[voxel] = torch.maximum(view[voxel], new)

    def shown(self, image, crop):
        """float32 [8, *patch]."""
        size = tuple(round(n * crop.zoom) for n in crop.patch)
        low = [c - n // 2 for c, n in zip(crop.center, size, strict=True)]
        channels = torch.zeros((7, *size), dtype=torch.float16)
        seen = torch.zeros((1, *size))
        for axis_low, voxels, out in ((low, self.volumes, channels), (low, image[None], seen)):
            there = [(max(0, lo), min(n, lo + m)) for lo, n, m in zip(axis_low, SHAPE, size, strict=True)]
            here = tuple(slice(a - lo, b - lo) for (a, b), lo in zip(there, low, strict=True))
            out[(slice(None), *here)] = voxels[(slice(None), *(slice(a, b) for a, b in there))]
        if size != crop.patch:
            window = nearest_odd(2 * crop.zoom - 1)
            for channel in (3, 4, 5, 6):
                pooled = max_pool3d(channels[channel][None].float(), window, 1, window // 2)[0]
                channels[channel] = pooled.half()
            channels = torch.cat([interpolate(c[None, None], crop.patch, mode="area")[0] for c in channels])
            seen = interpolate(seen[None], crop.patch, mode="trilinear")[0]
        channels[1:] /= self.intensity
        return torch.cat([seen, channels.float()])


def plain_ball(radius):
    at = np.stack(np.meshgrid(*[np.arange(-radius, radius + 1)] * 3, indexing="ij"), -1)
    distance = distance_transform_edt((at**2).sum(-1) <= radius**2)
    return distance / distance.max()


BALLS = {radius: plain_ball(radius) for radius in (1, 2, 3, 4)}


@pytest.mark.parametrize("radius", BALLS)
def test_a_point_is_a_ball_that_fades_to_its_rim(radius):
    assert np.allclose(ball(radius), BALLS[radius], rtol=0, atol=1e-15)


@st.composite
def prompts(draw):
    """(kind, positive, low, high, voxels) in the scan; a point's `low` is its voxel."""
    kind = draw(st.sampled_from(sorted(PAIRS)))
    low = tuple(draw(st.integers(0, n - 1)) for n in SHAPE)
    high = tuple(draw(st.integers(lo + 1, n)) for lo, n in zip(low, SHAPE, strict=True))
    if kind == "box":
        high = (high[0], high[1], low[2] + 1)
    voxels = None
    if kind in ("scribble", "lasso"):
        size = tuple(b - a for a, b in zip(low, high, strict=True))
        voxels = torch.from_numpy(np.random.default_rng(draw(st.integers(0, 99))).integers(0, 2, size, np.uint8))
        voxels[0, 0, 0] = 1
    return kind, draw(st.booleans()), low, high, voxels


crops = st.builds(
    Crop,
    st.tuples(*(st.integers(0, n - 1) for n in SHAPE)),
    st.one_of(st.sampled_from([1, 1.5, 2.25, 3.375, 4]), st.floats(1, 4)),
    st.just(PATCH),
)


def both(decay, radius, asked, dtype):
    sparse = Channels(Settings(decay=decay, radius=radius), SHAPE, dtype, CPU)
    dense = Dense(decay, radius)
    for kind, positive, low, high, voxels in asked:
        dense.add(kind, positive, low, high, voxels)
        if kind == "point":
            sparse.add_point(low, positive)
        elif kind == "box":
            sparse.add_box(Region(low, high), "bbox2d", positive)
        else:
            sparse.add_drawing(low, voxels, kind, positive)
    return sparse, dense


def scan(seed):
    random = np.random.default_rng(seed)
    image = torch.from_numpy(random.normal(size=SHAPE).astype(np.float32))
    return image, Mask.of(torch.from_numpy(random.integers(0, 2, SHAPE).astype(np.uint8)))


@settings(max_examples=80, deadline=None)
@given(st.lists(prompts(), max_size=6), crops, st.sampled_from([0.98, 0.9, 0.5, 1e-3]), st.integers(1, 4))
def test_sparse_channels_are_the_official_volumes(asked, crop, decay, radius):
    sparse, dense = both(decay, radius, asked, torch.float16)
    image, mask = scan(len(asked))
    dense.volumes[0] = mask.full()
    assert sparse.intensity == pytest.approx(dense.intensity, rel=1e-12)
    assert torch.equal(network_input(image, mask, sparse, crop), dense.shown(image, crop))


@settings(max_examples=25, deadline=None)
@given(st.lists(prompts(), max_size=5), crops)
def test_float32_channels_are_those_within_float16(asked, crop):
    sparse, dense = both(0.98, 4, asked, torch.float32)
    image, mask = scan(3)
    dense.volumes[0] = mask.full()
    ours, theirs = network_input(image, mask, sparse, crop), dense.shown(image, crop)
    assert (ours - theirs).abs().max() < 8e-3  # sums of up to 125 voxels, each rounded to 11 bits
    assert torch.equal(ours[0], theirs[0])


def test_only_what_is_written_is_kept():
    channels = Channels(Settings(), (512, 512, 900), torch.float32, CPU)
    channels.add_point((0, 511, 400), True)
    channels.add_box(Region((10, 10, 5), (500, 500, 6)), "bbox2d", False)
    stored = [write.values.numel() for writes in channels.writes.values() for write in writes]
    assert stored == [5 * 5 * 9, 1]
    region, values = channels.render(3, Region((-20, 480, 380), (44, 544, 444)))
    assert region == Region((0, 507, 396), (5, 512, 405)) and values.max() == pytest.approx(1 / 0.98)
    assert channels.render(4, Region((0, 0, 0), (512, 512, 900))) is None
    assert channels.render(3, Region((100, 100, 100), (200, 200, 200))) is None


def test_one_channel_of_far_prompts_widens_each_alone():
    channels = Channels(Settings(), (90, 40, 40), torch.float32, CPU)
    for voxel in ((2, 5, 5), (86, 30, 35)):
        channels.add_point(voxel, True)
    whole = Region((0, 0, 0), (90, 40, 40))
    (at, plain), (wide_at, wide) = channels.render(3, whole), channels.render(3, whole, 3)
    assert torch.equal(placed(wide, wide_at, whole), dilated(placed(plain, at, whole), 3))


@pytest.mark.parametrize(
    ("number", "odd"), [(1, 1), (1.2, 1), (2, 3), (2.5, 3), (3.5, 3), (4.75, 5), (5.75, 5), (7, 7)]
)
def test_windows_are_rounded_to_odd_widths(number, odd):
    assert nearest_odd(number) == odd


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(1, 9)] * 3), st.integers(0, 4), st.integers(0, 2**31))
def test_maxima_over_windows(shape, radius, seed):
    values = torch.from_numpy(np.random.default_rng(seed).random(shape).astype(np.float32))
    wanted = max_pool3d(values[None, None], 2 * radius + 1, 1, radius)[0, 0]
    assert torch.equal(dilated(values, radius), wanted)
    mask = (values > 0.3).to(torch.uint8)
    eroded = -max_pool3d(-mask[None].float(), 2 * radius + 1, 1, radius)
    assert torch.equal(opened(mask, radius), max_pool3d(eroded, 2 * radius + 1, 1, radius)[0].to(torch.uint8))


@settings(max_examples=60, deadline=None)
@given(st.tuples(*[st.integers(4, 16)] * 3), st.floats(1, 4), st.integers(0, 2**31))
def test_means_of_blocks_are_the_area_resize(patch, zoom, seed):
    size = tuple(round(n * zoom) for n in patch)
    random = np.random.default_rng(seed)
    low = tuple(int(random.integers(0, n)) for n in size)
    high = tuple(int(random.integers(lo + 1, n + 1)) for lo, n in zip(low, size, strict=True))
    at, frame = Region(low, high), Region((0, 0, 0), size)
    mask = torch.from_numpy(random.integers(0, 2, at.size).astype(np.uint8))
    for values in (mask, torch.from_numpy(random.random(at.size).astype(np.float32))):
        whole = placed(values, at, frame)[None, None]
        wanted = interpolate(whole.float(), patch, mode="area")[0, 0]
        assert torch.allclose(block_means(values, at, size, patch, torch.float32), wanted, rtol=0, atol=1e-6)
        halves = interpolate(whole.half(), patch, mode="area")[0, 0]
        half = values if values.dtype is torch.uint8 else values.half()
        assert torch.equal(block_means(half, at, size, patch, torch.float16), halves)


@pytest.mark.parametrize("zoom", [1.5, 1.7, 2.25, 4])
def test_nearest_voxels_are_torchs(zoom):
    _, mask = scan(1)
    crop = Crop((20, 3, 11), zoom, PATCH)
    whole = cut(mask.full(), crop.region)
    wanted = interpolate(whole[None, None].float(), PATCH, mode="nearest")[0, 0]
    assert torch.equal(seen_before(mask, crop).float(), wanted)
    assert len(nearest_indices(math.ceil(9 * zoom), 9, CPU)) == 9


def test_an_empty_mask_was_seen_as_nothing():
    crop = Crop((4, 4, 4), 2, PATCH)
    assert not seen_before(Mask.empty(SHAPE), crop).any()


@pytest.mark.parametrize(
    ("before", "now", "looks_further"),
    [((0, 0), (40, 40), True), ((0, 0), (38, 39), True), ((0, 0), (10, 10), False), ((0, 0), (10, 11), True),
     ((30, 30), (30, 31), False), ((30, 30), (30, 37), True), ((30, 36), (30, 30), False)],
)  # fmt: skip
def test_a_face_that_changed_asks_for_more(before, now, looks_further):
    """More than 1500 voxels; or more than 100, and the area by more than a fifth."""
    old, new = torch.zeros((2, 50, 50, 50), dtype=torch.uint8)
    old[: before[0], : before[1], 0] = 1
    new[: now[0], : now[1], 0] = 1
    for axes in ((0, 1, 2), (2, 0, 1), (1, 2, 0)):
        turned = [face.permute(*axes) for face in (new, old)]
        assert changes_at_border(*turned) is looks_further
        assert changes_at_border(*(face.flip(0, 1, 2) for face in turned)) is looks_further
    assert not changes_at_border(new.roll(5, 2), old.roll(5, 2)), "inside, not on a face"
