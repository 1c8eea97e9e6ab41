"""SAT's windows and slabs against the whole grid at once."""

import numpy as np
import pytest
import torch
from sat_common import CPU, SMALL, Asking, Looking, in_file_order, turned
from torch.nn import functional as F

from umd_engine.data.volume import Volume
from umd_engine.models.prompts import Prompt
from umd_engine.models.sat.network import PATCH
from umd_engine.models.sat.prepare import prepare_scan
from umd_engine.models.sat.windows import Slabs, window, window_grid, window_starts, window_weights


@pytest.mark.parametrize(
    ("size", "starts"),
    [
        (100, [0]), (288, [0]), (289, [0, 1]), (300, [0, 12]), (432, [0, 144]), (433, [0, 144, 145]),
        (576, [0, 144, 288]), (1, [0]),
    ],
)  # fmt: skip
def test_starts(size, starts):
    """n = max(ceil(L / 144) - 1, 1), the last moved back."""
    assert window_starts(size, 288) == starts


@pytest.mark.parametrize("patch", SMALL)
def test_every_voxel_is_seen(patch):
    for size in range(1, 5 * patch):
        starts = window_starts(size, patch)
        assert all(0 <= s <= max(size - patch, 0) for s in starts) and starts == sorted(set(starts))
        seen = {x for s in starts for x in range(s, s + patch)}
        assert seen >= set(range(size))


def test_weights_are_a_gaussian_in_float16():
    from scipy.ndimage import gaussian_filter

    impulse = np.zeros(SMALL)
    impulse[tuple(n // 2 for n in SMALL)] = 1
    wanted = gaussian_filter(impulse, [n / 8 for n in SMALL], mode="constant")
    wanted = (wanted / wanted.max() * 10).astype(np.float16)
    wanted[wanted == 0] = wanted[wanted > 0].min()
    found = window_weights(SMALL)
    assert found.dtype is torch.float32 and found.max() == 10 and found.min() > 0
    assert np.abs(found.numpy() - wanted.astype(np.float32)).max() <= 0.008  # a step of float16 below 10
    assert window_weights().shape == PATCH and window_weights().min() > 0


def test_a_window_is_padded_at_its_end_only():
    image = torch.arange(1.0, 1 + 5 * 40 * 3).view(5, 40, 3)
    piece = window(image, (0, 8, 0), SMALL)
    assert piece.shape == (1, *SMALL) and torch.equal(piece[0, :5, :32, :3], image[:, 8:])
    assert not piece[0, 5:].any() and not piece[0, :, :, 3:].any()


SIZES = [(40, 47, 61), (32, 32, 16), (20, 70, 17), (33, 10, 9), (50, 31, 40)]


@pytest.mark.parametrize("size", SIZES)
def test_slabs_have_the_bits_of_the_whole_grid(size):
    generator = torch.Generator().manual_seed(0)
    weights = window_weights(SMALL)
    starts = window_grid(size, SMALL)
    outputs = [torch.rand((3, *SMALL), generator=generator) for _ in starts]
    sums, total = torch.zeros((3, *size)), torch.zeros(size)
    for (x, y, z), output in zip(starts, outputs, strict=True):
        box = [slice(s, s + p) for s, p in zip((x, y, z), SMALL, strict=True)]
        own = tuple(slice(0, min(p, n)) for p, n in zip(SMALL, size, strict=True))
        sums[(slice(None), *box)] += output[(slice(None), *own)] * weights[own]
        total[tuple(box)] += weights[own]
    pieces, divisors, firsts = [], [], []

    def done(first, values, divisor):
        firsts.append(first)
        pieces.append(values.clone())
        divisors.append(divisor.clone())

    slabs = Slabs(3, size, weights, weights, done)
    for start, output in zip(starts, outputs, strict=True):
        slabs.add(start, output)
    slabs.finish()
    assert firsts == sorted({z for _, _, z in starts})
    assert torch.equal(torch.cat(divisors, 2), total)
    # a fused product and sum may round once instead of twice
    assert torch.allclose(torch.cat(pieces, 3), sums, rtol=1e-6, atol=0)
    # the formula of docs/models/sat.md
    assert slabs.nbytes == 4 * (3 + 1) * size[0] * size[1] * min(size[2], SMALL[2])


class Smooth(torch.nn.Module):
    """Logits that vary from voxel to voxel and depend on a query."""

    def forward(self, image, queries):
        blurred = F.avg_pool3d(image, 3, 1, 1)
        return blurred * queries[:, :, 0, None, None, None] - queries[:, :, 1, None, None, None]


def embed(organ):
    query = torch.zeros(768)
    query[0], query[1] = {"liver": (3.0, 0.2), "spleen": (-2.0, -0.1)}[organ]
    return query


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 3.0), (1.3, 0.9, 2.2), (0.9, 2.0, 5.0)])
def test_masks_are_those_of_the_whole_grid_at_once(spacing, official):
    """Means of the whole cut, then SciPy onto the scan: slabs and their seams change nothing."""
    random = np.random.Generator(np.random.Philox(2))
    image = random.normal(100, 90, (40, 46, 61)).astype(np.float32)
    image[:, :2] = -900
    volume = Volume.from_array(image, turned((0, 1, 2), (False, True, True), spacing, True))
    case = prepare_scan(volume, CPU, "ct", official)
    looking = Looking(Smooth(), embed, official)
    asked = [Asking(organ, [Prompt(text=organ)]) for organ in ("liver", "spleen")]
    found = looking.run(case, asked)
    for source, mask in zip(asked, found, strict=True):
        mean = mean_of(case, embed(source.organ), official)
        wanted, tie = onto_the_scan(case.frame, mean, official)
        wrong = (mask.full().numpy() != wanted) & ~tie
        assert 0.05 < wanted.mean() < 0.95 and tie.mean() < 0.01 and not wrong.any(), int(wrong.sum())
        assert in_file_order(volume, mask).shape == image.shape


def mean_of(case, query, official):
    weights, size = window_weights(SMALL), case.frame.size
    sums, total = torch.zeros(size, dtype=torch.float64), torch.zeros(size, dtype=torch.float64)
    for start in window_grid(size, SMALL):
        logits = Smooth()(window(case.image, start, SMALL)[None], query[None, None])[0, 0]
        chances = torch.sigmoid(logits)
        weighted = chances.half() * weights.half() if official else chances.double() * weights
        own = tuple(slice(0, min(p, n)) for p, n in zip(SMALL, size, strict=True))
        box = tuple(slice(s, s + p) for s, p in zip(start, SMALL, strict=True))
        sums[box] += weighted[own]
        total[box] += weights[own]
    return sums / total


def onto_the_scan(frame, mean, official):
    """The mask, and which voxels lie within rounding of its border."""
    from scipy.ndimage import map_coordinates

    lines = [np.arange(n) * step - low for n, step, low in zip(frame.grid.shape, frame.steps, frame.low, strict=True)]
    inside = np.ix_(*((line >= -0.5) & (line < n - 0.5) for line, n in zip(lines, frame.size, strict=True)))
    places = np.stack(np.meshgrid(*lines, indexing="ij"))
    if official:
        at = [np.clip(np.floor(p + 0.5).astype(int), 0, n - 1) for p, n in zip(places, frame.size, strict=True)]
        values = mean.numpy()[tuple(at)]
    else:
        values = map_coordinates(mean.numpy(), places, order=1, mode="nearest")
    within = np.zeros(frame.grid.shape, bool)
    within[inside] = True
    return (values > 0.5) & within, np.abs(values - 0.5) < 1e-5
