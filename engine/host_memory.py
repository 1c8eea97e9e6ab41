"""Host memory: glibc keeps what was freed for the next tensor.

By default glibc maps every tensor above 32 MiB afresh and unmaps it when it is freed, and the kernel zeroes its pages
each time: a third to a half of a convolution's time on a CPU. The limit is set above the tensors of a network (256 MiB:
32 channels of 128^3 in float32) and below whole-body volumes, which would leave holes in what is kept. One arena for
all threads: the settings do not hold in those that glibc gives to threads, of 64 MiB each, and networks run in a
thread. The settings are read when a process starts, so a command that wants them starts itself again.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping

SETTINGS = {
    "MALLOC_MMAP_THRESHOLD_": str(320 << 20),
    "MALLOC_TRIM_THRESHOLD_": str(16 << 30),
    "MALLOC_TOP_PAD_": str(256 << 20),
    "MALLOC_ARENA_MAX": "1",
}
SWITCH = "UMD_ENGINE_ALLOCATOR"  # "default" leaves the allocator alone; "kept" says that the settings are there
_THEIRS = ("MALLOC_", "GLIBC_TUNABLES", "LD_PRELOAD")  # who set one of these chose the allocator


def restart_with_settings() -> None:
    """Replace this process by the same command with `SETTINGS` in its environment.

    Returns where there is nothing to do: the settings are there, the user chose an allocator or "default", the C
    library is another one, or the command cannot be repeated because Python reads it from standard input.
    """
    if wanted(os.environ) and repeatable(sys.orig_argv):
        sys.stdout.flush()
        sys.stderr.flush()
        os.execve(sys.executable, sys.orig_argv, {**os.environ, **SETTINGS, SWITCH: "kept"})


def wanted(environment: Mapping[str, str]) -> bool:
    """Whether a process with this environment should be started again."""
    if SWITCH in environment or any(name.startswith(_THEIRS) for name in environment):
        return False
    return sys.platform == "linux" and platform.libc_ver()[0] == "glibc"


def passed_on(environment: Mapping[str, str]) -> dict[str, str]:
    """What a process on another machine needs in its environment to have the allocator of one with this environment."""
    theirs = wanted(environment) or environment.get(SWITCH) == "kept"
    return {**SETTINGS, SWITCH: "kept"} if theirs else {}


def repeatable(command: list[str]) -> bool:
    """Whether a Python command line names a script, a module or code, and not standard input."""
    return len(command) > 1 and "-" not in command[1:2] and bool(sys.executable)


def told() -> str:
    """What a log says of the allocator."""
    if os.environ.get(SWITCH) == "kept":
        return f"started again with glibc's {', '.join(SETTINGS)}; {SWITCH}=default leaves them out"
    return "the allocator's settings are those of the environment"
