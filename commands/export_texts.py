"""What `export` prints."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from umd_engine.models.exporting import Exported
from umd_engine.models.verify import Report

MB = 1e6


def as_dict(row: Exported) -> dict[str, Any]:
    if row.artifact is None:
        return {"unit": row.unit.name, "status": row.error.status if row.error else "error", "message": str(row.error)}
    about = {key: value for key, value in row.artifact.about.items() if key != "regions"}
    return {**about, "unit": row.unit.name, "status": "ok", "path": str(row.artifact.path), "not_measured": row.reason}


def as_line(row: Exported) -> str:
    if row.artifact is None:
        return f"{row.unit.name}: not exported: {row.error}"
    error = row.artifact.about.get("error")
    told = _error(error) if error else f"error not measured: {row.reason}"
    return f"{row.unit.name}: {_size(row.artifact.folder)}, {told}\n  {row.artifact.path}"


def _error(errors: dict[str, dict[str, float]]) -> str:
    worst = max(errors.values(), key=lambda error: error["of_range"])
    return f"{worst['of_range']:.1e} of its range off eager fp32"


def _size(folder: Path) -> str:
    return f"{sum(path.stat().st_size for path in folder.iterdir()) / MB:.1f} MB"


def report_dict(model: str, report: Report) -> dict[str, Any]:
    organs = [
        {"scan": one.scan, "organ": one.organ, "dice": one.dice, "voxels": one.voxels, "flipped": one.flipped}
        for one in report.organs
    ]
    outputs = [vars(one) for one in report.outputs]
    return {
        "model": model, "status": "ok",
        "mean_dice": report.mean_dice, "voxels": report.voxels, "flipped": report.flipped,
        "organs": organs, "outputs": outputs,
    }  # fmt: skip


def report_lines(model: str, report: Report) -> Sequence[str]:
    """A table: per organ the mean and the least Dice with fp32 and the flipped voxels of all scans."""
    lines = [
        f"{model}: Dice with fp32, mean {report.mean_dice:.5f}; {report.flipped} of {report.voxels} voxels flipped"
    ]
    for organ in dict.fromkeys(one.organ for one in report.organs):
        found = [one for one in report.organs if one.organ == organ]
        dice = [one.dice for one in found if one.dice is not None]
        flipped = sum(one.flipped for one in found)
        told = f"mean {sum(dice) / len(dice):.5f}  least {min(dice):.5f}" if dice else "in neither answer"
        lines.append(f"  {organ:<20} {told}  flipped {flipped}")
    for one in report.outputs:
        lines.append(f"  {one.unit} {one.output}: max error {one.largest:.3g}, rms {one.rms:.3g}")
    return lines
