"""Predicted against real wall time of three runs on this machine, each predicted and then run, back to back.

Sample runs and runs are of one fresh process a case, with the allocator's settings of the command line; networks are
opened, and kernels compiled, before. Run as a module it is one case: `python -m umd_engine.bench.plan CASE SUBJECTS`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from umd_engine import __version__
from umd_engine.bench.floor.run import commit
from umd_engine.bench.machine import describe
from umd_engine.engine import host_memory
from umd_engine.engine.executor import Session
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.models.model import Model, PromptedModel

Models = list[Model | PromptedModel]
KIND = "umd-engine bench plan"
SCHEMA = 1
HISTORY = {1: "predicted and real seconds and calls of each case"}
WITHIN = 0.2
SUBJECTS = 4


@dataclass(frozen=True)
class Found:
    """Attributes:
    predicted, real: seconds of the run. calls, called: network items, predicted and real.
    """

    case: str
    scans: int
    predicted: float
    real: float
    calls: int
    called: int

    @property
    def ratio(self) -> float:
        return self.predicted / self.real

    @property
    def line(self) -> str:
        calls = f"{self.calls} calls of {self.called}"
        return f"{self.case:58} {self.predicted:8.2f} s {self.real:8.2f} s {self.ratio:6.2f}  {calls}"


def _ct() -> Models:
    return _demo("nnunet@ct")


def _pair() -> Models:
    return _demo("nnunet@ct", "nnunet@pet")


def _demo(*names: str) -> Models:
    from umd_engine.bench.demo.study import MODELS
    from umd_engine.models.catalog import Request

    return [Request.parse(f"{name}={MODELS[name]}").load({}) for name in names]


def _prompted() -> Models:
    """SAM-Med3D-turbo with 3 of its 12 blocks and stand-in weights: only how long it takes counts."""
    import torch

    from umd_engine.models.sam_med3d.model import SamMed3D
    from umd_engine.models.sam_med3d.network import Network
    from umd_engine.models.sam_med3d.options import Options
    from umd_engine.models.stand_in import KEPT_BLOCKS, filled

    with torch.device("meta"):
        network = Network(reduced=True)
    network.image_encoder.blocks = network.image_encoder.blocks[:KEPT_BLOCKS]
    filled(network)
    return [SamMed3D("sam-med3d-turbo", Path(), Options(), network)]


# name -> models, modality, prompts
CASES: dict[str, tuple[Callable[[], Models], str | None, Sequence[str]]] = {
    "demo's CT network on CT": (_ct, "ct", ()),
    "demo's CT and PET networks on PET/CT": (_pair, None, ()),
    "SAM-Med3D, 3 blocks, 3 clicks an organ, on CT": (_prompted, "ct", ("random-3",)),
}


def measured(case: str, subjects: int) -> Found:
    """Predict a run by sample runs, and run it."""
    from umd_engine.data.phantom.files import write_cohort
    from umd_engine.evaluation.crew import Crew
    from umd_engine.evaluation.forecast.planning import Cohort, plan
    from umd_engine.evaluation.forecast.scans import planned
    from umd_engine.evaluation.prompts.asking import parse_prompts
    from umd_engine.evaluation.run import Evaluation, Settings

    make, modality, prompts = CASES[case]
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        everything = write_cohort(folder / "scans", "petct", subjects)
        rows = [row for row in everything if modality in (None, row.modality)]
        models = make()
        settings = Settings(prompts=parse_prompts(prompts, [model.name for model in models]))
        list(Evaluation(rows[:1], models, folder / "warm", settings, everything).run())
        scans, _ = planned(rows)
        told = plan(Cohort("phantoms", scans, everything, ()), models, settings, measured=True, home=folder / "samples")
        work = Evaluation(rows, models, folder / "run", settings, everything)
        assert isinstance(work.crew, Crew)
        counted = work.crew.executor.open_unit = _Counted(work.sessions)
        began = time.perf_counter()
        errors = [ended.error for ended in work.run() if ended.error is not None]
        real = time.perf_counter() - began
    assert not errors, errors[0]
    calls = sum(model.calls for model in told.forecast.models)
    return Found(case, len(rows), told.forecast.runs[1].seconds, real, calls, counted.items)


class _Counted:
    """Counts items of a run's sessions."""

    def __init__(self, opened: Callable[[Unit], Session]):
        self.items, self._opened = 0, opened

    def __call__(self, unit: Unit) -> Session:
        return _Counting(self, self._opened(unit))


@dataclass(frozen=True)
class _Counting:
    counted: _Counted
    session: Session

    def run(self, inputs: Tensors) -> Tensors:
        self.counted.items += len(inputs[0])
        return self.session.run(inputs)


def perform(out: Path | None, subjects: int = SUBJECTS) -> int:
    """Every case in a fresh process; prints a line each. The exit status: 1 where a ratio is off by more than 20 %."""
    print(f"{'case':58} {'predicted':>10} {'real':>10} {'ratio':>6}")
    found = [_in_process(case, subjects) for case in CASES]
    off = [one for one in found if abs(one.ratio - 1) > WITHIN]
    for one in off:
        print(f"RED {one.case}: predicted is {one.ratio:.2f} of real, more than {WITHIN:.0%} off", file=sys.stderr)
    if out is not None:
        rows = [{**asdict(one), "ratio": one.ratio} for one in found]
        made = datetime.now(UTC).isoformat(timespec="seconds")
        told = {"kind": KIND, "schema": SCHEMA, "version": __version__, "commit": commit(), "made": made}
        out.write_text(json.dumps({**told, "machine": describe(), "within": WITHIN, "rows": rows}, indent=1) + "\n")
    return int(bool(off))


def _in_process(case: str, subjects: int) -> Found:
    command = [sys.executable, "-m", "umd_engine.bench.plan", case, str(subjects)]
    ended = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **host_memory.SETTINGS}
    )
    found = Found(**json.loads(ended.stdout.splitlines()[-1]))
    print(found.line, flush=True)
    return found


if __name__ == "__main__":
    print(json.dumps(asdict(measured(sys.argv[1], int(sys.argv[2])))))
