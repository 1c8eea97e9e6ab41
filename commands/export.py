"""`export`: the units of models as ONNX graphs or TensorRT engines, measured and verified."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from umd_engine.commands.options import path
from umd_engine.errors import OptionError

PRECISIONS = ("fp32", "tf32", "bf16", "fp16", "int8")


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="NAME[=PATH]...")
@click.option("--to", "target", default="onnx", show_default=True, type=click.Choice(["onnx", "tensorrt", "tensorrt-rtx"]))
@click.option("--precision", default="fp32", show_default=True, type=click.Choice(PRECISIONS))
@click.option("--batch", "batches", default="1,4,8", show_default=True, help="An engine's batches; a graph takes any.")
@click.option("--capability", metavar="8.0", help="Build for this GPU generation; tensorrt-rtx only.")
@click.option("--out", type=path(), metavar="DIR", help="Also copy the artifacts there, a folder a unit.")
@click.option(
    "--calibrate", type=path(), metavar="DATA", help="int8: a manifest or a folder of the phantom, scans to calibrate on."
)
@click.option("--verify", "data", type=path(), metavar="DATA", help="A manifest: compare the answers with fp32's.")
@click.option("--limit", type=click.IntRange(min=1), help="Only the first N scans of DATA.")
@click.option("--modality", type=click.Choice(["ct", "mr", "pet"]), help="Only scans of DATA of this modality.")
@click.option("--set", "settings", multiple=True, metavar="NAME.OPTION=VALUE", help="A protocol option; repeatable.")
@click.option("--trust", multiple=True, type=path(), metavar="PATH", help="Code of a model of one's own may run.")
@click.option("--stand-in", is_flag=True, help="Units with stand-in weights, for a look without a checkpoint.")
@click.option("--json", "as_json", is_flag=True, help="One object a unit.")
def export(
    models: tuple[str, ...],
    target: str,
    precision: str,
    batches: str,
    capability: str | None,
    out: Path | None,
    calibrate: Path | None,
    data: Path | None,
    limit: int | None,
    modality: str | None,
    settings: tuple[str, ...],
    trust: tuple[Path, ...],
    stand_in: bool,
    as_json: bool,
) -> None:
    """Export the networks of models, every unit of each, into the cache of artifacts.

    An artifact carries a sidecar, artifact.json: inputs and outputs, precision of each region, versions, hashes, and its
    error against eager fp32 on the inputs beside it. With --verify every scan of DATA is segmented twice, in this
    precision and in fp32, and the export fails where organs differ by more than docs/export.md says.

    \b
    Examples:
      umd-engine export nnunet=MODEL_FOLDER --to onnx
      umd-engine export nnunet=MODEL_FOLDER --precision fp16 --verify scans.csv --limit 4
      umd-engine export sam-med3d-turbo --to tensorrt --precision fp16 --batch 1,8 --out engines
      umd-engine export vista3d --stand-in --to tensorrt-rtx --capability 8.0
    """
    from umd_engine.commands.export_texts import report_text, unit_text
    from umd_engine.models.exporting import Wanted, export_models, verify_models

    wanted = Wanted(target, precision, _batches(batches), capability, out)
    if stand_in and data:
        raise OptionError("stand-in weights are no evidence", where="--verify", mend="give a trained checkpoint")
    ...


def _batches(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in text.split(","))
    except ValueError:
        raise OptionError(f"'{text}' is no list of batches", where="--batch", mend="write e.g. 1,4,8") from None
