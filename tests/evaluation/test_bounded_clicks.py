"""Models that take clicks on a grid of their own alone: a click beyond it is drawn again, on it."""

import numpy as np
import pytest
import torch
from asked_model import CubeModel, clicks_of, counts_of, evaluate, place, prompts, rows_of, save, write_scans

from umd_engine.data.manifest import scan_row
from umd_engine.data.volume import Volume
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.evaluation.prompts.drawing import AGAIN, Within, click_key
from umd_engine.evaluation.prompts.label_source import NOTHING_LEFT, LabelSource
from umd_engine.evaluation.prompts.protocols import find_protocol
from umd_engine.evaluation.prompts.reference import OrganLabel
from umd_engine.evaluation.prompts.source import NOT_ASKED, Place
from umd_engine.kernels.clicks import draw_clicks
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import View, voxel_of, world_of
from umd_engine.models.sam_med3d.model import SamMed3D
from umd_engine.models.sam_med3d.options import Options

CPU = torch.device("cpu")


def source_of(label, protocol="paper-1pt", repeat=0, shared=None, affine=None):
    grid = Volume.from_array(label, place() if affine is None else affine).grid
    organ = OrganLabel(Mask.of(torch.from_numpy(label)), int(label.sum()))
    row = scan_row(cohort="c", subject="s", scan_id="x", modality="ct", images=("x.nii.gz",), unit="HU")
    return LabelSource(Place(row, grid, "liver", repeat, organ, 0.0), find_protocol(protocol), 0, shared)


def view_of(label, low, high, affine=None, **more):
    """A view of the scan's voxels low to high - 1."""
    shift = np.eye(4)
    shift[:3, 3] = low
    part = torch.from_numpy(label[tuple(slice(a, b) for a, b in zip(low, high, strict=True))].copy())
    return View(part, torch.zeros_like(part), (place() if affine is None else affine) @ shift, **more)


def test_a_click_beyond_the_view_is_drawn_again_in_it_each_voxel_alike():
    label = np.ones((100, 3, 3), np.uint8)
    view = view_of(label, (20, 0, 0), (80, 3, 3))
    kept, again = [], []
    for repeat in range(200):
        free, bound = source_of(label, repeat=repeat), source_of(label, repeat=repeat)
        (first,), (second,) = free.next(None).clicks, bound.next(None, lambda: view).clicks
        x = voxel_of(second.world, place())[0]
        assert 20 <= x < 80 and bound.given[0][0].origin == "own" and second.positive
        (kept if first == second else again).append(x)
        assert (first == second) == view.holds(first.world)
    assert len(again) > 60 and len(kept) > 90
    # the chance of the second draw is not what is left of the first one's
    assert 0.35 < np.mean([35 <= x < 65 for x in again]) < 0.65
    # the same again; and a view that does not end the clicks changes nothing
    (click,) = source_of(label, repeat=1).next(None, lambda: view).clicks
    assert source_of(label, repeat=1).next(None, lambda: view).clicks == (click,)
    open_view = view_of(label, (20, 0, 0), (80, 3, 3), ends=False)
    for repeat in range(20):
        alone = source_of(label, repeat=repeat).next(None)
        assert source_of(label, repeat=repeat).next(None, lambda: open_view).clicks == alone.clicks


def test_the_subjects_point_stays_where_the_model_takes_it():
    label = np.ones((30, 3, 3), np.uint8)
    view = view_of(label, (10, 0, 0), (20, 3, 3))
    for x, origin in ((15, "shared"), (25, "own")):
        source = source_of(label, shared=world_of((x, 1, 1), place()))
        source.next(None, lambda: view)
        ((click,),) = source.given
        assert click.origin == origin and view.holds(click.world) and (click.voxel == (15, 1, 1)) == (x == 15)


@pytest.mark.parametrize("rule", ["random", "deepest", "cvpr25", "ritm", "vista3d"])
def test_a_click_drawn_again_is_that_of_the_part_that_the_view_shows(rule):
    random = np.random.default_rng(5)
    label = np.zeros((40, 20, 12), np.uint8)
    label[2:38, 3:17, 2:10] = 1
    mask = np.roll(label, 3, axis=1) * (random.random(label.shape) > 0.02).astype(np.uint8)
    low, high = (18, 6, 2), (26, 20, 12)
    view, part = view_of(label, low, high), np.zeros_like(label)
    part[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = 1
    name = {"random": "random-5", "deepest": "center-1pt"}.get(rule, f"{rule}-5")
    for before in (None, mask):
        step = 0 if before is None else 1
        if before is not None and rule == "deepest":
            continue
        source = source_of(label, name, shared=(1e4, 0.0, 0.0))
        if before is not None:
            source.next(None, lambda: view)
        shown = None if before is None else Mask.of(torch.from_numpy(before))
        prompt = source.next(shown, lambda: view)
        key = click_key(0, ("c", "s", "x", "liver", AGAIN), step, 0)
        previous = None if before is None else before & part
        spacing = (1.5, 1.5, 2.0) if rule == "deepest" else (1.0, 1.0, 1.0)
        expected = draw_clicks(label & part, [1], key, rule, previous, spacing, backend="reference")
        if step == 0 or not view.holds(source_free(label, name, step, before)):
            assert list(source.given[step][0].voxel) == expected.voxels[0].tolist()
        assert view.holds(prompt.clicks[0].world)


def source_free(label, name, step, before):
    """Where the click of that step lies when nothing bounds it."""
    source = source_of(label, name)
    source.next(None)
    (click,) = source.next(Mask.of(torch.from_numpy(before))).clicks if step else ()
    return click.world


@pytest.mark.parametrize("spacing", [(1.5, 1.5, 1.5), (3.0, 3.0, 3.0), (0.7, 1.1, 3.3)])
@pytest.mark.parametrize("tied", [False, True])
def test_what_is_within_a_view_is_held_by_it(spacing, tied):
    """Where centres lie midway between the view's, rounding in mm may put them on either side: they are left out."""
    turn = np.eye(4)
    turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    affine = turn @ place(spacing, (-1, 1, -1))
    lattice = affine @ np.diag([1.5 / s for s in spacing] + [1.0])
    lattice[:3, 3] = (affine @ ([0.5, 1.5, 1.5, 1] if tied else [0.37, 1.21, 2.9, 1]))[:3]
    empty = torch.zeros(5, 6, 7, dtype=torch.uint8)
    view, low, high = View(empty, empty, lattice), (-2, 1, 0), (9, 10, 7)
    found = Within.of(view, affine).voxels(low, high, CPU).numpy().astype(bool)
    at = np.stack(np.meshgrid(*map(np.arange, low, high), indexing="ij"), -1).reshape(-1, 3)
    held = np.array([view.holds(world_of(tuple(v), affine)) for v in at.tolist()]).reshape(found.shape)
    assert found.any() and not (found & ~held).any()
    assert tied or np.array_equal(found, held)


def test_nothing_of_the_organ_in_the_view_is_an_empty_mask():
    label = np.zeros((30, 3, 3), np.uint8)
    label[0] = label[29] = 1
    view = view_of(label, (10, 0, 0), (20, 3, 3))
    source = source_of(label, "random-3")
    assert source.next(None, lambda: view) is None
    (step,) = source.steps
    assert (step.tp, step.fp, step.fn, step.note, step.given) == (0, 0, 18, NOTHING_LEFT, ())


class Bright:
    """Pieces of SAM-Med3D that find what is bright in the crop, and everything in the zeros around the scan."""

    class Encoder(torch.nn.Module):
        def forward(self, image):
            return image

    class Decoder(torch.nn.Module):
        def forward(self, embedding, points, labels, mask):
            zeros = embedding.amin((1, 2, 3, 4), True)
            found = (embedding > embedding.amax((1, 2, 3, 4), True) / 2) | (embedding == zeros)
            return found * 16.0 - 8.0, points.sum((1, 2))[:, None]

    def __init__(self):
        self.encoder = Unit("encoder", self.Encoder(), (TensorSpec("image", (1, 128, 128, 128)),))
        self.made = {}

    def decoder(self, clicks):
        return self.made.setdefault(clicks, Unit(f"decoder.{clicks}", self.Decoder(), ()))


def sam(**options):
    model = SamMed3D.__new__(SamMed3D)
    model.name, model.options, model.pieces, model.weights = "sam", Options(**options), Bright(), "none"
    model.protocol = {"name": "sam", **options}
    return model


def write(folder, label, spacing):
    folder.mkdir()
    affine = place(spacing, (-1, 1, 1))
    save(folder / "a.nii.gz", (100 + 900 * (label > 0)).astype(np.int16), affine)
    save(folder / "a_label.nii.gz", label, affine)
    return write_scans(folder, ["petct,a,a,ct,a.nii.gz,HU,a_label.nii.gz,labels.json"])


@pytest.fixture(scope="module")
def long_organ(tmp_path_factory):
    """300 mm along x, at 1.5 mm."""
    label = np.zeros((220, 12, 14), np.uint8)
    label[10:210, 3:9, 4:10] = 1
    return write(tmp_path_factory.mktemp("long") / "d", label, (1.5, 1.5, 1.5))


def test_an_organ_longer_than_sam_med3ds_crop(long_organ, tmp_path):
    asked = prompts("paper-1pt", titles=("sam", "cube"), repeats=6)
    assert evaluate(long_organ, tmp_path / "run", [sam(), CubeModel()], asked=asked, organs=("liver",)) == []
    rows = [r for r in rows_of(tmp_path / "run") if r.model == "sam"]
    assert len(rows) == 6 and {(r.status, r.uses_label) for r in rows} == {("ok", "crop")}
    clicks = {(c.key.model, c.key.repeat): c.given for c in clicks_of(tmp_path / "run")}
    mine, others = ([clicks[name, repeat] for repeat in range(6)] for name in ("sam", "cube"))
    crop = range(46, 174)  # 128 voxels around the middle of 10 to 210
    for ours, theirs in zip(mine, others, strict=True):
        assert theirs.origin == "shared" and ours.voxel[0] in crop and ours.positive
        assert (ours == theirs) == (theirs.voxel[0] in crop) == (ours.origin == "shared")
    assert {given.origin for given in mine} == {"shared", "own"}
    # several clicks too, and a crop for every click where several are allowed
    assert evaluate(long_organ, tmp_path / "k", [sam()], asked=prompts("random-3"), organs=("liver",)) == []
    assert all(c.given.voxel[0] in crop for c in clicks_of(tmp_path / "k"))
    asked = prompts("paper-1pt", repeats=6)
    assert evaluate(long_organ, tmp_path / "cover", [sam(cover=True)], asked=asked, organs=("liver",)) == []
    assert [c.given for c in clicks_of(tmp_path / "cover")] == others


@pytest.mark.parametrize("variant", ["engine", "official"])
def test_what_sam_med3d_finds_around_the_scan(long_organ, tmp_path, variant):
    """Its rule sees all of the crop: the official one clicks there, the engine's on the scan alone."""
    asked = prompts("sam-med3d-official-4" if variant == "official" else "sam-med3d-4")
    model = sam(variant=variant)
    assert evaluate(long_organ, tmp_path / "run", [model], asked=asked, organs=("liver",)) == []
    clicks = [c.given for c in clicks_of(tmp_path / "run")]
    beyond = [any(not 0 <= v < n for v, n in zip(c.voxel, (220, 12, 14), strict=True)) for c in clicks]
    assert len(clicks) == 4 and any(beyond) == (variant == "official")
    assert not any(c.positive for c, outside in zip(clicks, beyond, strict=True) if outside)


def test_an_organ_that_is_nowhere_at_sam_med3ds_resolution(tmp_path):
    label = np.zeros((30, 30, 30), np.uint8)
    label[11, 3, 20] = 3  # 0.5 mm, between two voxels of 1.5 mm
    label[4:20, 4:20, 6:24] = np.where(label[4:20, 4:20, 6:24] == 3, 3, 1)
    manifest = write(tmp_path / "d", label, (0.5, 0.5, 0.5))
    asked = prompts("paper-1pt", repeats=2)
    assert evaluate(manifest, tmp_path / "run", [sam()], asked=asked, save_masks=True) == []
    rows = {(r.organ, r.repeat): r for r in rows_of(tmp_path / "run")}
    for repeat in range(2):
        row = rows["kidney_left", repeat]
        assert (row.status, row.step, row.tp, row.fp, row.fn, row.note) == ("ok", 0, 0, 0, 1, NOT_ASKED)
        assert rows["liver", repeat].tp > 0 and rows["brain", repeat].status == "absent"
    assert len(list(tmp_path.glob("run/masks/**/kidney_left*.nii.gz"))) == 2
    assert not [c for c in clicks_of(tmp_path / "run") if c.key.organ == "kidney_left"]
    before = counts_of(tmp_path / "run")
    assert evaluate(manifest, tmp_path / "run", [sam()], asked=asked, save_masks=True) == []
    assert counts_of(tmp_path / "run") == before


def test_models_that_do_not_ask_or_do_not_show_their_last_mask(long_organ, tmp_path):
    asked = prompts("random-3")
    evaluate(long_organ, tmp_path / "run", [CubeModel(silent_on="liver")], asked=asked, organs=("liver",))
    (row,) = rows_of(tmp_path / "run")
    assert (row.status, row.step, row.fp, row.note) == ("ok", 0, 0, NOT_ASKED)
    evaluate(long_organ, tmp_path / "early", [CubeModel(stops_after=2)], asked=asked, organs=("liver",))
    evaluate(long_organ, tmp_path / "whole", [CubeModel()], asked=asked, organs=("liver",))
    early, whole = rows_of(tmp_path / "early"), rows_of(tmp_path / "whole")
    assert [(r.tp, r.fp, r.fn) for r in early] == [(r.tp, r.fp, r.fn) for r in whole[:2]] and len(whole) == 3
    assert len(clicks_of(tmp_path / "early")) == 2
