"""A run followed by a person: a progress bar, and the failures at the end, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from umd_engine.data.words import counted
from umd_engine.evaluation.crew import Crew
from umd_engine.evaluation.interrupt import exit_status, stopping
from umd_engine.evaluation.run import Ended, Evaluation, Prediction
from umd_engine.evaluation.spread import SpreadCrew
from umd_engine.evaluation.synthetic import marked


def say(text: str) -> None:
    print(text, file=sys.stderr)


class _Stages(ProgressColumn):
    """What runs now and what waits, e.g. "reading 1, computing 1"."""

    def __init__(self, crew: Crew | SpreadCrew):
        super().__init__()
        self._crew = crew

    def render(self, task: Task) -> Text:
        return Text(", ".join(f"{stage} {count}" for stage, count in self._crew.now().items()))


def watch(work: Evaluation | Prediction, quiet: bool) -> list[Ended]:
    """Follow cases to the end; returns the failures.

    After SIGINT (Ctrl-C) or SIGTERM the cases in flight end and are stored, and the process exits as one that the
    signal ended; a second signal does not wait for them.
    """
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("ETA"), TimeRemainingColumn(), _Stages(work.crew),
    )  # fmt: skip
    total = len(work.wanted)
    done = total - len(work.cases)
    if done:
        say(f"{done} of {total} cases are already done")
    if changed := len(work.contents.changed):
        say(f"{counted(changed, 'scan')} changed since the last run: done again")
    failures = []

    def stop() -> None:
        work.crew.stop()
        say("interrupted: the cases in flight are being finished; once more ends them too")

    with (
        stopping(stop) as caught,
        Progress(*columns, console=Console(stderr=True), disable=quiet or not work.cases) as progress,
    ):
        task = progress.add_task("cases", total=len(work.cases))
        for ended in work.run():
            progress.advance(task)
            done += 1
            if ended.error is not None:
                failures.append(ended)
    if caught:
        say(f"interrupted: {done} of {total} cases are done; the same command goes on")
        sys.exit(exit_status(caught[0]))
    return failures


def count_scans(work: Evaluation | Prediction) -> tuple[int, int]:
    """How many scans were asked for, and how many of them are synthetic."""
    scans = {case.row.key: case.row.synthetic for case in work.wanted}
    return len(scans), sum(scans.values())


def list_failures(failures: Sequence[Ended]) -> list[dict[str, str | bool]]:
    """One record a failed case."""
    return [
        {
            "cohort": ended.case.row.cohort,
            "subject": ended.case.row.subject,
            "scan_id": ended.case.row.scan_id,
            "model": ended.case.model.name,
            "status": ended.error.status,
            "message": str(ended.error),
            "synthetic": ended.case.row.synthetic,
        }
        for ended in failures
        if ended.error is not None
    ]


def tell_failures(failures: Sequence[Ended]) -> bool:
    """List failures, one line a cause: a model that cannot be loaded fails every scan alike. True if there are any."""
    alike: dict[tuple[str, str, str], list[str]] = {}
    for ended in failures:
        if ended.error is not None:
            row, cause = ended.case.row, (ended.case.model.name, ended.error.status, str(ended.error))
            alike.setdefault(cause, []).append(marked(row.scan_id, row.synthetic))
    for (model, status, message), scans in alike.items():
        more = f" and {len(scans) - 3} more" if len(scans) > 3 else ""
        say(f"failed: {', '.join(scans[:3])}{more} {model} [{status}] {message}")
    if failures:
        say(f"{len(failures)} case{'s' * (len(failures) > 1)} failed; the same command tries them again")
    return bool(failures)
