"""Engines of the cluster's tests; workers import them by this module's name."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import torch

from umd_engine.errors import UnknownNameError


class Squares:
    """Squares items; some take long, some end the process.

    Args:
        folder: a file a start of a worker and of an item, to be counted.
        pace: seconds an item.
        slow: items that take three seconds; deadly: that always end the process; once: that do so the first time.
    """

    def __init__(self, folder: Path, slow=(), deadly=(), once=(), pace: float = 0.02):
        self.folder, self.slow, self.deadly, self.once, self.pace = folder, slow, deadly, once, pace

    def __call__(self, device: str, sharers: int):
        (self.folder / f"worker-{os.getpid()}").touch()
        return self._engine

    def _engine(self, items: Iterator[int]) -> Iterator[tuple[int, object]]:
        for item in items:
            seen = self.folder / f"item-{item}"
            first = not seen.exists()
            with seen.open("a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(3.0 if item in self.slow else self.pace)
            if item in self.deadly or (item in self.once and first):
                os.kill(os.getpid(), signal.SIGKILL)
            yield item, item * item


class Environment:
    """What a worker's process was given."""

    def __call__(self, device: str, sharers: int):
        import ray

        def engine(items):
            for item in items:
                time.sleep(0.3)  # that the other worker gets one too
                cores = tuple(sorted(os.sched_getaffinity(0)))
                threads, pad = torch.get_num_threads(), os.environ.get("MALLOC_TOP_PAD_")
                store = ray.cluster_resources()["object_store_memory"]
                yield item, (os.getpid(), device, sharers, threads, cores, pad, store)

        return engine


class Heavy:
    """Results that travel through the object store, of `size` bytes each, one in 50 ms."""

    def __init__(self, size: int):
        self.size = size

    def __call__(self, device: str, sharers: int):
        def engine(items):
            for item in items:
                time.sleep(0.05)
                yield item, item.to_bytes(2) * (self.size // 2)

        return engine


class Refuses:
    """An engine that a worker cannot make."""

    def __call__(self, device: str, sharers: int):
        raise UnknownNameError("backend", "tensorr", ["tensorrt"])


class DiesAtStart:
    def __call__(self, device: str, sharers: int):
        os.kill(os.getpid(), signal.SIGKILL)


class Fails:
    """An engine with a bug."""

    def __call__(self, device: str, sharers: int):
        def engine(items):
            yield next(items), 1
            raise ZeroDivisionError("a bug")

        return engine
