"""Probes for the doctor: what a native library can do to a process."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from umd_engine.errors import BackendError


def works(*arguments):
    return list(arguments)


def crashes(*arguments):
    print("about to fail in native code", file=sys.stderr, flush=True)
    os.kill(os.getpid(), signal.SIGSEGV)


def leaves(*arguments):
    os._exit(3)


def hangs(pid_file, *arguments):
    """With a process of its own, as a compiler is."""
    Path(pid_file).write_text(str(subprocess.Popen(["sleep", "600"]).pid))
    time.sleep(600)


def raises(*arguments):
    raise ValueError("first line\nsecond line")


def refuses(*arguments):
    raise BackendError("it cannot run here", mend="use another")
