"""A study on Ray workers of one thread each, in a process of its own whose interpreter has Ray."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

import umd_engine.evaluation.spread
import umd_engine.models.nnunet.model  # noqa: F401  what a worker imports is not counted
from umd_engine.bench.pipeline.clock import Seconds, Told
from umd_engine.bench.pipeline.cohort import Cohort
from umd_engine.data.manifest import write_manifest
from umd_engine.engine.cluster import Cluster, Engine, Item, Make, Result
from umd_engine.errors import BackendError

VARIABLE = "UMD_ENGINE_RAY_PYTHON"
JOB = "umd_engine.bench.pipeline.spread_job"
MEND = f"pip install 'umd-engine[cluster]' there, or name another interpreter: --ray-python PYTHON or {VARIABLE}"


def evaluate_all(cohort: Cohort, python: str, workers: int) -> Told:
    """Both networks on every scan, `--cluster local:WORKERS`; counts from when all workers have started.

    Raises:
        BackendError: the interpreter has no Ray, or the job failed.
    """
    if not python and importlib.util.find_spec("ray") is None:
        raise BackendError("no module ray", mend=MEND)
    with tempfile.TemporaryDirectory(dir=cohort.folder) as name:
        folder = Path(name)
        write_manifest(folder / "scans.csv", cohort.rows)
        command = [python or sys.executable, "-m", JOB, str(folder), str(workers)]
        try:
            ended = subprocess.run(command, capture_output=True, text=True, check=False)
        except OSError as error:
            raise BackendError(f"cannot be started: {error.strerror}", where=command[0], mend=MEND) from None
        if ended.returncode:
            said = (ended.stderr.strip().splitlines() or ["nothing said"])[-1]
            raise BackendError(f"it ended with {ended.returncode}: {said}", where=command[0], mend=MEND)
        told = json.loads((folder / "told.json").read_text())
    counts = {case: {organ: tuple(found) for organ, found in of.items()} for case, of in told["counts"].items()}
    own = told["own"] / len(cohort.rows)
    note = f"{own:.2g} s of it Ray's own processes; {told['start']:.1f} s that start Ray are not counted"
    return Told(Seconds(told["wall"], told["cpu"]), counts=counts, note=note)


class Together(Cluster):
    """Lets the workers begin together, when all have started and imported.

    Args:
        folder: where they meet.
    """

    def __init__(self, workers: int, folder: Path):
        super().__init__(f"local:{workers}", "cpu")
        self.folder = folder

    def run(self, make: Make, groups: Iterable[Sequence[Item]]) -> Generator[Result]:
        return super().run(_Starter(make, self.folder), groups)

    def waiting(self) -> set[int]:
        """The processes of the workers that have started."""
        return {int(path.name.removeprefix("worker-")) for path in self.folder.glob("worker-*")}

    def begin(self) -> None:
        (self.folder / "begin").touch()


@dataclass(frozen=True)
class _Starter:
    """Makes the engine on the first of the worker's cores, when it is told to."""

    make: Make
    folder: Path

    def __call__(self, device: str, sharers: int) -> Engine:
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        torch.set_num_threads(1)
        (self.folder / f"worker-{os.getpid()}").touch()
        while not (self.folder / "begin").exists():
            time.sleep(0.01)
        return self.make(device, sharers)
