"""SAM-Med3D's protocol with networks that stand in for the big one: crops, clicks, cover, bad input, the way back."""

from itertools import count

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates

from umd_engine.data.volume import Volume
from umd_engine.engine.executor import Executor, Job
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import GeometryError, OptionError, PromptError, UmdEngineError, VoxelError
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import Box, Click, Prompt, voxel_of, world_of
from umd_engine.models.ready import open_unit
from umd_engine.models.sam_med3d import crops
from umd_engine.models.sam_med3d.lattice import Lattice
from umd_engine.models.sam_med3d.model import SamMed3D
from umd_engine.models.sam_med3d.network import Network
from umd_engine.models.sam_med3d.options import Options

CPU = torch.device("cpu")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    with torch.device("meta"):
        shapes = {name: tensor.shape for name, tensor in Network().state_dict().items()}
    path = tmp_path_factory.mktemp("sam") / "sam_med3d_turbo.pth"
    torch.save({"model_state_dict": {name: torch.full((), 0.02).expand(shape) for name, shape in shapes.items()}}, path)
    return path


@pytest.fixture(scope="module")
def loaded(checkpoint):
    return SamMed3D("sam", checkpoint, Options())


class Echo:
    """Says that the organ is where the crop is brighter than midway between its extremes."""

    class Encoder(torch.nn.Module):
        def forward(self, image):
            return image

    class Decoder(torch.nn.Module):
        def forward(self, embedding, points, labels, mask):
            low, high = embedding.amin((1, 2, 3, 4), True), embedding.amax((1, 2, 3, 4), True)
            return torch.where(embedding > (low + high) / 2, 8.0, -8.0), points.sum((1, 2))[:, None]

    def __init__(self):
        self.encoder = Unit("encoder", self.Encoder(), (TensorSpec("image", (1, 128, 128, 128)),))
        self.asked = {}

    def decoder(self, clicks):
        return self.asked.setdefault(clicks, Unit(f"decoder.{clicks}", self.Decoder(), ()))


class Return(Echo):
    """Returns the label of the crop, which the source of the prompts tells it under the crop's voxel of a click."""

    told = {}  # noqa: RUF012  (the modules look here)

    class Decoder(torch.nn.Module):
        def forward(self, embedding, points, labels, mask):
            found = [Return.told[tuple(int(i) for i in item[-1])] for item in points]
            return torch.stack(found)[:, None] * 16.0 - 8.0, points.sum((1, 2))[:, None]


class Script:
    """Clicks at voxels of the scan; keeps what it was shown."""

    organ = "organ"

    def __init__(self, steps, label, affine):
        self.steps, self.label, self.affine = list(steps), label, affine
        self.masks, self.views, self.notes = [], [], []

    def tell(self, click):
        if self.views[-1] is not None:
            Return.told[voxel_of(click.world, self.views[-1].affine)] = self.views[-1].label

    def next(self, mask, view=None, note=""):
        self.masks.append(mask)
        self.views.append(None if view is None else view())
        self.notes.append(note)
        if not self.steps:
            return None
        step = self.steps.pop(0)
        if isinstance(step, Prompt):
            return step
        clicks = tuple(Click(world_of(voxel, self.affine)) for voxel in step)
        self.tell(clicks[-1])
        return Prompt(clicks=clicks)


def mask_of(label):
    return None if label is None else Mask.of(torch.from_numpy(np.array(label, order="C")))


def segment(volume, organs, batch_size=4, network=Echo, **options):
    """(results, sources, calls) of organs [(steps, label)] of one scan."""
    model = SamMed3D.__new__(SamMed3D)
    model.name, model.options, model.pieces = "sam", Options(**options), network()
    case = model.prepare([volume], CPU)
    sources = [Script(steps, mask_of(label), volume.affine) for steps, label in organs]
    executor = Executor(lambda unit: open_unit(unit, "torch", CPU), batch_size=batch_size)
    (outcome,) = executor.run([Job(None, 0, lambda: model.segment(case, sources))])
    if outcome.error is not None:
        raise outcome.error
    return outcome.result, sources, executor.calls


def affine(spacing, angles=(0, 0, 0), signs=(1, 1, 1), origin=(-31.5, 12.25, 7)):
    turn = np.eye(3)
    for axis, angle in enumerate(np.deg2rad(angles)):
        one = np.eye(3)
        first, second = [other for other in range(3) if other != axis]
        one[first, first] = one[second, second] = np.cos(angle)
        one[first, second], one[second, first] = -np.sin(angle), np.sin(angle)
        turn = turn @ one
    placed = np.eye(4)
    placed[:3, :3] = turn @ np.diag(signs) * np.array(spacing)
    placed[:3, 3] = origin
    return placed


def bright(label, dtype=np.float32):
    return (100 + 900 * label.astype(np.float64)).astype(dtype)


def ball(shape, centre, radii):
    axes = np.ogrid[tuple(slice(0, n) for n in shape)]
    return (sum(((x - c) / r) ** 2 for x, c, r in zip(axes, centre, radii, strict=True)) <= 1).astype(np.uint8)


def scan(shape, centre, radii, placed, dtype=np.float32):
    """An organ brighter than the rest, in file order, with its label in canonical order."""
    label = ball(shape, centre, radii)
    return Volume.from_array(bright(label, dtype), placed), Volume.from_array(label, placed).voxels


def dice(a, b):
    return 2 * float((a & b).sum()) / float(a.sum() + b.sum())


GRIDS = {  # name: spacing, angles, signs, Dice of the label with itself through 1.5 mm at least
    "native": ((1.5, 1.5, 1.5), (0, 0, 0), (1, 1, 1), 1.0),
    "native_flipped": ((1.5, 1.5, 1.5), (0, 0, 0), (-1, -1, 1), 1.0),
    "native_oblique": ((1.5, 1.5, 1.5), (20, -13, 8), (-1, 1, -1), 1.0),
    "coarse": ((3.5, 4.0, 5.0), (0, 0, 0), (-1, 1, 1), 1.0),
    "coarse_oblique": ((2.6, 2.2, 5.1), (12, 5, -30), (1, -1, 1), 1.0),
    "anisotropic": ((0.9, 0.8, 4.0), (0, 0, 0), (-1, -1, 1), 0.96),
    "anisotropic_oblique": ((0.7, 1.1, 3.3), (-8, 17, 11), (1, -1, -1), 0.96),
    "fine": ((0.6, 0.6, 0.6), (0, 0, 0), (-1, 1, 1), 0.96),
}


@pytest.mark.parametrize("variant", ["engine", "official"])
@pytest.mark.parametrize("name", GRIDS)
def test_the_label_comes_back(name, variant):
    spacing, angles, signs, at_least = GRIDS[name]
    shape = tuple(int(60 / s) for s in spacing)
    placed = affine(spacing, angles, signs)
    volume, label = scan(shape, [0.45 * n for n in shape], [0.3 * n for n in shape], placed)
    click = tuple(int(i) for i in np.argwhere(label)[label.sum() // 2])
    (mask,), (source,), _ = segment(volume, [([[click]], label)], network=Return, variant=variant)
    assert mask.shape == volume.shape
    assert dice(mask.full().numpy(), label) >= at_least
    assert source.masks[1] is mask and source.views[0].label.shape == (128, 128, 128)


@pytest.mark.parametrize(
    ("spacing", "angles", "signs"),
    [
        ((3.5, 4.1, 5.3), (0, 0, 0), (-1, 1, 1)),
        ((0.71, 1.13, 3.37), (-8, 17, 11), (1, -1, -1)),
        ((0.61, 0.67, 0.59), (0, 0, 0), (-1, -1, 1)),
    ],
)
def test_labels_and_masks_are_nearest_in_the_world(spacing, angles, signs):
    """Voxel by voxel through millimetres, without any of the code under test but the lattice's affine.

    Scan and lattice share their centre: with both sizes even or both odd no voxel of one lies between two of the other.
    """
    shape = tuple(next(n for n in count(int(50 / s)) if (n - int(n * s / 1.5)) % 2 == 0) for s in spacing)
    placed = affine(spacing, angles, signs, origin=(3.217, -41.113, 8.9))
    volume, label = scan(shape, [0.4 * n for n in shape], [0.3 * n for n in shape], placed)
    lattice = Lattice.of(volume.grid)

    def nearest(voxels, own, other, shape):
        """The voxels of grid `own` at the centres of grid `other`; 0 outside."""
        at = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1)
        there = np.einsum("ij,xyzj->xyzi", np.linalg.solve(own, other)[:3, :3], at) + np.linalg.solve(own, other)[:3, 3]
        return map_coordinates(voxels, np.moveaxis(there, -1, 0) + 1e-9, order=0, mode="constant")

    found = lattice.label(mask_of(label))
    assert np.array_equal(found.full().numpy(), nearest(label, volume.affine, lattice.affine, lattice.shape))
    begin = crops.centred_on(found)
    crop = (torch.rand((16, 16, 16), generator=torch.Generator().manual_seed(2)) > 0.5).to(torch.uint8)
    crop = crop.repeat_interleave(8, 0).repeat_interleave(8, 1).repeat_interleave(8, 2)
    back = lattice.paste(crop, begin).full().numpy()
    expected = nearest(crop.numpy(), lattice.crop_affine(begin), volume.affine, volume.shape)
    assert np.array_equal(back, expected)


@pytest.mark.parametrize("official", [False, True])
def test_the_image_is_linear_in_the_world(official):
    """Against SciPy through millimetres, in a crop that reaches beyond the scan on some sides and cuts it on others."""
    placed = affine((0.8, 1.3, 2.7), (9, -14, 21), (-1, 1, -1))
    image = np.random.default_rng(0).normal(size=(90, 50, 90)).astype(np.float32)
    volume = Volume.from_array(image, placed)
    lattice = Lattice.of(volume.grid)
    begin = (-40, 3, 20)
    file_order = torch.from_numpy(np.array(volume.grid.to_file_order(volume.voxels), order="K"))
    found = crops.image_crop(file_order, lattice, begin, official).numpy()
    at = np.stack(np.meshgrid(*[np.arange(128)] * 3, indexing="ij"), axis=-1) @ np.eye(3)
    to_scan = np.linalg.solve(volume.affine, lattice.crop_affine(begin))
    there = np.moveaxis(at @ to_scan[:3, :3].T + to_scan[:3, 3], -1, 0)
    expected = map_coordinates(volume.voxels.astype(np.float64), there, order=1, mode="nearest")
    outside = [(at[..., i] + begin[i] < 0) | (at[..., i] + begin[i] >= lattice.shape[i]) for i in range(3)]
    expected[np.any(outside, axis=0)] = 0
    assert np.abs(found - expected).max() < 1e-5
    assert (expected != 0).any() and (expected == 0).any()


def three_organs():
    shape, placed = (60, 50, 40), affine((1.5, 1.5, 3.0), signs=(-1, -1, 1))
    labels = [ball(shape, centre, (9, 8, 6)) for centre in ((15, 20, 12), (40, 25, 20), (30, 35, 30))]
    image = 100 + sum(300.0 * (i + 1) * label for i, label in enumerate(labels))
    volume = Volume.from_array(image.astype(np.int16), placed)
    turned = [Volume.from_array(label, placed).voxels for label in labels]
    return volume, [([[tuple(int(i) for i in np.argwhere(label)[7])]], label) for label in turned]


def test_organs_share_batches_and_nothing_else():
    volume, organs = three_organs()
    together, _, calls = segment(volume, organs, batch_size=4)
    assert calls == 2, "one encoder call and one decoder call for three organs"
    alone = [segment(volume, [organ])[0][0] for organ in organs]
    assert all(torch.equal(a.full(), b.full()) for a, b in zip(together, alone, strict=True))
    _, _, calls = segment(volume, organs, batch_size=4, variant="official")
    assert calls == 6, "one after the other"


def test_an_error_ends_its_organ_alone():
    volume, organs = three_organs()
    organs[1] = ([[(0, 0, 0)], [(700, 0, 0)]], organs[1][1])
    results, _, _ = segment(volume, organs)
    assert isinstance(results[1], PromptError) and "outside the scan" in str(results[1])
    assert isinstance(results[0], Mask) and isinstance(results[2], Mask)


def test_every_step_is_shown_with_clicks_of_any_number():
    volume, ((_, label), *_) = three_organs()
    voxels = [tuple(int(i) for i in v) for v in np.argwhere(label)[[3, 50, 99, 200]]]
    steps = [[voxels[0]], voxels[1:3], [voxels[3]]]
    (mask,), (source,), _ = segment(volume, [(steps, label)])
    assert source.masks[0] is None and source.masks[3] is mask and len(source.masks) == 4
    assert source.views[0].prediction.sum() == 0 and source.views[1].prediction.sum() > 0


def long_organ():
    """200 lattice voxels along z, its voxels those of the lattice."""
    return scan((24, 20, 220), (12, 10, 110), (8, 7, 100), affine((1.5, 1.5, 1.5), signs=(-1, 1, 1)), np.int16)


def test_one_crop_holds_a_part():
    volume, label = long_organ()
    (mask,), (source,), _ = segment(volume, [([[(12, 10, 110)]], label)])
    assert source.views[0].label.shape == (128, 128, 128) and not any(source.notes)
    found = mask.full().numpy()
    assert np.array_equal(np.flatnonzero(found.any((0, 1))), np.arange(46, 174)), "128 slices around the middle"
    assert (found[..., 46:174] == label[..., 46:174]).all()


def test_a_click_outside_the_crop():
    volume, label = long_organ()
    (result,), _, _ = segment(volume, [([[(12, 10, 16)]], label)])
    assert isinstance(result, PromptError) and "cover" in str(result)


def test_cover_gives_the_whole_organ():
    volume, label = long_organ()
    (mask,), (source,), _ = segment(volume, [([[(12, 10, 16)], [(12, 10, 200)]], label)], cover=True)
    assert np.array_equal(mask.full().numpy(), label)
    assert source.notes == ["", "cover: 2 crops", "cover: 2 crops"]
    first = source.masks[1].full().numpy()
    assert 0 < first.sum() < label.sum() and not (first & ~label).any(), "one click, one of two crops"
    assert source.views[0].label.shape == (128, 128, 201) and int(source.views[2].prediction.sum()) > 0


def test_cover_of_an_organ_that_fits_is_one_crop():
    volume, organs = three_organs()
    plain, _, _ = segment(volume, organs)
    covered, sources, _ = segment(volume, organs, cover=True)
    assert all(torch.equal(a.full(), b.full()) for a, b in zip(plain, covered, strict=True))
    assert not any(note for source in sources for note in source.notes)


def test_crops_cover_every_voxel_with_as_few_as_can():
    voxels = torch.zeros((300, 140, 60), dtype=torch.uint8)
    voxels[5:290, 3:136, 10:20] = 1
    found = crops.covering(Mask.of(voxels))
    assert len(found) == 3 * 2
    seen = torch.zeros_like(voxels)
    for begin in found:
        seen[tuple(slice(max(b, 0), b + 128) for b in begin)] = 1
    assert not (voxels & ~seen & 1).any()


def test_the_crop_around_the_first_click():
    volume, label = long_organ()
    for known in (None, label):
        (mask,), (source,), _ = segment(volume, [([[(12, 10, 40)], [(12, 10, 60)]], known)], centre="click")
        found = mask.full().numpy()
        assert np.array_equal(found[..., :104], label[..., :104]) and not found[..., 104:].any()
        assert source.views[0] is None, "no crop before the click"
        assert (source.views[1] is None) == (known is None)
    steps = [[(12, 10, 40)], [(12, 10, 150)]]
    (result,), _, _ = segment(volume, [(steps, None)], centre="click")
    assert isinstance(result, PromptError)
    (mask,), (source,), _ = segment(volume, [(steps, None)], centre="click", cover=True)
    assert np.array_equal(mask.full().numpy(), label)
    assert source.notes[-1] == "cover: 2 crops"


def test_no_label_to_centre_on():
    volume, _ = long_organ()
    (result,), _, calls = segment(volume, [([[(12, 10, 40)]], None)])
    assert isinstance(result, PromptError) and "centre=click" in str(result) and calls == 0


def test_an_organ_of_one_voxel():
    """At 3 mm it is eight lattice voxels and comes back; at 0.5 mm it may fall between them and is empty."""
    label = np.zeros((30, 30, 30), dtype=np.uint8)
    label[11, 3, 20] = 1
    volume = Volume.from_array(bright(label), affine((3.0, 3.0, 3.0)))
    (mask,), _, _ = segment(volume, [([[(11, 3, 20)]], label)])
    assert np.array_equal(mask.full().numpy(), label)
    fine = Volume.from_array(bright(label), affine((0.5, 0.5, 0.5)))
    (mask,), (source,), calls = segment(fine, [([[(11, 3, 20)]], label)])
    assert mask.full().sum() == 0 and mask.shape == (30, 30, 30) and calls == 0 and not source.masks


def test_other_prompts():
    volume, ((_, label), *_) = three_organs()
    for prompt in (Prompt(box=Box((0, 0, 0), (9, 9, 9))), Prompt(text="liver"), Prompt()):
        (result,), _, _ = segment(volume, [([prompt], label)])
        assert isinstance(result, PromptError) and "points" in str(result)


@pytest.mark.parametrize("variant", ["engine", "official"])
@pytest.mark.parametrize(("dark", "organ"), [(-5, -5), (5, 5), (100, np.nan), (100, np.inf)])
def test_images_that_cannot_be_normalised(dark, organ, variant):
    shape, placed = (90, 90, 90), affine((3.0, 3.0, 3.0))  # larger than the crop: no zeros around it
    label = ball(shape, (45, 45, 45), (9, 9, 9))
    volume = Volume.from_array(np.where(label, organ, dark).astype(np.float32), placed)
    (result,), _, calls = segment(volume, [([[(45, 45, 45)]], label)], variant=variant)
    assert isinstance(result, VoxelError) and calls == 0


def test_scans_that_are_refused(loaded):
    thin = Volume.from_array(np.ones((40, 40, 2), dtype=np.int16), affine((1.0, 1.0, 0.5)))
    with pytest.raises(GeometryError):
        loaded.prepare([thin], CPU)
    with pytest.raises(VoxelError):
        loaded.prepare([thin, thin], CPU)


def test_a_single_slice():
    label = ball((60, 60, 1), (30, 25, 0), (12, 9, 1))
    volume = Volume.from_array(bright(label), affine((1.5, 1.5, 5.0)))
    (mask,), _, _ = segment(volume, [([[(30, 25, 0)]], label)])
    assert np.array_equal(mask.full().numpy(), label)


def test_options_and_size(loaded):
    for wrong in ({"variant": "fast"}, {"encoder": "short"}, {"centre": "middle"}):
        with pytest.raises(OptionError):
            Options(**wrong)
    shape, spacing = (512, 512, 300), (0.8, 0.8, 1.5)
    assert 4 * 512 * 512 * 300 < loaded.nbytes(shape, spacing, 1) < loaded.nbytes(shape, spacing, 13) < 8 << 30
    assert issubclass(PromptError, UmdEngineError)
