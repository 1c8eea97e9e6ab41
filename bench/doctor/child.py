"""`python -m umd_engine.bench.doctor.child JOB`: tries probes one after the other, a line of JSON each in a file.

Native libraries crash and hang: this process may end at any probe, and the doctor goes on with the next.
"""

from __future__ import annotations

import importlib
import json
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from umd_engine.bench.doctor.diagnosis import FAILS, WORKS
from umd_engine.errors import UmdEngineError


def attempt(target: str, arguments: list[str]) -> dict[str, Any]:
    """What `module:function` says of the arguments, or how it failed."""
    module, _, function = target.partition(":")
    start = time.perf_counter()
    try:
        answer: dict[str, Any] = {
            "status": WORKS,
            "found": getattr(importlib.import_module(module), function)(*arguments),
        }
    except UmdEngineError as error:
        answer = {"status": FAILS, "reason": error.fault, "mend": error.mend}
    except Exception as error:  # whatever a library raises is what is to be told
        line = next((line.strip() for line in str(error).splitlines() if line.strip()), "")
        answer = {"status": FAILS, "reason": f"{type(error).__name__}: {line}"[:300]}
    return {**answer, "seconds": time.perf_counter() - start}


def main(job: str) -> None:
    warnings.simplefilter("ignore")
    asked = json.loads(job)
    with Path(asked["out"]).open("a", encoding="utf-8") as lines:
        for target, arguments in asked["probes"]:
            lines.write(json.dumps(attempt(target, arguments)) + "\n")
            lines.flush()


if __name__ == "__main__":
    main(sys.argv[1])
