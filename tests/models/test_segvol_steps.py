"""Every step around SegVol's network against what the official functions returned for the same scan.

The recordings hold what BAAI-DCAI/SegVol's own code made of an oblique, flipped, anisotropic, off-centre scan with the
stand-in network in its model's place (tests/recordings/record_segvol.py).
"""

import itertools
import json

import numpy as np
import pytest
import torch
from segvol_common import CPU, RECORDINGS, Asking, Cheap, case_of, mask_of, standin, volume_of

from umd_engine.engine.executor import run_program
from umd_engine.models.prompts import Box, Click, Prompt, world_of
from umd_engine.models.ready import open_unit
from umd_engine.models.segvol.asked import NO_BOX, Asked, box_of, box_of_label
from umd_engine.models.segvol.draws import TorchDraws
from umd_engine.models.segvol.frame import pick
from umd_engine.models.segvol.options import Options
from umd_engine.models.segvol.protocol import decided, enlarge, zoom_in
from umd_engine.models.segvol.regions import WindowPrompts, find_region

CALLS = json.loads((RECORDINGS / "segvol_steps.json").read_text())
KINDS = ["box+text", "box", "text", "points+text", "points"]
PAD_LOW = (0, 10, 0)  # the official code pads h from 236 to 256 before it cuts


@pytest.fixture(scope="module")
def stored():
    with np.load(RECORDINGS / "segvol_steps.npz") as arrays:
        return dict(arrays)


@pytest.fixture(scope="module")
def scan():
    return standin.make_scan()


@pytest.fixture(scope="module")
def volume(scan):
    return volume_of(scan.image, scan.affine)


@pytest.fixture(scope="module")
def case(volume):
    return case_of(volume)


@pytest.fixture(scope="module")
def labels(scan, volume):
    return {organ: mask_of(volume, scan.label == number) for number, organ in enumerate(standin.ORGANS, 1)}


def unpacked(packed, shape):
    return np.unpackbits(packed, count=int(np.prod(shape))).reshape(shape).astype(bool)


def official_calls(kind):
    """The recorded calls, organ by organ: the first of each sees the whole scan."""
    calls, organs = CALLS[kind], []
    for call in calls:
        if call["window"] == calls[0]["window"]:
            organs.append([])
        organs[-1].append(call)
    return dict(zip(standin.ORGANS, organs, strict=True))


def test_the_cut(case, stored):
    assert case.frame.size == tuple(stored["crop"])
    assert [a + b for a, b in zip(case.frame.low, PAD_LOW, strict=True)] == stored["low"].tolist()


@pytest.mark.parametrize(("official", "bound"), [(True, 0), (False, 2e-7)])
def test_normalisation_and_resizing(volume, stored, official, bound):
    case = case_of(volume, official)
    errors = [np.abs(standin.probe(found) - stored[name]).max() for name, found in
              (("image", case.image), ("resized", case.resized))]  # fmt: skip
    print(f"official {official}: normalised {errors[0]:.1e}, resized {errors[1]:.1e}")
    assert max(errors) <= bound
    assert case.image.min() == 0 and case.image.max() == 1


def test_the_resized_label_and_its_box(case, labels, stored):
    for organ, label in labels.items():
        official = unpacked(stored[f"resized_label/{organ}"], (32, 256, 256))
        found = case.frame.from_scan(label, case.frame.to_resized).numpy().astype(bool)
        assert (found == official).all()
        assert box_of_label(case.frame, label) == tuple(official_calls("box")[organ][0]["box"])
    assert box_of_label(case.frame, labels["lost"]) == NO_BOX


def test_a_given_box_holds_the_label_on_the_resized_grid(case, labels):
    for organ, label in labels.items():
        given, official = box_of(case.frame, Box(label.low, label.high)), box_of_label(case.frame, label)
        if organ == "lost":
            assert given[:3] == given[3:] and min(given) >= 0  # a voxel that is nowhere lies in the nearest one
        else:
            assert given == official


def prompts_of(kind, organ, case, label):
    call = official_calls(kind)[organ][0]
    clicks = tuple(
        Click(world_of(tuple(point), case.frame.resized_affine), sign == 1)
        for point, sign in zip(call.get("points", []), call.get("labels", []), strict=True)
    )
    box = Box(label.low, label.high) if "box" in call else None
    return Prompt(clicks, box, call.get("text"))


def described(shape, inputs):
    """A decoder's call as the recording says it."""
    given = dict(zip((spec.name for spec in shape.inputs), inputs, strict=True))
    return {name: given[name].int().tolist() for name in ("points", "labels", "box") if name in given}


def without(call, *names):
    return {key: value for key, value in call.items() if key not in names}


@pytest.mark.parametrize("kind", KINDS)
def test_the_whole_protocol(kind, case, labels, stored):
    """Same windows, same prompts in them, the same mask in every voxel of the cut."""
    # a user's clicks have no empty places, which the official draw fills up with for organs as small as these
    organs = standin.ORGANS[:2] if "points" in kind else standin.ORGANS
    sources = [Asking(organ, [prompts_of(kind, organ, case, labels[organ])], labels[organ]) for organ in organs]
    cheap = Cheap()
    masks = cheap.run(case, sources)
    calls = [call for organ in organs for call in official_calls(kind)[organ]]
    assert [described(*entry) for entry in cheap.decoded] == [without(call, "window", "text") for call in calls]
    windows = [call["window"] for call in calls if call["window"] != calls[0]["window"]]
    seen = [[float(image.mean()), float(image.std())] for (image,) in cheap.encoded]
    assert len(cheap.encoded) == 1 + len(windows)
    assert np.abs(np.array(seen[1:]) - windows).max() < 2e-7
    lines = [torch.arange(n) for n in case.frame.size]
    for organ, mask in zip(organs, masks, strict=True):
        found = case.frame.from_scan(mask, lines).numpy().astype(bool)
        official = unpacked(stored[f"{kind}/{organ}"], case.frame.size)
        differ = int((found != official).sum())
        print(f"{kind} {organ}: {differ} of {official.size} voxels differ; {int(official.sum())} set")
        assert differ == 0


@pytest.mark.parametrize("kind", ["box+text", "points+text"])
@pytest.mark.parametrize("organ", ["broad", "cornered"])
def test_the_logits(kind, organ, case, labels, stored):
    """A glance's logits by `nearest`, overwritten in the region by the mean of its windows."""
    call = official_calls(kind)[organ][0]
    cheap = Cheap()
    asked = Asked(tuple(map(tuple, call.get("points", []))), tuple(call.get("labels", [])),
                  tuple(call["box"]) if "box" in call else None, call.get("text"))  # fmt: skip
    text = cheap.embed(asked.text)[None] if asked.text else None
    given = {"points": torch.tensor([asked.points]).float(), "labels": torch.tensor([asked.labels]).float()}
    given = (given if asked.points else {}) | ({"box": torch.tensor([asked.box])} if asked.box else {})
    given |= {"text": text} if asked.text else {}
    with torch.no_grad():
        logits = standin.Bumps(tuple(given))(standin.Packing()(case.resized[None]), *given.values())
    glance = enlarge(logits[0])
    region = find_region(decided(glance), case.frame, 0.5)
    whole = pick(glance, case.frame.from_resized)
    if region is not None:
        draws = TorchDraws()
        if organ == "cornered" and asked.points:  # the stream goes on from the organ before
            draws.draw(marked_by_broad(kind, case), ())
        prompts = WindowPrompts(region, case.frame, decided(glance), asked, shift=False)
        program = zoom_in(case, prompts, None if text is None else text[0], cheap.pieces, draws, ())
        mean = run_program(program, lambda unit: open_unit(unit, "torch", CPU))
        whole[tuple(slice(a, b) for a, b in zip(region.low, region.high, strict=True))] = mean
    official = stored[f"{kind}/{organ}/logits"]
    error = np.abs(standin.probe(whole) - official).max() / np.ptp(official)
    print(f"{kind} {organ}: {error:.1e} of the range")
    assert error <= 1e-6


def marked_by_broad(kind, case):
    """How many voxels of the crop show the first organ's positive points: what its only draw was made from."""
    call = official_calls(kind)["broad"][0]
    voxels = set()
    for point, label in zip(call["points"], call["labels"], strict=True):
        lines = [torch.nonzero(line == at)[:, 0].tolist() for line, at in
                 zip(case.frame.from_resized, point, strict=True)]  # fmt: skip
        voxels.update(itertools.product(*lines) if label == 1 else ())
    return len(voxels)


def test_the_fixed_padding_moves_the_prompts_by_it(case, labels):
    """Only where a region is smaller than the window; the option is off by default."""
    organ = "cornered"
    source = [Asking(organ, [prompts_of("box", organ, case, labels[organ])], labels[organ])]
    plain, fixed = Cheap(), Cheap(Options(variant="official", pad_prompts=True))
    plain.run(case, [Asking(organ, [prompts_of("box", organ, case, labels[organ])], labels[organ])])
    fixed.run(case, source)
    before, after = (np.array(described(*cheap.decoded[1])["box"]) for cheap in (plain, fixed))
    moved = after - before
    assert (moved[:3] == moved[3:]).all() and moved.any() and (moved >= 0).all()
