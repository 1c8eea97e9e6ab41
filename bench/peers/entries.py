"""One model's rows: labels are compared with a plain loop's before a time is told."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial

import torch

from umd_engine.bench.floor import Entry
from umd_engine.bench.peers.cases import Case, case_of
from umd_engine.bench.peers.ways import LOOP, Run, Way, ways


@dataclass(frozen=True)
class Answer:
    """Attributes:
    labels: uint8 [x, y, z] on the host.
    seconds: of the call, until the labels are there.
    """

    labels: torch.Tensor
    seconds: float


def entries(model: str, device: str) -> list[Entry]:
    """The plain loop, the peers, and ours."""
    where = torch.device(device)
    case = case_of(model, where)
    case.unit.module.to(where)
    expected = cache(lambda: LOOP.open(case)().cpu())
    return [entry_of(model, case, way, expected) for way in ways(case)]


def entry_of(model: str, case: Case, way: Way, expected: Callable[[], torch.Tensor]) -> Entry:
    """A way's row; `expected` are the labels that it is held against."""

    opened: Callable[[], Run] = cache(partial(way.open, case))

    def differing(answer: Answer) -> int:
        return int((answer.labels != expected()).sum())

    def check(answer: Answer) -> None:
        assert expected().any(), "the plain loop's label map is empty"
        assert answer.labels.shape == expected().shape, f"shape {tuple(answer.labels.shape)}"
        wrong = differing(answer)
        most = way.most * answer.labels.numel()
        assert wrong <= most, f"{wrong} of {answer.labels.numel()} labels differ from the plain loop's"

    def counted(answer: Answer) -> str:
        return f"{differing(answer)} of {answer.labels.numel()} labels differ"

    return Entry(
        model, way.name, case.title, partial(_timed, opened), 0, check, way.peer, way.call,
        device=case.image.device.type, seconds=lambda answer: answer.seconds, counted=counted,
    )  # fmt: skip


def _timed(opened: Callable[[], Run]) -> Answer:
    run = opened()
    start = time.perf_counter()
    labels = run().cpu()
    return Answer(labels, time.perf_counter() - start)
