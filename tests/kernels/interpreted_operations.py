"""Run as a script under TRITON_INTERPRET=1 with operations' names: their Triton source on the CPU, case by case."""

from __future__ import annotations

import functools
import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from tester import operations

FUNCTIONS = {
    "confusion-logits": ("confusion", "confusion_from_logits"),
    "confusion-planes": ("confusion", "confusion_planes"),
    "bounds": ("bounds", "bounds"),
    "norm_act": ("norm_act", "norm_act"),
}


def main(names: list[str]) -> None:
    for name in names:
        package, function = FUNCTIONS[name]
        gpu = importlib.import_module(f"umd_engine.kernels.{package}.gpu")
        assert gpu.interpreted(), "TRITON_INTERPRET=1 has to be set before triton is imported"
        kernel = getattr(importlib.import_module(f"umd_engine.kernels.{package}"), function)
        operation = operations()[name]
        for case in operation.cases:
            operation.check(case, functools.partial(kernel, backend="gpu"))
            print("equal", name, case.name)


if __name__ == "__main__":
    main(sys.argv[1:])
