"""The language model inside SAT's text encoder: MPNet or BERT, sized by its weights."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from umd_engine.errors import BackendError
from umd_engine.models.checkpoint import check_names
from umd_engine.models.sat.query_decoder import WIDTH

WORDS = "embeddings.word_embeddings.weight"
PLACES = "embeddings.position_embeddings.weight"
BUCKETS = "encoder.relative_attention_bias.weight"  # MPNet's alone
SIZING = (WORDS, PLACES, "encoder.layer.0.intermediate.dense.weight")
HEADS, DISTANCES = WIDTH // 64, 32
Shapes = dict[str, tuple[int, ...]]


def is_mpnet(language: Mapping[str, object]) -> bool:
    return BUCKETS in language


def expected_shapes(language: Mapping[str, torch.Tensor]) -> Shapes:
    """Names and shapes of a language model with as many words, places, layers and hidden channels as this one."""
    words, places, hidden = (language[name].shape[0] for name in SIZING)
    kind = _MPNET if is_mpnet(language) else _BERT
    shapes: Shapes = {WORDS: (words, WIDTH), PLACES: (places, WIDTH)}
    shapes |= {BUCKETS: (DISTANCES, HEADS)} if is_mpnet(language) else {_TYPES: (2, WIDTH)}
    norms, squares = ["embeddings.LayerNorm"], []
    for layer in (f"encoder.layer.{number}." for number in range(_layers(language))):
        norms += [f"{layer}{name}" for name in (kind["norm"], "output.LayerNorm")]
        squares += [f"{layer}{name}" for name in kind["attention"].split()]
        shapes |= {f"{layer}intermediate.dense.weight": (hidden, WIDTH), f"{layer}intermediate.dense.bias": (hidden,)}
        shapes |= {f"{layer}output.dense.weight": (WIDTH, hidden), f"{layer}output.dense.bias": (WIDTH,)}
    squares += ["pooler.dense"] if _has_pooler(language) else []
    shapes |= {f"{name}.weight": (WIDTH, WIDTH) for name in squares} | {f"{name}.weight": (WIDTH,) for name in norms}
    return shapes | {f"{name}.bias": (WIDTH,) for name in [*squares, *norms]}


_TYPES = "embeddings.token_type_embeddings.weight"
_MPNET = {
    "norm": "attention.LayerNorm",
    "attention": "attention.attn.q attention.attn.k attention.attn.v attention.attn.o",
}
_BERT = {
    "norm": "attention.output.LayerNorm",
    "attention": "attention.self.query attention.self.key attention.self.value attention.output.dense",
}


def check_language(language: Mapping[str, torch.Tensor], where: Path) -> None:
    """Raise CheckpointError, with all names, unless these are all weights of a language model and no others."""
    mend = "give the text_encoder.pth that is published beside the network's checkpoint"
    sizing = {name: tensor for name, tensor in language.items() if name in SIZING}  # all other shapes follow from them
    there: Shapes = {name: tuple(tensor.shape) for name, tensor in sizing.items()}
    check_names({name: there.get(name, ()) for name in SIZING}, sizing, "language model", where, mend)
    check_names(expected_shapes(language), language, "language model", where, mend)


def build_language_model(language: Mapping[str, torch.Tensor]) -> Any:
    """transformers' MPNetModel or BertModel with weights that `check_language` let pass.

    Raises:
        BackendError: transformers is not installed.
    """
    try:
        from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel
    except ImportError:
        raise BackendError("text prompts need transformers", mend="pip install transformers") from None
    words, places, hidden = (language[name].shape[0] for name in SIZING)
    sizes = {
        "vocab_size": words,
        "hidden_size": WIDTH,
        "num_hidden_layers": _layers(language),
        "num_attention_heads": HEADS,
        "intermediate_size": hidden,
        "max_position_embeddings": places,
    }
    pooler = _has_pooler(language)
    if is_mpnet(language):  # the epsilon that MPNet's sentence models, of which BioLORD is one, are published with
        model: Any = MPNetModel(MPNetConfig(**sizes, layer_norm_eps=1e-5), add_pooling_layer=pooler)
    else:
        model = BertModel(BertConfig(**sizes, layer_norm_eps=1e-12), add_pooling_layer=pooler)
    missing, unexpected = model.load_state_dict(dict(language), strict=False)
    left = [key for key in [*missing, *unexpected] if not key.endswith(("position_ids", "token_type_ids"))]
    assert not left, left
    return model.eval()


def _layers(language: Mapping[str, object]) -> int:
    return len({found[1] for name in language if (found := re.match(r"encoder\.layer\.(\d+)\.", name))})


def _has_pooler(language: Mapping[str, object]) -> bool:
    return any(name.startswith("pooler.") for name in language)
