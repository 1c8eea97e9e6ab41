"""Organ names as queries: the language model against a second formulation of it, and what is refused."""

import shutil

import numpy as np
import pytest
import torch
from sat_common import save, text_shapes, text_weights, vocabulary

from umd_engine.errors import CheckpointError, MissingFileError, PromptError, UnknownNameError
from umd_engine.models.sat.text import TextEncoder, known_names, open_tokenizer
from umd_engine.models.sat.text_state import read_text_state

IDS = [0, 6, 8, 9, 10, 2]


@pytest.fixture(scope="module", params=[True, False], ids=["mpnet", "bert"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def weights(kind):
    return text_weights(kind)


@pytest.fixture(scope="module")
def file(kind, weights, tmp_path_factory):
    more = {"temperature": torch.ones(()), "atlas_tower.conv.weight": torch.ones(2, 3)}
    more |= {f"{'lm.' if kind else 'tower.bert.'}embeddings.position_ids": torch.arange(16)[None]}
    return save(tmp_path_factory.mktemp("sat") / "text_encoder.pth", weights | more)


@pytest.fixture
def folder(kind, tmp_path):
    return vocabulary(tmp_path / "tokenizer", kind)


def linear(x, weights, name):
    return x @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def normed(x, weights, name, eps):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + eps)
    return x * weights[f"{name}.weight"] + weights[f"{name}.bias"]


def gelu(x):
    return x * 0.5 * (1 + torch.erf(torch.from_numpy(x / np.sqrt(2))).numpy())


def bucket(distance):
    """Of MPNet's 32: 16 a side, 8 of them exact; texts here are shorter."""
    assert abs(distance) < 8
    return (16 if distance > 0 else 0) + abs(distance)


def by_hand(ids, weights, mpnet, modality):
    """float64 NumPy: the mean of all tokens' last states, two layers, the modality's vector."""
    w = {name.removeprefix("lm.").removeprefix("tower.bert."): x.double().numpy() for name, x in weights.items()}
    eps = 1e-5 if mpnet else 1e-12
    first = 2 if mpnet else 0
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][first : first + len(ids)]
    bias = np.zeros((12, len(ids), len(ids)))
    if mpnet:
        table = w["encoder.relative_attention_bias.weight"]
        for i in range(len(ids)):
            for j in range(len(ids)):
                bias[:, i, j] = table[bucket(j - i)]
    else:
        x = x + w["embeddings.token_type_embeddings.weight"][0]
    x = normed(x, w, "embeddings.LayerNorm", eps)
    for layer in (f"encoder.layer.{i}." for i in range(2)):
        names = ("attn.q", "attn.k", "attn.v") if mpnet else ("self.query", "self.key", "self.value")
        q, k, v = (
            linear(x, w, f"{layer}attention.{name}").reshape(len(ids), 12, 64).transpose(1, 0, 2) for name in names
        )
        scores = q @ k.transpose(0, 2, 1) / 8 + bias
        shares = np.exp(scores - scores.max(-1, keepdims=True))
        shares /= shares.sum(-1, keepdims=True)
        mixed = (shares @ v).transpose(1, 0, 2).reshape(len(ids), 768)
        out, norm = ("attn.o", "LayerNorm") if mpnet else ("output.dense", "output.LayerNorm")
        x = normed(x + linear(mixed, w, f"{layer}attention.{out}"), w, f"{layer}attention.{norm}", eps)
        hidden = gelu(linear(x, w, f"{layer}intermediate.dense"))
        x = normed(x + linear(hidden, w, f"{layer}output.dense"), w, f"{layer}output.LayerNorm", eps)
    x = linear(gelu(linear(x.mean(0), w, "projection.0")), w, "projection.2")
    return x + w["modality_embed.weight"][["ct", "mr", "us", "pet"].index(modality)]


@pytest.mark.parametrize("modality", ["ct", "pet"])
def test_fixed_token_ids(file, weights, kind, modality):
    found = TextEncoder(read_text_state(file), None).of_tokens(IDS, modality).numpy()
    wanted = by_hand(IDS, weights, kind, modality)
    error = np.abs(found - wanted).max() / np.ptp(wanted)
    print(f"{error:.1e} of the range")
    assert found.shape == (768,) and error <= 2e-6
    shuffled = by_hand([0, 8, 6, 9, 10, 2], weights, kind, modality)
    assert np.abs(shuffled - wanted).max() / np.ptp(wanted) > 1e-4  # the order of words counts


def test_a_name_is_embedded_once_a_modality(file, folder, kind):
    encoder = TextEncoder(read_text_state(file), folder)
    first = encoder.embed("Left Kidney", "ct")
    shutil.rmtree(folder)  # not read again
    assert encoder.embed(" left kidney", "ct") is first
    ids = encoder.tokens("left kidney")
    assert ids == ([0, 6, 8, 2] if kind else [2, 6, 8, 3])
    assert torch.equal(encoder.of_tokens(ids, "ct"), first)
    pet = encoder.embed("left kidney", "pet")
    table = encoder.state.modalities
    assert torch.allclose(pet - first, table[3] - table[0], atol=1e-6) and not torch.equal(pet, first)
    assert not torch.allclose(encoder.embed("right kidney", "ct"), first, atol=1e-4)


def test_names_that_no_label_set_has_are_refused(file, folder):
    state = read_text_state(file)
    with pytest.raises(UnknownNameError, match="'splen'") as caught:
        TextEncoder(state, folder).embed("splen", "ct")
    assert "spleen" in str(caught.value) and "names=any" in str(caught.value)
    with pytest.raises(PromptError, match="does not know 'splen'"):
        TextEncoder(state, folder, any_name=True).embed("splen", "ct")  # there is "spl" and no "en"
    assert TextEncoder(state, folder, any_name=True).embed("word20 word21", "ct").shape == (768,)


def test_known_names_are_in_words():
    assert {"liver", "left kidney", "kidney left", "urinary bladder", "inferior vena cava"} <= known_names()
    assert not any("_" in name for name in known_names())


@pytest.mark.parametrize("text", ["", "  "])
def test_no_name(file, folder, text):
    with pytest.raises(PromptError, match="empty"):
        TextEncoder(read_text_state(file), folder, any_name=True).embed(text, "ct")


def test_a_text_that_is_too_long(file, folder, kind):
    encoder = TextEncoder(read_text_state(file), folder, any_name=True)
    longest = 14 if kind else 16
    assert encoder.embed(" ".join(["liver"] * (longest - 2)), "ct").shape == (768,)
    with pytest.raises(PromptError, match="too long"):
        encoder.embed(" ".join(["liver"] * (longest - 1)), "ct")


def test_the_missing_tokenizer_is_named(file, folder, monkeypatch, tmp_path):
    monkeypatch.setenv("UMD_ENGINE_CHECKPOINTS", str(tmp_path))
    state = read_text_state(file)
    with pytest.raises(MissingFileError, match=r"vocab\.txt") as caught:
        TextEncoder(state, None).embed("liver", "ct")
    assert str(tmp_path / "BioLORD-2023-C") in str(caught.value) and "tokenizer=FOLDER" in str(caught.value)
    shutil.move(folder, tmp_path / "BioLORD-2023-C")
    assert TextEncoder(state, None).embed("liver", "ct").shape == (768,)


def test_another_vocabulary_is_refused(file, folder):
    with (folder / "vocab.txt").open("a") as words:
        words.write("more\n")
    with pytest.raises(CheckpointError, match="41 entries instead of 40"):
        open_tokenizer(folder, read_text_state(file))


@pytest.mark.parametrize(
    ("name", "tensor", "attribute"),
    [
        ("encoder.layer.1.output.dense.bias", None, "missing"),
        ("embeddings.position_embeddings.weight", None, "missing"),
        ("encoder.layer.1.output.dense.weight", torch.zeros(768, 31), "shapes"),
        ("encoder.layer.1.output.extra", torch.zeros(3), "unexpected"),
        ("projection.0.weight", torch.zeros(48, 767), "unexpected"),
        ("projection.0.bias", torch.zeros(47), "unexpected"),
        ("projection.2.bias", None, "unexpected"),
        ("modality_embed.weight", torch.zeros(3, 768), "unexpected"),
        ("another.weight", torch.zeros(3, 768), "unexpected"),
        ("norm.weight", torch.zeros(768), "unexpected"),
    ],
)
def test_a_file_that_is_no_text_encoder(weights, kind, tmp_path, name, tensor, attribute):
    stem = "lm." if kind else "tower.bert."
    key = f"{stem}{name}" if name.startswith("e") else name
    state = {k: v for k, v in weights.items() if k != key} | ({} if tensor is None else {key: tensor})
    path = save(tmp_path / "text_encoder.pth", state)
    with pytest.raises(CheckpointError) as caught:
        read_text_state(path)
    named = getattr(caught.value, attribute)
    assert named and (name in "".join(named) or name == "projection.2.bias") and str(path) in str(caught.value)


def test_layers_go_by_their_numbers(weights, file, tmp_path):
    """Layer 10 comes after layer 2, in whatever order the file has them."""
    renamed = {name.replace("projection.2.", "projection.10."): tensor for name, tensor in weights.items()}
    renamed = {name.replace("projection.0.", "projection.2."): tensor for name, tensor in renamed.items()}
    again = read_text_state(save(tmp_path / "text_encoder.pth", dict(reversed(renamed.items()))))
    plain = read_text_state(file)
    assert all(
        torch.equal(a, b)
        for x, y in zip(again.projection, plain.projection, strict=True)
        for a, b in zip(x, y, strict=True)
    )


def test_other_files_are_told_apart(weights, tmp_path):
    with pytest.raises(CheckpointError, match="0 language models"):
        read_text_state(save(tmp_path / "a.pth", {"backbone.weight": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match="2 language models"):
        read_text_state(save(tmp_path / "b.pth", weights | {"x.embeddings.word_embeddings.weight": torch.zeros(2, 2)}))
    torch.save(weights, tmp_path / "c.pth")
    with pytest.raises(CheckpointError, match="model_state_dict"):
        read_text_state(tmp_path / "c.pth")
    with pytest.raises(MissingFileError, match=r"text_encoder\.pth"):
        read_text_state(tmp_path / "text_encoder.pth")


def test_the_real_size_is_accepted():
    """Names and shapes of BioLORD's model, without its values: 12 layers, 30527 words, 514 places."""
    from umd_engine.models.sat.language import check_language, expected_shapes

    small = {name.removeprefix("lm."): shape for name, shape in text_shapes(True, 30527, 12, 3072).items()}
    language = {name: torch.empty(shape, device="meta") for name, shape in small.items() if name[0] in "ep"}
    language = {name: tensor for name, tensor in language.items() if not name.startswith("projection")}
    language["embeddings.position_embeddings.weight"] = torch.empty((514, 768), device="meta")
    check_language(language, None)
    assert sum(np.prod(shape) for shape in expected_shapes(language).values()) == 109_486_464
