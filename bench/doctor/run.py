"""The doctor's round: versions, the machine, every backend and kernel on every device."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import groupby
from typing import Any

from umd_engine import __version__
from umd_engine.bench.doctor import backends as trying
from umd_engine.bench.doctor import kernels as calling
from umd_engine.bench.doctor import versions
from umd_engine.bench.doctor.asking import Answer, Probe, ask
from umd_engine.bench.doctor.diagnosis import ABSENT, Diagnosis, Row
from umd_engine.errors import OptionError
from umd_engine.exporters.artifact import cache_folder

LIMIT = 60.0  # s of one try: torch-compile takes the longest, 33 s on a busy thread
AT_ONCE = 2  # processes
FACTS, PROVIDERS = Probe("umd_engine.bench.doctor.here:facts"), Probe("umd_engine.bench.doctor.here:providers")


def diagnose(
    devices: Sequence[str] = (),
    backends: Mapping[str, trying.Needs] = trying.NEEDS,
    kernels: Sequence[str] = calling.KERNELS,
    limit: float = LIMIT,
) -> Diagnosis:
    """Try everything, two processes at once.

    Args:
        devices: "auto", "cpu", "cuda" or "cuda:1"; none: the CPU and every CUDA device.
        limit: seconds of one try.

    Raises:
        OptionError: another kind of device.
    """
    _check(devices)
    have = versions.installed()
    with tempfile.TemporaryDirectory() as made, ThreadPoolExecutor(AT_ONCE) as pool:
        # what earlier runs exported and compiled would hide that it can no longer be made
        environment = {**os.environ, "UMD_ENGINE_CACHE": made, "TORCHINDUCTOR_CACHE_DIR": made}
        asking = partial(ask, limit=limit, environment=environment)
        told, offered = asking([FACTS, PROVIDERS])
        facts: Mapping[str, Any] = told.found or {"reason": told.reason}
        here = list(facts.get("memory", ("cpu",)))
        wanted = [_named(name, here) for name in devices] or [*here, *(["cuda"] if len(here) == 1 else [])]
        jobs = [job for device in wanted for job in _jobs(device, device in here, backends)]
        tries = [(names, device, pool.submit(asking, probes)) for names, device, probes in jobs]
        places = dict.fromkeys("cpu" if device == "cpu" else "gpu" for device in wanted)
        calls = {
            place: pool.submit(asking, [Probe(calling.TRY, (name, place)) for name in kernels])
            for place in places
            if place == "cpu" or len(here) > 1
        }
        tried = {
            (name, device): trying.row(name, backends[name], device, answer)
            for names, device, answers in tries
            for name, answer in zip(names, answers.result(), strict=True)
        }
        rows = [
            trying.known(name, needs, device, device in here) or tried[name, device]
            for name, needs in backends.items()
            for device in wanted
        ]
        kernel_rows = [
            _kernel(name, place, calls[place].result()[number] if place in calls else None)
            for number, name in enumerate(kernels)
            for place in places
        ]
    return Diagnosis(
        __version__, have, facts, tuple(offered.found or ()), _cache(), tuple(rows), tuple(kernel_rows),
        versions.faults(have, facts), wanted[0] if devices else _default(here),
    )  # fmt: skip


def _named(device: str, here: Sequence[str]) -> str:
    """ "cuda" is its first device, where there is one."""
    if device == "auto":
        return _default(here)
    return "cuda:0" if device == "cuda" and "cuda:0" in here else device


def _check(devices: Sequence[str]) -> None:
    for device in devices:
        if device.partition(":")[0] not in ("auto", "cpu", "cuda"):
            raise OptionError(f"unknown device '{device}'", where="--device", mend="use auto, cpu or cuda[:index]")


def _default(here: Sequence[str]) -> str:
    """As `resolve_device` takes "auto"."""
    return "cuda:0" if "cuda:0" in here else "cpu"


def _jobs(
    device: str, present: bool, backends: Mapping[str, trying.Needs]
) -> Iterator[tuple[tuple[str, ...], str, list[Probe]]]:
    """Backends that are to be tried in one process."""
    tried = [name for name, needs in backends.items() if trying.known(name, needs, device, present) is None]
    for _, group in groupby(tried, key=lambda name: backends[name].group or name):
        names = tuple(group)
        yield names, device, [Probe(backends[name].target, (name, device)) for name in names]


def _kernel(name: str, place: str, answer: Answer | None) -> Row:
    if answer is None:
        return Row(name, place, ABSENT)
    return Row(name, place, answer.status, answer.reason, answer.mend, answer.seconds)


def _cache() -> tuple[str, int, int]:
    """The folder, bytes in it, and bytes free on its disk."""
    folder = cache_folder()
    held = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    return str(folder), held, shutil.disk_usage(there).free
