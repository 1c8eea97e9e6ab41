"""VISTA3D's point modes with a network that stands in for the big one: components, steps, grids, bad input."""

from functools import partial

import numpy as np
import pytest
import torch
from memory_common import peak, run_here
from vista3d_common import GRIDS, affine, scan

from umd_engine.engine.executor import Executor, Job
from umd_engine.engine.unit import Unit
from umd_engine.errors import ModelError, PromptError, UnknownNameError
from umd_engine.models.prompts import Box, Click, Prompt, world_of
from umd_engine.models.ready import open_unit
from umd_engine.models.vista3d.model import Vista3DPoints
from umd_engine.models.vista3d.options import Options
from umd_engine.models.vista3d.pointing import Wanted, segment_object
from umd_engine.models.vista3d.recipe import VISTA3D

CPU = torch.device("cpu")
OPEN = partial(open_unit, backend="torch", device=CPU)
torch.set_num_threads(1)


class Bright(torch.nn.Module):
    """The object is what is bright; further points make it no other."""

    def forward(self, image, points, labels):
        return 400 * (image - 0.5)


class Toys:
    """Stands in for `Pieces`."""

    patch = (32, 32, 32)

    def __init__(self):
        self.asked = {}

    def unit(self, points):
        return self.asked.setdefault(points, Unit(f"points{points}", Bright().eval(), (), ("point_logits",)))


class Script:
    """Clicks at voxels of the scan; keeps what it was shown."""

    label = None

    def __init__(self, steps, affine, organ="liver"):
        self.steps, self.affine, self.organ, self.masks = list(steps), affine, organ, []

    def next(self, mask, view=None, note=""):
        self.masks.append(mask)
        if not self.steps:
            return None
        step = self.steps.pop(0)
        if isinstance(step, Prompt):
            return step
        return Prompt(clicks=tuple(Click(world_of(voxel, self.affine), positive) for voxel, positive in step))


def pointed(volume, steps, toys=None, **options):
    model = Vista3DPoints.__new__(Vista3DPoints)
    model.name, model.options, model.recipe = "v", Options(mode="point", **options), VISTA3D
    model.with_class, model.pieces = False, toys or Toys()
    case = model.prepare([volume], CPU)
    sources = [Script(step, volume.affine) for step in steps]
    executor = Executor(OPEN, batch_size=2)
    (outcome,) = executor.run([Job(None, 0, lambda: model.segment(case, sources))])
    return outcome.result, sources


@pytest.mark.parametrize("matrix", [GRIDS[name][1] for name in ("plain", "flipped, permuted", "oblique, thin")])
@pytest.mark.parametrize("variant", ["engine", "official"])
def test_an_object_is_the_component_that_was_clicked_at(matrix, variant):
    labels = np.zeros((50, 44, 60), np.uint8)
    labels[5:15, 5:15, 5:15], labels[18:26, 5:15, 8:15], labels[30:40, 30:40, 45:55] = 9, 9, 9
    volume = scan(labels, matrix)
    first = volume.grid.to_canonical(np.where(np.arange(50)[:, None, None] < 16, labels, 0)) > 0
    third = volume.grid.to_canonical(np.where(np.arange(50)[:, None, None] > 28, labels, 0)) > 0
    at = [tuple(int(n) for n in np.argwhere(part).mean(0).round()) for part in (first, third)]
    steps = [[(at[0], True)], [(at[1], True)]]
    (mask, other, wrong), sources = pointed(volume, [steps, [[(at[1], True)]], [Prompt(text="liver")]], variant=variant)
    assert np.array_equal(sources[0].masks[1].full().numpy() > 0, first)
    assert np.array_equal(mask.full().numpy() > 0, first | third)  # the second step asks with both points
    assert np.array_equal(other.full().numpy() > 0, third)
    assert isinstance(wrong, PromptError) and mask.voxels.numel() < labels.size


def test_clicks_that_cannot_be_used():
    labels = np.zeros((60, 60, 60), np.uint8)
    labels[25:35, 25:35, 25:35] = 9
    volume = scan(labels, affine((1.5,) * 3))
    bad = [[((70, 30, 30), True)], [((2, 2, 2), True)]], [Prompt(box=Box((0, 0, 0), (3, 3, 3)))]
    found, _ = pointed(volume, [[bad[0][0]], [bad[0][1]], bad[1], [[((30, 30, 30), False)]], []])
    assert [type(one) for one in found[:3]] == [PromptError] * 3
    assert "outside the scan" in str(found[0]) and "above 0" in str(found[1])
    assert found[3].voxels.sum() == 1000  # a negative click alone: the official code keeps every component
    assert found[4].voxels.numel() == 0


def test_undefined_logits_are_no_empty_mask():
    class Broken(torch.nn.Module):
        def forward(self, image, points, labels):
            return image * torch.nan

    class Breaking(Toys):
        def unit(self, points):
            return self.asked.setdefault(points, Unit("broken", Broken().eval(), (), ("point_logits",)))

    labels = np.full((40, 40, 40), 9, np.uint8)
    labels[0] = 0
    volume = scan(labels, affine((1.5,) * 3))
    (found,), _ = pointed(volume, [[[((20, 20, 20), True)]]], Breaking())
    assert isinstance(found, ModelError) and "infinite or undefined" in str(found)


def test_memory_of_points_far_apart_is_declared():
    labels = np.full((90, 80, 70), 9, np.uint8)
    labels[40:48] = 0
    volume = scan(labels, affine((1.5,) * 3))
    model = Vista3DPoints.__new__(Vista3DPoints)
    model.name, model.options, model.recipe, model.with_class = "v", Options(mode="point"), VISTA3D, False
    model.pieces, model.patch = Toys(), Toys.patch
    case = model.prepare([volume], CPU)
    program = segment_object(case, Script([[((9, 9, 9), True), ((80, 70, 60), True)]], volume.affine), Toys(), Wanted())
    found = peak(lambda: run_here(program, OPEN))
    declared = model.nbytes(volume.shape, (1.5,) * 3, 1) - model._held(volume.shape, (1.5,) * 3)[0]
    assert 10 * case.image.numel() < found <= declared


def test_class_and_point_takes_one_class():
    model = Vista3DPoints.__new__(Vista3DPoints)
    model.name, model.recipe, model.table = "v", VISTA3D, torch.arange(512.0)[:, None].expand(512, 48)
    assert model._wanted("liver").row[0] == 1 and not model._wanted("liver").special
    assert model._wanted("left lung upper lobe").special
    with pytest.raises(PromptError, match="5 classes"):
        model._wanted("lung")
    with pytest.raises(UnknownNameError):
        model._wanted("spleeen")
