"""What a command used, as a small process between tells it.

A process starts with the peak memory of the one that started it, so a large one cannot ask for its children's.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPT = """
import json, pathlib, resource, subprocess, sys, time
start = time.perf_counter()
status = subprocess.run(sys.argv[2:]).returncode
seconds, used = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_CHILDREN)
told = {"seconds": seconds, "cpu_seconds": used.ru_utime + used.ru_stime, "peak": used.ru_maxrss * 1024}
pathlib.Path(sys.argv[1]).write_text(json.dumps(told))
sys.exit(status)
"""


@dataclass(frozen=True)
class Used:
    """Attributes:
    seconds, cpu_seconds: of the command and its children. peak: bytes of the largest process among them.
    """

    seconds: float
    cpu_seconds: float
    peak: int


def watched(command: Sequence[str], out: Path) -> list[str]:
    """The command, of which `used(out)` tells afterwards; its output and exit status are its own."""
    return [sys.executable, "-c", SCRIPT, str(out), *command]


def used(out: Path) -> Used:
    """What a watched command used."""
    return Used(**json.loads(out.read_text(encoding="utf-8")))
