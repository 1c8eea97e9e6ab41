"""A scan is read once for all the models that ask for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from threading import Lock

from umd_engine.data.manifest import ScanRow
from umd_engine.data.scan import Scan

_Key = tuple[str, str, str]


class SharedScans:
    """Reads each scan when it is first taken and lets go of it when it was taken as often as it is wanted.

    Args:
        wanted: a row for every time its scan will be taken.
    """

    def __init__(self, wanted: Sequence[ScanRow], read: Callable[[ScanRow], Scan]):
        self._read = read
        self._left = Counter(self._key(row) for row in wanted)
        self._scans: dict[_Key, Future[Scan]] = {}
        self._lock = Lock()

    @staticmethod
    def _key(row: ScanRow) -> _Key:
        return (row.cohort, row.subject, row.scan_id)

    def take(self, row: ScanRow) -> Scan:
        """The scan; a second thread waits for the first one's reading. A failed reading fails for all."""
        key = self._key(row)
        with self._lock:
            first = key not in self._scans
            future = self._scans.setdefault(key, Future())
            self._left[key] -= 1
            if self._left[key] == 0:
                del self._scans[key]
        if first:
            try:
                future.set_result(self._read(row))
            except Exception as error:
                future.set_exception(error)
        return future.result()
