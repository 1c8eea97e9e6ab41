"""A parity result for people and for programs."""

from __future__ import annotations

from typing import Any

from umd_engine.models.parity.check import Parity


def as_line(row: Parity) -> str:
    """E.g. `passed  nnunet_plain  nnunet  voxels 0 (<= 5)  prob 2.4e-04 (<= 2e-03)  2.1 s`."""
    if row.error:
        return f"FAILED  {row.recording}  {row.model}  {row.error}"
    measured = "  ".join(f"{d.name} {d.value:.2g} (<= {d.tolerance:g})" for d in row.deviations)
    variants = f"\n        engine against official: {row.variants}" if row.variants else ""
    verdict = "passed" if row.passed else "FAILED"
    return f"{verdict}  {row.recording}  {row.model}  {measured}  {row.seconds:.1f} s{variants}"


def as_dict(row: Parity) -> dict[str, Any]:
    return {
        "recording": row.recording,
        "model": row.model,
        "passed": row.passed,
        "deviations": {d.name: {"value": d.value, "tolerance": d.tolerance} for d in row.deviations},
        "engine_against_official": row.variants,
        "seconds": round(row.seconds, 3),
        "error": row.error,
    }
