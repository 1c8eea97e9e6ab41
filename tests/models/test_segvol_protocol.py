"""SegVol's protocol with a network that returns what it sees, on grids of any orientation."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from segvol_common import Asking, Cheap, Prompt, case_of, in_file_order, mask_of, standin, volume_of

from umd_engine.data.volume import Grid
from umd_engine.engine.executor import run_program
from umd_engine.errors import MissingFileError, OptionError, PromptError, UmdEngineError, VoxelError
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import Box, Click, Drawing, world_of
from umd_engine.models.ready import open_unit
from umd_engine.models.segvol.asked import MOVED, box_of, box_of_label
from umd_engine.models.segvol.draws import PhiloxDraws
from umd_engine.models.segvol.frame import pick
from umd_engine.models.segvol.options import Options
from umd_engine.models.segvol.prepare import name_of
from umd_engine.models.segvol.protocol import NOWHERE, segment_organ
from umd_engine.models.segvol.regions import Region, find_region
from umd_engine.models.segvol.text import open_tokenizer

TEXT = Prompt(text="spleen")


class Whole(torch.nn.Module):
    """An encoder that keeps the window."""

    def forward(self, image):
        return image[:, 0]


class Seen(torch.nn.Module):
    """A decoder whose logits are what the encoder kept, set where it is above a half."""

    def forward(self, embedding, *prompts):
        return embedding - 0.5


def seeing(options=None):
    return Cheap(options or Options(), Whole(), lambda shape: Seen())


def turned(axes, flips, spacing=(1.5, 0.8, 2.5), oblique=True):
    """An affine whose file axis i runs along world axis axes[i], against it where flips[i]."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, flip) in enumerate(zip(axes, flips, strict=True)):
        affine[world, axis] = (-1 if flip else 1) * spacing[axis]
    if oblique:
        tilt = standin.make_affine()[:3, :3] / np.linalg.norm(standin.make_affine()[:3, :3], axis=0)
        affine[:3, :3] = tilt @ np.diag([-1.0, 1.0, -1.0]) @ affine[:3, :3]
    affine[:3, 3] = (-40.0, 210.5, 33.25)
    return affine


def scene(shape=(52, 44, 30), affine=None, low=(9, 20, 6), high=(31, 38, 17), seed=1):
    """A scan of noise, an L-shaped organ, and a case in which the network is shown the organ's label."""
    random = np.random.Generator(np.random.Philox(seed))
    image = random.normal(0, 40, shape).astype(np.float32)
    image[2:-3, 1:-2, 1:-1] += 400
    organ = np.zeros(shape, bool)
    organ[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    organ[tuple(slice((a + b) // 2, b) for a, b in zip(low, high, strict=True))] = False
    volume = volume_of(image, affine)
    return volume, organ, shown(case_of(volume, official=False), mask_of(volume, organ))


def shown(case, label):
    """The case with the label where the image was."""
    image = case.frame.from_scan(label, [torch.arange(n) for n in case.frame.size]).float()
    return replace(case, image=image, resized=pick(image, case.frame.to_resized)[None])


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


def found_by(cheap, case, volume, prompt=TEXT):
    (mask,) = cheap.run(case, [Asking("spleen", [prompt])])
    if isinstance(mask, UmdEngineError):
        raise mask
    assert mask.shape == volume.grid.shape
    return in_file_order(volume, mask).astype(bool)


ORIENTATIONS = [
    ((0, 1, 2), (False, False, False)), ((0, 1, 2), (True, True, False)), ((1, 0, 2), (False, True, True)),
    ((2, 0, 1), (True, False, False)), ((1, 2, 0), (False, False, True)), ((2, 1, 0), (True, True, True)),
]  # fmt: skip


@pytest.mark.parametrize("oblique", [False, True])
@pytest.mark.parametrize(("axes", "flips"), ORIENTATIONS)
def test_a_network_that_returns_the_label_reproduces_it(axes, flips, oblique):
    volume, organ, case = scene(affine=turned(axes, flips, oblique=oblique))
    assert (found_by(seeing(), case, volume) == organ).all()


def test_several_windows_reproduce_a_label_as_well():
    """Larger than a window along two axes; what a glance misses of its border a region cannot give back."""
    volume, organ, case = scene((300, 40, 70), turned((2, 0, 1), (True, False, True)), (12, 6, 5), (285, 36, 64))
    cheap = seeing()
    found = found_by(cheap, case, volume)
    assert len(cheap.encoded) > 2
    assert dice(found, organ) > 0.97


def test_without_zooming_in_the_glance_decides():
    """The resampling limit: nearest to 32 x 256 x 256 and back."""
    volume, organ, case = scene((90, 80, 75), None, (20, 20, 10), (70, 60, 60))
    found = found_by(seeing(Options(zoom_in=False)), case, volume)
    assert 0.95 < dice(found, organ) < 1
    assert (found_by(seeing(), case, volume) == organ).sum() > (found == organ).sum()


def test_the_networks_own_resolution_is_a_limit():
    """Logits of 32 x 64 x 64: corners of 4 x 4 voxels."""
    volume, organ, case = scene((90, 80, 40), None, (16, 16, 8), (64, 56, 32))

    class Low(torch.nn.Module):
        def forward(self, embedding, *prompts):
            return standin.unpack(embedding) - 0.5

    found = found_by(Cheap(Options(), standin.Packing(), lambda shape: Low()), case, volume)
    assert 0.95 < dice(found, organ) < 1


def is_seen(frame, axis, voxel):
    """Whether a voxel of the crop is shown on the resized grid and from there by any voxel of the crop."""
    showing = torch.nonzero(frame.to_resized[axis] == voxel)[:, 0]
    return bool(torch.isin(frame.from_resized[axis], showing).any())


def test_an_organ_of_one_voxel():
    """Found wherever a glance's `nearest` resizing, there and back, keeps any trace of it; the rest is lost to it."""
    volume, organ, case = scene(affine=turned((2, 0, 1), (True, False, False)))
    frame, outcomes = case.frame, []
    d, h, w = ([is_seen(frame, axis, n) for n in range(frame.size[axis])] for axis in range(3))
    for depth in (d.index(True, 5), d.index(False)):
        organ[:] = False
        at = (w.index(True, 9) + frame.low[2], h.index(True, 9) + frame.low[1], depth + frame.low[0])
        organ[at] = True
        found = found_by(seeing(), shown(case, mask_of(volume, organ)), volume)
        outcomes.append((found == organ).all() if d[depth] else not found.any())
    assert outcomes == [True, True]


def test_a_glance_that_finds_nothing_stands():
    volume, _, case = scene()
    case = shown(case, Mask.empty(volume.grid.shape))
    source = Asking("spleen", [TEXT, TEXT])
    cheap = seeing()
    (mask,) = cheap.run(case, [source])
    assert mask.voxels.numel() == 0 and source.notes == [NOWHERE, NOWHERE]
    assert len(cheap.encoded) == 1


def test_the_scan_is_encoded_once_for_all_organs_and_steps():
    volume, _, case = scene((300, 40, 70), None, (12, 6, 5), (285, 36, 64))
    world = [world_of(voxel, volume.grid.affine) for voxel in ((40, 10, 20), (90, 9, 30))]
    clicks = [Prompt(clicks=(Click(world[0]),)), Prompt(clicks=(Click(world[1], False),))]
    sources = [Asking("spleen", [TEXT]), Asking("liver", clicks), Asking("aorta", [Prompt(text="aorta")])]
    cheap = seeing()
    cheap.run(case, sources)
    windows = len(find_region(case.resized[0] > 0.5, case.frame, 0.5).starts)
    glances = sum(torch.equal(image, case.resized) for (image,) in cheap.encoded)
    assert glances == 1
    assert len(cheap.encoded) == 1 + 4 * windows > 20  # four steps, each with its region's windows
    assert len(cheap.decoded) == len(cheap.encoded) - 1 + 4


def test_clicks_add_up_over_steps():
    volume, organ, case = scene()
    voxels = [(12, 22, 8), (40, 40, 25), (20, 30, 10)]
    prompts = [Prompt(clicks=(Click(world_of(v, volume.grid.affine), n != 1),)) for n, v in enumerate(voxels)]
    prompts[2] = replace(prompts[2], text="spleen")
    cheap = seeing(Options(zoom_in=False))
    source = Asking("spleen", prompts, mask_of(volume, organ))
    cheap.run(case, [source])
    assert [shape.name for shape, _ in cheap.decoded] == ["points1", "points2", "points3+text"]
    _, inputs = cheap.decoded[2]
    assert inputs[1].tolist() == [1, 0, 1] and len(source.masks) == 3
    expected = [case.frame.resized_voxel(prompt.clicks[0].world)[0] for prompt in prompts]
    assert inputs[0].int().tolist() == [list(voxel) for voxel in expected]


@pytest.mark.parametrize("official", [False, True])
def test_batches_and_company_change_nothing(official):
    """Every organ alone, one item at a time, gives what all give together: with `official` the draws go on."""
    scan = standin.make_scan()
    volume = volume_of(scan.image, scan.affine)
    case = case_of(volume, official)
    label = {organ: mask_of(volume, scan.label == n) for n, organ in enumerate(standin.ORGANS[:2], 1)}
    options = Options(variant="official" if official else "engine")

    def run(organs, batch_size):
        sources = []
        for organ in organs:
            centre = tuple((a + b) // 2 for a, b in zip(label[organ].low, label[organ].high, strict=True))
            click = Click(world_of(centre, volume.grid.affine))
            sources.append(Asking(organ, [Prompt(clicks=(click,), text=organ)], label[organ]))
        return [mask.full() for mask in Cheap(options).run(case, sources, batch_size)]

    both = run(label, 8)
    assert all(mask.any() for mask in both)
    assert torch.equal(run(["broad"], 1)[0], both[0])
    assert official or torch.equal(run(["cornered"], 1)[0], both[1])


def test_a_click_on_the_models_own_grid_comes_back_as_it_is():
    """Every voxel of the view, through mm, is the voxel that the decoder gets; also where the crop is enlarged."""
    _, _, case = scene(affine=turned((2, 0, 1), (True, False, True)))
    for voxel in itertools.product((0, 7, 31), (0, 100, 255), (3, 128, 254)):
        found, moved = case.frame.resized_voxel(world_of(voxel, case.frame.resized_affine))
        assert found == voxel and not moved


def test_the_view_shows_label_and_prediction_on_the_models_grid():
    volume, organ, case = scene()
    label = mask_of(volume, organ)
    source = Asking("spleen", [TEXT], label)
    seeing().run(case, [source])
    before, after = source.views
    assert before.label.shape == (32, 256, 256) and before.label.any() and not before.prediction.any()
    assert torch.equal(after.prediction, after.label)
    bare = Asking("spleen", [TEXT])
    bare.next = lambda mask, view=None, note="": view() and None
    (error,) = seeing().run(case, [bare])
    assert isinstance(error, OptionError)


def test_a_click_outside_the_foreground_is_moved_and_the_row_says_so():
    volume, _, case = scene()
    assert case.frame.low != (0, 0, 0)
    source = Asking("spleen", [Prompt(clicks=(Click(world_of((0, 0, 0), volume.grid.affine)),))])
    seeing().run(case, [source])
    assert source.notes[0] == MOVED


def bad_prompts(grid: Grid):
    inside = Click(world_of((12, 22, 8), grid.affine))
    box = Box((9, 20, 6), (31, 38, 17))
    return {
        "outside": Prompt(clicks=(Click(world_of((52, 0, 0), grid.affine)),)),
        "far": Prompt(clicks=(Click((1e6, 0.0, 0.0)),)),
        "box outside": Prompt(box=Box((40, 20, 6), (53, 38, 17))),
        "empty box": Prompt(box=Box((9, 20, 6), (9, 38, 17))),
        "negative box": Prompt(box=replace(box, positive=False)),
        "both": Prompt(clicks=(inside,), box=box),
        "nothing": Prompt(),
        "scribble": Prompt(text="spleen", drawing=Drawing("scribble", Mask.empty(grid.shape))),
    }


@pytest.mark.parametrize("name", bad_prompts(Grid.from_file((52, 44, 30), np.eye(4))))
def test_a_bad_prompt_ends_its_organ_and_no_other(name):
    volume, organ, case = scene()
    sources = [Asking("liver", [bad_prompts(volume.grid)[name]]), Asking("spleen", [TEXT])]
    error, mask = seeing().run(case, sources)
    assert isinstance(error, PromptError) and error.mend
    assert (in_file_order(volume, mask) == organ).all()


def test_a_box_that_is_not_the_labels_is_taken_as_given():
    """Also in the official variant, which takes the label's own box from the label on the resized grid."""
    volume, organ, case = scene()
    label = mask_of(volume, organ)
    low = tuple(n + 1 for n in label.low)
    for box, official in ((Box(label.low, label.high), box_of_label), (Box(low, label.high), None)):
        cheap = seeing(Options(variant="official"))
        cheap.run(case, [Asking("spleen", [Prompt(box=box)], label)])
        _, inputs = cheap.decoded[0]
        expected = official(case.frame, label) if official else box_of(case.frame, box)
        assert inputs[0].tolist() == list(expected)
    assert box_of(case.frame, Box(low, label.high)) != box_of_label(case.frame, label)


def test_draws_depend_on_the_scan_and_not_on_how_it_lies_in_memory():
    random = np.random.default_rng(0).integers(-1000, 1000, (20, 30, 70)).astype(np.int16)
    names = {
        name_of(array) for array in (random, np.asfortranarray(random), random[::-1].copy()[::-1], random.astype(">i2"))
    }
    other = random.copy()
    other[0, 0, 0] += 1
    assert len(names) == 1 and name_of(other) not in names
    keys = []

    class Noted(PhiloxDraws):
        def draw(self, count, key):
            keys.append(tuple(key))
            return super().draw(count, key)

    for _, _, case in (scene(), scene(seed=2)):
        frame, inside = case.frame, (10, 30, 25)  # a resized voxel that a voxel of the crop shows
        seen = [int(line[n - low]) for line, n, low in zip(frame.from_resized, inside, frame.low, strict=True)]
        click = Prompt(clicks=(Click(world_of(tuple(seen), frame.resized_affine)),))
        program = segment_organ(case, case.resized[0], Asking("spleen", [click]), seeing().pieces, Noted())
        run_program(program, lambda unit: open_unit(unit, "torch", torch.device("cpu")), 2)
    assert len(keys) == 2 and keys[0][0] != keys[1][0] and keys[0][1] == keys[1][1] == "spleen"


def test_points_after_a_box_are_refused():
    volume, _, case = scene()
    later = Prompt(clicks=(Click(world_of((12, 22, 8), volume.grid.affine)),))
    (error,) = seeing().run(case, [Asking("spleen", [Prompt(box=Box((9, 20, 6), (31, 38, 17))), later])])
    assert isinstance(error, PromptError)


@pytest.mark.parametrize("official", [False, True])
@pytest.mark.parametrize("fault", ["nan", "inf", "flat", "two values"])
def test_scans_that_show_nothing(official, fault):
    image = np.random.default_rng(0).normal(size=(12, 13, 14)).astype(np.float32)
    if fault in ("nan", "inf"):
        image[3, 4, 5] = np.nan if fault == "nan" else np.inf
    else:
        image[:] = 7
        image[2:5] += 1 if fault == "two values" else 0
    with pytest.raises(VoxelError):
        case_of(volume_of(image), official)


def test_quantiles_are_numpys():
    """From the largest values alone, chunk by chunk."""
    from umd_engine.models.segvol import prepare

    for count in (1, 2, 999, 20_001):
        values = torch.from_numpy(np.random.default_rng(count).normal(size=count))
        found = prepare._quantile_of_largest(values, prepare.HIGH)
        assert abs(found - np.quantile(values.numpy(), prepare.HIGH)) < 1e-12


@pytest.mark.parametrize(("size", "overlap"), [((32, 256, 256), 0.5), ((33, 300, 511), 0.5), ((70, 9, 257), 0.25)])
def test_windows_are_monais(size, overlap):
    from monai.data.utils import dense_patch_slices
    from monai.inferers.utils import _get_scan_interval

    region = Region((0, 0, 0), size, overlap)
    interval = _get_scan_interval(region.padded, (32, 256, 256), 3, [overlap] * 3)
    official = [
        tuple(s.start for s in window) for window in dense_patch_slices(region.padded, (32, 256, 256), interval)
    ]
    assert region.starts == official


def test_options_are_checked():
    for wrong in ({"variant": "fast"}, {"overlap": 1.0}, {"overlap": -0.1}):
        with pytest.raises(OptionError):
            Options(**wrong)


def test_without_tokenizer_files_the_error_says_what_to_put_where(tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CHECKPOINTS", str(tmp_path))
    for folder in (None, tmp_path / "elsewhere"):
        with pytest.raises(MissingFileError) as caught:
            open_tokenizer(folder)
        words = "vocab.json", "merges.txt", "models fetch segvol", str(tmp_path)
        assert all(word in str(caught.value) for word in words)
