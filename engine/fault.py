"""The one place where a test makes a run die: `UMD_ENGINE_FAULT=STAGE:N` in the environment of a process.

The process kills itself, as the kernel's out-of-memory killer would, when a span of the stage (`engine/trace.py`)
opens for the N-th time. With `STAGE:N@FILE` only the process that makes FILE dies: one of several workers, once.
Nothing else reads the variable.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

SWITCH = "UMD_ENGINE_FAULT"


def strike(stage: str, count: int) -> None:
    """End the process with SIGKILL if it was told to die here."""
    place, _, mark = os.environ.get(SWITCH, "").partition("@")
    if place == f"{stage}:{count}" and (not mark or _made(Path(mark))):
        os.kill(os.getpid(), signal.SIGKILL)


def _made(file: Path) -> bool:
    try:
        file.touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
