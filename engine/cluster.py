"""Work on many machines: one worker a device pulls groups of items; Ray starts the workers and carries the results.

An item is a number, and only the engine knows what it stands for: an engine takes an iterator of items and yields a
result for each, in any order. Workers ask for a group when their engine has taken the last item, so a slow group holds
up nobody. Items of a worker that dies run again, each alone on a worker; one that kills its worker again gets a
`WorkerError` as its result.
"""

from __future__ import annotations

import logging
import os
import re
import signal
import socket
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass, field
from itertools import chain, takewhile
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import torch

from umd_engine.engine import host_memory
from umd_engine.errors import BackendError, OptionError, WorkerError

log = logging.getLogger(__name__)
Item = int
Result = tuple[Item, Any]
Engine = Callable[[Iterator[Item]], Iterator[Result]]
Make = Callable[[str, int], Engine]  # from the name of a device, and how many workers share it
STORE_BYTES = 256 << 20  # of Ray's object store where we start it: rows travel through it, never volumes
REACH_S = 10.0  # to reach a head
TOKEN = "~/.ray/auth_token"
STARTS = 3  # of a worker that ends before it is ready


class Worker:
    """The actor: runs an engine in a thread of its own and trades groups of items for results.

    The engine asks for a group by a None among its results, and each None is answered by one group.
    """

    def __init__(self) -> None:
        self._groups: SimpleQueue[Sequence[Item]] = SimpleQueue()
        self._told: SimpleQueue[Result | BaseException | None] = SimpleQueue()

    def start(self, make: Make, device: str, sharers: int, cpus: int, cores: int | None) -> None:
        """Make the engine.

        Args:
            device: "cpu" or "cuda"; Ray shows a worker its own GPU alone.
            sharers: workers that share its device.
            cpus: threads of torch. Kernels count the cores that a process may use; threads made later inherit both.
            cores: its place among the workers of its machine, which divide the cores; None: it has the machine.
        """
        torch.set_num_threads(cpus)
        if cores is not None and (mine := sorted(os.sched_getaffinity(0))[cores * cpus :][:cpus]):
            os.sched_setaffinity(0, mine)
        threading.Thread(target=self._serve, args=(make(device, sharers),), daemon=True).start()

    def exchange(self, group: Sequence[Item] | None) -> tuple[list[Result], bool]:
        """Take a group if there is one, and wait: all results so far, and whether the engine asks for a group.

        Args:
            group: empty: none follows before all items have results.
        """
        if group is not None:
            self._groups.put(group)
        told = [self._told.get()]
        while not self._told.empty():
            told.append(self._told.get())
        if isinstance(told[-1], BaseException):
            raise told[-1]
        return [result for result in told if isinstance(result, tuple)], None in told

    def _serve(self, engine: Engine) -> None:
        try:
            while True:
                for result in engine(chain.from_iterable(iter(self._take, ()))):
                    self._told.put(result)
        except BaseException as error:
            self._told.put(error)

    def _take(self) -> Sequence[Item]:
        self._told.put(None)
        return self._groups.get()


@dataclass(eq=False)
class _Place:
    """A device that a worker runs on, again after it died.

    Attributes:
        held: items without a result.
        starts: how often a worker was started here since one was ready.
        sharers: workers on the device: a GPU has one, the CPUs of a machine may have several.
    """

    node: str
    cpus: float
    gpus: float
    cores: int | None
    sharers: int
    actor: Any = None
    held: set[Item] = field(default_factory=set)
    starts: int = 0


class Cluster:
    """Where the workers run.

    Args:
        address: "local:N": N workers on this machine; "auto": the Ray cluster that RAY_ADDRESS names or that this
            machine is part of; "HOST:PORT": that of another head; "ray://HOST:PORT": through a Ray Client server.
        device: "auto": GPUs where there are any, else CPUs; "cpu"; "cuda". A worker a GPU, or a machine's CPUs.

    Raises:
        BackendError: Ray is not installed. OptionError: no such address or device.
    """

    def __init__(self, address: str, device: str = "auto"):
        if not re.fullmatch(r"local:[1-9]\d*|auto|(ray://)?(?!local:)[^/:]+:\d+", address):
            forms = "local:N, auto, HOST:PORT or ray://HOST:PORT"
            raise OptionError(f"'{address}' is no cluster", where="--cluster", mend=f"give {forms}")
        if device not in ("auto", "cpu", "cuda"):
            raise OptionError(f"'{device}' with --cluster", where="--device", mend="Ray chooses: auto, cpu or cuda")
        self.address, self.device = address, device
        if address.startswith("ray://") and _has_token():  # which a head asks for, and only Ray Client does not send
            os.environ.setdefault("RAY_AUTH_MODE", "token")  # read when Ray is imported
        self._ray = _import_ray()
        self._stopped = False

    def stop(self) -> None:
        """Hand out no more groups: `run` ends when those in flight have ended."""
        self._stopped = True

    def run(self, make: Make, groups: Iterable[Sequence[Item]]) -> Generator[Result]:
        """Yields each item's result as soon as it is there.

        Args:
            make: pickled, called once in each worker.
            groups: items that go to one worker together.

        Raises:
            BackendError: no cluster, or none with the device. WorkerError: no worker is left.
            UmdEngineError: what `make` raised.
        """
        with redirect_stdout(sys.stderr), self._connected():  # Ray tells of deaths on standard output
            places = self._places()
            log.info("%d workers on %d machines", len(places), len({place.node for place in places}))
            yield from _Run(self._ray, places, make, takewhile(lambda _: not self._stopped, groups)).results()

    @contextmanager
    def _connected(self) -> Iterator[None]:
        kind, _, count = self.address.partition(":")
        ours = signal.getsignal(signal.SIGTERM)
        options: dict[str, Any] = {"address": self.address}
        if kind == "local":
            os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
            cpus = max(int(count), len(os.sched_getaffinity(0)))
            options = {"address": "local", "num_cpus": cpus, "include_dashboard": False}
            options["object_store_memory"] = STORE_BYTES
        try:
            if kind not in ("local", "auto"):
                host, _, port = self.address.rpartition("/")[2].partition(":")
                socket.create_connection((host, int(port)), REACH_S).close()  # Ray itself would try for minutes
            self._ray.init(**options, log_to_driver=log.isEnabledFor(logging.INFO), logging_level=logging.ERROR)
        except (OSError, ValueError, RuntimeError) as error:
            mend = f"start one with `ray start --head`, have its {TOKEN} here, or give local:N"
            raise BackendError(f"no Ray cluster: {error}", where=f"--cluster {self.address}", mend=mend) from None
        finally:
            if threading.current_thread() is threading.main_thread():  # Ray's handler ends the process at once
                signal.signal(signal.SIGTERM, ours)
        try:
            yield
        finally:
            self._ray.shutdown()

    def _places(self) -> list[_Place]:
        nodes = [node for node in self._ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
        with_gpus = [] if self.device == "cpu" else [node for node in nodes if node["Resources"].get("GPU")]
        if self.device == "cuda" and not with_gpus:
            raise BackendError("no machine of the cluster has a GPU", where="--device cuda", mend="use --device auto")
        asked = int(self.address.removeprefix("local:")) if self.address.startswith("local:") else 0
        places = []
        for node in with_gpus or nodes:
            cpus, gpus = node["Resources"]["CPU"], int(node["Resources"].get("GPU", 0)) if with_gpus else 0
            count = asked or gpus or 1
            if gpus and count > gpus:
                raise OptionError(f"{count} workers for {gpus} GPUs", where="--cluster", mend="one a GPU")
            share = cpus // count or cpus / count
            for rank in range(count):
                cores, sharers = rank if count > 1 else None, 1 if gpus else count
                places.append(_Place(node["NodeID"], share, float(gpus > 0), cores, sharers))
        return places


class _Run:
    """One pass over all groups: who holds what, and what is still to be handed out."""

    def __init__(self, ray: Any, places: Sequence[_Place], make: Make, groups: Iterator[Sequence[Item]]):
        self.ray, self.places, self.make, self.groups = ray, places, ray.put(make), filter(None, groups)
        self.asked: dict[Any, _Place] = {}  # reference of a call -> its place
        self.idle: list[_Place] = []
        self.suspects: deque[Item] = deque()  # held by a worker that died: each runs alone, after all groups
        self.suspected: set[Item] = set()

    def results(self) -> Iterator[Result]:
        try:
            for place in self.places:
                self._start(place)
            while self.asked:
                done = self.ray.wait(list(self.asked), num_returns=1)[0][0]
                place = self.asked.pop(done)
                yield from self._answered(place, done)
                idle, self.idle = self.idle, []
                for place in idle:
                    self._ask(place, True)
            if self.suspects or any(self.groups):
                raise WorkerError("no worker is left", where="--cluster", mend="the log of Ray says why each ended")
        finally:
            for place in self.places:
                self._kill(place)

    def _start(self, place: _Place) -> None:
        place.starts += 1
        strategy = self.ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(place.node, soft=False)
        settings = {"env_vars": host_memory.passed_on(os.environ)}
        needs = {"num_cpus": place.cpus, "num_gpus": place.gpus, "runtime_env": settings}
        place.actor = self.ray.remote(Worker).options(scheduling_strategy=strategy, **needs).remote()
        share = ("cuda" if place.gpus else "cpu", place.sharers, max(1, int(place.cpus)), place.cores)
        self.asked[place.actor.start.remote(self.make, *share)] = place

    def _answered(self, place: _Place, done: Any) -> Iterator[Result]:
        """A worker's answer: results, or its death."""
        try:
            answer = self.ray.get(done)
        except self.ray.exceptions.RayTaskError as error:  # of the engine, or of what makes it
            raise error.cause from error
        except self.ray.exceptions.RayError as error:
            log.warning("a worker died: %s", str(error).partition("\n")[0])
            yield from self._bury(place)
            return
        results, hungry = answer or ([], False)
        place.starts = 0
        place.held.difference_update(item for item, _ in results)
        self._ask(place, hungry)
        yield from results

    def _ask(self, place: _Place, hungry: bool) -> None:
        """Wait for a worker's results; one that is hungry gets a group first, or is idle where nothing is left."""
        group: Sequence[Item] | None = None
        if hungry:
            group = next(self.groups, ())
            if not group and not place.held:
                if not self.suspects:
                    self.idle.append(place)
                    return
                group = (self.suspects.popleft(),)
            place.held.update(group)
        self.asked[place.actor.exchange.remote(group)] = place

    def _bury(self, place: _Place) -> Iterator[Result]:
        """Put a dead worker's items aside, and start another in its place."""
        self._kill(place)
        for item in place.held & self.suspected:  # it was alone
            mend = "it may need more memory than its machine has: see Ray's log, lower --batch or --memory"
            yield item, WorkerError("its worker died twice", mend=mend)
        self.suspects.extend(sorted(place.held - self.suspected))
        self.suspected |= place.held
        place.held = set()
        if place.starts < STARTS:
            self._start(place)
        else:
            log.error("a worker ended %d times before it was ready: its device is left out", STARTS)

    def _kill(self, place: _Place) -> None:
        with suppress(Exception):  # it is dead, or its machine is
            self.ray.kill(place.actor)


def _import_ray() -> Any:
    try:
        import ray
        import ray.util.scheduling_strategies
    except ImportError:
        mend = "pip install 'umd-engine[cluster]'"
        raise BackendError("Ray is not installed", where="--cluster", mend=mend) from None
    return ray


def _has_token() -> bool:
    return "RAY_AUTH_TOKEN" in os.environ or Path(os.environ.get("RAY_AUTH_TOKEN_PATH", TOKEN)).expanduser().exists()
