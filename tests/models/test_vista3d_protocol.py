"""VISTA3D's protocol with networks that stand in for the big one: slabs, grids, organs, windows, bad input."""

from functools import partial

import numpy as np
import pytest
import torch
from memory_common import peak, run_here
from vista3d_common import GRIDS, affine, scan

from umd_engine.data.volume import Volume
from umd_engine.engine.executor import Executor, Job, run_program
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.windows import centred_gaussian
from umd_engine.errors import ModelError, OptionError, UnknownNameError, VoxelError
from umd_engine.models.ready import open_unit
from umd_engine.models.vista3d.classes import CT, CTMR, unique
from umd_engine.models.vista3d.model import Vista3D
from umd_engine.models.vista3d.options import CtmrOptions, Options
from umd_engine.models.vista3d.prepare import prepare_scan
from umd_engine.models.vista3d.protocol import AT_ONCE, Pass, label_slabs, mean_logits
from umd_engine.models.vista3d.recipe import PADDINGS, VISTA3D, VISTA3D_CTMR
from umd_engine.models.vista3d.slabs import SlabSums, slab_bytes, slowest_axis

CPU = torch.device("cpu")
OPEN = partial(open_unit, backend="torch", device=CPU)
PATCH = "32x32x32"
torch.set_num_threads(1)


class Levels(torch.nn.Module):
    """Logits that are above 0 where the image shows a class's level; class k's is 100 * k HU, k from 1."""

    def __init__(self, classes):
        super().__init__()
        low, high = VISTA3D.window
        self.register_buffer("levels", (100.0 * torch.arange(1, classes + 1) - low) / (high - low))

    def forward(self, image):
        return 0.02 - (image - self.levels[None, :, None, None, None]).abs()


class Mixed(torch.nn.Module):
    """Outputs that depend on where the window lies, so that overlapping windows disagree; of products and sums alone,
    whose bits no batch changes."""

    def __init__(self, channels):
        super().__init__()
        self.register_buffer("kernel", torch.randn((channels, 1), generator=torch.Generator().manual_seed(3)))

    def forward(self, image):
        centred = image - image[..., :1, :1, :1]
        scaled = self.kernel[None, :, :, None, None] * (centred.roll(3, 2) + 0.5 * centred.roll(5, 4))
        return 3 * scaled - scaled * scaled - 0.1


def walk(module, classes, options, table=None, patch=(32, 32, 32), padding="constant"):
    unit = Unit("toy", module.eval(), (TensorSpec("image", (1, *patch)),), ("logits",))
    return Pass(unit, table, classes, patch, padding, options)


def boxes(shape, count, seed=0):
    """Labels 1 to count in boxes."""
    draw, labels = np.random.default_rng(seed), np.zeros(shape, np.uint8)
    for label in range(1, count + 1):
        low = [int(draw.integers(0, n // 2)) for n in shape]
        labels[tuple(slice(lo, lo + n // 3) for lo, n in zip(low, shape, strict=True))] = label
    return labels


def segmented(volume, classes, options, batch_size=2):
    case = prepare_scan(volume, CPU, VISTA3D, options)
    labels = run_program(label_slabs(case, walk(Levels(classes), classes, options)), OPEN, batch_size)
    return case.lattice.to_scan(labels).numpy()


def dice(a, b):
    return 2 * (a & b).sum() / (a.sum() + b.sum())


@pytest.mark.parametrize("options", [Options(), Options(variant="official"), Options(protocol="research")], ids=str)
@pytest.mark.parametrize("name", GRIDS)
def test_a_network_that_says_the_label_gives_it_back(name, options):
    shape, matrix, least = GRIDS[name]
    labels = boxes(shape, 4)
    volume = scan(labels, matrix)
    found = volume.grid.to_file_order(segmented(volume, 4, options))
    for label in np.unique(labels)[1:]:
        assert dice(found == label, labels == label) >= least


def test_batches_and_windows_left_out_change_nothing():
    labels = np.zeros((110, 50, 40), np.uint8)
    labels[:20, :20, :20], labels[-15:, -15:, -15:] = 1, 2
    volume = scan(labels, affine((1.5,) * 3))
    plain = segmented(volume, 2, Options(patch=PATCH))
    assert np.array_equal(plain, labels)
    assert np.array_equal(plain, segmented(volume, 2, Options(patch=PATCH), batch_size=5))
    calls = {}
    for skip in (False, True):
        options = Options(patch=PATCH, skip_air=skip)
        case = prepare_scan(volume, CPU, VISTA3D, options)
        executor = Executor(OPEN, batch_size=1)
        (outcome,) = executor.run([Job(None, 0, lambda c=case, o=options: label_slabs(c, walk(Levels(2), 2, o)))])
        assert np.array_equal(outcome.result.numpy(), plain)
        calls[skip] = executor.calls
    assert 0 < calls[True] < calls[False] / 2


def whole_sums(image, module, starts, weights):
    """All windows in one volume, in the same order, as MONAI sums them."""
    patch, sums, count = weights.shape, 0, torch.zeros(image.shape)
    for start in starts:
        box = tuple(slice(s, s + p) for s, p in zip(start, patch, strict=True))
        with torch.no_grad():
            output = module(image[box][None, None])[0]
        sums = torch.zeros((len(output), *image.shape)) if isinstance(sums, int) else sums
        sums[(slice(None), *box)] += output * weights
        count[box] += weights
    return sums / count


@pytest.mark.parametrize("protocol", ["bundle", "research"])
@pytest.mark.parametrize("variant", ["engine", "official"])
@pytest.mark.parametrize("shape", [(40, 45, 120), (90, 32, 35), (33, 77, 64)])
def test_slabs_have_the_bits_of_whole_volumes(shape, variant, protocol):
    volume = Volume.from_array(np.random.default_rng(5).normal(200, 300, shape).astype(np.float32), affine((1.5,) * 3))
    options = Options(variant=variant, protocol=protocol)
    case = prepare_scan(volume, CPU, VISTA3D, options)
    module, passing = Mixed(6), walk(Mixed(6), 6, options)
    weights = centred_gaussian((32, 32, 32)) if protocol == "research" else torch.ones(32, 32, 32)
    axis = 0 if variant == "official" else slowest_axis(shape, (32, 32, 32))
    starts = SlabSums(1, shape, weights, options.overlap, axis, lambda *_: None).starts
    wanted = whole_sums(case.image, module, starts, weights)
    assert torch.equal(run_program(mean_logits(case, passing), OPEN), wanted)
    labels = torch.where((wanted > 0).any(0), wanted.clamp(min=0).argmax(0) + 1, 0)
    assert torch.equal(run_program(label_slabs(case, passing), OPEN).long(), labels) and len(labels.unique()) >= 4


def test_many_classes_are_summed_as_features():
    """Logits are linear in the features, so their sums can wait."""
    shape, classes = (40, 36, 70), 60
    volume = Volume.from_array(np.random.default_rng(6).normal(200, 300, shape).astype(np.float32), affine((1.5,) * 3))
    options = Options()
    case = prepare_scan(volume, CPU, VISTA3D, options)
    table = torch.randn((classes, 48), generator=torch.Generator().manual_seed(4))
    passing = walk(Mixed(48), classes, options, table)
    features = run_program(mean_logits(case, walk(Mixed(48), 48, options)), OPEN)
    wanted = torch.einsum("kc,cxyz->kxyz", table, features)
    found = run_program(mean_logits(case, passing), OPEN)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-4)
    labels = run_program(label_slabs(case, passing), OPEN)
    best, which = wanted.topk(2, 0)
    clear = (best[0] - best[1] > 1e-3) & (best[0].abs() > 1e-3)
    assert clear.float().mean() > 0.95
    assert torch.equal(labels.long()[clear], torch.where(best[0] > 0, which[0] + 1, 0)[clear])


@pytest.mark.parametrize("depth", [110, 150])
@pytest.mark.parametrize("as_features", [False, True])
def test_memory_is_that_of_a_slab_whatever_the_length(depth, as_features):
    shape, patch, classes = (100, 96, depth), (32, 32, 32), 60
    volume = Volume.from_array(np.random.default_rng(7).normal(200, 300, shape).astype(np.float32), affine((1.5,) * 3))
    case = prepare_scan(volume, CPU, VISTA3D, Options())
    channels = 48 if as_features else classes
    table = torch.randn((classes, 48), generator=torch.Generator().manual_seed(4)) if as_features else None
    passing = walk(Mixed(channels), classes, Options(), table)
    held = channels if as_features else channels + 1  # the background's zeros
    wanted = slab_bytes(held, shape, patch, 2)
    assert passing.nbytes(shape) == wanted == 4 * (held + 1) * 32 * 100 * 96
    window = 4 * channels * 32**3
    found = peak(lambda: run_here(label_slabs(case, passing), OPEN))
    # the stand-in's own tensors are windows; besides the labels, and logits of a few planes
    extra = 5 * window + 12 * AT_ONCE + 3 * np.prod(shape)
    assert wanted <= found <= wanted + extra


@pytest.mark.parametrize("variant", ["engine", "official"])
@pytest.mark.parametrize("recipe", [VISTA3D, VISTA3D_CTMR], ids=lambda recipe: recipe.name)
def test_memory_of_preparing_is_declared(recipe, variant):
    shape, spacing = (130, 120, 90), (1.3, 1.5, 1.8)
    options = (Options if recipe is VISTA3D else CtmrOptions)(variant=variant)
    volume = Volume.from_array(np.random.default_rng(7).normal(200, 900, shape).astype(np.int16), affine(spacing))
    model = Vista3D.__new__(Vista3D)
    model.options, model.recipe = options, recipe
    prepare_scan(volume, CPU, recipe, options)
    declared = model._held(shape, spacing)[0] - 4 * volume.voxels.size  # the copy of the scan is NumPy's here
    assert 0.6 * declared < peak(lambda: prepare_scan(volume, CPU, recipe, options)) <= declared


def test_117_classes_of_a_whole_body_stay_below_8_gb():
    shape = (512, 512, 900)  # voxels of 1.5 mm
    ids = unique(CT.asked("all"))
    assert len(ids) == 117
    module = torch.nn.Identity()
    passing = walk(module, 117, Options(), torch.zeros(117, 48), (128, 128, 128))
    assert passing.nbytes(shape) == 4 * 49 * 128 * 512 * 512 < 8e9
    official = walk(module, 117, Options(variant="official"), None, (128, 128, 128))
    assert official.nbytes((341, 341, 600)) > 8e9  # the official variant sums classes, along x


def test_an_image_smaller_than_a_window_is_padded_as_published_or_as_chosen():
    assert (VISTA3D.padding_of(Options()), VISTA3D_CTMR.padding_of(CtmrOptions())) == ("zeros", "edge")
    assert VISTA3D.described(Options(padding="edge"))["padding"] == "edge"
    seen = []

    class Noting(torch.nn.Module):
        def forward(self, image):
            seen.append(image[0, 0].clone())
            return image

    volume = Volume.from_array(np.full((20, 40, 40), 500, np.float32), affine((1.5,) * 3))
    case = prepare_scan(volume, CPU, VISTA3D, Options(images="any"))
    for padding in (PADDINGS["zeros"], PADDINGS["edge"]):
        run_program(label_slabs(case, walk(Noting(), 1, Options(), padding=padding)), OPEN, 1)
    outside = [image[:6] for image in (seen[0], seen[-1])]
    assert not outside[0].any() and bool((outside[1] > 0.7).all())


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_undefined_logits_end_the_scan(value):
    class Broken(torch.nn.Module):
        def forward(self, image):
            return image.expand(-1, 2, -1, -1, -1) * value

    volume = scan(boxes((40, 40, 40), 2), affine((1.5,) * 3))
    case = prepare_scan(volume, CPU, VISTA3D, Options())
    with pytest.raises(ModelError, match="infinite or undefined"):
        run_program(label_slabs(case, walk(Broken(), 2, Options())), OPEN)


def test_organs_by_name_and_by_id():
    asked = CT.asked("")
    assert list(asked) == [
        "liver", "kidney_left", "kidney_right", "brain", "heart", "spleen", "aorta", "lung", "colon", "urinary_bladder",
        "pancreas", "esophagus", "stomach",
    ]  # fmt: skip
    assert unique(asked) == (1, 14, 5, 22, 115, 3, 6, 28, 29, 30, 31, 32, 62, 15, 4, 11, 12)
    assert CT.asked("20,lung, spleen") == {"lung": CT.lung, "spleen": (3,)} and CT.asked("kidney") == {
        "kidney": (14, 5)
    }
    assert len(unique(CT.asked("bone"))) == 24 + 35 + 3
    assert CTMR.asked("lung,345")["lung"] == (135, 136) and len(CTMR.asked("all")) == 50
    of_ct = VISTA3D_CTMR.classes_of(CtmrOptions(body="ct"))
    assert of_ct.asked("lung,345")["lung"] == CT.lung and of_ct.asked("all") == CT.asked("all")
    assert VISTA3D_CTMR.classes_of(CtmrOptions()) is CTMR and VISTA3D.classes_of(Options()) is CT
    with pytest.raises(OptionError, match="two sets of classes"):
        CTMR.asked("20,lung")
    for text in ("0", "16", "131", "133", "1,129"):
        with pytest.raises(OptionError, match="has no class"):
            CT.asked(text)
    with pytest.raises(UnknownNameError, match="spleen"):
        CT.asked("liver,splen")
    with pytest.raises(UnknownNameError):
        CT.asked("thymus")  # which only the CT and MR model knows
    assert CTMR.asked("thymus")
    with pytest.raises(OptionError, match=r"^vista3d-ctmr: .*no class 162"):
        CTMR.asked("162")
    with pytest.raises(OptionError, match="classes are asked for"):
        CTMR.asked(",".join(str(i) for i in range(1, 346) if i not in CTMR.unsupported))


def test_options_that_do_not_go_together():
    for bad in (
        {"variant": "x"},
        {"mode": "box"},
        {"protocol": "paper"},
        {"images": "mr"},
        {"mode": "point", "organs": "1"},
        {"padding": "constant"},
        {"mode": "point", "padding": "edge"},
    ):
        with pytest.raises(OptionError):
            Options(**bad)
    for patch in ("32", "32x32", "40x32x32", "0x32x32", "axbxc", "32x32x32x"):
        with pytest.raises(OptionError, match="multiples of 16"):
            Options(patch=patch)
    with pytest.raises(OptionError, match="use vista3d for points"):
        CtmrOptions(mode="point")


def test_images_that_cannot_be_segmented():
    pet = Volume.from_array(np.abs(np.random.default_rng(0).normal(2, 1, (20, 20, 20))).astype(np.float32), np.eye(4))
    with pytest.raises(VoxelError, match="no CT in HU"):
        prepare_scan(pet, CPU, VISTA3D, Options())
    assert prepare_scan(pet, CPU, VISTA3D, Options(images="any")).image.shape == (14, 14, 14)
    assert prepare_scan(pet, CPU, VISTA3D_CTMR, CtmrOptions()).image.max() == 1
    air = Volume.from_array(np.full((20, 20, 20), -1000, np.int16), np.eye(4))
    with pytest.raises(VoxelError, match="no voxel is above 0"):
        prepare_scan(air, CPU, VISTA3D, Options())
    alike = Volume.from_array(np.full((20, 20, 20), 7, np.int16), np.eye(4))
    with pytest.raises(VoxelError, match="the same"):
        prepare_scan(alike, CPU, VISTA3D_CTMR, CtmrOptions())
    holes = np.zeros((20, 20, 20), np.float32)
    holes[3, 3, 3] = np.nan
    with pytest.raises(VoxelError, match="not numbers"):
        prepare_scan(Volume.from_array(holes, np.eye(4)), CPU, VISTA3D, Options())
    model = Vista3D.__new__(Vista3D)
    model.name = "v"
    with pytest.raises(VoxelError, match="takes one image"):
        model.prepare([pet, pet], CPU)
