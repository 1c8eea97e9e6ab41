"""The OpenVINO backend: equal to eager within rounding at any batch; what it cannot run is said."""

import sys

import pytest
import torch

from umd_engine.engine.backends.openvino_session import OpenVinoSession, check_openvino
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.models.ready import open_unit

CPU = torch.device("cpu")


class Two(torch.nn.Module):
    """Two inputs, two outputs, one of integers."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = torch.nn.Conv3d(1, 4, 3, padding=1), torch.nn.InstanceNorm3d(4)

    def forward(self, image, ids):
        return self.norm(self.conv(image)).relu(), ids + 1


def make_unit():
    torch.manual_seed(0)
    return Unit(
        "two", Two().eval(), (TensorSpec("image", (1, 8, 9, 10)), TensorSpec("ids", (3,), torch.int64)), ("a", "b")
    )


@pytest.mark.parametrize(("precision", "allowed"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_openvino_equals_eager(precision, allowed):
    pytest.importorskip("openvino", reason="openvino is optional: umd-engine[openvino]")
    unit = make_unit()
    session = open_unit(unit, "openvino", CPU, precision)
    kept = []
    for batch in (1, 3, 1):
        image, ids = torch.randn(batch, 1, 8, 9, 10), torch.arange(3 * batch).reshape(batch, 3)
        expected, after = unit.module(image, ids)
        found, integers = session.run((image, ids))
        assert found.dtype == torch.float32 and found.shape == expected.shape and torch.equal(integers, after)
        kept.append((found, expected))
    for found, expected in kept:  # later runs left them alone
        assert (found - expected).abs().max() <= allowed * (expected.max() - expected.min())
        found.add_(1)  # as a sink may


def test_what_it_cannot_run(tmp_path):
    with pytest.raises(BackendError, match="does not run on cuda"):
        open_unit(make_unit(), "openvino", torch.device("cuda"))
    with pytest.raises(BackendError, match="does not run tf32"):
        open_unit(make_unit(), "openvino", CPU, "tf32")


def test_a_file_that_is_none(tmp_path):
    pytest.importorskip("openvino", reason="openvino is optional: umd-engine[openvino]")
    (tmp_path / "bad.onnx").write_bytes(b"no graph")
    with pytest.raises(BackendError, match="cannot open it"):
        OpenVinoSession(tmp_path / "bad.onnx", CPU)


def test_not_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(BackendError, match=r"umd-engine\[openvino\]"):
        check_openvino(CPU, "fp32")
