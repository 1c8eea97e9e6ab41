"""SAM-Med3D's network: its names, its strict loading, the exact reduced form, both backends."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from umd_engine.errors import CheckpointError, MissingFileError
from umd_engine.models.checkpoint import hash_of_weights
from umd_engine.models.parity.recipe import fill
from umd_engine.models.parity.recording import find_recordings
from umd_engine.models.parity.sam_med3d import _Check, check_sam_med3d
from umd_engine.models.ready import open_unit
from umd_engine.models.sam_med3d.attention import Attention
from umd_engine.models.sam_med3d.decoder import MaskDecoder
from umd_engine.models.sam_med3d.model import SamMed3D
from umd_engine.models.sam_med3d.network import Network, Pieces
from umd_engine.models.sam_med3d.options import Options
from umd_engine.models.sam_med3d.prompt_encoder import PromptEncoder

RECORDINGS = Path(__file__).parents[1] / "recordings" / "sam_med3d"
SHARED = Path(__file__).parents[2].parent / "shared" / "parity"
CPU = torch.device("cpu")
torch.set_num_threads(1)


@pytest.fixture(scope="module")
def shapes():
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in Network().state_dict().items()}


@pytest.fixture
def state(shapes):
    """A state dict of the right shapes; one number a tensor, so that its file is small."""
    return {
        name: torch.full((), 0.01 * (1 + place % 7)).expand(shape) for place, (name, shape) in enumerate(shapes.items())
    }


def saved(folder, content):
    path = folder / "sam_med3d_turbo.pth"
    torch.save(content, path)
    return path


def test_official_names_and_shapes(shapes):
    stored = SHARED / "sam_med3d.keys.json"
    if not stored.is_file():
        pytest.skip(f"the recordings are not at {SHARED}")
    assert {name: list(shape) for name, shape in shapes.items()} == json.loads(stored.read_text())


def test_size(shapes):
    assert len(shapes) == 324
    assert sum(shape.numel() for shape in shapes.values()) == 100_509_616


def test_a_checkpoint_loads(state, tmp_path):
    model = SamMed3D("sam", saved(tmp_path, {"model_state_dict": state, "epoch": 3}), Options())
    literal = SamMed3D("sam", tmp_path / "sam_med3d_turbo.pth", Options(encoder="literal"))
    assert [unit.name for unit in model.units] == ["sam.encoder", "sam.decoder.1"]
    assert model.weights == literal.weights and len(model.weights) == 64
    assert model.units[0].content_hash != literal.units[0].content_hash, "two graphs, two artifacts"
    assert model.units[1] is model.units[1]
    assert json.loads(json.dumps(model.protocol))["variant"] == "engine"
    assert model.crops_by_label and model.prompts == {"point"}


def test_decoders_are_kept_and_share_their_module():
    with torch.device("meta"):
        network = Network()
    pieces = Pieces("sam", network)
    one, three = pieces.decoder(1), pieces.decoder(3)
    assert pieces.decoder(3) is three and three.module is one.module
    assert three.inputs[1].shape == (3, 3) and three.inputs[2].shape == (3,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("mask_decoder.iou_token.weight"), "1 missing (mask_decoder.iou_token.weight)"),
        (lambda state: state.update(more=torch.zeros(1)), "1 unexpected (more)"),
        (lambda state: state.update({"image_encoder.pos_embed": torch.zeros(1, 4, 4, 4, 768)}), "of another shape"),
        (lambda state: state.clear() or state.update({"network.weight": torch.zeros(3)}), "324 missing"),
    ],
)
def test_other_weights_are_refused(change, said, state, tmp_path):
    change(state)
    with pytest.raises(CheckpointError) as caught:
        SamMed3D("sam", saved(tmp_path, {"model_state_dict": state}), Options())
    assert said in str(caught.value)


def test_other_files_are_refused(state, tmp_path):
    with pytest.raises(MissingFileError):
        SamMed3D("sam", tmp_path / "absent.pth", Options())
    with pytest.raises(CheckpointError, match="model_state_dict"):
        SamMed3D("sam", saved(tmp_path, {"network_weights": state}), Options())
    path = saved(tmp_path, {"model_state_dict": state})
    path.write_bytes(path.read_bytes()[:-300])
    with pytest.raises(CheckpointError, match="not a readable"):
        SamMed3D("sam", path, Options())


@pytest.fixture(scope="module")
def layers():
    """A window layer in both forms, with the same weights."""
    reduced, literal = Attention(14, reduced=True), Attention(14, reduced=False)
    weights = fill(reduced.state_dict(), 5)
    for layer in (reduced, literal):
        layer.load_state_dict({name: 3 * value for name, value in weights.items()})
    return reduced.eval(), literal.eval()


@torch.no_grad()
def test_the_reduced_layer_is_the_literal_one(layers):
    reduced, literal = layers
    x = torch.randn((1, 8, 8, 8, 768), generator=torch.Generator().manual_seed(1))
    found, expected = reduced(x), literal(x)
    assert found.shape == expected.shape
    assert (found - expected).abs().max() < 1e-5 * (expected.max() - expected.min())


@torch.no_grad()
def test_the_padding_takes_part(layers):
    """Were the padded keys left out, the output would be another: the reduced form is no approximation."""
    reduced, _ = layers
    x = torch.randn((1, 8, 8, 8, 768), generator=torch.Generator().manual_seed(1))
    without = Attention(14, reduced=True)
    without.load_state_dict(reduced.state_dict())
    without._with_padding = lambda logits, q, v, terms: logits.softmax(-1) @ v
    found, expected = without(x), reduced(x)
    assert (found - expected).abs().max() > 1e-2 * (expected.max() - expected.min())


@pytest.fixture(scope="module")
def decoder():
    """The pieces with stand-in weights; their encoder is none."""
    parts = torch.nn.ModuleDict(
        {"image_encoder": torch.nn.Identity(), "prompt_encoder": PromptEncoder(), "mask_decoder": MaskDecoder()}
    )
    parts.load_state_dict(fill(parts.state_dict(), 7))
    return Pieces("sam", parts)


def decoder_inputs(clicks, batch):
    generator = torch.Generator().manual_seed(clicks)
    embedding = torch.randn((batch, 384, 8, 8, 8), generator=generator)
    points = torch.randint(0, 128, (batch, clicks, 3), generator=generator).float()
    labels = (torch.rand((batch, clicks), generator=generator) > 0.3).float()
    return embedding, points, labels, torch.randn((batch, 1, 32, 32, 32), generator=generator)


@torch.no_grad()
def test_a_batch_is_its_items(decoder):
    inputs = decoder_inputs(2, 3)
    module = decoder.decoder(2).module
    logits, iou = module(*inputs)
    assert logits.shape == (3, 1, 32, 32, 32) and iou.shape == (3, 1)
    for item in range(3):
        alone = module(*(x[item : item + 1] for x in inputs))
        assert torch.allclose(alone[0][0], logits[item], atol=1e-5 * float(logits.max() - logits.min()))
        assert torch.allclose(alone[1][0], iou[item], atol=1e-5)


@torch.no_grad()
def test_the_exported_decoder_is_the_module(decoder, tmp_path, monkeypatch):
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path))
    unit, inputs = decoder.decoder(2), decoder_inputs(2, 3)
    expected = unit.module(*inputs)
    for found, wanted in zip(open_unit(unit, "onnxruntime", CPU).run(inputs), expected, strict=True):
        assert (found - wanted).abs().max() < 1e-4 * (wanted.max() - wanted.min())


def test_weights_hash_sees_names_and_values():
    one, two = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    two.load_state_dict(one.state_dict())
    assert hash_of_weights(one.state_dict()) == hash_of_weights(two.state_dict())
    torch.nn.init.zeros_(two.bias)
    assert hash_of_weights(one.state_dict()) != hash_of_weights(two.state_dict())


def recordings(folder):
    return [r for r in find_recordings(folder) if r.model == "sam-med3d-turbo"]


def test_recorded_with_another_seed():
    """Embedding and three clicks through torch, the encoder in its reduced form."""
    (recording,) = recordings(RECORDINGS)
    recording = replace(recording, spec={**recording.spec, "encoders": ["reduced"]})
    measured = check_sam_med3d(recording, "torch", CPU)
    assert len(measured.deviations) == 7 and all(d.passed for d in measured.deviations), measured


def test_a_wrong_recording_fails(decoder):
    """A stored value that is off by 1e-4 of the range is seen, NaN too."""
    (recording,) = recordings(RECORDINGS)
    check = _Check(recording, decoder, "torch", CPU)
    values = torch.randn((1, 1, 32, 32, 32), generator=torch.Generator().manual_seed(0))
    flat = values.numpy().ravel()
    at = np.linspace(0, flat.size - 1, 4096).astype(np.int64)
    stats = np.array([0, 0, flat.min(), flat.max()])
    for move, passed in ((0.0, True), (1e-4, False), (np.nan, False)):
        moved = flat[at].copy()
        moved[77] += np.float32(move * (stats[3] - stats[2]))
        recording.arrays.update({"x/shape": np.array(values.shape), "x/stats": stats, "x/values": moved})
        assert check._off("x", values).passed is passed


@pytest.mark.full
@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
@pytest.mark.parametrize("folder", [RECORDINGS, SHARED], ids=["other_seed", "shared"])
def test_both_forms_on_both_backends(folder, backend, tmp_path, monkeypatch):
    if not folder.is_dir():
        pytest.skip(f"the recordings are not at {folder}")
    monkeypatch.setenv("UMD_ENGINE_CACHE", str(tmp_path))
    for recording in recordings(folder):
        measured = check_sam_med3d(recording, backend, CPU)
        assert all(d.passed for d in measured.deviations), measured
        assert any("literal" in d.name for d in measured.deviations)
