"""What models say that they will ask for, against what their programs ask for."""

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from custom_common import describe, load, save_as, small_network

from umd_engine.bench.models.counting import Counts, counting
from umd_engine.bench.models.fixed import FixedClick
from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.engine.tally import tally
from umd_engine.errors import UnknownNameError
from umd_engine.models.calls import Asked, Calls, Step
from umd_engine.models.catalog import CATALOG, Request
from umd_engine.models.mask import Mask
from umd_engine.models.model import is_prompted
from umd_engine.models.outline import OUTLINES, outline
from umd_engine.models.prompts import Click, Prompt, world_of
from umd_engine.models.sat.protocol import Pieces, segment_organs

CPU = torch.device("cpu")
RECORDED = Path(__file__).parents[1] / "recordings" / "nnunet_plain_model"
SHAPE, SPACING = (60, 52, 44), (3.0, 3.5, 4.0)
INSIDE = (slice(4, 55), slice(3, 50), slice(2, 41))
OPTIONS = {"vista3d": {"patch": "96x96x64"}, "vista3d-ctmr": {"patch": "96x96x64"}}


def scan(whole=False):
    """A body in air, or up to the borders; file axes are x, y, z."""
    voxels = np.full(SHAPE, -1000.0, np.float32)
    voxels[... if whole else INSIDE] = 50
    voxels[30:34, 30:34, 20:24] = -1000  # a CT has air somewhere
    voxels += np.random.default_rng(0).normal(0, 5, SHAPE).astype(np.float32)
    return Volume.from_array(voxels, np.diag([*SPACING, 1.0]))


class Constant:
    """Answers every item of a unit with one number, of the shapes that its operators give."""

    def __init__(self, unit, value):
        self.shapes, self.value = shapes_of(unit), value

    def run(self, inputs):
        return tuple(torch.full((len(inputs[0]), *shape), self.value) for shape in self.shapes)


@cache
def shapes_of(unit):
    return [shape[1:] for shape in tally(unit).outputs]


class Clicks(FixedClick):
    """So many positive clicks on one place."""

    def __init__(self, organ, label, click, clicks):
        super().__init__(organ, label, click)
        self.left = clicks

    def next(self, mask, view=None, note=""):
        self.left -= 1
        return Prompt(clicks=(Click(self._click),)) if self.left >= 0 else None


def sources(organs, clicks=1):
    box = torch.ones((12, 12, 12), dtype=torch.uint8)
    middle = world_of((28, 24, 20), np.diag([*SPACING, 1.0]))
    return [Clicks(f"organ {i}", Mask(box, (22, 18, 14), SHAPE), middle, clicks) for i in range(organs)]


def asked_of(program, value):
    """Items by unit that a program asks for when every unit answers with one number."""
    counts = Counts()
    run_program(counting(program, counts), lambda unit: Constant(unit, value))
    return counts


def said(calls):
    works = calls.works if isinstance(calls, Calls) else calls
    found = Counter()
    for work in works:
        found[work.unit.name] += work.count
    return found


def test_a_nnunet_asks_for_what_its_shape_says():
    model = Request.parse(f"nnunet={RECORDED}").load({})
    image = scan(whole=True)
    case = model.prepare([image], CPU)
    found = asked_of(model.segment(case), 0.0)
    assert found.calls == said(model.works(tuple(case.prepared.data.shape[1:])))
    assert found.calls == said(model.calls(SHAPE, SPACING)) and found.calls.total() > 2
    assert found.rounds == len(model.calls(SHAPE, SPACING).works)


@pytest.mark.parametrize("name", ["vista3d", "vista3d-ctmr"])
@pytest.mark.parametrize("protocol", ["bundle", "research"])
def test_vista3d_asks_for_what_its_shape_says(name, protocol):
    model = outline(name, name, {**OPTIONS[name], "protocol": protocol})
    for whole in (False, True):
        case = model.prepare([scan(whole)], CPU)
        found = asked_of(model.segment(case), 0.0)
        assert found.calls == said(model.walk.works(tuple(case.image.shape)))
        expected = said(model.calls(SHAPE, SPACING))
        assert (found.calls == expected) if whole else (0 < found.calls.total() <= expected.total())


@pytest.mark.parametrize(
    ("name", "clicks", "options"),
    [("sam-med3d-turbo", 1, {}), ("sam-med3d-turbo", 3, {}), ("sam-med3d-turbo", 2, {"variant": "official"}),
     ("vista3d", 2, {"mode": "point"}), ("vista3d", 1, {"mode": "point", "variant": "official"})],
)  # fmt: skip
def test_a_model_of_points_asks_a_click_at_a_time(name, clicks, options):
    model = outline(name, name, {**OPTIONS.get(name, {}), **options})
    case = model.prepare([scan()], CPU)
    calls = model.calls(SHAPE, SPACING, Asked(3, (Step(points=1),) * clicks))
    found = asked_of(model.segment(case, sources(3, clicks)), 0.0)
    assert found.calls == said(calls) and found.rounds == len(calls.works)


@pytest.mark.parametrize("clicks", [1, 2])
def test_segvol_looks_at_nothing_or_everywhere(clicks):
    model = outline("segvol", "segvol", {})
    image = scan(whole=True)
    calls = model.calls(SHAPE, SPACING, Asked(2, (Step(points=1),) * clicks))
    nothing = asked_of(model.segment(model.prepare([image], CPU), sources(2, clicks)), -1.0)
    everything = asked_of(model.segment(model.prepare([image], CPU), sources(2, clicks)), 1.0)
    assert (nothing.calls.total(), everything.calls.total()) == calls.range
    assert calls.least < calls.items <= calls.most


def test_nninteractive_looks_once_or_further_and_further():
    model = outline("nninteractive", "nninteractive", {})
    model.patch = (64, 64, 64)
    model.unit = type(model.unit)(model.unit.name, model.unit.module, (_smaller(model.unit.inputs[0]),), ("logits",))
    calls = model.calls(SHAPE, SPACING, Asked(2))
    for value in (0.0, 1.0):
        counts = Counts()
        program = model.segment(model.prepare([scan()], CPU), sources(2))
        run_program(counting(program, counts), lambda unit, value=value: _Foreground(unit, value))
        assert calls.least <= counts.calls.total() <= calls.most
        if value == 0:
            assert counts.calls == said(calls)
        else:
            assert counts.calls.total() > calls.least


def _smaller(spec):
    return type(spec)(spec.name, (spec.shape[0], 64, 64, 64))


class _Foreground(Constant):
    """Two heads, the second above the first everywhere or nowhere."""

    def run(self, inputs):
        (logits,) = super().run(inputs)
        logits[:, 1] = 2 * self.value - 1
        logits[:, 0] = 0
        return (logits,)


@pytest.mark.parametrize("name", ["sat-nano", "sat-pro"])
def test_sat_asks_for_all_organs_in_each_window(name):
    model = outline(name, name, {"modality": "ct"})
    asked = Asked(2, (Step(text=True),))
    for whole in (False, True):
        case = model.prepare([scan(whole)], CPU)
        pieces = Pieces(model.unit, lambda text: torch.zeros(768), False)
        program = segment_organs(case, [_Text("liver"), _Text("spleen")], pieces)
        found = asked_of(program, 0.0)
        assert found.calls == said(model.works(case.frame.size, asked))
        assert not whole or found.calls == said(model.calls(SHAPE, SPACING, asked))


class _Text:
    label = None

    def __init__(self, organ):
        self.organ, self.left = organ, 1

    def next(self, mask, view=None, note=""):
        self.left -= 1
        return Prompt(text=self.organ) if self.left >= 0 else None


@pytest.mark.parametrize(
    "changes",
    [{}, {"grid__placing": "first-voxel", "orientation": "SRA", "windows__placing": "flush"},
     {"grid__spacing": None, "grid__shape": [24, 16, 20], "windows": None}],
)  # fmt: skip
def test_a_described_model_asks_for_what_its_shape_says(changes, tmp_path):
    patch = (24, 16, 20) if "windows" in changes else (16, 12, 20)
    model = load(describe(tmp_path, save_as("torchscript", tmp_path, small_network(), patch), **changes))
    counts = Counts()
    program = counting(model.segment(model.prepare([scan()], CPU)), counts)
    run_program(program, lambda unit: _Seen(unit.module))
    assert counts.calls == said(model.calls(SHAPE, SPACING)) and counts.calls.total() >= 1


class _Seen:
    def __init__(self, module):
        self.module = module

    @torch.no_grad()
    def run(self, inputs):
        return (self.module(*inputs),)


def test_every_model_of_the_catalogue_is_known_without_weights():
    own = {"custom", "monai-bundle", "totalsegmentator"}
    assert {name for name in CATALOG if name not in own} == OUTLINES.keys()
    for name in OUTLINES:
        model = outline(name, "mine", {})
        assert model.name == "mine" and all(p.is_meta for unit in model.units for p in unit.module.parameters())
        calls = model.calls(SHAPE, SPACING, Asked(2)) if is_prompted(model) else model.calls(SHAPE, SPACING)
        assert calls.least is None or calls.least <= calls.items <= calls.range[1]
    with pytest.raises(UnknownNameError):
        outline("custom", "custom", {})
