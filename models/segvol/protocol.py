"""SegVol's protocol for one organ: the whole scan at a glance, then its region at full resolution.

embedding of the whole scan -> decoder, prompted -> mask -> its region
region -> windows -> encoder, decoder with mirrored prompts -> mean of overlapping logits -> mask
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from umd_engine.engine.accumulator import Accumulator
from umd_engine.engine.together import in_turn, together
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program, Tensors, Work, call
from umd_engine.errors import OptionError, UmdEngineError
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.prompts import PromptSource, View
from umd_engine.models.segvol.asked import Asked
from umd_engine.models.segvol.draws import Draws, PhiloxDraws, TorchDraws
from umd_engine.models.segvol.network import PromptShape
from umd_engine.models.segvol.options import Options
from umd_engine.models.segvol.prepare import Case
from umd_engine.models.segvol.prompt_tokens import WINDOW
from umd_engine.models.segvol.regions import WindowPrompts, find_region

AT_ONCE = 4  # windows whose embeddings (6 MB each) are held
NOWHERE = "nothing found at a glance"


@dataclass(frozen=True, eq=False)
class Pieces:
    """What the programs of a model call.

    Attributes:
        encoder: [1, 32, 256, 256] -> [768, 8, 16, 16].
        decoder: the unit for prompts of a shape, the same object every time.
        embed: an organ's name -> [768].
    """

    encoder: Unit
    decoder: Callable[[PromptShape], Unit]
    embed: Callable[[str], torch.Tensor]
    options: Options


def segment_organs(case: Case, sources: Sequence[PromptSource], pieces: Pieces) -> Program[list[Mask | UmdEngineError]]:
    """The last mask of every source, or the error that ended its organ; the whole scan is encoded once for all."""
    if not sources:
        return []
    (embedding,) = yield from call(pieces.encoder, case.resized)
    draws: Draws = TorchDraws() if pieces.options.official else PhiloxDraws()
    programs = [segment_organ(case, embedding, source, pieces, draws) for source in sources]
    return (yield from (in_turn if pieces.options.official else together)(programs))


def segment_organ(
    case: Case, embedding: torch.Tensor, source: PromptSource, pieces: Pieces, draws: Draws
) -> Program[Mask]:
    """The last step's mask on the scan's grid.

    Args:
        embedding: [768, 8, 16, 16] of the whole scan; steps do not compute it again.
    """
    label = source.label if pieces.options.official else None
    asked, step, note = Asked(), 0, ""
    mask = Mask.empty(case.frame.grid.shape, case.image.device)
    while (prompt := source.next(mask if step else None, partial(_view, case, source, mask), note)) is not None:
        asked = asked.and_then(prompt, case.frame, label)
        found = yield from _one_step(case, embedding, asked, pieces, draws, (case.name, source.organ, step))
        mask = Mask.empty(mask.shape, case.image.device) if found is None else found
        note = "; ".join(said for said in (asked.note, NOWHERE if found is None else "") if said)
        step += 1
    return mask


def _one_step(
    case: Case, embedding: torch.Tensor, asked: Asked, pieces: Pieces, draws: Draws, key: Sequence[object]
) -> Program[Mask | None]:
    """The mask after all that was asked so far; None: a glance at the whole scan finds nothing."""
    device, frame = case.image.device, case.frame
    text = None if asked.text is None else pieces.embed(asked.text).to(device)
    corners = None if asked.box is None else torch.tensor(asked.box, device=device)
    shape, prompts = _inputs(asked.points, asked.labels, corners, text)
    (logits,) = yield from call(pieces.decoder(shape), embedding, *prompts)
    shown = decided(enlarge(logits))
    region = find_region(shown, frame, pieces.options.overlap)
    if region is None:
        return None
    if not pieces.options.zoom_in:
        return frame.to_scan(region.of_resized(shown, frame), region.low)
    mirrored = WindowPrompts(region, frame, shown, asked, pieces.options.pad_prompts)
    mean = yield from zoom_in(case, mirrored, text, pieces, draws, (*key, asked.points))
    return frame.to_scan(decided(mean), region.low)


def zoom_in(
    case: Case,
    prompts: WindowPrompts,
    text: torch.Tensor | None,
    pieces: Pieces,
    draws: Draws,
    key: Sequence[object],
) -> Program[torch.Tensor]:
    """Logits [d, h, w] of a region: the mean of its windows' logits, summed in float32."""
    region = prompts.region
    sums = Accumulator(1, region.padded, torch.ones(WINDOW, device=case.image.device))
    for first in range(0, len(region.starts), AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, len(region.starts)))
        embeddings: dict[int, torch.Tensor] = {}
        windows = ((region.window(case.image, region.starts[number]),) for number in numbers)
        yield Work(pieces.encoder, windows, len(numbers), _keep(embeddings, numbers), sums.spill)
        asked = {number: _window_inputs(prompts, number, text, draws, key) for number in numbers}
        logits: dict[int, torch.Tensor] = {}
        for shape in dict.fromkeys(shape for shape, _ in asked.values()):
            alike = [number for number in numbers if asked[number][0] == shape]
            items = ((embeddings[number], *asked[number][1]) for number in alike)
            yield Work(pieces.decoder(shape), items, len(alike), _keep(logits, alike), sums.spill)
        for number in numbers:  # in order: a sum's last bits depend on it
            sums.add(region.starts[number], enlarge(logits[number])[None])
    inner = tuple(slice(lo, lo + n) for lo, n in zip(region.padding, region.size, strict=True))
    return sums.mean()[0][inner].to(case.image.device)  # sums may have gone to the host


def enlarge(logits: torch.Tensor) -> torch.Tensor:
    """[32, 64, 64] -> [32, 256, 256], trilinear."""
    return torch.nn.functional.interpolate(logits[None, None], size=WINDOW, mode="trilinear", align_corners=False)[0, 0]


def decided(logits: torch.Tensor) -> torch.Tensor:
    """bool: sigmoid above 0.5 in float32, which a logit of 1e-8 is not."""
    return torch.sigmoid(logits) > 0.5


def _inputs(
    points: Sequence[Triple], labels: Sequence[int], box: torch.Tensor | None, text: torch.Tensor | None
) -> tuple[PromptShape, Tensors]:
    """The decoder's prompts in the order of `PromptShape.inputs`."""
    given: list[torch.Tensor] = []
    if points:
        given += [torch.tensor(points, dtype=torch.float32), torch.tensor(labels, dtype=torch.float32)]
    given += [x for x in (box, text) if x is not None]
    return PromptShape(len(points), box is not None, text is not None), tuple(given)


def _window_inputs(
    prompts: WindowPrompts, number: int, text: torch.Tensor | None, draws: Draws, key: Sequence[object]
) -> tuple[PromptShape, Tensors]:
    points, labels = prompts.points(number, draws, key)
    return _inputs(points, labels, prompts.box(number), text)


def _keep(results: dict[int, torch.Tensor], numbers: Sequence[int]) -> Callable[[int, Tensors], None]:
    def keep(item: int, outputs: Tensors) -> None:
        results[numbers[item]] = outputs[0]

    return keep


def _view(case: Case, source: PromptSource, mask: Mask | None) -> View:
    if source.label is None:
        raise OptionError("there is no label to draw clicks from", where=source.organ, mend="give the organ's label")
    label = case.frame.from_scan(source.label, case.frame.to_resized)
    prediction = torch.zeros_like(label) if mask is None else case.frame.from_scan(mask, case.frame.to_resized)
    return View(label, prediction, case.frame.resized_affine)
