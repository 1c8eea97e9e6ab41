"""`python -m umd_engine.bench.pipeline.spread_job FOLDER WORKERS`: the process that drives Ray's workers.

FOLDER has scans.csv; told.json is written there.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from umd_engine.bench.pipeline.clock import Seconds, cpu_by_process
from umd_engine.bench.pipeline.cohort import NETWORKS
from umd_engine.bench.pipeline.ours import counts_of, requests_of
from umd_engine.bench.pipeline.spread import Together
from umd_engine.data.manifest import read_manifest
from umd_engine.evaluation.run import Evaluation, Settings
from umd_engine.evaluation.spread import Spread


def main(folder: Path, workers: int) -> None:
    rows, requests = read_manifest(folder / "scans.csv"), requests_of(NETWORKS, "engine")
    cluster, begun = Together(workers, folder), []
    seconds = Seconds()
    with seconds.counted():
        models = [request.load(options) for request, options in requests.items()]
        work = Evaluation(rows, models, folder / "run", Settings(), spread=Spread(cluster, requests))

    def begin() -> None:
        while len(cluster.waiting()) < workers:
            time.sleep(0.01)
        begun.append((time.perf_counter(), cpu_by_process()))
        cluster.begin()

    called = time.perf_counter()
    threading.Thread(target=begin, daemon=True).start()
    for number, ended in enumerate(work.run(), 1):
        if ended.error is not None:
            raise ended.error
        if number == len(work.cases):  # its workers still live
            last, after = time.perf_counter(), cpu_by_process()
    ((first, before),) = begun
    used = {process: cpu - before.get(process, 0.0) for process, cpu in after.items()}
    own = sum(cpu for process, cpu in used.items() if process not in {os.getpid(), *cluster.waiting()})
    told = {
        "wall": seconds.wall + last - first,
        "cpu": seconds.cpu + sum(used.values()),
        "own": own,
        "start": first - called,
        "counts": counts_of(folder / "run", by_model=True),
    }
    (folder / "told.json").write_text(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
