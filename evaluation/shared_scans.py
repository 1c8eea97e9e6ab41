"""A scan is read once for all the models that ask for it, and prepared once for all that prepare it alike."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from threading import Lock
from typing import Generic, TypeVar

from umd_engine.data.manifest import ScanRow
from umd_engine.data.once import Once
from umd_engine.data.scan import Scan

T = TypeVar("T")


class Shared(Generic[T]):
    """Values that several take their turn with: made in the first turn, let go of with the end of the last.

    Args:
        wanted: a key for every turn that will be taken.
    """

    def __init__(self, wanted: Iterable[Hashable]):
        self._left = Counter(wanted)
        self._once, self._lock = Once(), Lock()

    @contextmanager
    def turn(self, key: Hashable) -> Iterator[Callable[[Callable[[], T]], T]]:
        """One turn: what it gives makes the value with its argument, or takes what another turn made."""
        try:
            yield partial(self._once, key)
        finally:
            with self._lock:
                self._left[key] -= 1
                if self._left[key] == 0:
                    del self._left[key]
                    self._once.forget(key)


class SharedScans:
    """Reads each scan when it is first taken and lets go of it when it was taken as often as it is wanted.

    Args:
        wanted: a row for every time its scan will be taken.
    """

    def __init__(self, wanted: Sequence[ScanRow], read: Callable[[ScanRow], Scan]):
        self._read = read
        self._shared: Shared[Scan] = Shared(row.key for row in wanted)

    def take(self, row: ScanRow) -> Scan:
        """The scan; a second thread waits for the first one's reading. A failed reading fails for all."""
        with self._shared.turn(row.key) as scan:
            return scan(partial(self._read, row))
