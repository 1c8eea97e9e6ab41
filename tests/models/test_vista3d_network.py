"""VISTA3D's weights, its folded table, and its units: strict loading, no data-dependent shapes, batches."""

import itertools

import numpy as np
import pytest
import torch

from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import CheckpointError, MissingFileError
from umd_engine.models.catalog import CATALOG
from umd_engine.models.ready import open_unit
from umd_engine.models.vista3d.model import load_vista3d, load_vista3d_ctmr
from umd_engine.models.vista3d.network import build_network, class_table, read_network
from umd_engine.models.vista3d.options import CtmrOptions, Options
from umd_engine.models.vista3d.point_network import PointHead

CPU = torch.device("cpu")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def state():
    """All 218 million weights the same: a small file."""
    return {name: torch.full((), 0.02).expand(t.shape) for name, t in build_network().state_dict().items()}


@pytest.fixture(scope="module")
def checkpoint(state, tmp_path_factory):
    path = tmp_path_factory.mktemp("vista3d") / "models" / "model.pt"
    path.parent.mkdir()
    torch.save(state, path)
    return path


def test_the_catalogues_parameters_are_the_networks():
    count = sum(parameter.numel() for parameter in build_network().parameters())
    fixed = 3 * 24  # the position code's frequencies, a buffer
    assert sum(CATALOG["vista3d"].parameters.values()) == count + fixed
    assert CATALOG["vista3d"].parameters == CATALOG["vista3d-ctmr"].parameters


def test_a_checkpoint_loads_in_every_mode(checkpoint):
    model = load_vista3d("v", checkpoint.parents[1], Options(patch="32x32x32"))  # the bundle's folder
    assert not hasattr(model, "prompts") and len(model.organs) == 13 and model.protocol["patch_size"] == (32, 32, 32)
    assert model.organs["lung"] == (8, 9, 10, 11, 12) and model.ids[7:12] == (28, 29, 30, 31, 32)
    (unit,) = model.units
    image = torch.rand(3, 1, 32, 32, 32)
    session = open_unit(unit, "torch", CPU)
    (together,) = session.run((image,))
    alone = torch.cat([session.run((one[None],))[0] for one in image])
    assert together.shape == (3, 17, 32, 32, 32)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4 * float(alone.abs().max()))
    del model, unit, session
    points = load_vista3d("v", checkpoint, Options(mode="class+point", patch="32x32x32"))
    assert points.prompts == {"point"} and [unit.name for unit in points.units] == ["v.points1", "v.class"]
    assert points.units[0].outputs == ("logits", "point_logits") and points.pieces.unit(1) is points.units[0]
    other = load_vista3d_ctmr("c", checkpoint, CtmrOptions())
    assert other.weights == points.weights and other.walk.patch == (192, 192, 128)
    assert [other.ids[i - 1] for i in other.organs["lung"]] == [135, 136]


@pytest.mark.parametrize("fault", ["missing", "unexpected", "shape", "other"])
def test_a_checkpoint_that_does_not_match_is_refused(state, fault, tmp_path):
    changed = dict(state)
    if fault == "missing":
        del changed["point_head.mask_tokens.weight"]
    elif fault == "unexpected":
        changed["more"] = torch.zeros(1)
    elif fault == "shape":
        changed["class_head.class_embeddings.weight"] = torch.zeros(1).expand(511, 48)
    else:
        changed = {"weights": torch.zeros(2)}
    torch.save(changed, tmp_path / "model.pt")
    with pytest.raises(CheckpointError, match="image encoder" if fault == "other" else "match"):
        read_network(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(MissingFileError, match=r"model\.pt"):
        read_network(tmp_path / "empty")


def test_the_folded_table_is_monais_head():
    from monai.networks.nets.vista3d import ClassMappingClassify

    torch.manual_seed(0)
    head = ClassMappingClassify(n_classes=512, feature_size=48).eval()
    ids = torch.tensor([[1], [14], [132], [345], [511]])
    with torch.no_grad():
        wanted = head.mlp(head.class_embeddings(ids))[:, 0]
        network = torch.nn.Module()
        network.class_head = head
        assert torch.equal(class_table(network)[ids[:, 0]], wanted)


@pytest.fixture(scope="module")
def heads():
    from monai.networks.nets.vista3d import PointMappingSAM

    torch.manual_seed(1)
    official = PointMappingSAM(feature_size=48, n_classes=512).eval()
    return official, PointHead(official).eval()


@pytest.mark.parametrize("labels", [[1], [0, 1], [2, 3, 1, 0]])
def test_the_point_head_is_monais(heads, labels):
    official, ours = heads
    features = torch.randn(1, 48, 16, 8, 12)
    points = torch.rand(1, len(labels), 3, dtype=torch.float64) * torch.tensor([15, 7, 11])
    with torch.no_grad():
        wanted = official(features, points.clone(), torch.tensor([labels]))
        shares = ((points + 0.5) / torch.tensor([16, 8, 12])).float()
        found = ours(features, shares, torch.tensor([labels]).float())
    assert found.shape == wanted.shape
    assert float((found - wanted).abs().max()) <= 1e-5 * float(wanted.max() - wanted.min())


def test_the_point_heads_graph_has_static_shapes(heads, tmp_path, monkeypatch):
    import onnx

    from umd_engine.exporters.onnx_export import export_onnx

    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path))
    specs = (TensorSpec("features", (48, 8, 8, 8)), TensorSpec("points", (3, 3)), TensorSpec("labels", (3,)))
    unit = Unit("head", heads[1], specs, ("logits",))
    operators = {node.op_type for node in onnx.load(export_onnx(unit).path).graph.node}
    forbidden = {"NonZero", "ScatterND", "ScatterElements", "Scatter", "If", "Loop", "SequenceEmpty"}
    assert "Conv" in operators and not operators & forbidden
    inputs = (torch.randn(2, 48, 8, 8, 8), torch.rand(2, 3, 3), torch.tensor([[1.0, 0, 3], [2, 1, 1]]))
    (found,) = open_unit(unit, "onnxruntime", CPU).run(inputs)
    with torch.no_grad():
        wanted = heads[1](*inputs)
    assert np.abs(found.numpy() - wanted.numpy()).max() <= 1e-4 * float(wanted.max() - wanted.min())
    pairs = itertools.pairwise(wanted)
    assert all(not torch.allclose(a, b) for a, b in pairs)  # the prompts of each item are its own
