"""Plain Python loops, compiled by numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

NO_CACHE = "no locator available"  # what numba says where no folder for compiled code is writable


def compile_loop(loop: Callable[..., Any]) -> Callable[..., Any]:
    """`loop` compiled at its first call, without the interpreter lock; kept on disk where a folder is writable.

    Threads are the caller's, not numba's: its default threading layer may not be entered by two threads at once.

    Raises:
        ImportError: numba is not installed.
    """
    import numba

    try:
        return numba.njit(nogil=True, cache=True)(loop)
    except RuntimeError as error:
        if NO_CACHE not in str(error):
            raise
    # neither beside the loop's file nor under HOME can code be kept: every process compiles again
    return numba.njit(nogil=True)(loop)
