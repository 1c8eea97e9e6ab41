"""Organ names as vectors: CLIP ViT-B/32's text model and a linear layer, both from SegVol's checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from umd_engine.errors import BackendError, CheckpointError, MissingFileError
from umd_engine.models.catalog.folder import checkpoints_folder

TEMPLATE = "A computerized tomography of a {}."
WIDTH, MLP_WIDTH, LAYERS, VOCABULARY, LENGTH = 512, 2048, 12, 49408, 77
CLIP = "clip_text_model.text_model."
FOLDER = "clip-vit-base-patch32"


def expected_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes of the published text encoder's tensors, without the prefix `text_encoder.`."""
    shapes: dict[str, tuple[int, ...]] = {
        f"{CLIP}embeddings.token_embedding.weight": (VOCABULARY, WIDTH),
        f"{CLIP}embeddings.position_embedding.weight": (LENGTH, WIDTH),
        "dim_align.weight": (768, WIDTH),
        "dim_align.bias": (768,),
    }
    linear = {f"self_attn.{name}_proj": (WIDTH, WIDTH) for name in "kvq"} | {"self_attn.out_proj": (WIDTH, WIDTH)}
    linear |= {"mlp.fc1": (MLP_WIDTH, WIDTH), "mlp.fc2": (WIDTH, MLP_WIDTH)}
    for layer in range(LAYERS):
        for name, shape in linear.items():
            shapes[f"{CLIP}encoder.layers.{layer}.{name}.weight"] = shape
            shapes[f"{CLIP}encoder.layers.{layer}.{name}.bias"] = shape[:1]
    norms = [f"encoder.layers.{layer}.layer_norm{number}" for layer in range(LAYERS) for number in (1, 2)]
    for norm in [*norms, "final_layer_norm"]:
        shapes |= {f"{CLIP}{norm}.weight": (WIDTH,), f"{CLIP}{norm}.bias": (WIDTH,)}
    return shapes


class TextEncoder:
    """Embeds prompts and remembers them: what an organ's name gives never changes.

    Args:
        state: `text_encoder.*` of the checkpoint, without that prefix, of `expected_shapes`.
        tokenizer: folder with vocab.json and merges.txt; None: in the checkpoint folder.
    """

    def __init__(self, state: dict[str, torch.Tensor], tokenizer: Path | None):
        self.state, self.folder = state, tokenizer
        self._known: dict[str, torch.Tensor] = {}
        self._clip: Any = None
        self._tokenizer: Any = None

    def embed(self, organ: str) -> torch.Tensor:
        """float32 [768] of an organ's name.

        Raises:
            MissingFileError: no tokenizer files. CheckpointError: they are another tokenizer's.
            BackendError: transformers is not installed.
        """
        prompt = TEMPLATE.format(organ)
        if prompt not in self._known:
            if self._tokenizer is None:
                self._tokenizer = open_tokenizer(self.folder)
            self._known[prompt] = self.of_tokens(self._tokenizer(prompt)["input_ids"])
        return self._known[prompt]

    def of_tokens(self, ids: list[int]) -> torch.Tensor:
        """float32 [768]: the end token's state after the last norm, through the linear layer."""
        if self._clip is None:
            self._clip = clip_text_model(self.state)
        with torch.no_grad():
            pooled = self._clip(input_ids=torch.tensor([ids])).pooler_output[0]
            return self.state["dim_align.weight"] @ pooled + self.state["dim_align.bias"]


def clip_text_model(state: dict[str, torch.Tensor]) -> Any:
    """transformers' CLIPTextModel with the checkpoint's weights; older ones have a level `text_model` in their names.

    Raises:
        BackendError: transformers is not installed.
    """
    try:
        from transformers import CLIPTextConfig, CLIPTextModel
    except ImportError:
        raise BackendError("text prompts need transformers", mend="pip install transformers") from None
    model: Any = CLIPTextModel(CLIPTextConfig())
    level = "text_model." if hasattr(model, "text_model") else ""
    weights = {level + key.removeprefix(CLIP): tensor for key, tensor in state.items() if key.startswith(CLIP)}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    left = [key for key in [*missing, *unexpected] if not key.endswith("position_ids")]  # a buffer of older versions
    assert not left, left
    return model.eval()


def open_tokenizer(folder: Path | None) -> Any:
    """CLIP's tokenizer from local files; nothing is downloaded.

    Raises:
        MissingFileError: says which files to put where. CheckpointError: another vocabulary.
        BackendError: transformers is not installed.
    """
    home = folder if folder is not None else checkpoints_folder() / FOLDER
    files = ("vocab.json", "merges.txt")
    if not all((home / name).is_file() for name in files):
        raise MissingFileError(
            "text prompts need CLIP's tokenizer files vocab.json and merges.txt",
            where=home,
            mend=f"run umd-engine models fetch segvol, or put both (of openai/{FOLDER}) there, or give the option "
            "tokenizer=FOLDER",
        )
    try:
        from transformers import CLIPTokenizer
    except ImportError:
        raise BackendError("text prompts need transformers", mend="pip install transformers") from None
    tokenizer = CLIPTokenizer.from_pretrained(str(home), local_files_only=True)
    if len(tokenizer) != VOCABULARY:
        raise CheckpointError(
            f"the vocabulary has {len(tokenizer)} entries instead of {VOCABULARY}",
            where=home / files[0],
            mend=f"take vocab.json and merges.txt of openai/{FOLDER}",
        )
    return tokenizer
