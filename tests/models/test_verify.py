"""Verification on the trained demo networks: what is near passes, what is not is refused, every error is counted."""

import copy
from dataclasses import replace
from types import MappingProxyType

import numpy as np
import pytest
import torch

from umd_engine.bench.demo.study import CT, PET
from umd_engine.data.manifest import read_manifest
from umd_engine.data.phantom.files import MANIFEST, write_cohort
from umd_engine.data.scan import read_scan
from umd_engine.engine.backends.eager import EagerSession
from umd_engine.engine.backends.onnx_session import OnnxSession
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import call
from umd_engine.errors import AccuracyError, ModelError, UnknownNameError
from umd_engine.exporters.emulate import emulate
from umd_engine.exporters.onnx_export import export_onnx
from umd_engine.exporters.precision import to_precision
from umd_engine.models.agreement import OrganAgreement, compare_labels, compare_masks
from umd_engine.models.mask import Mask
from umd_engine.models.model import Segmentation
from umd_engine.models.nnunet.model import NnUNet
from umd_engine.models.nnunet.protocol import Options
from umd_engine.models.verify import Report, refuse, verify
from umd_engine.models.windows import windows_of

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    folder = tmp_path_factory.mktemp("phantom") / "scans"
    write_cohort(folder, "petct", 1)
    return {row.modality: read_scan(row) for row in read_manifest(folder / MANIFEST)}


@pytest.fixture(scope="module")
def ct():
    return NnUNet("ct", CT, Options())


def eager(unit):
    return EagerSession(unit, CPU)


class Disturbed:
    """A session whose outputs are off by `error`, of the first class."""

    def __init__(self, unit, error):
        self.session, self.error = eager(unit), error

    def run(self, inputs):
        (logits,) = self.session.run(inputs)
        logits[:, 0] += self.error
        return (logits,)


def test_a_model_agrees_with_itself(ct, scans):
    report = verify(ct, [scans["ct"]], eager, eager)
    assert report.mean_dice == 1 and report.flipped == 0 and len(report.counted) == 13
    assert report.voxels == np.prod(scans["ct"].images[0].grid.shape)
    (error,) = report.outputs
    assert error.largest == error.rms == 0 and error.span > 10 and error.items >= 2
    refuse(report, "fp32")


def test_a_disturbance_is_counted_and_refused(ct, scans):
    report = verify(ct, [scans["ct"]], lambda unit: Disturbed(unit, 2.0), eager)
    (error,) = report.outputs
    assert error.largest == pytest.approx(2, rel=1e-4)
    assert error.rms == pytest.approx(2 / np.sqrt(14), rel=1e-4)  # one class of 14
    assert 0 < report.flipped < report.voxels and report.mean_dice < 0.99
    with pytest.raises(AccuracyError, match=r"mean Dice with fp32 is 0\.\d+, below 0.99"):
        refuse(report, "int8")


def test_infinite_logits_end_the_verification(ct, scans):
    with pytest.raises(ModelError, match="infinite"):
        verify(ct, [scans["ct"]], lambda unit: Disturbed(unit, float("inf")), eager)


def test_limits():
    good = [OrganAgreement("a", f"organ {i}", 0.9999, 1000, 1) for i in range(100)]
    report = lambda *more: Report((*good, *more), (), 10, 1)  # noqa: E731
    refuse(report(OrganAgreement("a", "absent", None, 0, 0)), "fp16")
    with pytest.raises(AccuracyError, match=r"Dice of spleen with fp32 is 0\.97000, below 0\.98: 60 voxels"):
        refuse(report(OrganAgreement("b", "spleen", 0.97, 1000, 60)), "fp16")
    lower = replace(report(), organs=tuple(replace(one, dice=0.995) for one in good))
    refuse(lower, "int8")
    with pytest.raises(AccuracyError, match=r"below 0\.999"):
        refuse(lower, "bf16")
    with pytest.raises(AccuracyError, match="shows nothing"):
        refuse(Report((OrganAgreement("a", "spleen", None, 0, 0),), (), 10, 0), "fp16")
    with pytest.raises(UnknownNameError, match="fp16"):
        refuse(report(), "fp61")


def test_label_maps_and_masks_are_compared_alike():
    organs = MappingProxyType({"one": (1,), "two": (2,), "both": (1, 2), "none": (3,)})
    exact = torch.zeros((2, 3, 4), dtype=torch.uint8)
    exact[0, 0], exact[0, 1] = 1, 2
    tested = exact.clone()
    tested[0, 0, 0], tested[0, 1, :2], tested[1, 2, 3] = 0, 1, 2
    found = compare_labels("a", Segmentation(exact, organs), Segmentation(tested, organs))
    assert (found.voxels, found.flipped) == (24, 4)
    dice = {one.organ: one.dice for one in found.organs}
    assert dice == {"one": 2 * 3 / (4 + 5), "two": 2 * 2 / (4 + 3), "both": 2 * 7 / (8 + 8), "none": None}
    mine, theirs = (
        {organ: Mask.of(torch.isin(labels, torch.tensor(ids))) for organ, ids in organs.items()}
        for labels in (exact, tested)
    )
    masks = compare_masks("a", mine, theirs)
    assert masks.organs == found.organs and masks.voxels == 4 * 24
    with pytest.raises(ModelError, match="ended"):
        compare_masks("a", mine, {**theirs, "two": ModelError("ended")})


def test_windows_are_what_the_program_gives(ct, scans):
    kept = windows_of([lambda: ct.segment(ct.prepare(scans["ct"].images, CPU))], eager, limit=3)
    (windows,) = kept.values()
    assert len(windows) == 3 and {w["image"].shape for w in windows} == {(1, 1, 48, 80, 80)}
    assert not np.array_equal(windows[0]["image"], windows[1]["image"])


class Clicked(torch.nn.Module):
    def forward(self, image, labels):
        return image + labels.sum(1)[:, None]


def asked(images, labels=(1.0,)):
    """A program that asks a decoder once an image, with one click, two, one, ..."""

    def program():
        for number, image in enumerate(images):
            given = torch.tensor(labels * (1 + number % 2))
            inputs = (TensorSpec("image", (4,)), TensorSpec("labels", tuple(given.shape), axes=("clicks",)))
            yield from call(Unit(f"decoder.{len(given)}", Clicked(), inputs), image, given)

    return program


def test_windows_are_drawn_from_every_scan():
    scans = [torch.randn((20, 4), generator=torch.Generator().manual_seed(scan)) for scan in range(3)]
    scans[1][3] = 7  # air alone
    draw = lambda **most: windows_of([asked(images) for images in scans], eager, **most)  # noqa: E731
    (windows,) = draw(limit=8).values()  # one graph for any number of clicks, which may all be alike
    found = [[int((images == torch.from_numpy(w["image"])).all(1).nonzero()) for images in scans
              if (images == torch.from_numpy(w["image"])).all(1).any()] for w in windows]  # fmt: skip
    assert len(windows) == 8 and all(len(places) == 1 for places in found)
    owners = [next(i for i, images in enumerate(scans) if (images == torch.from_numpy(w["image"])).all(1).any())
              for w in windows]  # fmt: skip
    assert owners == [0, 0, 1, 1, 1, 2, 2, 2] and {w["labels"].shape for w in windows} == {(1, 1), (1, 2)}
    assert max(place for (place,) in found) > 5  # not the first of a scan
    assert not any((w["image"] == 7).all() for w in draw(limit=60).popitem()[1])
    (again,) = draw(limit=8).values()
    assert all(np.array_equal(a["image"], b["image"]) for a, b in zip(windows, again, strict=True))
    (few,) = draw(room=2 * (4 + 2) * 4).values()
    assert len(few) <= 3
    (fewer,) = draw(limit=2).values()  # than scans
    assert len(fewer) == 2


def rescaled(model):
    """The model with other weights and nearly the same answers: a norm takes out what scales the channels before it.

    The weights of the demo's networks are stored in 16 bit, so that rounding them to it would show nothing.
    """
    module, (unit,) = copy.deepcopy(model.units[0].module), model.units
    torch.manual_seed(3)
    with torch.no_grad():
        for block in module.modules():
            if hasattr(block, "conv") and hasattr(block, "norm"):
                scale = torch.empty(block.conv.out_channels).uniform_(1, 3)
                block.conv.weight *= scale[:, None, None, None, None]
                block.conv.bias *= scale
    other = copy.copy(model)
    other.units = [replace(unit, module=module)]
    return other


@pytest.mark.full
@pytest.mark.parametrize(("modality", "folder"), [("ct", CT), ("pet", PET)])
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_16_bit_on_a_trained_network(modality, folder, precision, scans, tmp_path):
    model = rescaled(NnUNet(modality, folder, Options()))
    source = export_onnx(model.units[0], tmp_path).path
    to_precision(source, tmp_path / "short.onnx", precision)
    emulate(tmp_path / "short.onnx", tmp_path / "emulated.onnx")
    tested, exact = (OnnxSession(path, CPU) for path in (tmp_path / "emulated.onnx", source))
    report = verify(model, [scans[modality]], lambda unit: tested, lambda unit: exact)
    assert report.flipped > 0 and min(report.counted.values()) > 0.98
    assert report.mean_dice > {"fp16": 0.999, "bf16": 0.998}[precision]
