"""Export of a unit, its cache, and the session that opens it."""

import errno
import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from umd_engine.engine.backends.onnx_session import OnnxSession
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError, UnknownNameError
from umd_engine.exporters.artifact import amended, copied, key_of, opened
from umd_engine.exporters.onnx_export import described, export_onnx
from umd_engine.models.ready import open_unit

CPU = torch.device("cpu")


def network(seed=0):
    torch.manual_seed(seed)
    return torch.nn.Sequential(torch.nn.Conv3d(2, 4, 3, padding=1), torch.nn.InstanceNorm3d(4, affine=True)).eval()


def unit_of(module, shape=(2, 8, 9, 10)):
    return Unit("network", module, (TensorSpec("image", shape),), ("logits",))


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    unit = unit_of(network())
    return unit, export_onnx(unit, tmp_path_factory.mktemp("cache")).path


def artifact_key(unit, precision="fp32"):
    return key_of(described(unit, precision))


@pytest.mark.parametrize("batch", [1, 2, 5])
def test_the_graph_equals_eager_at_every_batch(exported, batch):
    unit, path = exported
    (x,) = unit.example(batch)
    (expected,) = open_unit(unit, "torch", CPU).run((x,))
    (got,) = OnnxSession(path, CPU).run((x,))
    assert got.shape == expected.shape
    assert (got - expected).abs().max() <= 1e-5 * (expected.max() - expected.min())


def test_opset_20_with_static_space_and_dynamic_batch(exported):
    model = onnx.load(exported[1])
    onnx.checker.check_model(model, full_check=True)
    assert [o.version for o in model.opset_import if o.domain in ("", "ai.onnx")] == [20]
    dims = model.graph.input[0].type.tensor_type.shape.dim
    assert dims[0].dim_param and [d.dim_value for d in dims[1:]] == [2, 8, 9, 10]


def test_the_cache_knows_weights_and_shapes(tmp_path):
    unit = unit_of(network())
    assert artifact_key(unit) == artifact_key(unit_of(network()))
    assert artifact_key(unit) != artifact_key(unit_of(network(seed=1)))
    assert artifact_key(unit) != artifact_key(unit_of(network(), (2, 8, 8, 10)))
    assert artifact_key(unit) != artifact_key(unit, "fp16")
    first = export_onnx(unit, tmp_path).path
    written = first.stat().st_mtime_ns
    assert export_onnx(unit, tmp_path).path == first and first.stat().st_mtime_ns == written


def test_a_named_axis_is_free_and_one_artifact_serves_all_sizes(tmp_path):
    class Sum(torch.nn.Module):
        def forward(self, image, points, labels):
            return image + (points * labels[..., None]).sum((1, 2))[:, None]

    def of(clicks):
        axes = {"axes": ("clicks",)}
        inputs = (
            TensorSpec("image", (4,)),
            TensorSpec("points", (clicks, 3), **axes),
            TensorSpec("labels", (clicks,), **axes),
        )
        return Unit(f"decoder.{clicks}", Sum(), inputs)

    paths = {export_onnx(of(clicks), tmp_path).path for clicks in (1, 2, 5)}
    assert len(paths) == 1
    session = OnnxSession(paths.pop(), CPU)
    for clicks, batch in ((1, 1), (5, 3)):
        inputs = of(clicks).example(batch)
        assert torch.allclose(session.run(inputs)[0], Sum()(*inputs), atol=1e-6)


def test_the_cache_knows_the_code(tmp_path, monkeypatch):
    """A module whose source changed is another unit, though its weights and its name are the same."""
    source = tmp_path / "a_network_of_mine.py"
    monkeypatch.syspath_prepend(tmp_path)
    hashes = []
    for factor in (1, 2):
        source.write_text(f"import torch\nclass Net(torch.nn.Module):\n    def forward(self, x): return x * {factor}\n")
        sys.modules.pop("a_network_of_mine", None)
        module = importlib.import_module("a_network_of_mine").Net()
        hashes.append(artifact_key(unit_of(module)))
    assert hashes[0] != hashes[1]


class Scaled(torch.nn.Module):
    """What it computes with is in neither its state nor its text."""

    def __init__(self, factor=1.0, powers=(1,), kept=2.0, stored=3.0):
        super().__init__()
        self.factor, self.powers, self.kept = factor, powers, torch.tensor(kept)
        self.register_buffer("stored", torch.tensor(stored), persistent=False)

    def forward(self, x):
        return sum(x**power for power in self.powers) * self.factor * self.kept * self.stored


def test_the_cache_knows_what_modules_hold_beside_their_state():
    units = [
        unit_of(Scaled(**own)) for own in ({}, {"factor": 2.0}, {"powers": (1, 2)}, {"kept": 3.0}, {"stored": 4.0})
    ]
    assert len({artifact_key(unit) for unit in units}) == len({unit.identity for unit in units}) == 5
    assert len({unit.content_hash for unit in units}) == 1
    assert unit_of(Scaled()).identity == unit_of(Scaled().train()).identity == units[0].identity
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from test_onnx_export import unit_of, network, Scaled\n"
        "print(unit_of(Scaled()).identity, unit_of(network()).identity)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(Path(__file__).parent)], capture_output=True, text=True)
    assert done.stdout.split() == [units[0].identity, unit_of(network()).identity], done.stderr


def test_the_sidecar_says_what_it_is(exported):
    unit, path = exported
    about = json.loads((path.parent / "artifact.json").read_text())
    assert about["kind"] == "onnx" and about["unit"] == "network" and about["opset"] == 20
    assert about["inputs"] == [{"name": "image", "shape": ["batch", 2, 8, 9, 10], "dtype": "float32"}]
    assert (
        about["attributes"] == unit.attributes_hash
        and about["weights"] == unit.content_hash
        and about["libraries"]["torch"] == torch.__version__
    )
    assert about["outputs"] == [{"name": "logits", "shape": ["batch", 4, 8, 9, 10], "dtype": "float32"}]
    assert set(about["files"]) == {"unit.onnx"}


@pytest.mark.parametrize("spoil", ["graph", "missing", "sidecar", "schema", "precision", "no files", "list", "other"])
def test_an_artifact_edited_by_hand_is_refused(tmp_path, spoil):
    unit = unit_of(network())
    folder = export_onnx(unit, tmp_path).folder
    sidecar = folder / "artifact.json"
    if spoil == "graph":
        with (folder / "unit.onnx").open("ab") as file:
            file.write(b"x")
    elif spoil == "missing":
        (folder / "unit.onnx").unlink()
    elif spoil == "sidecar":
        sidecar.write_text("{")
    elif spoil == "precision":
        sidecar.write_text(sidecar.read_text().replace('"fp32"', '"fp16"'))
    elif spoil in ("no files", "list"):
        (folder / "unit.onnx").write_bytes(b"")
        about = json.loads(sidecar.read_text())
        sidecar.write_text(json.dumps({**about, "files": {} if spoil == "no files" else [*about["files"]]}))
    elif spoil == "other":
        shutil.rmtree(folder)
        shutil.copytree(export_onnx(unit_of(network(1)), tmp_path).folder, folder)
    else:
        sidecar.write_text(json.dumps({**json.loads(sidecar.read_text()), "schema": 99}))
    with pytest.raises(BackendError, match="delete the folder"):
        export_onnx(unit, tmp_path)


def test_a_unit_that_cannot_be_exported_says_so(tmp_path):
    class Branching(torch.nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(BackendError, match="network cannot be exported"):
        export_onnx(unit_of(Branching()), tmp_path)
    assert not any((tmp_path / "onnx").iterdir())


FULL_DISK = """
import resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_onnx_export import unit_of, network
from umd_engine.errors import BackendError
from umd_engine.exporters.onnx_export import export_onnx
unit = unit_of(network())
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))  # a write beyond this fails, as on a full disk
try:
    export_onnx(unit, Path(sys.argv[1]))
except BackendError as error:
    print(error)
"""


def test_a_full_disk_leaves_nothing_behind(tmp_path):
    command = [sys.executable, "-c", FULL_DISK, str(tmp_path), str(Path(__file__).parent)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert "cannot write the artifact" in done.stdout and "free space" in done.stdout, done.stderr
    assert not any((tmp_path / "onnx").iterdir())
    assert export_onnx(unit_of(network()), tmp_path).path.exists()


def test_a_full_disk_leaves_an_artifact_as_it_was(tmp_path):
    artifact = export_onnx(unit_of(network()), tmp_path)

    def fail(path):
        path.write_bytes(b"half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(BackendError, match="No space left"):
        amended(artifact, {"inputs.npz": fail}, error={})
    assert {p.name for p in tmp_path.rglob("*")} == {"onnx", artifact.folder.name, "unit.onnx", "artifact.json"}


def test_many_at_once_amend_and_copy(tmp_path):
    """The first that amends wins; nobody meets a half-written artifact."""
    artifact = export_onnx(unit_of(network()), tmp_path)

    def amend(number):
        written = amended(artifact, {"note": lambda path: path.write_text(str(number))}, note=number)
        return written.about["note"], opened(artifact.folder).about["note"], copied(written, tmp_path / "out").about

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(amend, range(16)))
    assert len({note for *notes, about in found for note in (*notes, about["note"])}) == 1
    assert (artifact.folder / "note").read_text() == str(found[0][0])
    assert {p.name for p in tmp_path.iterdir()} == {"onnx", "out"}


def test_drafts_of_killed_exports_are_swept_after_a_day(tmp_path):
    old, new = (tmp_path / "onnx" / f".umd-engine-draft-{name}" for name in ("old", "new"))
    for draft in (old, new):
        draft.mkdir(parents=True)
    os.utime(old, (time.time() - 90_000,) * 2)
    export_onnx(unit_of(network()), tmp_path)
    assert new.exists() and not old.exists()


def test_no_cache_to_write_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(BackendError, match="cannot write the artifact"):
        export_onnx(unit_of(network()), tmp_path / "file")


def test_a_half_written_artifact_is_never_used(tmp_path):
    unit = unit_of(network())
    draft = tmp_path / "onnx" / ".draft-killed"
    draft.mkdir(parents=True)
    (draft / "unit.onnx").write_bytes(b"half")
    (x,) = unit.example(1)
    path = export_onnx(unit, tmp_path).path
    (got,) = OnnxSession(path, CPU).run((x,))
    assert path.parent != draft and got.shape == (1, 4, 8, 9, 10)


def test_two_exports_at_once_give_one_artifact(tmp_path):
    code = (
        "import sys, torch; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path; from test_onnx_export import unit_of, network\n"
        "from umd_engine.exporters.onnx_export import export_onnx\n"
        "print(export_onnx(unit_of(network()), Path(sys.argv[1])).path)"
    )
    arguments = [sys.executable, "-c", code, str(tmp_path), str(__import__("pathlib").Path(__file__).parent)]
    with ThreadPoolExecutor(2) as pool:
        ended = list(pool.map(lambda _: subprocess.run(arguments, capture_output=True, text=True), range(2)))
    assert [e.returncode for e in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    assert len({e.stdout.strip().splitlines()[-1] for e in ended}) == 1
    assert [p.name for p in (tmp_path / "onnx").iterdir()] == [artifact_key(unit_of(network()))]


def test_unknown_names_and_impossible_requests_raise(exported):
    unit, path = exported
    with pytest.raises(UnknownNameError, match="onnxruntime"):
        open_unit(unit, "onnxruntim", CPU)
    with pytest.raises(UnknownNameError, match="fp16"):
        open_unit(unit, "torch", CPU, "fp61")
    with pytest.raises(BackendError, match="CPU"):
        open_unit(unit, "torch", CPU, "fp16")
    if not torch.cuda.is_available():
        with pytest.raises(BackendError, match="cannot run"):
            OnnxSession(path, torch.device("cuda"))


def test_bf16_is_near_fp32():
    unit = unit_of(network())
    (x,) = unit.example(1)
    (exact,) = open_unit(unit, "torch", CPU).run((x,))
    (short,) = open_unit(unit, "torch", CPU, "bf16").run((x,))
    assert short.dtype == torch.float32
    error = (short - exact).norm() / exact.norm()
    assert 0 < error < 2e-2 and np.isfinite(float(error))
