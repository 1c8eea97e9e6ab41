"""Asks probes in child processes with a time limit: one that crashes or hangs is an answer, and not the end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umd_engine.bench.doctor.diagnosis import FAILS

CHILD = "umd_engine.bench.doctor.child"
POLL = 0.05  # s
NOTED = 300  # characters of what a process that died said last


@dataclass(frozen=True)
class Probe:
    """`module:function` with its arguments; returns something JSON-able, or raises."""

    target: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """Attributes:
    found: what the function returned.
    """

    status: str
    reason: str = ""
    mend: str = ""
    found: Any = None
    seconds: float = 0.0


def ask(probes: Sequence[Probe], limit: float, environment: Mapping[str, str]) -> list[Answer]:
    """An answer a probe, in their order. Those of one call share a process as long as it lives.

    Args:
        limit: seconds for each, that a process takes to start among them.
    """
    answers: list[Answer] = []
    while len(answers) < len(probes):
        answers += _one_process(probes[len(answers) :], limit, environment)
    return answers


def _one_process(probes: Sequence[Probe], limit: float, environment: Mapping[str, str]) -> Iterator[Answer]:
    """Answers until the process ends; the last says how, where some are left without."""
    with tempfile.TemporaryDirectory() as folder:
        out, said = Path(folder) / "answers", Path(folder) / "said"
        job = json.dumps({"out": str(out), "probes": [(probe.target, probe.arguments) for probe in probes]})
        with said.open("wb") as file:
            process = subprocess.Popen(
                [sys.executable, "-m", CHILD, job],
                stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=dict(environment), start_new_session=True,
            )  # fmt: skip
        try:
            late = _wait(process, out, limit)
        finally:
            _end(process)
        given = [Answer(**json.loads(line)) for line in _lines(out)]
        yield from given
        if len(given) < len(probes):
            yield Answer(FAILS, f"no answer within {limit:g} s" if late else _death(process.returncode, said))


def _wait(process: subprocess.Popen[bytes], out: Path, limit: float) -> bool:
    """Whether a probe took longer than the limit."""
    given, since = 0, time.monotonic()
    while process.poll() is None:
        if (now := len(_lines(out))) > given:
            given, since = now, time.monotonic()
        if time.monotonic() - since > limit:
            return True
        time.sleep(POLL)
    return False


def _end(process: subprocess.Popen[bytes]) -> None:
    """The process and the compilers that it started."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _lines(out: Path) -> list[str]:
    """Whole lines only."""
    return out.read_text(encoding="utf-8").split("\n")[:-1] if out.exists() else []


def _death(code: int, said: Path) -> str:
    how = signal.Signals(-code).name if code < 0 else f"exit status {code}"
    words = [line.strip() for line in said.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return f"its process ended with {how}{': ' + words[-1][:NOTED] if words else ''}"
