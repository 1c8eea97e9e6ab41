"""`python -m umd_engine.bench.kernels`: `umd-engine bench kernels` where click is not installed."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from umd_engine.bench.command import perform
from umd_engine.bench.kernels import OPERATIONS, benches

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--op", action="append", default=[], choices=OPERATIONS)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", type=Path, dest="out")
    options = parser.parse_args()
    sys.exit(perform(benches(options.op), options.quick, options.out))
