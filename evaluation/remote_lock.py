"""One driver a remote run folder: RUN/lock says who writes to it, and is written again while that process lives.

No kernel takes it away when its process is killed. One that this machine left is taken over at once, as
`lock.only_writer` lets in one process a machine; another's when it was not written again for `DEAD_S`, by the clocks of
both machines. Two that start in the same moment are told apart where the file system can make a file only if there is
none (S3, GCS; not every server that speaks S3), and two that take over in the same moment by looking again. Who finds
another's name in it stops uploading.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from uuid import uuid4

from umd_engine.data.remote import create_bytes, read_bytes, remove, write_bytes
from umd_engine.errors import RunLockedError, StoreError, UmdEngineError, shown
from umd_engine.evaluation.lock import LOCK, named, signature

DEAD_S = 600.0
SETTLE_S = 3.0  # after a take-over, for another that takes over too
POLL_S = 5.0
MACHINE = "machine"  # a file with a name that this machine has for the run


class Claim:
    """This process' name in RUN/lock.

    Args:
        here: the run's folder on this machine.
    """

    def __init__(self, run: Path, here: Path):
        self._run, self._path = run, run / LOCK
        self._signed = {**signature(), MACHINE: _name_of(here)}

    def take(self, wait: bool, tell: Callable[[str], None]) -> None:
        """Sign the lock, or raise RunLockedError, or wait for another to end."""
        told = False
        while (holder := self._holder()) is not None and not self._ours(holder) and _silent_s(holder) <= DEAD_S:
            if not wait:
                fault = f"{named(holder)}, last heard of {_silent_s(holder):.0f} s ago, is writing to it"
                mend = f"wait until it ends, or give --wait; if it is dead, it is taken over {DEAD_S:.0f} s after that"
                raise RunLockedError(fault, where=self._run, mend=mend)
            if not told:
                tell(f"{shown(self._run)}: waiting for {named(holder)}")
            told = True
            time.sleep(POLL_S)
        if holder is None and not self._made():  # another was faster
            self.take(wait, tell)
        elif holder is not None:
            self._write()
            time.sleep(0 if self._ours(holder) else SETTLE_S)
            self.renew()

    def renew(self) -> None:
        """Say that this process lives.

        Raises:
            RunLockedError: another took the run over, and may have ended since.
        """
        holder = self._holder()
        if holder is None or not self._ours(holder):
            other = "another process" if holder is None else named(holder)
            mend = "rows that were not uploaded yet are not in it; the same command goes on when the other has ended"
            raise RunLockedError(f"{other} took it over", where=self._run, mend=mend)
        self._write()

    def drop(self) -> None:
        """Take the name away; where that fails it is found dead later."""
        with suppress(OSError, UmdEngineError):
            if (holder := self._holder()) is not None and self._ours(holder):
                remove(self._path)

    def _holder(self) -> dict[str, Any] | None:
        try:
            return dict(json.loads(read_bytes(self._path)))
        except FileNotFoundError:
            return None
        except (ValueError, TypeError):  # nobody's
            return {}

    def _ours(self, holder: dict[str, Any]) -> bool:
        return holder.get(MACHINE) == self._signed[MACHINE]

    def _made(self) -> bool:
        try:
            create_bytes(self._path, self._content())
        except FileExistsError:
            return False
        return True

    def _write(self) -> None:
        write_bytes(self._path, self._content())

    def _content(self) -> bytes:
        return json.dumps({**self._signed, "alive": time.time()}).encode()


@contextmanager
def only_driver(
    run: Path, here: Path, wait: bool = False, tell: Callable[[str], None] = lambda text: None
) -> Iterator[Claim]:
    """Write to a remote run folder alone; call the claim's `renew` much more often than every `DEAD_S`.

    Args:
        here: its folder on this machine, locked by `lock.only_writer`.
        wait: for another driver to end, instead of refusing.
        tell: told whom it waits for.

    Raises:
        RunLockedError: another driver writes to the run; it is named. StoreError: nothing can be written there.
    """
    claim = Claim(run, here)
    try:
        claim.take(wait, tell)
    except OSError as error:
        mend = "check the address, and that you may write there"
        raise StoreError(f"the run cannot be locked: {error.strerror}", where=run, mend=mend) from None
    try:
        yield claim
    finally:
        claim.drop()


def _silent_s(holder: dict[str, Any]) -> float:
    return max(0.0, time.time() - float(holder.get("alive", 0)))  # the other's clock may be ahead


def _name_of(here: Path) -> str:
    path = here / MACHINE
    if not path.exists():
        here.mkdir(parents=True, exist_ok=True)
        path.write_text(uuid4().hex)
    return path.read_text()
