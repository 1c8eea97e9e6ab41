"""Parts of a stage, for whoever watches a run: decoding, moving to a device, resampling, adding up, counting.

`with doing("decode"):` costs nothing that can be measured where nobody watches. It lies in the lowest room, since code
of every room has such parts; `engine/trace.py` watches.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar
from functools import wraps
from typing import ParamSpec, TypeVar

Given = ParamSpec("Given")
Result = TypeVar("Result")
PARTS = ("decode", "transfer", "resample", "accumulate", "metrics")
Watcher = Callable[[str], AbstractContextManager[None]]
_WATCHER: ContextVar[Watcher | None] = ContextVar("watcher", default=None)
_UNSEEN = nullcontext()


def doing(name: str) -> AbstractContextManager[None]:
    """The block is this part of what its thread does now; one of PARTS."""
    watcher = _WATCHER.get()
    return _UNSEEN if watcher is None else watcher(name)


def does(name: str) -> Callable[[Callable[Given, Result]], Callable[Given, Result]]:
    """A decorator: every call of the function is this part."""

    def decorated(function: Callable[Given, Result]) -> Callable[Given, Result]:
        @wraps(function)
        def call(*args: Given.args, **kwargs: Given.kwargs) -> Result:
            with doing(name):
                return function(*args, **kwargs)

        return call

    return decorated


@contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Parts within the block, in this thread or one that was given its context, are told to the watcher."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)
