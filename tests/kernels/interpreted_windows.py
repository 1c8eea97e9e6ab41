"""Run as a script under TRITON_INTERPRET=1: the Triton source of the windows on the CPU, case by case."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

import numpy as np
from op_windows import OPERATIONS

from umd_engine.errors import KernelError
from umd_engine.kernels.windows import accumulate, finish, gather, gpu


def main() -> None:
    assert gpu.interpreted(), "TRITON_INTERPRET=1 has to be set before triton is imported"
    for operation, kernel in zip(OPERATIONS, (gather, accumulate, finish), strict=True):
        for case in operation.cases:
            operation.check(case, functools.partial(kernel, backend="gpu"))
            print("equal", operation.name, case.name)
    sums = np.ones((2, 3, 4, 5), np.float32)
    for value in (np.nan, np.inf):
        sums[1, 2, 3, 4] = value
        try:
            finish(sums, (6, 6, 6), backend="gpu")
        except KernelError as error:
            print("refused", error.fault)


if __name__ == "__main__":
    main()
