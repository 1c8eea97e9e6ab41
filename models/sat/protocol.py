"""SAT's protocol for one scan: every organ asked for in one pass of windows.

texts -> queries; windows of the cut -> logits of all organs -> weighted means of probabilities, slab by slab
-> each organ's mask on the scan's grid
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program, Tensors, Work
from umd_engine.errors import ModelError, PromptError, UmdEngineError
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.prompts import Prompt, PromptSource
from umd_engine.models.sat.network import PATCH
from umd_engine.models.sat.onto_scan import OntoScan
from umd_engine.models.sat.prepare import Case
from umd_engine.models.sat.windows import Slabs, window, window_grid, window_weights

Found = list[Mask | UmdEngineError]


@dataclass(frozen=True, eq=False)
class Pieces:
    """What the programs of a model call.

    Attributes:
        network: the unit for so many organs at once, the same object every time.
        embed: an organ's name in words -> [768].
    """

    network: Callable[[int], Unit]
    embed: Callable[[str], torch.Tensor]
    official: bool
    patch: Triple = PATCH


def segment_organs(case: Case, sources: Sequence[PromptSource], pieces: Pieces) -> Program[Found]:
    """The last mask of every source, or the error that ended its organ; whoever asks again shares another pass."""
    shape, device = case.frame.grid.shape, case.image.device
    found: Found = [Mask.empty(shape, device) for _ in sources]
    asking: dict[int, Mask | None] = dict.fromkeys(range(len(sources)))
    while asking:
        queries = _ask(asking, sources, found, pieces)
        asking = {}
        if queries:
            masks = yield from segment_queries(case, torch.stack(list(queries.values())).to(device), pieces)
            asking = dict(zip(queries, masks, strict=True))
            for number, mask in zip(queries, masks, strict=True):
                found[number] = mask
    return found


def _ask(
    asking: Mapping[int, Mask | None], sources: Sequence[PromptSource], found: Found, pieces: Pieces
) -> dict[int, torch.Tensor]:
    """The vectors of those sources that have a prompt; an error ends its organ alone."""
    queries = {}
    for number, mask in asking.items():
        try:
            prompt = sources[number].next(mask)
            if prompt is not None:
                queries[number] = pieces.embed(text_of(prompt))
        except UmdEngineError as error:
            found[number] = error
    return queries


def text_of(prompt: Prompt) -> str:
    """The organ's name.

    Raises:
        PromptError: no text, or more than text.
    """
    if prompt.clicks or prompt.box is not None or prompt.drawing is not None:
        raise PromptError("SAT takes text alone, no clicks, boxes or drawings", mend="prompt with --prompt text")
    if prompt.text is None:
        raise PromptError("nothing was asked for", mend="prompt with --prompt text")
    return prompt.text


def segment_queries(case: Case, queries: torch.Tensor, pieces: Pieces) -> Program[list[Mask]]:
    """Each organ's mask.

    Args:
        queries: [organs, 768].

    Raises:
        ModelError: a logit is not finite.
    """
    unit = pieces.network(len(queries))
    onto = OntoScan(case.frame, len(queries), nearest=pieces.official)
    weights = window_weights(pieces.patch).to(case.image.device)
    factors = torch.ones_like(weights) if pieces.official else weights
    slabs = Slabs(len(queries), case.frame.size, weights, factors, onto.add)
    starts = window_grid(case.frame.size, pieces.patch)

    def sink(number: int, outputs: Tensors) -> None:
        low, high = torch.aminmax(outputs[0])
        if not bool(torch.isfinite(low) & torch.isfinite(high)):  # NaN is above 0.5 nowhere: an empty mask
            raise ModelError(f"{unit.name} gives infinite or undefined logits", mend="use --precision fp32 or bf16")
        probabilities = torch.sigmoid_(outputs[0])
        if pieces.official:  # under float16 autocast both factors and their product are
            probabilities = (probabilities.half() * weights.half()).float()
        slabs.add(starts[number], probabilities)

    items = ((window(case.image, start, pieces.patch), queries) for start in starts)
    yield Work(unit, items, len(starts), sink)
    slabs.finish()
    return [onto.mask(number) for number in range(len(queries))]
