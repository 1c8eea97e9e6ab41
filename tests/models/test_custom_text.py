"""Models of one's own that take texts: a file of vectors, one or several a call; files and texts with faults."""

import csv
import inspect
import io
import json
import tracemalloc
import zipfile

import nibabel
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from custom_common import PATCH, describe, load, scan

from umd_engine.cli import main
from umd_engine.engine.executor import run_program
from umd_engine.errors import CheckpointError, MissingFileError, ModelError, PromptError
from umd_engine.models.custom.vectors import read_vectors
from umd_engine.models.mask import Mask
from umd_engine.models.model import default_prompt, is_prompted
from umd_engine.models.prompts import Click, Prompt
from umd_engine.models.ready import open_unit, runtime_of

TEXTS = {"Liver ": (0.2, 0.1, 0.0), "left kidney": (0.5, 0.1, 0.0), "spleen": (0.8, 0.1, 9.0)}
OUTPUT = {"channels": 1, "activation": "none", "threshold": 0.0, "organs": {"organ": 0}}


class Band(torch.nn.Module):
    """The image within a band of values: the vector says its middle and half its width."""

    def forward(self, image: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        v = (embedding @ torch.eye(3))[:, :, None, None, None]
        return v[:, 1:2] - (image - v[:, 0:1]).abs()


class Bands(torch.nn.Module):
    """The same for several vectors at once: a channel each."""

    def forward(self, image: torch.Tensor, embedding: torch.Tensor) -> torch.Tensor:
        v = (embedding @ torch.eye(3))[:, :, :, None, None, None]
        return v[:, :, 1] - (image - v[:, :, 0]).abs()


class Source:
    organ, label = "liver", None

    def __init__(self, *prompts):
        self.prompts, self.shown = [Prompt(text=p) if isinstance(p, str) else p for p in prompts], []

    def next(self, mask, view=None, note=""):
        self.shown.append(mask)
        return self.prompts.pop(0) if self.prompts else None


def save(kind, folder, at_once):
    network, many = (Band().eval(), []) if at_once is None else (Bands().eval(), [at_once])
    example = (torch.randn(2, 1, *PATCH), torch.randn(2, *many, 3))
    axes = {0: torch.export.Dim("n", max=64)}
    path = folder / {"torchscript": "net.pt", "python": "net.py"}.get(kind, f"net.{kind}")
    if kind == "torchscript":
        torch.jit.script(network).save(str(path))
    elif kind == "pt2":
        torch.export.save(torch.export.export(network, example, dynamic_shapes=(axes, axes)), path)
    elif kind == "python":
        path.write_text(f"import torch\n{inspect.getsource(type(network))}\nbuild = {type(network).__name__}\n")
    else:
        torch.onnx.export(network, example, str(path), dynamo=True, opset_version=20, verbose=False,
                          external_data=False, dynamic_shapes=(axes, axes))  # fmt: skip
    return {"format": kind, "file": path.name} | ({"function": "build"} if kind == "python" else {})


def save_vectors(folder, vectors):
    np.savez(folder / "organs.npz", **{text: np.array(vector, np.float32) for text, vector in vectors.items()})


def described(folder, kind="torchscript", at_once=None, vectors=TEXTS, **changes):
    save_vectors(folder, vectors)
    texts = {"file": "organs.npz", "length": 3} | ({} if at_once is None else {"at_once": at_once})
    changes = {"prompts": "text", "texts": texts, "output": OUTPUT, "grid": None} | changes
    return describe(folder, save(kind, folder, at_once), **changes)


def ask(model, image, *sources):
    opened = {unit: open_unit(unit, runtime_of(unit), torch.device("cpu")) for unit in model.units}
    return run_program(model.segment(model.prepare([image], torch.device("cpu")), sources), opened.__getitem__)


def band(image, middle):
    """Which voxels lie in a band, and which clearly do or do not."""
    value = ((image.voxels.astype(np.float32) + 100) / 300).clip(0, 1)
    far = 0.1 - np.abs(value - middle)
    return far > 0, np.abs(far) > 1e-5


@pytest.mark.parametrize("at_once", [None, 2])
@pytest.mark.parametrize("kind", ["onnx", "torchscript", "pt2", "python"])
def test_the_answer_depends_on_the_vector(kind, at_once, tmp_path):
    image, model = scan(), load(described(tmp_path, kind, at_once))
    assert is_prompted(model) and model.prompts == {"text"} and default_prompt(model) == "text"
    assert model.protocol["trusted"] == ([] if kind == "onnx" else [kind])
    asked = {"LIVER": 0.2, " Left Kidney": 0.5, "spleen": 0.8}
    masks = ask(model, image, *map(Source, asked))
    for mask, middle in zip(masks, asked.values(), strict=True):
        inside, clear = band(image, middle)
        assert inside.sum() > 100 and np.array_equal((mask.full().numpy() != 0)[clear], inside[clear])


def test_a_grid_of_its_own_and_turned_axes(tmp_path):
    image = scan((30, 26, 28), smooth=8)
    plain = load(described(tmp_path))
    other = load(described(tmp_path, orientation="LPS", grid={"spacing": [1.5, 1.25, 2.0]}))
    (a,), (b,) = ask(plain, image, Source("liver")), ask(other, image, Source("liver"))
    a, b = a.full().numpy() != 0, b.full().numpy() != 0
    assert 2 * (a & b).sum() > 0.7 * (a.sum() + b.sum())  # turned the wrong way it would be chance


def test_organs_fail_alone_and_may_ask_again(tmp_path):
    image, model = scan(), load(described(tmp_path, at_once=2))
    again = Source("spleen", "liver")
    click = Source(Prompt((Click((0.0, 0.0, 0.0)),), text="liver"))
    results = ask(model, image, Source("left kidny"), click, Source(), again, Source("liver"))
    with pytest.raises(PromptError, match=r"no vector for the text 'left kidny'.*did you mean left kidney") as caught:
        raise results[0]
    assert caught.value.where == tmp_path / "organs.npz"
    assert isinstance(results[1], PromptError) and not results[2].voxels.any()
    assert len(again.shown) == 3 and not np.array_equal(again.shown[1].full(), again.shown[2].full())
    assert isinstance(results[4], Mask) and np.array_equal(results[3].full(), results[4].full())
    assert ask(model, image) == []
    with pytest.raises(PromptError, match="it has left kidney, liver, spleen"):
        model.vectors.find("zzz")


def test_memory_grows_with_organs_and_the_file_is_in_the_plan(tmp_path):
    path = described(tmp_path)
    model = load(path)
    shape, spacing = (200, 200, 100), (1.5, 1.5, 3.0)
    assert model.nbytes(shape, spacing, 3) - model.nbytes(shape, spacing, 1) >= 2 * 4 * 200 * 200 * 100
    said = json.dumps(dict(model.protocol))
    assert "network:organs.npz" in model.protocol["files"] and str(tmp_path) not in said
    save_vectors(tmp_path, {**TEXTS, "spleen": (0.8, 0.1, 8.0)})
    changed = load(path)
    assert changed.weights != model.weights and changed.protocol != model.protocol


@pytest.mark.parametrize(
    ("vectors", "words"),
    [
        ({}, "holds no vector"),
        ({"liver": (1.0, 2.0)}, r"'liver' has the shape \[2\], not \[3\]"),
        ({"liver": ((1.0, 2.0, 3.0),)}, r"\[1, 3\], not \[3\]"),
        ({"liver": (1.0, np.nan, 3.0)}, "not finite"),
        ({"liver": (1.0, 2.0, 3.0), "Liver ": (1.0, 2.0, 3.0)}, "twice"),
    ],
)
def test_vectors_that_do_not_fit(vectors, words, tmp_path):
    with pytest.raises(ModelError, match=words) as caught:
        load(described(tmp_path, vectors=vectors))
    assert caught.value.where == tmp_path / "organs.npz" and caught.value.mend


def test_files_that_hold_no_vectors(tmp_path):
    path = described(tmp_path)
    file = tmp_path / "organs.npz"
    good = file.read_bytes()
    np.savez(file, liver=np.array([print, 1, 2], object))
    with pytest.raises(CheckpointError, match="allow_pickle"):
        load(path)
    np.savez(file, liver=np.zeros(3))
    with pytest.raises(ModelError, match="float64, not float32"):
        load(path)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("liver", "0.1 0.2 0.3")
    with pytest.raises(ModelError, match="no array"):
        load(path)
    for content in (b"", b"liver: 1", good[:-40], good[:90] + bytes(20) + good[110:]):
        file.write_bytes(content)
        with pytest.raises(CheckpointError, match="not a readable"):
            load(path)
    file.unlink()
    with pytest.raises(MissingFileError, match="vectors"):
        load(path)


@pytest.mark.parametrize(("shape", "size"), [((1 << 46,), 8), ((1 << 24,), 1 << 26), ((3,), 1 << 26)])
def test_vectors_are_not_unpacked_before_their_shape_is_known(shape, size, tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    with zipfile.ZipFile(tmp_path / "organs.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("liver.npy", header.getvalue() + bytes(size))
    tracemalloc.start()
    try:
        with pytest.raises(ModelError, match="shape"):
            read_vectors(tmp_path / "organs.npz", 3)
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("kind", ["onnx", "torchscript", "pt2", "python"])
def test_vectors_longer_than_the_network_takes(kind, tmp_path):
    long = {text: (*vector, 0.0) for text, vector in TEXTS.items()}
    path = described(tmp_path, kind, vectors=long, texts__length=4)
    with pytest.raises(ModelError, match=r"\[any, 3\], not rank 2 \[any, 4\]|fails on .*\(\d, 4\)"):
        ask(load(path), scan(), Source("liver"))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"texts": None}, "needs texts"),
        ({"prompts": "class"}, "nothing else has them"),
        ({"output": {**OUTPUT, "channels": 2}}, "one output channel"),
        ({"texts": {"file": "organs.npz"}}, "texts.length"),
        ({"texts": {"file": "organs.npz", "length": 3, "at_onc": 2}}, "did you mean at_once"),
    ],
)
def test_descriptions_that_do_not_hold_together(changes, words, tmp_path):
    with pytest.raises(ModelError, match=words):
        load(described(tmp_path, **changes))


def test_it_is_evaluated_by_text(tmp_path):
    image = scan()
    liver, kidney = (band(image, middle)[0] for middle in (0.2, 0.5))
    label = (liver + 2 * (kidney & ~liver)).astype(np.uint8)
    label[0, 0, 0] = 3
    nibabel.save(nibabel.Nifti1Image(np.ascontiguousarray(image.voxels), image.affine), tmp_path / "a.nii.gz")
    nibabel.save(nibabel.Nifti1Image(label, image.affine), tmp_path / "l.nii.gz")
    names = {"name": "x", "labels": {"liver": 1, "kidney_left": 2, "heart": 3}}
    (tmp_path / "labels.json").write_text(json.dumps(names))
    with (tmp_path / "scans.csv").open("w") as file:
        rows = csv.writer(file)
        rows.writerow(["cohort", "subject", "scan_id", "modality", "image", "unit", "label", "label_set"])
        rows.writerow(["petct", "s", "1", "ct", "a.nii.gz", "HU", "l.nii.gz", "labels.json"])
    path = described(tmp_path, at_once=2)
    command = ["evaluate", tmp_path / "scans.csv", "--out", tmp_path / "run", "--model", path, "--trust", path,
               "--prompt", "text", "--json"]  # fmt: skip
    result = CliRunner().invoke(main, [str(part) for part in command])
    assert result.exit_code == 1, result.output  # the heart has no vector
    (table,) = json.loads(result.stdout)["tables"]
    assert table["statuses"] == {"bad-prompt": 1, "ok": 2} and "text" in table["prompts"][0]
    assert "no vector for the text 'heart'" in result.stderr
    found = {part["organ"]: part["lines"][0]["cells"][0]["mean"] for part in table["organs"]}
    assert found["liver"] > 0.999 and found["kidney_left"] > 0.999 and found["heart"] is None
    save_vectors(tmp_path, {**TEXTS, "heart": (0.0, 0.0, 0.0)})  # another plan: all is asked again
    assert CliRunner().invoke(main, [str(part) for part in command]).exit_code == 0
    assert len(list((tmp_path / "run" / "plans").glob("*.json"))) == 2
