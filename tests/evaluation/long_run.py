"""Runs a manifest; prints resident bytes and failures after every 50th scan. `python long_run.py MANIFEST RUN`"""

import gc
import sys
from pathlib import Path

import torch
from asked_model import CubeModel
from cohort import MODEL

from umd_engine.data.manifest import read_manifest
from umd_engine.evaluation.run import Evaluation, Settings
from umd_engine.models.nnunet.model import NnUNet
from umd_engine.models.nnunet.protocol import Options

EVERY = 50
PAGE = 4096


def resident() -> int:
    """Bytes of this process, after what nobody holds is gone and given back to the kernel."""
    gc.collect()
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL("libc.so.6").malloc_trim(0)
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


def main(manifest: str, out: str) -> None:
    torch.set_num_threads(1)
    models = [NnUNet("nnunet", MODEL, Options(folds="0", mirroring=False, step=1.0)), CubeModel()]
    rows = read_manifest(Path(manifest))
    work = Evaluation(rows, models, Path(out), Settings(max_live=4, readers=2, batch_size=4))
    failed = 0
    for number, ended in enumerate(work.run(), 1):
        failed += ended.error is not None
        if number % (EVERY * len(models)) == 0:
            print(resident(), failed, flush=True)


main(*sys.argv[1:])
