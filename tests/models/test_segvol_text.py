"""Organ names as vectors, against the official text encoder at the same weights."""

import json
from itertools import islice, product
from pathlib import Path

import numpy as np
import pytest
import torch

from umd_engine.errors import CheckpointError, MissingFileError
from umd_engine.models.parity import recipe
from umd_engine.models.segvol.text import CLIP, VOCABULARY, TextEncoder, expected_shapes, open_tokenizer

STORED = Path(__file__).parents[1] / "recordings" / "segvol_text.npz"
NAMES = ("liver", "right kidney", "inferior vena cava", "duodenum")


@pytest.fixture(scope="module")
def state():
    shapes = expected_shapes()
    filled = {name: recipe.tensor(3, name, shape) for name, shape in shapes.items()}
    return {name: torch.from_numpy(np.ascontiguousarray(value)) for name, value in filled.items()}


@pytest.fixture(scope="module")
def encoder(state):
    return TextEncoder(state, None)


@pytest.mark.parametrize("name", NAMES)
def test_token_ids_become_the_official_vector(encoder, name):
    with np.load(STORED) as stored:
        ids, official = stored[f"{name}/ids"].tolist(), stored[f"{name}/vector"]
    found = encoder.of_tokens(ids).numpy()
    error = np.abs(found - official).max() / np.ptp(official)
    print(f"{name}: {error:.1e} of the range")
    assert error <= 1e-5


def test_it_is_a_plain_clip_text_model(encoder, state):
    from transformers import CLIPTextConfig, CLIPTextModel

    plain = CLIPTextModel(CLIPTextConfig()).eval()
    level = "" if "final_layer_norm.weight" in plain.state_dict() else "text_model."
    plain.load_state_dict({level + k.removeprefix(CLIP): v for k, v in state.items() if k.startswith(CLIP)})
    ids = [49406, 320, 1237, 49407]
    with torch.no_grad():
        pooled = plain(input_ids=torch.tensor([ids])).pooler_output
        expected = torch.nn.functional.linear(pooled, state["dim_align.weight"], state["dim_align.bias"])[0]
    assert torch.allclose(encoder.of_tokens(ids), expected, atol=1e-6)


@pytest.fixture
def files(tmp_path):
    """Files of CLIP's kind and size: 2 x 256 bytes, merges of pairs of them, and the two ends."""
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    symbols = list(bytes_to_unicode().values())
    merges = list(islice(product(symbols, symbols), VOCABULARY - 2 * 256 - 2))
    tokens = [*symbols, *(symbol + "</w>" for symbol in symbols), *(a + b for a, b in merges)]
    vocabulary = {token: number for number, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    (tmp_path / "vocab.json").write_text(json.dumps(vocabulary))
    (tmp_path / "merges.txt").write_text("\n".join(["#version: 0.2", *(f"{a} {b}" for a, b in merges)]))
    return tmp_path


def test_a_prompt_is_embedded_once(state, files):
    encoder = TextEncoder(state, files)
    first = encoder.embed("spleen")
    (files / "vocab.json").unlink()  # not read again
    assert encoder.embed("spleen") is first
    ids = encoder._tokenizer("A computerized tomography of a spleen.")["input_ids"]
    assert ids[0] == VOCABULARY - 2 and ids[-1] == VOCABULARY - 1
    assert torch.equal(encoder.of_tokens(ids), first)
    assert not torch.equal(encoder.embed("liver"), first)


def test_the_checkpoint_folder_is_searched(files, monkeypatch):
    home = files / "home"
    home.mkdir()
    monkeypatch.setenv("UMD_ENGINE_CHECKPOINTS", str(home))
    with pytest.raises(MissingFileError, match="clip-vit-base-patch32"):
        open_tokenizer(None)
    folder = home / "clip-vit-base-patch32"
    folder.mkdir()
    for name in ("vocab.json", "merges.txt"):
        (files / name).rename(folder / name)
    assert len(open_tokenizer(None)) == VOCABULARY


def test_another_vocabulary_is_refused(files):
    path = files / "vocab.json"
    vocabulary = json.loads(path.read_text())
    path.write_text(json.dumps(vocabulary | {"one-too-many": VOCABULARY}))
    with pytest.raises(CheckpointError, match=str(VOCABULARY + 1)):
        open_tokenizer(files)
