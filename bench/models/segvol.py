"""SegVol prompted with 13 points of one CT: the whole scan is encoded once, and not once an organ.

The weights are stand-ins, by which an organ takes about half of the scan's voxels: each looks again at all windows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import numpy as np
import torch

from umd_engine.bench.floor import Entry
from umd_engine.bench.models.counting import Counts, counting
from umd_engine.bench.models.fixed import FixedClick, as_array
from umd_engine.data.labelset import load_label_set
from umd_engine.data.phantom import make_subject
from umd_engine.data.volume import Volume
from umd_engine.engine.executor import run_program
from umd_engine.engine.unit import Unit
from umd_engine.models.mask import Mask
from umd_engine.models.parity.recipe import fill
from umd_engine.models.prompts import world_of
from umd_engine.models.ready import open_unit
from umd_engine.models.segvol.network import PromptShape, build_network, decoder_unit, encoder_unit
from umd_engine.models.segvol.options import Options
from umd_engine.models.segvol.prepare import prepare_scan
from umd_engine.models.segvol.protocol import Pieces, segment_organs

SHAPE = (256, 256, 40)
CASE = "13 organs of a 256x256x40 CT, 1 click"
SUBJECT, SEED = 1, 0
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Found:
    masks: Mapping[str, np.ndarray]
    counts: Counts


class Centred(torch.nn.Module):
    """Logits less their mean, so that half of the voxels are inside."""

    def __init__(self, decoder: torch.nn.Module):
        super().__init__()
        self.decoder = decoder

    def forward(self, *inputs: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.decoder(*inputs)
        return logits - logits.mean((1, 2, 3), keepdim=True)


FIRST: dict[str, np.ndarray] = {}  # what the first implementation of this process found


def entries() -> list[Entry]:
    """All organs together, and organ by organ as the official code is called: same masks, fewer encodes."""
    ours = Entry("segvol", "engine", CASE, _together, 0, partial(_check, scans=1), counted=_counted)
    alone = Entry(
        "segvol",
        "peer:organ by organ",
        CASE,
        _one_by_one,
        0,
        partial(_check, scans=len(organs())),
        True,
        "a call an organ, batch 1, each encodes the whole scan",
        counted=_counted,
    )
    return [ours, alone]


@cache
def organs() -> tuple[str, ...]:
    return tuple(load_label_set("umd13").ids)


@cache
def scan() -> Volume:
    """The middle of a phantom CT."""
    image = make_subject("petct", SUBJECT, SEED, "full").scans[0].image
    low = [(n - m) // 2 for n, m in zip(image.shape, SHAPE, strict=True)]
    voxels = image.voxels[tuple(slice(a, a + m) for a, m in zip(low, SHAPE, strict=True))]
    affine = image.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ low
    return Volume.from_array(np.ascontiguousarray(voxels), affine)


@cache
def sources() -> Sequence[FixedClick]:
    where = np.random.default_rng(SEED).integers(0, SHAPE, (len(organs()), 3)).tolist()
    nothing = Mask.empty(SHAPE)
    return [
        FixedClick(organ, nothing, world_of((x, y, z), scan().affine))
        for organ, (x, y, z) in zip(organs(), where, strict=True)
    ]


@cache
def pieces() -> Pieces:
    network = build_network()
    network.load_state_dict(fill(network.state_dict(), 7))

    @cache
    def decoder(shape: PromptShape) -> Unit:
        unit = decoder_unit("segvol", network, shape)
        return replace(unit, module=Centred(unit.module))

    return Pieces(encoder_unit("segvol", network), decoder, _no_text, Options())


def _no_text(name: str) -> torch.Tensor:
    raise AssertionError(f"{name} is not asked for by text")


def _segment(chosen: Sequence[FixedClick], batch: int, counts: Counts) -> dict[str, np.ndarray]:
    program = segment_organs(prepare_scan(scan(), CPU, official=False), chosen, pieces())
    masks = run_program(counting(program, counts), partial(open_unit, backend="torch", device=CPU), batch)
    return {source.organ: as_array(mask) for source, mask in zip(chosen, masks, strict=True)}


def _together() -> Found:
    counts = Counts()
    return Found(_segment(sources(), 2, counts), counts)


def _one_by_one() -> Found:
    counts = Counts()
    return Found({source.organ: _segment([source], 1, counts)[source.organ] for source in sources()}, counts)


def _counted(found: Found) -> str:
    return str(found.counts)


def _check(found: Found, scans: int) -> None:
    """`scans`: how often the whole scan should have been encoded."""
    calls = found.counts.calls
    windows = sum(count for name, count in calls.items() if "decoder" in name) - len(organs())
    encodes = sum(count for name, count in calls.items() if "encoder" in name)
    assert encodes == scans + windows, f"{encodes} encodes for {windows} windows, not {scans} more"
    FIRST.update({organ: mask for organ, mask in found.masks.items() if organ not in FIRST})
    wrong = sum(int((FIRST[organ] != mask).sum()) for organ, mask in found.masks.items())
    filled = sum(int(mask.sum()) for mask in FIRST.values())
    assert 0 < filled < len(FIRST) * np.prod(SHAPE), "the masks are empty or full"
    assert wrong <= 1e-4 * filled, f"{wrong} of {filled} voxels differ"
