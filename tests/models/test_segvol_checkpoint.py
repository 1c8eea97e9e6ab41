"""Checkpoint files that are loaded, and those that must be refused with an error that names what is wrong."""

import itertools
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from segvol_common import Asking, Prompt, mask_of, volume_of

from umd_engine.engine.executor import run_program
from umd_engine.errors import CheckpointError, MissingFileError, VoxelError
from umd_engine.models.parity import recipe
from umd_engine.models.prompts import Click, world_of
from umd_engine.models.ready import open_unit
from umd_engine.models.segvol.model import SegVol
from umd_engine.models.segvol.network import PromptShape
from umd_engine.models.segvol.options import Options
from umd_engine.models.segvol.prompt_tokens import WINDOW
from umd_engine.models.segvol.text import expected_shapes

KEYS = Path(__file__).parents[1] / "recordings" / "segvol_parity" / "segvol.keys.json"
CPU = torch.device("cpu")


def published():
    """A state dict of the published names; each tensor is one number in the file, whatever its shape."""
    shapes = json.loads(KEYS.read_text()) | {f"text_encoder.{name}": s for name, s in expected_shapes().items()}
    return {name: torch.full((1,), 0.5 + n / 1000).expand(*shape) for n, (name, shape) in enumerate(shapes.items())}


def save(path, state, nested):
    prefix = "module." if nested else "model."
    named = {prefix + name: tensor for name, tensor in state.items()}
    torch.save({"model": named, "epoch": 7} if nested else named, path)
    return path


def refused(path, *words, kind=CheckpointError):
    with pytest.raises(kind) as caught:
        SegVol("segvol", path, Options())
    text = str(caught.value)
    assert str(path) in text and caught.value.mend, text
    for word in words:
        assert word in text, text


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return SegVol("segvol", save(tmp_path_factory.mktemp("published") / "SegVol_v1.pth", published(), True), Options())


def test_both_layouts_give_the_same_model(model, tmp_path):
    state = published() | {
        "text_encoder.clip_text_model.text_model.embeddings.position_ids": torch.arange(77)[None]  # older versions
    }
    save(tmp_path / "pytorch_model.bin", state, False)
    hub = SegVol("segvol", tmp_path, Options())
    assert hub.weights == model.weights and len(model.weights) == 64
    name = "mask_decoder.iou_token.weight"
    assert torch.equal(hub.network.state_dict()[name], published()[name])
    assert sum(p.numel() for p in model.network.image_encoder.parameters()) == 87_388_416
    assert sum(p.numel() for p in model.network.mask_decoder.parameters()) == 29_923_716
    assert sum(p.numel() for p in model.network.prompt_encoder.parameters()) == 17_996


def test_units_and_identity(model, tmp_path):
    assert [unit.name for unit in model.units] == [
        "segvol.encoder", "segvol.decoder.points1", "segvol.decoder.box+text"
    ]  # fmt: skip
    shape = PromptShape(points=2, text=True)
    assert model.decoder(shape) is model.decoder(shape) and model.decoder(shape) in model.units
    assert model.prompts == {"text", "point", "box"}
    json.dumps(model.protocol)
    changed = published()
    changed["text_encoder.dim_align.bias"] = changed["text_encoder.dim_align.bias"] + 1e-3
    other = SegVol(
        "segvol", save(tmp_path / "SegVol_v1.pth", changed, True), Options(variant="official", tokenizer="x")
    )
    assert other.weights != model.weights
    assert {key for key in model.protocol if model.protocol[key] != other.protocol[key]} == {"variant"}


def test_bytes_grow_with_scan_and_organs(model):
    small, large = (model.nbytes(shape, (1, 1, 1), 13) for shape in ((64, 64, 64), (512, 512, 900)))
    assert 1e8 < small < large and model.nbytes((512, 512, 900), (1, 1, 1), 1) < large
    # float32 sums of the whole scan for every organ, whichever of its axes is the short one of the windows
    for shape in itertools.permutations((40, 300, 512)):
        most = max(math.prod(map(max, shape, window)) for window in itertools.permutations(WINDOW))
        assert 4 * 13 * most < model.nbytes(shape, (1, 1, 1), 13) < 8 * 13 * most


@pytest.mark.parametrize("nested", [False, True])
def test_names_that_do_not_match(tmp_path, nested):
    path = tmp_path / "weights.pth"
    state = published()
    state["mask_decoder.extra.weight"] = state.pop("mask_decoder.iou_token.weight")
    refused(save(path, state, nested), "1 missing", "iou_token", "1 unexpected", "mask_decoder.extra")
    state = published()
    del state["text_encoder.dim_align.bias"]
    state["text_encoder.other"] = torch.zeros(1)
    refused(save(path, state, nested), "1 missing (text_encoder.dim_align.bias", "1 unexpected (text_encoder.other")
    state = published()
    state["prompt_encoder.no_mask_embed.weight"] = torch.zeros(2, 768)
    refused(save(path, state, nested), "of another shape", "(2, 768) instead of (1, 768)")
    state = published()
    state["text_encoder.dim_align.weight"] = torch.zeros(512, 512)
    refused(save(path, state, nested), "of another shape (text_encoder.dim_align.weight")


@pytest.mark.parametrize("content", [{"network_weights": {}}, {"model": {"encoder.weight": torch.zeros(2)}}, [1, 2]])
def test_a_checkpoint_of_another_model(tmp_path, content):
    torch.save(content, tmp_path / "weights.pth")
    refused(tmp_path / "weights.pth")


@pytest.mark.parametrize("keep", [0, 100, 20_000])
def test_a_truncated_checkpoint(tmp_path, keep):
    path = save(tmp_path / "SegVol_v1.pth", published(), True)
    path.write_bytes(path.read_bytes()[:keep])
    refused(path)


def test_missing_files(tmp_path):
    refused(tmp_path / "SegVol_v1.pth", kind=MissingFileError)
    refused(tmp_path, "pytorch_model.bin", kind=MissingFileError)


def test_a_scan_is_one_image(model):
    volume = volume_of(np.random.default_rng(0).normal(size=(9, 10, 11)).astype(np.float32))
    with pytest.raises(VoxelError, match="takes one image"):
        model.prepare((volume, volume), CPU)
    case = model.prepare((volume,), CPU)
    assert case.resized.shape == (1, 32, 256, 256)


def test_a_batch_of_prompts_is_as_each_alone(model):
    """The decoder at recipe weights: several organs of one embedding in a batch."""
    model.network.load_state_dict(recipe.fill(model.network.state_dict(), 7))
    embedding = torch.from_numpy(recipe.normal(1, "embedding", (1, 768, 8, 16, 16)))
    texts = torch.from_numpy(recipe.normal(1, "texts", (4, 768)))
    boxes = torch.from_numpy(recipe.normal(1, "boxes", (4, 6))).abs() * 20
    module = model.decoder(PromptShape(box=True, text=True)).module
    with torch.no_grad():
        together = module(embedding.expand(4, -1, -1, -1, -1), boxes, texts)
        worst = max(float((module(embedding, boxes[[n]], texts[[n]])[0] - together[n]).abs().max()) for n in range(4))
    error = worst / float(together.max() - together.min())
    print(f"batched against single: {error:.1e} of the range")
    assert error <= 3e-6


@pytest.mark.full
def test_a_scan_from_end_to_end(model):
    """The real network: one encoder call for the scan and one a window, on the scan's grid."""
    model.network.load_state_dict(recipe.fill(model.network.state_dict(), 7))
    random = np.random.Generator(np.random.Philox(0))
    volume = volume_of(random.normal(0, 1, (60, 50, 20)).astype(np.float32), np.diag([-1.5, 1.5, -3.0, 1.0]))
    case = model.prepare((volume,), CPU)
    prompts = [Prompt(clicks=(Click(world_of((30, 20, 9), volume.grid.affine)),))]
    source = Asking("spleen", prompts, mask_of(volume, np.ones(volume.grid.shape, bool)))
    calls = []
    opened = lambda unit: calls.append(unit) or open_unit(unit, "torch", CPU)  # noqa: E731
    (mask,) = run_program(model.segment(case, [source]), opened)
    assert mask.shape == volume.grid.shape and len(source.masks) == 1
    assert calls[0] is model.encoder
