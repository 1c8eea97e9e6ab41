"""Run as a script under TRITON_INTERPRET=1: the resampling's device code on the CPU, operation by operation."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from op_resample import OPERATIONS

from umd_engine.kernels.resample import gather

# those that launch the gather, in one precision; the other precision on fewer cases: an interpreter is slow
WHOLE = ("resample-float32", "resample-corners", "resample-area", "resample-affine-float32")


def main() -> None:
    assert gather.interpreted(), "TRITON_INTERPRET=1 has to be set before triton is imported"
    for operation in OPERATIONS:
        picked = [case for case in operation.cases if operation.name in WHOLE or case.name.startswith("turned")]
        for case in picked:
            operation.check(case, operation.implementations["gpu"])
        print("equal", operation.name, len(picked))


if __name__ == "__main__":
    main()
