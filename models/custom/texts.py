"""A described model that takes texts: each organ's vector goes to the network with every window."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from umd_engine.engine.accumulator import Sums
from umd_engine.engine.work import Program
from umd_engine.errors import PromptError, UmdEngineError
from umd_engine.models.calls import Asked, Calls
from umd_engine.models.custom.decide import labels_of
from umd_engine.models.custom.described import Case, Described, grid_of, windows_of
from umd_engine.models.custom.description import Description
from umd_engine.models.custom.opening import Piece
from umd_engine.models.custom.sliding import sums_of
from umd_engine.models.custom.vectors import Vectors
from umd_engine.models.mask import Mask
from umd_engine.models.prompts import Prompt, PromptSource


class TextModel(Described):
    """The network sees a patch and a vector, or several at once: [N, C, ...] and [N, D] or [N, at_once, D]."""

    prompts = frozenset({"text"})
    crops_by_label = False

    def __init__(self, name: str, description: Description, pieces: Sequence[Piece], vectors: Vectors):
        super().__init__(name, description, pieces)
        assert description.texts is not None
        self.vectors, self.at_once = vectors, description.texts.at_once

    def nbytes(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], organs: int) -> int:
        heads = -(-organs // (self.at_once or 1)) * (self.at_once or 1)
        return self.bytes_of(shape, spacing, heads) + organs * math.prod(shape)

    def calls(self, shape: tuple[int, int, int], spacing: tuple[float, float, float], asked: Asked) -> Calls:
        times = -(-asked.organs // (self.at_once or 1))
        return Calls(self.works(grid_of(shape, spacing), times) * len(asked.steps), self.assumed)

    def segment(self, case: Case, sources: Sequence[PromptSource]) -> Program[list[Mask | UmdEngineError]]:
        """The last mask of every source; who asks again shares another pass of the windows."""
        found: list[Mask | UmdEngineError] = [Mask.empty(case.grid.shape, case.image.device) for _ in sources]
        asking: dict[int, Mask | None] = dict.fromkeys(range(len(sources)))
        while asking:
            vectors = {}
            for number, mask in asking.items():
                try:
                    prompt = sources[number].next(mask)
                    if prompt is not None:
                        vectors[number] = self.vectors.find(text_of(prompt))
                except UmdEngineError as error:
                    found[number] = error
            asking = {}
            if vectors:
                masks = yield from self._pass(case, list(vectors.values()))
                asking = dict(zip(vectors, masks, strict=True))
                for number, mask in zip(vectors, masks, strict=True):
                    found[number] = mask
        return found

    def _pass(self, case: Case, vectors: Sequence[torch.Tensor]) -> Program[list[Mask]]:
        """A mask a vector. Where fewer are left than the network takes at once, the last one is asked again."""
        frame, data = yield from self.lattice(case)
        many = self.at_once or 1
        filled = [*vectors, *[vectors[-1]] * (-len(vectors) % many)]
        asked = torch.stack(filled).to(data.device)  # [texts, D]
        if self.at_once is not None:
            asked = asked.view(-1, many, asked.shape[1])
        sums = yield from sums_of(data, self.units[-1], windows_of(self.description), many, list(asked))
        masks = []
        for row in range(len(vectors)):
            organ = Sums(sums.values[row : row + 1], sums.total)
            labels = labels_of(organ, frame, self.turn, self.description.output)
            masks.append(Mask.of(labels.to(case.image.device)))  # sums may have gone to the host
        return masks


def text_of(prompt: Prompt) -> str:
    """The text alone.

    Raises:
        PromptError: no text, or more than a text.
    """
    if prompt.text is None or prompt.clicks or prompt.box is not None or prompt.drawing is not None:
        raise PromptError("the model takes a text and nothing else", mend="prompt with --prompt text")
    return prompt.text
