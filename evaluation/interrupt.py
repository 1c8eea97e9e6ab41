"""Ctrl-C once: what is in flight ends and is stored. Twice: the process ends at once."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SIGNALS = (signal.SIGINT, signal.SIGTERM)
SHOW_CURSOR = b"\x1b[?25h"  # a progress bar hides it


@contextmanager
def stopping(stop: Callable[[], None]) -> Iterator[list[int]]:
    """Call `stop` at the first SIGINT or SIGTERM of the block and end the process at the second.

    The second one waits for nothing, not even for a thread that a dead file system holds; what was committed to a
    store is safe. Signals that the process ignores stay ignored. For the main thread.

    Yields:
        the signal that came, or nothing.
    """
    caught: list[int] = []

    def handle(number: int, frame: FrameType | None) -> None:
        if caught:
            os.write(2, (SHOW_CURSOR if sys.stderr.isatty() else b"") + b"\nstopped; the same command goes on\n")
            os._exit(exit_status(number))
        caught.append(number)
        stop()

    before = {number: signal.getsignal(number) for number in SIGNALS}
    try:
        for number, known in before.items():
            if known is not signal.SIG_IGN:
                signal.signal(number, handle)
        yield caught
    finally:
        for number, known in before.items():
            signal.signal(number, known)


def exit_status(number: int) -> int:
    """What a shell says of a command that a signal ended: 130 for Ctrl-C, 143 for SIGTERM."""
    return 128 + number
