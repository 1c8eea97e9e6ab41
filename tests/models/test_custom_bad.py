"""Descriptions and network files with faults: each says what and where, and nothing runs that was not trusted."""

import re
import sys
import tracemalloc

import pytest
import torch
import yaml
from custom_common import PATCH, describe, load, save_as, scan, segment, small_network

from umd_engine.errors import (
    CheckpointError,
    MissingFileError,
    ModelError,
    OptionError,
    OutOfMemoryError,
    UnsupportedModelError,
    VoxelError,
)
from umd_engine.evaluation.loading import parse_requests
from umd_engine.models.catalog import Request
from umd_engine.models.custom.reading import as_description, read_description
from umd_engine.models.custom.template import FILES, template
from umd_engine.models.custom.trial import count_windows

ONNX = {"format": "onnx", "file": "net.onnx"}


@pytest.mark.parametrize("kind", FILES)
def test_the_template_is_a_good_description(kind):
    found = as_description(yaml.safe_load(template("my", kind)), "my.yaml")
    assert found.network.format == kind and found.windows is not None


def test_the_template_with_every_comment_taken_away_is_good_too():
    text = template("my", "python")
    head, tail = text.split("# localiser:")
    for line in ("clip: true}", "# output: 0", "# batch", "# placing", "# - {", "# threshold", "# fill", "# weights"):
        assert line in text
    head = re.sub(
        r"^(\s*)# (?=(output|batch|placing|- |threshold|largest|fill|weights|weights_key)[: {])",
        r"\1",
        head,
        flags=re.M,
    )
    tail = re.sub(r"^# ", "", "# localiser:" + tail, flags=re.M)
    head = head.replace("activation: softmax ", "activation: sigmoid ")  # a prompted network has one channel
    found = as_description(yaml.safe_load(head + tail), "my.yaml")
    assert found.localiser is not None and found.prompts == "class" and len(found.intensity) == 4


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spacin": [1, 1, 1]}, r"unknown key 'spacin'.*did you mean spacing"),
        ({"output__organ": {"a": 1}}, r"unknown key 'output.organ'.*did you mean organs"),
        ({"umd_engine": 2}, "umd_engine"),
        ({"grid__spacing": [1, 1]}, "grid.spacing"),
        ({"grid__spacing": [1, 1, -1]}, "grid.spacing.2"),
        ({"grid__shape": [8, 8, 8]}, "spacing or shape"),
        ({"windows": None}, "windows"),
        ({"windows__overlap": 1.0}, "windows.overlap"),
        ({"output__threshold": float("nan"), "output__activation": "none"}, "output.threshold"),
        ({"grid__spacing": [1, 1, float("inf")]}, "grid.spacing.2"),
        ({"intensity": [{"rule": "affine", "scale": float("inf")}]}, "intensity.0"),
        ({"orientation": "RLS"}, "orientation"),
        ({"intensity": [{"rule": "magic"}]}, "intensity.0"),
        ({"intensity": [{"rule": "window", "low": 3, "high": 1}]}, "low must be below high"),
        ({"intensity": [{"rule": "quantiles", "of": "localiser"}]}, "the localiser"),
        ({"intensity": [{"rule": "zscore", "mean": 3}]}, "mean and std"),
        ({"intensity_of": {"pet": []}}, "pet, which is no channel"),
        ({"output__organs": {"liver": 3}}, "'liver' has channels"),
        ({"output__organs": {"liver": 0}}, "background"),
        ({"output__organs": {}}, "output.organs"),
        ({"output__largest_component": ["lung"]}, "lung, which is no organ"),
        ({"prompts": "box"}, "prompts"),
        ({"prompts": "class"}, "threshold"),
        ({"prompts": "point", "output__threshold": 0.5, "output__activation": "none"}, "one output channel"),
        ({"network__function": "build"}, "function"),
        ({"network__weights": "w.pth"}, "weights belong to format python"),
    ],
)  # fmt: skip
def test_a_wrong_key_or_value_is_named(changes, words, tmp_path):
    with pytest.raises(ModelError, match=words) as caught:
        read_description(describe(tmp_path, dict(ONNX), **changes))
    assert caught.value.where == tmp_path / "mine.yaml" and caught.value.mend and "\n" not in str(caught.value)


def test_a_grid_in_metres_is_refused_and_windows_are_counted_without_a_list(tmp_path):
    network = save_as("torchscript", tmp_path, small_network())
    model = load(describe(tmp_path, network, grid={"spacing": [0.0015] * 3}))
    for run in (count_windows, lambda model, image: segment(model, image)):
        with pytest.raises(ModelError, match=r"its grid has 31000 x .*in mm\?"):
            run(model, scan())
    fine = load(describe(tmp_path, network, grid={"spacing": [0.05] * 3}, windows__overlap=0.75))
    tracemalloc.start()
    assert count_windows(fine, scan()) > 1_000_000 and tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_files_that_are_no_description(tmp_path):
    path = tmp_path / "x.yaml"
    with pytest.raises(MissingFileError, match="models new"):
        Request.parse(str(path))
    for text in ("- 1", "", "a: [", "\x00", "[" * 5000, "licence: 2024-13-45", "licence: !!int ''"):
        path.write_text(text)
        with pytest.raises(ModelError):
            read_description(path)
    path.write_text("!!python/object/apply:os.system ['touch gone']")
    with pytest.raises(ModelError, match="not YAML"):
        read_description(path)
    path.write_bytes(b"x: 1\n" * 300_000)
    with pytest.raises(ModelError, match="too long"):
        read_description(path)


@pytest.mark.parametrize("kind", ["torchscript", "pt2", "python"])
def test_code_runs_only_with_trust(kind, tmp_path, monkeypatch):
    path = describe(tmp_path, save_as(kind, tmp_path, small_network()))
    opened = []
    monkeypatch.setattr(torch.jit, "load", lambda *a, **k: opened.append(a))
    monkeypatch.setattr(torch.export, "load", lambda *a, **k: opened.append(a))
    if kind == "python":
        (tmp_path / "net.py").write_text("raise SystemExit('it ran')")
    for settings in ({}, {"trust": str(tmp_path / "other.yaml")}, {"trust": str(tmp_path.parent)}):
        with pytest.raises(OptionError, match=f"format {kind} can run code.*--trust") as caught:
            Request.parse(str(path)).load(settings)
        assert str(path) in caught.value.mend and not opened
    assert "umd_engine_own_net" not in sys.modules


def test_trust_is_given_by_the_description_its_folder_or_the_network_file(tmp_path):
    path = describe(tmp_path, save_as("torchscript", tmp_path, small_network()))
    for trusted in (path, tmp_path, tmp_path / "net.pt"):
        ((request, settings),) = parse_requests([str(path)], [], [tmp_path / "nothing", trusted]).items()
        assert request.load(settings).protocol["trusted"] == ["torchscript"]


def test_a_missing_or_broken_network_file(tmp_path):
    with pytest.raises(MissingFileError, match="no such network file"):
        load(describe(tmp_path, dict(ONNX)))
    for kind, name in (("onnx", "net.onnx"), ("torchscript", "net.pt"), ("pt2", "net.pt2")):
        (tmp_path / name).write_bytes(b"PK\x03\x04 this is not a network" * 20)
        with pytest.raises(CheckpointError):
            load(describe(tmp_path, {"format": kind, "file": name}))


def test_a_python_file_that_fails(tmp_path):
    network = {"format": "python", "file": "net.py", "function": "build"}
    for text, words in (
        ("x = ", "SyntaxError"),
        ("", "AttributeError"),
        ("def build(): return 3", "no torch.nn.Module"),
    ):
        (tmp_path / "net.py").write_text(text)
        with pytest.raises(ModelError, match=words):
            load(describe(tmp_path, network))
    save_as("python", tmp_path, small_network())
    with pytest.raises(CheckpointError, match="no key"):
        load(describe(tmp_path, {**network, "weights": "w.pth", "weights_key": "gone"}))
    torch.save({"net": {}}, tmp_path / "w.pth")
    with pytest.raises(CheckpointError, match="missing"):
        load(describe(tmp_path, {**network, "weights": "w.pth", "weights_key": "net"}))


def test_what_the_network_gives_must_fit_the_description(tmp_path):
    for kind in ("torchscript", "onnx"):
        network = save_as(kind, tmp_path, small_network())
        with pytest.raises(ModelError, match=r"gives \(3, 16, 12, 20\) instead of \(2, 16, 12, 20\)"):
            segment(load(describe(tmp_path, network, output={"channels": 2, "organs": {"a": 1}})), scan())
    model = load(describe(tmp_path, save_as("torchscript", tmp_path, small_network()), network__output=1))
    with pytest.raises(VoxelError, match="takes 1 channels"):
        model.prepare([scan(), scan()], torch.device("cpu"))


@pytest.mark.parametrize(
    ("forward", "words"),
    [
        ("{}['x']", "fails on .*: 'x'"),
        ("1 + None", "fails on .*unsupported operand"),
        ("None", "gives NoneType"),
        ("[image, 'x']", "gives str"),
        ("image.repeat(1, 3, 1, 1, 1).argmax(1, True)", "gives torch.int64"),
    ],
)
def test_a_network_that_fails_when_it_is_called(forward, words, tmp_path):
    (tmp_path / "net").write_text(  # whatever its ending
        f"import torch\nclass Net(torch.nn.Module):\n    def forward(self, image):\n        return {forward}\n"
    )
    network = {"format": "python", "file": "net", "function": "Net", "output": int("'x'" in forward)}
    with pytest.raises(ModelError, match=words) as caught:
        segment(load(describe(tmp_path, network)), scan())
    assert caught.value.where == tmp_path / "net" and caught.value.mend


def test_running_out_of_memory_is_the_engines_to_mend(tmp_path):
    text = "import torch\nclass Net(torch.nn.Module):\n    def forward(self, image):\n        raise MemoryError\n"
    (tmp_path / "net.py").write_text(text)
    with pytest.raises(OutOfMemoryError):
        segment(load(describe(tmp_path, {"format": "python", "file": "net.py", "function": "Net"})), scan())


def onnx_file(tmp_path, change, **network):
    import onnx

    save_as("onnx", tmp_path, small_network())
    model = onnx.load(str(tmp_path / "net.onnx"))
    change(model)
    onnx.save(model, str(tmp_path / "net.onnx"))
    return describe(tmp_path, ONNX | network)


def _rank(model):
    del model.graph.input[0].type.tensor_type.shape.dim[-1]


def _opset(model):
    model.opset_import[0].version = 9


def _domain(model):
    entry = model.opset_import.add()
    entry.domain, entry.version = "my.operators", 1


def _batch(model):
    dim = model.graph.input[0].type.tensor_type.shape.dim[0]
    dim.Clear()
    dim.dim_value = 3


def _inputs(model):
    model.graph.input.add().CopyFrom(model.graph.input[0])
    model.graph.input[1].name = "more"


def _half(model):
    model.graph.input[0].type.tensor_type.elem_type = 10


def _numbers(model):
    model.graph.output[0].type.tensor_type.elem_type = 7


def _pooled_first(model):
    from onnx import helper

    model.graph.node.append(helper.make_node("GlobalAveragePool", [model.graph.output[0].name], ["mean"]))
    model.graph.node.append(helper.make_node("Flatten", ["mean"], ["flat"]))
    model.graph.output.insert(0, helper.make_tensor_value_info("flat", 1, ["n", 3]))


def test_the_output_that_is_used_is_the_one_that_must_fit(tmp_path):
    path = onnx_file(tmp_path, _pooled_first, output=1)
    assert segment(load(path), scan()).labels.any()
    for output, words in ((0, "its output is rank 2"), (7, "2 outputs")):
        with pytest.raises(ModelError, match=words):
            load(describe(tmp_path, ONNX | {"output": output}))


@pytest.mark.parametrize(
    ("change", "words"),
    [(_rank, "its input is rank 4"), (_opset, "its opset is 9"), (_domain, "my.operators"), (_batch, "fixed at 3"),
     (_inputs, "2 inputs"), (_half, "its input is FLOAT16, not FLOAT"), (_numbers, "its output is INT64")],
)  # fmt: skip
def test_onnx_files_that_do_not_fit(change, words, tmp_path):
    path = onnx_file(tmp_path, change)
    with pytest.raises((UnsupportedModelError, ModelError), match=words):
        load(path)


def test_onnx_of_another_patch(tmp_path):
    save_as("onnx", tmp_path, small_network())
    with pytest.raises(ModelError, match=rf"\[any, 1, {PATCH[0]}, {PATCH[1]}, {PATCH[2]}\], not rank 5 \[any, 1, 8"):
        load(describe(tmp_path, dict(ONNX), windows__patch=[8, 8, 8]))


@pytest.mark.parametrize("place", ["../secret.bin", "/etc/passwd", "link.bin", "gone.bin", "sub/../../secret.bin"])
def test_external_data_stays_in_the_folder(place, tmp_path):
    folder = tmp_path / "model"
    (folder / "sub").mkdir(parents=True)
    (tmp_path / "secret.bin").write_bytes(bytes(4096))
    (folder / "link.bin").symlink_to(tmp_path / "secret.bin")

    def outside(model):
        from onnx import TensorProto

        tensor = model.graph.initializer[0]
        size = len(tensor.raw_data)
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in (("location", place), ("offset", "0"), ("length", str(size))):
            tensor.external_data.add(key=key, value=value)

    import onnx

    save_as("onnx", folder, small_network())
    model = onnx.load(str(folder / "net.onnx"))
    outside(model)
    (folder / "net.onnx").write_bytes(model.SerializeToString())
    words = "is missing" if place == "gone.bin" else "outside the file's folder"
    with pytest.raises(CheckpointError, match=words):
        load(describe(folder, dict(ONNX)))


def test_external_data_in_the_folder_is_hashed_and_runs(tmp_path):
    import onnx

    save_as("onnx", tmp_path, small_network())
    whole = segment(load(describe(tmp_path, dict(ONNX))), scan()).labels
    model = onnx.load(str(tmp_path / "net.onnx"))
    onnx.save(model, str(tmp_path / "net.onnx"), save_as_external_data=True, location="w.bin", size_threshold=0)
    parted = load(describe(tmp_path, dict(ONNX)))
    assert set(parted.protocol["files"]) == {"network:net.onnx", "network:w.bin"}
    assert torch.equal(segment(parted, scan()).labels, whole)
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "net.onnx").symlink_to(tmp_path / "net.onnx")
    (tmp_path / "linked" / "w.bin").write_bytes(bytes(9))  # beside the link, not beside the file
    linked = load(describe(tmp_path / "linked", dict(ONNX)))
    assert linked.weights == parted.weights and torch.equal(segment(linked, scan()).labels, whole)


def test_the_documents_name_every_key():
    from pathlib import Path

    from umd_engine.models.custom import description as parts

    text = (Path(__file__).parents[2] / "docs" / "custom.md").read_text()
    kinds = [kind for kind in vars(parts).values() if isinstance(kind, type) and issubclass(kind, parts.Strict)]
    for name in {name for kind in kinds for name in kind.model_fields}:
        assert name in text, name
