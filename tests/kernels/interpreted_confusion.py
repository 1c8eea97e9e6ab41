"""Run as a script under TRITON_INTERPRET=1: the joint counts' Triton source on the CPU, case by case."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from op_confusion import check_confusion

from umd_engine.errors import KernelError
from umd_engine.kernels.confusion import confusion, gpu
from umd_engine.kernels.confusion.cases import CASES


def main() -> None:
    assert gpu.interpreted(), "TRITON_INTERPRET=1 has to be set before triton is imported"
    for case in CASES:
        check_confusion(case, functools.partial(confusion, backend="gpu"))
        print("equal", case.name)
    for classes in ((4, 256), (256, 4), (16, 256)):  # the narrow kernel's and the wide one's bin of faults
        ids = np.full(5000, 9, np.uint8)
        try:
            confusion(ids, ids, *classes, backend="gpu")
        except KernelError as error:
            print("refused", classes, error.fault)
        else:
            assert min(classes) > 9, f"id 9 of {classes} classes was counted"


if __name__ == "__main__":
    main()
