"""Models of one's own that take points: one window around the first click, every click told in its voxels."""

import csv
import json

import nibabel
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from custom_common import describe, load, scan

from umd_engine.cli import main
from umd_engine.engine.executor import run_program
from umd_engine.errors import PromptError
from umd_engine.models.mask import Mask
from umd_engine.models.model import is_prompted
from umd_engine.models.prompts import Click, Prompt, world_of
from umd_engine.models.ready import open_unit

RADIUS = 3.0


class Balls(torch.nn.Module):
    """Inside a ball around a positive click and in none around a negative one."""

    def forward(self, image: torch.Tensor, points: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        d0, d1, d2 = image.shape[2], image.shape[3], image.shape[4]
        grid = torch.stack(torch.meshgrid([torch.arange(d0), torch.arange(d1), torch.arange(d2)], indexing="ij"), -1)
        far = (grid[None, None] - points[:, :, None, None, None]).square().sum(-1).sqrt()
        inside = (3.0 - far) * (2 * labels[:, :, None, None, None] - 1)
        yes = inside.masked_fill((labels < 0.5)[:, :, None, None, None], -99.0).amax(1)
        no = inside.masked_fill((labels > 0.5)[:, :, None, None, None], 99.0).amin(1)
        return torch.minimum(yes, no)[:, None]


class Source:
    """Gives its prompts one after the other and keeps what it is shown."""

    organ, label = "liver", None

    def __init__(self, *prompts):
        self.prompts, self.shown, self.notes = list(prompts), [], []

    def next(self, mask, view=None, note=""):
        self.shown.append(mask)
        self.notes.append(note)
        return self.prompts.pop(0) if self.prompts else None


def model_of(folder, **changes):
    torch.jit.script(Balls()).save(str(folder / "net.pt"))
    output = {"channels": 1, "activation": "none", "threshold": 0.0, "organs": {"organ": 0}}
    changes = {"grid": None, "windows": {"patch": [16, 16, 16]}, "prompts": "point", "output": output} | changes
    return load(describe(folder, {"format": "torchscript", "file": "net.pt"}, **changes))


def ask(model, image, *sources):
    opened = {}
    case = model.prepare([image], torch.device("cpu"))

    def session(unit):
        return opened.setdefault(unit, open_unit(unit, "torch", torch.device("cpu")))

    return run_program(model.segment(case, sources), session)


def ball(image, voxel):
    places = np.stack(np.meshgrid(*map(np.arange, image.shape), indexing="ij"), -1)
    return np.linalg.norm(places - np.array(voxel), axis=-1) < RADIUS


def click(image, voxel, positive=True):
    return Click(world_of(voxel, image.affine), positive)


@pytest.mark.parametrize("orientation", ["RAS", "LPS", "SRA"])
def test_clicks_are_told_in_voxels_and_add_up(orientation, tmp_path):
    image = scan((30, 26, 28))
    model = model_of(tmp_path, orientation=orientation)
    assert is_prompted(model) and model.prompts == {"point"} and not model.crops_by_label
    first, second, third = (12, 20, 8), (15, 20, 8), (27, 2, 25)
    source = Source(Prompt((click(image, first),)), Prompt((click(image, second, False),)),
                    Prompt((click(image, third),)))  # fmt: skip
    (mask,) = ask(model, image, source)
    assert [shown is None for shown in source.shown] == [True, False, False, False]
    assert np.array_equal(source.shown[1].full().numpy() != 0, ball(image, first))
    both = ball(image, first) & ~(ball(image, second))
    assert np.abs((source.shown[2].full().numpy() != 0) ^ both).sum() <= 20  # on the edge between two balls
    assert np.array_equal(mask.full(), source.shown[2].full())  # the third is outside the window
    assert source.notes == ["", "", "", "1 click outside the window"]


def test_a_window_stays_inside_and_a_small_scan_is_padded(tmp_path):
    model = model_of(tmp_path)
    for shape, voxel in (((30, 26, 28), (0, 25, 1)), ((7, 40, 9), (3, 5, 8))):
        image = scan(shape)
        (mask,) = ask(model, image, Source(Prompt((click(image, voxel),))))
        assert np.array_equal(mask.full().numpy() != 0, ball(image, voxel))


def test_a_lattice_of_another_spacing(tmp_path):
    image = scan((40, 40, 40), spacing=(1.0, 1.0, 1.0))
    for placing in ("extent", "first-voxel"):
        model = model_of(tmp_path, grid={"spacing": [2.0, 2.0, 2.0], "placing": placing})
        (mask,) = ask(model, image, Source(Prompt((click(image, (20, 11, 30)),))))
        where = np.argwhere(mask.full().numpy())
        assert np.abs(where.mean(0) - (20, 11, 30)).max() < 0.3  # mm: the voxels are of 1 mm
        assert abs(len(where) - 4 / 3 * np.pi * 6**3) < 120


def test_organs_are_asked_together_and_fail_alone(tmp_path):
    image = scan((30, 26, 28))
    good, bad = Source(Prompt((click(image, (8, 9, 10)),))), Source(Prompt((click(image, (8, 9, 10), False),)))
    outside = Source(Prompt((Click((900.0, 0.0, 0.0)),)))
    nothing = Source()
    results = ask(model_of(tmp_path), image, good, bad, outside, nothing)
    assert isinstance(results[0], Mask) and results[0].voxels.any()
    assert isinstance(results[1], PromptError) and isinstance(results[2], PromptError)
    assert not results[3].voxels.any() and ask(model_of(tmp_path), image) == []


def test_it_is_evaluated_as_other_prompted_models_are(tmp_path):
    image = scan((30, 26, 28))
    label = (ball(image, (9, 12, 14)) * 1).astype(np.uint8)
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(image.voxels), image.affine), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, image.affine), tmp_path / "l.nii.gz")
    (tmp_path / "labels.json").write_text(json.dumps({"name": "x", "labels": {"liver": 1}}))
    with (tmp_path / "scans.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["cohort", "subject", "scan_id", "modality", "image", "unit", "label", "label_set"])
        rows.writerow(["petct", "s", "1", "ct", "a.nii.gz", "HU", "l.nii.gz", "labels.json"])
    model_of(tmp_path)
    path = tmp_path / "mine.yaml"
    command = [
        "evaluate",
        tmp_path / "scans.csv",
        "--out",
        tmp_path / "run",
        "--model",
        path,
        "--trust",
        path,
        "--json",
    ]
    result = CliRunner().invoke(main, [str(part) for part in command])
    assert result.exit_code == 0, result.output + result.stderr
    assert "liver" in result.output and "mine" in result.output


def test_try_asks_for_every_organ_of_the_phantom(tmp_path):
    model_of(tmp_path)
    common = (
        "models",
        "try",
        str(tmp_path / "mine.yaml"),
        "--trust",
        str(tmp_path),
        "--picture",
        str(tmp_path / "p.png"),
    )
    told = json.loads(CliRunner().invoke(main, [*common, "--device", "cpu", "--json"], catch_exceptions=False).stdout)
    volume = 4 / 3 * np.pi * RADIUS**3 * 3.9 * 3.9 * 5 / 1000  # ml of a whole ball
    assert told["synthetic"] and len(told["organs_ml"]) + len(told["failed"]) == 13
    assert all(0.7 * volume < found < 1.3 * volume for found in told["organs_ml"].values())
    assert all("absent" in reason for reason in told["failed"].values())
    assert (tmp_path / "p.png").read_bytes()[:4] == b"\x89PNG"
    refused = CliRunner().invoke(main, [*common, "--image", str(tmp_path / "a.nii.gz")])
    assert refused.exit_code == 1 and "phantom's label" in refused.stderr
