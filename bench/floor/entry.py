"""What a bench hands to the floor: one thing to call, and what it has to return."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from umd_engine.bench.floor.promise import Promise


@dataclass(frozen=True)
class Entry:
    """One implementation on one input.

    Entries of one `op` and `case` run on the same input in the same process; ours are compared with each peer.

    Attributes:
        op: the operation, "distance".
        implementation: "cpu", "gpu", or "peer:" and a name, "peer:scipy.ndimage.distance_transform_edt x 13".
        case: the input in words, "256x256x300, 13 organs".
        run: one call; its inputs were made before.
        bytes_moved: the least that any implementation has to read and write; 0 for a peer.
        check: raises AssertionError if the result of `run` is not the reference's within the stated tolerance.
        peer: another library's way to the same result. One that is not installed is said, and is no error.
        call: the exact peer call, as recorded in the report.
        memory: also record the peak memory of one call, in a process of its own.
        target: of a peer: how many times its speed our fastest implementation on the same kind of device promises.
        memory_target: of a peer: the largest part of its peak memory that ours promises to need.
        promise: of ours: what a call may take at most on a device of that name.
        device: "cpu" or "cuda", whose clock counts; left out, that of an implementation called "gpu..." is "cuda".
        seconds: where `run` keeps its own time (a process it starts): the seconds that its result tells.
        counted: what else a result tells that the row should say: network calls, rounds.
    """

    op: str
    implementation: str
    case: str
    run: Callable[[], Any]
    bytes_moved: int
    check: Callable[[Any], None]
    peer: bool = False
    call: str = ""
    memory: bool = False
    target: float = 0.0
    memory_target: float = 0.0
    promise: Promise | None = None
    device: str = ""
    seconds: Callable[[Any], float] | None = None
    counted: Callable[[Any], str] | None = None

    @property
    def runs_on(self) -> str:
        """ "cpu" or "cuda"."""
        return self.device or ("cuda" if self.implementation.startswith("gpu") else "cpu")
