"""Waiting for a file system no longer than is sensible."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, wait
from contextvars import copy_context
from pathlib import Path
from threading import Thread
from typing import TypeVar

from umd_engine.errors import ReadTimeoutError

Result = TypeVar("Result")


def within(seconds: float, path: Path, read: Callable[[], Result]) -> Result:
    """What `read` returns or raises, if it does so in time; 0 seconds wait for ever.

    It runs in a daemon thread of its own: a thread that a dead mount holds in a system call can be neither ended nor
    joined, and must not keep the process from ending.

    Raises:
        ReadTimeoutError: `path` took longer; its thread is left to itself.
    """
    if not seconds:
        return read()
    done: Future[Result] = Future()
    Thread(target=copy_context().run, args=(_fulfil, done, read), name="file", daemon=True).start()
    if not wait([done], seconds).done:
        mend = "check the disk or the network, or give a longer --read-timeout"
        raise ReadTimeoutError(f"not read within {seconds:g} s", where=path, mend=mend)
    return done.result()


def _fulfil(done: Future[Result], read: Callable[[], Result]) -> None:
    try:
        done.set_result(read())
    except BaseException as error:
        done.set_exception(error)
