"""Points, boxes, drawings and masks to start from, as the network sees them; prompts that must be refused."""

import numpy as np
import pytest
import torch
from nninteractive_common import (
    CPU,
    PATCH,
    Asking,
    ask,
    box_label,
    click,
    point,
    run,
    same,
    scene,
    standin,
    stepped,
    turned,
)  # fmt: skip

from umd_engine.errors import PromptError
from umd_engine.models.mask import Mask
from umd_engine.models.nninteractive.draws import numpys_stream
from umd_engine.models.nninteractive.folder import Settings
from umd_engine.models.nninteractive.prompting import central_slice
from umd_engine.models.nninteractive.region import Region
from umd_engine.models.prompts import Box, Click, Drawing, Prompt

SCAN = (60, 50, 40)


def drawing(volume, kind, low, high, positive=True, loose=False):
    """A drawing from a box in the file's order."""
    label = box_label(SCAN, low, high)
    voxels = torch.from_numpy(np.array(volume.grid.to_canonical(label), order="C")).to(torch.uint8)
    mask = Mask(voxels, (0, 0, 0), volume.shape) if loose else Mask.of(voxels)
    return Prompt(drawing=Drawing(kind, mask, positive))


def bright_scene():
    label = stepped(SCAN, (20, 15, 12), (45, 40, 30))
    return scene(label, turned((1, 0, 2), (False, True, True)))


def written(patch):
    """Channels that hold anything, with their largest value."""
    return {int(c) - 1: round(float(patch[c].max()), 4) for c in range(1, 8) if patch[c].any()}


@pytest.mark.parametrize(
    ("kind", "positive", "channel"),
    [("scribble", True, 5), ("scribble", False, 6), ("lasso", True, 1), ("lasso", False, 2)],
)
def test_drawings(kind, positive, channel):
    volume, organ = bright_scene()
    model = standin()
    found, _ = ask(volume, drawing(volume, kind, (22, 16, 14), (30, 30, 15), positive), model=model)
    assert same(found, organ)
    first = model.unit.module.seen[0]
    assert written(first) == {channel: 1.0}
    patch = Region.around((26, 23, 14), PATCH)  # round((lo + hi) / 2)
    assert torch.equal(first[1 + channel], torch.from_numpy(shown(box_label(SCAN, (22, 16, 14), (30, 30, 15)), patch)))


def shown(label, patch):
    """float32 [*patch] of a label, zeros outside the scan."""
    out = np.zeros(patch.size, np.float32)
    inside = patch.within(label.shape)
    out[inside.seen_from(patch)] = label[inside.seen_from(Region((0, 0, 0), label.shape))]
    return out


@pytest.mark.parametrize("kind", ["scribble", "lasso", "mask"])
def test_a_drawing_in_a_wide_box_is_looked_at_where_it_is(kind):
    volume, _ = bright_scene()
    tight, loose = standin(), standin()
    for model, wide in ((tight, False), (loose, True)):
        ask(volume, drawing(volume, kind, (22, 16, 14), (30, 30, 20), loose=wide), model=model)
    assert tight.unit.module.calls == loose.unit.module.calls
    assert all(torch.equal(a, b) for a, b in zip(tight.unit.module.seen, loose.unit.module.seen, strict=True))


def test_a_mask_to_start_from_is_the_previous_segmentation():
    volume, organ = bright_scene()
    model = standin()
    started = drawing(volume, "mask", (22, 16, 14), (30, 30, 20))
    found, _ = ask(volume, point(volume, (21, 16, 13)), started, model=model)
    assert same(found, organ)
    point_only, mask_only = model.unit.module.seen[:2]
    assert written(point_only) == {3: 1.0}
    assert written(mask_only) == {0: 1.0}, "the click is forgotten"
    patch = Region.around((26, 23, 17), PATCH)
    assert torch.equal(mask_only[1], torch.from_numpy(shown(box_label(SCAN, (22, 16, 14), (30, 30, 20)), patch)))


def test_a_mask_with_a_click_is_looked_at_around_the_click():
    volume, _ = bright_scene()
    model = standin(autozoom=False)
    started = drawing(volume, "mask", (22, 16, 14), (30, 30, 20))
    ask(volume, Prompt(clicks=(click(volume, (40, 30, 20)),), drawing=started.drawing), model=model)
    (patch,) = model.unit.module.seen
    assert written(patch) == {0: 1.0, 3: 1.0}
    assert patch[4][tuple(n // 2 for n in PATCH)] == 1, "the click is in the middle"


def test_prompts_fade():
    volume, _ = bright_scene()
    model = standin(settings=Settings(decay=0.5), autozoom=False)
    ask(volume, point(volume, (25, 20, 15)), point(volume, (26, 20, 35), positive=False), model=model)
    first, second = model.unit.module.seen
    assert written(first) == {3: 1.0} and written(second) == {0: 1.0, 3: 0.5, 4: 1.0}


def test_clicks_of_one_prompt_are_asked_at_once():
    """Each fades those before it, one prediction looks around the last."""
    volume, _ = bright_scene()
    model = standin(settings=Settings(decay=0.5))
    clicks = (click(volume, (25, 20, 15)), click(volume, (30, 25, 16), False), click(volume, (35, 30, 17)))
    _, source = ask(volume, Prompt(clicks=clicks), model=model)
    (patch,) = model.unit.module.seen
    assert written(patch) == {3: 1.0, 4: 0.5} and len(source.masks) == 2
    middle = tuple(n // 2 for n in PATCH)
    assert patch[4][middle] == 1
    first = tuple(m + a - b for m, a, b in zip(middle, (25, 20, 15), (35, 30, 17), strict=True))
    assert patch[4][first] == 0.25


def box_of(volume, low, high, positive=True):
    """A box in the file's order as one of the scan's grid."""
    label = np.array(volume.grid.to_canonical(box_label(SCAN, low, high)))
    ends = [(int(at.min()), int(at.max()) + 1) for at in np.nonzero(label)]
    return Prompt(box=Box(tuple(lo for lo, _ in ends), tuple(hi for _, hi in ends), positive))


@pytest.mark.parametrize("positive", [True, False])
def test_a_flat_box_is_taken_as_it_is(positive):
    volume, organ = bright_scene()
    model = standin()
    found, _ = ask(volume, box_of(volume, (20, 25, 12), (45, 26, 30), positive), model=model)
    assert same(found, organ)
    first, channel = model.unit.module.seen[0], 1 if positive else 2
    assert written(first) == {channel: 1.0}
    assert first[1 + channel].sum() == 25 * 18


def test_a_box_becomes_its_middle_slice_across_the_largest_spacing():
    """Of the file's axes the third has 2.5 mm."""
    volume, organ = bright_scene()
    model = standin(autozoom=False)
    found, _ = ask(volume, box_of(volume, (20, 15, 12), (45, 40, 30)), model=model)
    assert found.full().sum() == organ.full().sum()
    (first, *_) = model.unit.module.seen
    wanted = shown(box_label(SCAN, (20, 15, 20), (45, 40, 21)), Region.around((32, 28, 20), PATCH))
    assert torch.equal(first[2], torch.from_numpy(wanted))


@pytest.mark.parametrize(
    ("spacing", "wanted"),
    [((1, 1, 3), (0, 0, 5)), ((3, 1, 1), (4, 0, 0)), ((1, 1, 1), (0, 0, 5)), ((2, 2.0004, 1), (0, 4, 0))],
)
def test_the_slice_of_a_box(spacing, wanted):
    found = central_slice(Region((0, 0, 0), (10, 9, 11)), spacing)
    across = int(np.argmax(wanted))
    assert found.low == wanted and found.size[across] == 1
    assert all(found.size[axis] == (10, 9, 11)[axis] for axis in range(3) if axis != across)


def test_a_box_in_space_where_the_network_takes_it():
    volume, _ = bright_scene()
    for flat in (True, False):
        settings = Settings(supported={**Settings().supported, "bbox2d": flat, "bbox3d": True})
        model = standin(settings=settings, autozoom=False)
        ask(volume, box_of(volume, (20, 15, 12), (45, 40, 30)), model=model)
        assert model.unit.module.seen[0][2].sum() == 25 * 25 * 18


def bad_prompts():
    volume, _ = bright_scene()
    inside, outside = click(volume, (25, 20, 15)), click(volume, (60, 20, 15))
    x, y, z = volume.shape
    elsewhere = Drawing("scribble", Mask.of(torch.ones((4, 4, 4))))
    return {
        "outside": Prompt(clicks=(outside,)),
        "second outside": Prompt(clicks=(inside, outside)),
        "far": Prompt(clicks=(Click((1e6, 0.0, 0.0)),)),
        "box outside": Prompt(box=Box((0, 0, 0), (x + 1, y, 1))),
        "box below": Prompt(box=Box((-1, 0, 0), (x, y, 1))),
        "empty box": Prompt(box=Box((5, 5, 5), (5, 9, 9))),
        "another grid": Prompt(drawing=elsewhere),
        "empty scribble": Prompt(drawing=Drawing("scribble", Mask.empty(volume.shape))),
        "empty lasso": Prompt(drawing=Drawing("lasso", Mask(torch.zeros((3, 3, 3)).byte(), (0, 0, 0), (x, y, z)))),
        "empty mask": Prompt(drawing=Drawing("mask", Mask.empty(volume.shape))),
        "negative mask": drawing(volume, "mask", (22, 16, 14), (30, 30, 20), positive=False),
        "unknown drawing": drawing(volume, "outline", (22, 16, 14), (30, 30, 20)),
        "text": Prompt(text="liver"),
        "text and click": Prompt(text="liver", clicks=(inside,)),
        "nothing": Prompt(),
    }


@pytest.mark.parametrize("name", bad_prompts())
def test_a_bad_prompt_ends_its_organ_and_no_other(name):
    volume, organ = bright_scene()
    model = standin()
    bad, good = Asking([bad_prompts()[name]]), Asking([point(volume, (25, 20, 15))])
    error, mask = run(model, model.prepare([volume], CPU), [bad, good])
    assert isinstance(error, PromptError) and error.mend and bad.masks == [None]
    assert same(mask, organ)


LESS = dict.fromkeys(Settings().supported, False)


@pytest.mark.parametrize("kind", ["point", "box", "scribble", "lasso", "mask"])
def test_a_kind_that_the_network_does_not_take(kind):
    volume, _ = bright_scene()
    asked = {"point": point(volume, (25, 20, 15)), "box": box_of(volume, (20, 25, 12), (45, 26, 30))}
    prompt = asked.get(kind) or drawing(volume, kind, (22, 16, 14), (30, 30, 15))
    with pytest.raises(PromptError, match=kind):
        ask(volume, prompt, model=standin(settings=Settings(supported=LESS, takes_mask=False)))


def test_no_prompt_is_an_empty_mask():
    volume, _ = bright_scene()
    found, source = ask(volume)
    assert found.shape == volume.shape and not found.full().any() and source.masks == [None]


def test_nothing_found_is_an_empty_mask():
    class Nothing(torch.nn.Module):
        def forward(self, patches):
            return patches[:, :2] * 0  # of equals the background

    volume, _ = bright_scene()
    for prompt in (point(volume, (25, 20, 15)), drawing(volume, "mask", (22, 16, 14), (45, 38, 30))):
        found, _ = ask(volume, prompt, model=standin(Nothing()))
        assert same(found, Mask.empty(volume.shape))


def test_a_prediction_without_a_new_prompt_changes_nothing():
    volume, _ = bright_scene()
    model = standin()
    session = model.session(model.prepare([volume], CPU).image, numpys_stream(0))
    assert list(session.predict()) == [] and session.predictions == 0
