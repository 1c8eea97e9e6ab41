"""nnInteractive's protocol on 13 organs of a phantom CT: network calls, and rounds, of which each waits for the last.

The network returns the label, which every organ has in the image's place: with random weights an organ would fill the
scan. What is timed is the protocol alone; one call of the real network (192^3, 4.9 TFLOP) takes longer on a CPU.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
import torch

from umd_engine.bench.floor import Entry
from umd_engine.bench.models.counting import Counts, counting
from umd_engine.bench.models.fixed import as_array, organ_masks
from umd_engine.data.labelset import load_label_set
from umd_engine.data.phantom import make_subject
from umd_engine.engine.executor import run_program
from umd_engine.engine.together import together
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.engine.work import Program
from umd_engine.models.mask import Mask, Triple
from umd_engine.models.nninteractive.draws import keyed
from umd_engine.models.nninteractive.folder import Settings
from umd_engine.models.nninteractive.session import Rules, Session
from umd_engine.models.ready import open_unit

CASE = "13 organs of a 128x128x212 phantom CT, patch 80^3, 1 click"
CALL = "a session an organ, one after the other, batch 1"
SUBJECT, SEED = 1, 0  # all 13 organs are there
PATCH = (80, 80, 80)  # of 3.9 x 3.9 x 5 mm, as 192^3 of 1.6 x 1.6 x 2.1 mm
LEAST_DICE = 0.99  # the border test may miss where a thin organ leaves the crop
SETTINGS = Settings()
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Found:
    """Attributes:
    longest: rounds of the organ that takes most.
    """

    masks: Mapping[str, np.ndarray]
    counts: Counts
    longest: int


FIRST: list[Found] = []  # what the first implementation of this process found


def entries() -> list[Entry]:
    """All organs in lockstep, and one after the other: the same masks from as many calls, in fewer rounds."""
    ours = Entry("nninteractive", "engine", CASE, _lockstep, 0, _check, counted=_counted)
    alone = Entry(
        "nninteractive", "peer:organ by organ", CASE, _one_by_one, 0, _check, True, CALL, counted=_counted
    )  # fmt: skip
    return [ours, alone]


@cache
def organs() -> dict[str, Mask]:
    label = make_subject("petct", SUBJECT, SEED, "small").scans[0].label
    return organ_masks(label, {organ: ids[0] for organ, ids in load_label_set("umd13").ids.items()})


@cache
def click(organ: str) -> Triple:
    """The organ's voxel that is nearest to the middle of its box."""
    mask = organs()[organ]
    where = torch.nonzero(mask.voxels)
    middle = torch.tensor(mask.voxels.shape) / 2
    x, y, z = (where[((where - middle) ** 2).sum(1).argmin()] + torch.tensor(mask.low)).tolist()
    return x, y, z


class Label(torch.nn.Module):
    """Logits [N, 2, *patch] of patches whose first channel is the label."""

    def forward(self, patches: torch.Tensor) -> torch.Tensor:
        return torch.cat([0.5 - patches[:, :1], patches[:, :1] - 0.5], 1)


@cache
def unit() -> Unit:
    shape = (1 + SETTINGS.channels, *PATCH)
    return Unit("nninteractive.network", Label(), (TensorSpec("image", shape),), ("logits",))


def _program(organ: str) -> Program[Mask]:
    image = organs()[organ].full().float()
    session = Session(unit(), SETTINGS, image, Rules(), keyed(SEED, "phantom", organ))
    session.add_point(click(organ), positive=True)
    yield from session.predict()
    return session.mask


def _run(chosen: Sequence[str], batch: int, counts: Counts) -> dict[str, np.ndarray]:
    program = counting(together([_program(organ) for organ in chosen]), counts)
    masks = run_program(program, partial(open_unit, backend="torch", device=CPU), batch)
    return {organ: as_array(mask) for organ, mask in zip(chosen, masks, strict=True)}


def _lockstep() -> Found:
    counts = Counts()
    return Found(_run(list(organs()), 4, counts), counts, counts.rounds)


def _one_by_one() -> Found:
    masks: dict[str, np.ndarray] = {}
    counts, rounds = Counts(), []
    for organ in organs():
        before = counts.rounds
        masks |= _run([organ], 1, counts)
        rounds.append(counts.rounds - before)
    return Found(masks, counts, max(rounds))


def _counted(found: Found) -> str:
    return f"{found.counts}, {found.longest} of the longest organ"


def _check(found: Found) -> None:
    FIRST.append(found)
    first = FIRST[0]
    for organ, mask in found.masks.items():
        label = organs()[organ].full().numpy()
        dice = 2 * int((mask & label).sum()) / int(mask.sum() + label.sum())
        assert dice >= LEAST_DICE, f"{organ}: Dice {dice:.3f} with the label that the network returns"
    assert found.counts.calls == first.counts.calls, f"{found.counts} instead of {first.counts}"
    assert found.longest == first.longest, f"{found.longest} rounds of an organ instead of {first.longest}"
    wrong = sum(int((first.masks[organ] != mask).sum()) for organ, mask in found.masks.items())
    assert wrong == 0, f"{wrong} voxels differ"
