"""Which scans a model failed on, and why."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.synthetic import marked
from umd_engine.evaluation.tables import last_steps, organ_order
from umd_engine.evaluation.wording import plain

SHOWN = 3


@dataclass(frozen=True)
class Failure:
    """A scan and a model that ended with an error; `organs` are those that have no counts because of it.

    `synthetic`: the scan is a computer-made phantom.
    """

    cohort: str
    subject: str
    scan_id: str
    model: str
    status: str
    message: str
    organs: tuple[str, ...]
    synthetic: bool = False


def find_failures(rows: Iterable[Row]) -> tuple[Failure, ...]:
    """One a scan, model, status and message, in that order; of several steps the last counts."""
    organs: dict[tuple[str, str, str, str, str, str], list[str]] = defaultdict(list)
    phantoms = set()
    for row in last_steps(rows):
        if row.failed:
            organs[row.cohort, row.subject, row.scan_id, row.model, row.status, row.message].append(row.organ)
            if row.synthetic:
                phantoms.add((row.cohort, row.subject, row.scan_id))
    return tuple(Failure(*place, tuple(organ_order(organs[place])), place[:3] in phantoms) for place in sorted(organs))


def failure_lines(failures: Sequence[Failure]) -> list[str]:
    """A line a model, status and message with the first scans that share them."""
    alike: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for failure in failures:
        alike[failure.model, failure.status, failure.message].append(marked(failure.scan_id, failure.synthetic))
    return [
        plain(f"{model} [{status}] {_scans(scans)}: {' '.join(message.split())}")
        for (model, status, message), scans in alike.items()
    ]


def _scans(scans: Sequence[str]) -> str:
    more = f" and {len(scans) - SHOWN} more" if len(scans) > SHOWN else ""
    return ", ".join(scans[:SHOWN]) + more
