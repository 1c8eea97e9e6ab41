"""Organ names as queries: SAT's text encoder, from the user's own `text_encoder.pth` and tokenizer files.

lower-cased name -> tokens -> language model -> mean of all tokens -> Linear, GELU, Linear -> + the modality's vector
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from umd_engine.data.labelset import LABEL_SETS, load_label_set
from umd_engine.errors import BackendError, CheckpointError, MissingFileError, PromptError, UnknownNameError
from umd_engine.models.catalog.folder import checkpoints_folder
from umd_engine.models.sat.language import build_language_model
from umd_engine.models.sat.options import MODALITIES
from umd_engine.models.sat.text_state import TextState

FOLDER = "BioLORD-2023-C"
VOCABULARY = "vocab.txt"


class TextEncoder:
    """Embeds organ names and remembers them: what a name gives in a modality never changes.

    Args:
        tokenizer: folder with vocab.txt; None: in the checkpoint folder.
        any_name: embed every text; otherwise `known_names` alone.
    """

    def __init__(self, state: TextState, tokenizer: Path | None, any_name: bool = False):
        self.state, self.folder, self.any_name = state, tokenizer, any_name
        self._known: dict[tuple[str, str], torch.Tensor] = {}
        self._language_model: Any = None
        self._tokenizer: Any = None

    def embed(self, organ: str, modality: str) -> torch.Tensor:
        """float32 [768] of an organ's name.

        Raises:
            UnknownNameError: a name of no label set. PromptError: no name, one that the vocabulary cannot spell, or
                one that is too long.
            MissingFileError: no tokenizer files. CheckpointError: they are another tokenizer's.
            BackendError: transformers is not installed.
        """
        key = (organ.strip().lower(), modality)
        if key not in self._known:
            self._known[key] = self.of_tokens(self.tokens(key[0]), modality)
        return self._known[key]

    def tokens(self, name: str) -> list[int]:
        """Token ids of a lower-cased name, with the tokenizer's marks of beginning and end."""
        if not name:
            raise PromptError("an empty text names no organ", mend="prompt with an organ's name")
        if not self.any_name and name not in known_names():
            where = "--set NAME.names=any lets SAT look for every text"
            raise UnknownNameError("organ", name, known_names(), where=where)
        if self._tokenizer is None:
            self._tokenizer = open_tokenizer(self.folder, self.state)
        ids: list[int] = self._tokenizer(name)["input_ids"]
        if self._tokenizer.unk_token_id in ids:
            raise PromptError(
                f"the text encoder does not know '{name}': its vocabulary lacks a part of it",
                mend="name the organ in English, in plain letters",
            )
        if len(ids) > self.state.longest:
            raise PromptError(f"a text of {len(ids)} tokens is too long", mend=f"at most {self.state.longest}")
        return ids

    def of_tokens(self, ids: list[int], modality: str) -> torch.Tensor:
        """float32 [768]."""
        if self._language_model is None:
            self._language_model = build_language_model(self.state.language)
        first, second = self.state.projection
        with torch.no_grad():
            pooled = self._language_model(input_ids=torch.tensor([ids])).last_hidden_state[0].mean(0)
            projected = F.linear(F.gelu(F.linear(pooled, *first)), *second)
            return projected + self.state.modalities[MODALITIES.index(modality)]


@cache
def known_names() -> frozenset[str]:
    """Lower-cased names of all organs of the label sets that come with the package: "left kidney", "kidney left"."""
    organs = [organ.lower() for name in LABEL_SETS for organ in load_label_set(name).ids]
    stems = {organ: organ.rpartition("_") for organ in organs}
    sided = {f"{side} {stem}" for stem, _, side in stems.values() if side in ("left", "right")}
    return frozenset(name.replace("_", " ") for name in {*organs, *sided})


def open_tokenizer(folder: Path | None, state: TextState) -> Any:
    """The language model's tokenizer from local files; nothing is downloaded.

    Raises:
        MissingFileError: says which file to put where. CheckpointError: another vocabulary.
        BackendError: transformers is not installed.
    """
    home = folder if folder is not None else checkpoints_folder() / FOLDER
    if not (home / VOCABULARY).is_file():
        raise MissingFileError(
            f"text prompts need the tokenizer file {VOCABULARY}",
            where=home,
            mend=f"put {VOCABULARY} of FremyCompany/{FOLDER} there, or give the option tokenizer=FOLDER",
        )
    try:
        from transformers import BertTokenizer, MPNetTokenizer
    except ImportError:
        raise BackendError("text prompts need transformers", mend="pip install transformers") from None
    kind: Any = MPNetTokenizer if state.is_mpnet else BertTokenizer
    tokenizer = kind.from_pretrained(str(home), local_files_only=True)
    if len(tokenizer) != state.vocabulary:
        raise CheckpointError(
            f"the vocabulary has {len(tokenizer)} entries instead of {state.vocabulary}",
            where=home / VOCABULARY,
            mend=f"take the one of FremyCompany/{FOLDER}",
        )
    return tokenizer
