"""Reports of a study's size: a made store of 954 subjects x 2 modalities x 13 organs x 6 models, timed."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from umd_engine.bench.floor.watched import used, watched
from umd_engine.data.labelset import load_label_set
from umd_engine.evaluation.paper.published import MODELS, REFERENCE, STUDIES
from umd_engine.evaluation.rows import Row
from umd_engine.evaluation.store import ScanKey, Store

SUBJECTS = sum(study.examinations for study in STUDIES)
SECONDS, GIGABYTES = 10.0, 1.0
REPORTS: tuple[tuple[str, ...], ...] = ((), ("--json",), ("--stats",), ("--stats", "--json"), ("--paper",))


@dataclass(frozen=True)
class Took:
    """One command in a process of its own, imports included."""

    command: str
    seconds: float
    cpu_seconds: float
    gigabytes: float

    @property
    def red(self) -> bool:
        return self.seconds > SECONDS or self.gigabytes > GIGABYTES


def made_rows(subjects: int, seed: int = 0) -> Iterator[Row]:
    """Counts of nobody: a subject's organs and modalities resemble each other, a few organs are absent."""
    rng = np.random.default_rng(seed)
    organs = list(load_label_set("umd13").ids)
    for model in (*MODELS, REFERENCE):
        for number in range(subjects):
            study = STUDIES[number >= subjects * STUDIES[0].examinations // SUBJECTS]
            subject, level = f"s{number:04d}", rng.uniform(0.2, 0.9)
            for modality in study.modalities:
                voxels = rng.integers(200, 5000, len(organs))
                hits = (voxels * np.clip(level + rng.normal(0, 0.1, len(organs)), 0, 1)).astype(int)
                present = rng.random(len(organs)) > 0.02
                voxels, hits = voxels * present, hits * present
                for organ, n, tp in zip(organs, voxels.tolist(), hits.tolist(), strict=True):
                    yield Row(
                        plan=f"plan-{model}", cohort=study.name, subject=subject, scan_id=f"{subject}_{modality}",
                        modality=modality, model=model, organ=organ, status="ok", tp=tp, fp=n - tp, fn=n - tp,
                        voxel_ml=0.01, seconds=1.0, synthetic=True,
                    )  # fmt: skip


def made_groups(rows: Sequence[Row], seed: int = 0) -> dict[ScanKey, dict[str, str]]:
    """Sex, age, scanner and site of each subject."""
    rng = np.random.default_rng(seed)
    subjects = {row.subject: None for row in rows}
    drawn = {
        subject: {
            "sex": "FM"[rng.integers(2)],
            "age": str(rng.integers(18, 95)),
            "scanner": f"scanner {rng.integers(4)}",
            "site": f"site {rng.integers(3)}",
        }
        for subject in subjects
    }
    return {(row.cohort, row.subject, row.scan_id): drawn[row.subject] for row in rows}


def make_store(run: Path, subjects: int = SUBJECTS) -> int:
    """A run with such a store; returns its number of rows."""
    rows = list(made_rows(subjects))
    run.mkdir(parents=True, exist_ok=True)
    with Store(run / "store.sqlite") as store:
        store.add(rows)
        store.group(made_groups(rows))
    return len(rows)


def timed(run: Path, options: Sequence[str]) -> Took:
    """`umd-engine report RUN OPTIONS` once.

    Raises:
        subprocess.CalledProcessError: it fails.
    """
    command = [sys.executable, "-m", "umd_engine.cli", "report", str(run), *options]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "used"
        subprocess.run(watched(command, out), stdout=subprocess.DEVNULL, check=True)
        found = used(out)
    return Took(" ".join(["report RUN", *options]), found.seconds, found.cpu_seconds, found.peak / 1e9)


def perform(out: Path | None, subjects: int = SUBJECTS) -> int:
    """Time every report, print them, keep them as JSON; 1 where one takes more than 10 s or 1 GB."""
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        print(f"{make_store(run, subjects)} rows of {subjects} made subjects")
        took = []
        for options in REPORTS:
            took.append(timed(run, options))
            one = took[-1]
            red = "  RED" if one.red else ""
            print(f"{one.command:28} {one.seconds:5.1f} s, {one.cpu_seconds:5.1f} s CPU, {one.gigabytes:.2f} GB{red}")
    if out is not None:
        out.write_text(json.dumps([asdict(one) for one in took], indent=1) + "\n")
    return int(any(one.red for one in took))
