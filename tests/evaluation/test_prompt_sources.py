"""Protocols, and what a source gives and counts, against plain full-volume references."""

import numpy as np
import pytest
import torch
from asked_model import ORGANS, CubeModel, clicks_of, evaluate, label_of, make_pairs, place, prompts, rows_of
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from umd_engine.data.labelset import LabelSet
from umd_engine.data.manifest import scan_row
from umd_engine.data.volume import Volume
from umd_engine.errors import OptionError, PromptError, UnknownNameError
from umd_engine.evaluation.prompts.drawing import click_key, draw_on_scan
from umd_engine.evaluation.prompts.given import as_prompt, box_between, box_of, words_of
from umd_engine.evaluation.prompts.label_source import LabelSource
from umd_engine.evaluation.prompts.official_stream import OfficialStream
from umd_engine.evaluation.prompts.protocols import LABEL_USES, find_protocol, known_names, largest_use
from umd_engine.evaluation.prompts.reference import OrganLabel, organ_labels
from umd_engine.evaluation.prompts.source import Place, count
from umd_engine.kernels.clicks import draw_clicks
from umd_engine.kernels.confusion import confusion
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import View

CPU = torch.device("cpu")


def test_every_known_name_is_a_protocol_of_that_name():
    found = {name: find_protocol(name) for name in known_names()}
    assert all(protocol.name == name for name, protocol in found.items())
    assert len({protocol.hash for protocol in found.values()}) == len(found)
    assert all(len(p.hash) == 16 and int(p.hash, 16) >= 0 and p.uses_label in LABEL_USES for p in found.values())
    # frozen: what results under these names were made by may not change
    assert find_protocol("paper-1pt").hash == "e9a6e3f375ebcd54"
    assert find_protocol("box+ritm-5").hash == "ce9c2b1b2b19e4e4"


@pytest.mark.parametrize(
    ("name", "rules", "kinds", "uses", "grid"),
    [
        ("paper-1pt", ["random"], {"point"}, "click", "scan"),
        ("center-1pt", ["deepest"], {"point"}, "click", "scan"),
        ("random-3", ["random"] * 3, {"point"}, "click", "scan"),
        ("cvpr25-5", ["cvpr25"] * 5, {"point"}, "click", "scan"),
        ("vista3d", ["vista3d"], {"point"}, "click", "scan"),
        ("sam-med3d-2", ["sam_med3d"] * 2, {"point"}, "click", "model"),
        ("sam-med3d-official", ["sam_med3d"], {"point"}, "click", "model"),
        ("box", [""], {"box"}, "box", "scan"),
        ("box+ritm-2", ["", "ritm", "ritm"], {"box", "point"}, "box", "scan"),
        ("text", [""], {"text"}, "none", "scan"),
        ("text+point", ["random"], {"text", "point"}, "click", "scan"),
        ("text+box", [""], {"text", "box"}, "box", "scan"),
    ],
)
def test_protocols_say_what_they_give(name, rules, kinds, uses, grid):
    protocol = find_protocol(name)
    assert [ask.rule for ask in protocol.asks] == rules and protocol.kinds == kinds
    assert (protocol.uses_label, protocol.grid) == (uses, grid)
    assert protocol.needs_label == (uses != "none")
    assert protocol.shares_first_click == (bool(rules[0]) and grid == "scan")


def test_names_that_are_none():
    with pytest.raises(UnknownNameError, match="did you mean paper-1pt"):
        find_protocol("paper-1p")
    for name in ("ritm", "box+", "box+box", "box+text", "random-", "random--1", "RITM-5", "random-1.5", "text-2", ""):
        with pytest.raises(UnknownNameError):
            find_protocol(name)
    for name in ("random-0", "ritm-101", "box+cvpr25-99999999"):
        with pytest.raises(OptionError, match="1 to 100 clicks"):
            find_protocol(name)
    assert find_protocol("sam-med3d-1") == find_protocol("sam-med3d")
    assert (
        largest_use([]) == "none" and largest_use(["box", "click"]) == "box" and largest_use(["crop", "box"]) == "crop"
    )


@pytest.mark.parametrize(
    ("organ", "words"),
    [("liver", "liver"), ("kidney_left", "left kidney"), ("urinary_bladder", "urinary bladder"), ("left", "left"),
     ("lung_upper_lobe_right", "right lung upper lobe")],
)  # fmt: skip
def test_organs_in_words(organ, words):
    assert words_of(organ) == words


masks = hnp.arrays(np.uint8, st.tuples(*[st.integers(1, 7)] * 3), elements=st.integers(0, 1))


@st.composite
def two_masks(draw):
    shape = draw(st.tuples(*[st.integers(1, 7)] * 3))
    one = hnp.arrays(np.uint8, shape, elements=st.integers(0, 1))
    return draw(one), draw(one)


@given(two_masks())
def test_counts_within_boxes_are_those_of_the_whole_volumes(pair):
    label, mask = pair
    matrix = confusion(label, mask, 2, 2, backend="reference")
    organ = OrganLabel(Mask.of(torch.from_numpy(label)), int(label.sum()))
    assert count(Mask.of(torch.from_numpy(mask)), organ) == (matrix[1, 1], matrix[0, 1], matrix[1, 0])
    assert count(Mask.of(torch.from_numpy(mask)), None) == (None, mask.sum(), None)


@settings(max_examples=60, deadline=None)
@given(two_masks(), st.sampled_from(["random", "deepest", "cvpr25", "ritm", "sam_med3d", "vista3d"]), st.integers(0, 9))
def test_a_click_drawn_in_a_box_is_that_of_the_whole_volume(pair, rule, seed):
    label, mask = pair
    key = click_key(seed, ("c", "s", "scan", "liver"), 1, 0)
    spacing = (1.0, 1.5, 3.0) if rule == "deepest" else (1.0, 1.0, 1.0)
    whole = draw_clicks(label, [1], key, rule, mask, spacing, backend="reference")
    organ = OrganLabel(Mask.of(torch.from_numpy(label)), int(label.sum()))
    drawn = draw_on_scan(organ, Mask.of(torch.from_numpy(mask)), rule, key, (1.0, 1.5, 3.0))
    if not whole.drawn[0]:
        assert drawn is None
    else:
        assert drawn is not None and list(drawn.voxel) == whole.voxels[0].tolist()
        assert drawn.positive == bool(whole.positive[0])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_organs_in_their_boxes_are_those_of_the_label(dtype):
    labels = label_of().astype(dtype)
    if dtype is np.uint16:
        labels[labels == 2] = 900
    label_set = LabelSet("x", {o: tuple(np.atleast_1d(i).tolist()) for o, i in ORGANS.items()} | {"spleen": (900, 2)})
    flipped = labels[::-1].copy()[::-1]  # a view with a negative step, as reading gives
    found = organ_labels(flipped, label_set, [*ORGANS, "aorta"], CPU)
    assert "aorta" not in found and found["brain"].voxels == 0 and found["brain"].mask.voxels.numel() == 0
    for organ, one in found.items():
        truth = np.isin(labels, label_set.ids[organ])
        assert np.array_equal(one.mask.full().numpy(), truth) and one.voxels == truth.sum()


@given(st.integers(0, 4), st.integers(0, 4), st.integers(0, 4), st.integers(1, 5), st.integers(1, 5), st.integers(1, 5))
def test_a_box_comes_back_from_mm(x, y, z, nx, ny, nz):
    turn = np.eye(4)
    turn[:2, :2] = [[0.8, -0.6], [0.6, 0.8]]
    grid = Volume.from_array(np.zeros((9, 9, 9), np.uint8), turn @ place()).grid
    box = box_of((x, y, z), (x + nx, y + ny, z + nz), grid.affine, "own")
    again = box_between(box.world, box.world_high, grid, "own")
    assert (again.voxel, again.high) == (box.voxel, tuple(min(9, n) for n in box.high))
    assert as_prompt([box]).box.low == (x, y, z)


def test_a_box_covers_the_same_place_on_a_coarser_grid():
    fine = Volume.from_array(np.zeros((8, 8, 8), np.uint8), np.eye(4)).grid
    affine = np.array([[2, 0, 0, 0.5], [0, 2, 0, 0.5], [0, 0, 2, 0.5], [0, 0, 0, 1.0]])
    coarse = Volume.from_array(np.zeros((4, 4, 4), np.uint8), affine).grid
    box = box_of((2, 3, 4), (4, 5, 7), fine.affine, "own")
    found = box_between(box.world, box.world_high, coarse, "replayed")
    assert (found.voxel, found.high) == ((1, 1, 2), (2, 3, 4))


def test_the_official_stream_is_numpys():
    rng = np.random.default_rng(5)
    label = (rng.random((5, 6, 7)) > 0.6).astype(np.uint8)
    mask = (rng.random((5, 6, 7)) > 0.6).astype(np.uint8)
    stream = OfficialStream()
    drawn = [
        stream.draw("a", 0, view_of(label)),
        stream.draw("a", 1, view_of(label, mask)),
        stream.draw("b", 0, view_of(mask)),
    ]
    np.random.seed(233)  # what the official script does, in its own words
    for one, (truth, previous) in zip(drawn, [(label, 0 * label), (label, mask), (mask, 0 * mask)], strict=True):
        points = np.argwhere(np.logical_or((truth == 1) & (previous == 0), (truth == 0) & (previous == 1)))
        point = points[np.random.randint(len(points))]
        assert one.voxel == tuple(point) and one.positive == bool(truth[tuple(point)])
    # without an error a voxel of the label; of an empty label none
    points = np.argwhere(label)
    assert stream.draw("c", 0, view_of(label, label)).voxel == tuple(points[np.random.randint(len(points))])
    assert stream.draw("d", 0, view_of(0 * label)) is None
    np.random.seed(235)
    assert OfficialStream(2).draw("a", 0, view_of(label)).voxel == tuple(points[np.random.randint(len(points))])


def view_of(label, mask=None):
    prediction = np.zeros_like(label) if mask is None else mask
    return View(torch.from_numpy(label), torch.from_numpy(prediction), np.eye(4))


def test_the_official_stream_runs_on_from_organ_to_organ(tmp_path):
    pairs = make_pairs(tmp_path / "d", 1)
    asked = prompts("sam-med3d-official-2")
    turns = CubeModel(stride=2, turns=True)
    assert evaluate(pairs, tmp_path / "run", [turns], asked=asked, organs=("liver", "spleen", "lung")) == []
    labels = label_of()[::2, ::2, ::2]
    np.random.seed(233)
    clicks = [c for c in clicks_of(tmp_path / "run") if c.key.modality == "ct"]
    for organ in ("liver", "spleen", "lung"):  # ascending ids
        truth, mask = np.isin(labels, ORGANS[organ]), np.zeros(labels.shape, bool)
        for click in [c.given for c in clicks if c.key.organ == organ]:
            points = np.argwhere(truth != mask)
            point = points[np.random.randint(len(points))]
            assert click.voxel == tuple(2 * point) and click.positive == truth[tuple(point)]
            full = np.zeros(label_of().shape, bool)
            full[tuple(slice(max(0, v - 2), v + 3) for v in click.voxel)] = True
            cube = full[::2, ::2, ::2]
            mask = mask | cube if click.positive else mask & ~cube
    # side by side it would not be the official stream
    errors = evaluate(pairs, tmp_path / "side", [CubeModel(stride=2)], asked=asked, organs=("liver", "spleen", "lung"))
    assert errors and all("runs on from organ to organ" in str(error) for error in errors)
    assert evaluate(pairs, tmp_path / "one", [CubeModel(stride=2)], asked=prompts("sam-med3d-official")) == []
    # another draw, another stream; an organ that is missing has its case's stream drawn anew
    evaluate(
        pairs,
        tmp_path / "run",
        [turns],
        asked=prompts("sam-med3d-official-2", repeats=2),
        organs=("liver", "spleen", "lung"),
    )
    assert len({c.given.voxel for c in clicks_of(tmp_path / "run") if c.key.organ == "spleen" and c.key.step == 0}) > 1
    assert [c for c in clicks_of(tmp_path / "run") if c.key.modality == "ct" and c.key.repeat == 0] == clicks


def test_draws_are_keyed_by_scan_organ_and_repeat_and_not_by_company(tmp_path):
    pairs = make_pairs(tmp_path / "d", 2)
    asked = prompts("random-2", repeats=2, independent=True)
    evaluate(pairs, tmp_path / "all", [CubeModel()], asked=asked)
    evaluate(pairs, tmp_path / "one", [CubeModel()], asked=asked, organs=("lung",), batch_size=5)
    lung = [c.given for c in clicks_of(tmp_path / "all") if c.key.organ == "lung"]
    assert [c.given for c in clicks_of(tmp_path / "one")] == lung
    assert len({g.voxel for g in lung}) >= 12  # of 16
    evaluate(pairs, tmp_path / "seed", [CubeModel()], asked=asked, organs=("lung",), seed=1)
    assert [c.given for c in clicks_of(tmp_path / "seed")] != lung


def source_of(protocol, label, affine=None):
    grid = Volume.from_array(label, place() if affine is None else affine).grid
    organ = OrganLabel(Mask.of(torch.from_numpy(label)), int(label.sum()))
    row = scan_row(cohort="c", subject="s", scan_id="x", modality="ct", images=("x.nii.gz",), unit="HU")
    return LabelSource(Place(row, grid, "liver", 0, organ, 0.0), find_protocol(protocol), seed=0)


def test_center_is_the_deepest_voxel_in_mm():
    label = np.zeros((20, 20, 20), np.uint8)
    label[2:17, 2:17, 9:11] = 1  # 22.5 x 22.5 x 4 mm
    label[4:7, 15:18, 3:8] = 1  # deeper in voxels alone
    source = source_of("center-1pt", label, np.diag([1.5, 1.5, 9.0, 1]))
    (click,) = source.next(None).clicks
    x, y, _ = np.array(click.world) / (1.5, 1.5, 9)
    assert 5 < x < 14 and 5 < y < 14


def test_an_organ_too_thin_for_the_rule_is_a_prompt_error():
    label = np.zeros((9, 9, 9), np.uint8)
    label[4, 4, 4] = 1
    assert source_of("paper-1pt", label).next(None).clicks[0].positive
    with pytest.raises(PromptError, match="rule vista3d finds no voxel"):
        source_of("vista3d", label).next(None)


def test_misuse_of_a_source_is_our_own_mistake():
    source = source_of("paper-1pt", np.ones((3, 3, 3), np.uint8))
    with pytest.raises(AssertionError, match="none before the first"):
        source.next(Mask.empty((3, 3, 3)))
    source.next(None)
    with pytest.raises(AssertionError, match="instead of"):
        source.next(Mask.empty((3, 3, 4)))
    assert source.next(Mask.empty((3, 3, 3))) is None and source.steps[0].fn == 27
    with pytest.raises(AssertionError, match="after the last"):
        source.next(Mask.empty((3, 3, 3)))


def test_the_seconds_of_steps_grow(tmp_path):
    evaluate(
        make_pairs(tmp_path / "d", 1), tmp_path / "run", [CubeModel()], asked=prompts("random-3"), organs=("liver",)
    )
    seconds = [r.seconds for r in rows_of(tmp_path / "run") if r.modality == "ct"]
    assert 0 < seconds[0] <= seconds[1] <= seconds[2]
