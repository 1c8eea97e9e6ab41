"""The one place where a test makes a run die: `UMD_ENGINE_FAULT=STAGE:N` in the environment of a process.

The process kills itself, as the kernel's out-of-memory killer would, when a span of the stage (`engine/trace.py`)
opens for the N-th time. Nothing else reads the variable.
"""

from __future__ import annotations

import os
import signal

SWITCH = "UMD_ENGINE_FAULT"


def strike(stage: str, count: int) -> None:
    """End the process with SIGKILL if it was told to die here."""
    if os.environ.get(SWITCH) == f"{stage}:{count}":
        os.kill(os.getpid(), signal.SIGKILL)
