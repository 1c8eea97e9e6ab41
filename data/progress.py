"""A progress bar on standard error for files that take long to make."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import Progress

Watch = Callable[[int, int], None]  # (done, total)


@contextmanager
def watching(noun: str, quiet: bool = False) -> Iterator[Watch]:
    """What long work calls with (done, total); the bar shows from the first call on."""
    progress = Progress(console=Console(stderr=True), disable=quiet)
    task = progress.add_task(noun, total=None)

    def watch(done: int, total: int) -> None:
        progress.start()  # again and again it does nothing
        progress.update(task, completed=done, total=total)

    try:
        yield watch
    finally:
        progress.stop()
