"""`export`: the units of models as ONNX graphs or TensorRT engines, measured and verified."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import click

from umd_engine.commands.options import path, selection, whole_numbers
from umd_engine.engine.backends import PRECISIONS
from umd_engine.errors import OptionError, UmdEngineError

TARGETS = ("onnx", "tensorrt", "tensorrt-rtx")


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="NAME[=PATH]...")
@click.option("--to", "target", default="onnx", show_default=True, type=click.Choice(TARGETS))
@click.option("--precision", default="fp32", show_default=True, type=click.Choice(PRECISIONS))
@click.option("--batch", "batches", default="1,4,8", show_default=True, help="An engine's batches; a graph takes any.")
@click.option("--capability", metavar="8.0", help="Build for this GPU generation; tensorrt-rtx only.")
@click.option("--out", type=path(), metavar="DIR", help="Also copy the artifacts there, a folder a unit.")
@click.option(
    "--calibrate",
    type=path(),
    metavar="DATA",
    help="int8: a manifest or a folder of the phantom, scans to calibrate on.",
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

    An artifact carries a sidecar, artifact.json: inputs and outputs, precision of each region, versions, hashes, and
    its error against eager fp32 on the inputs beside it. With --verify every scan of DATA is segmented twice, in this
    precision and in fp32, and the export fails where organs differ by more than docs/export.md says.

    \b
    Examples:
      umd-engine export nnunet=MODEL_FOLDER --to onnx
      umd-engine export nnunet=MODEL_FOLDER --precision fp16 --verify scans.csv --limit 4
      umd-engine export sam-med3d-turbo --to tensorrt --precision fp16 --batch 1,8 --out engines
      umd-engine export vista3d --stand-in --to tensorrt-rtx --capability 8.0
    """
    from umd_engine.models.exporting import Wanted

    plain = Wanted(target, precision, tuple(whole_numbers(batches, "--batch")), capability, out=out)
    _check(plain, calibrate, data, stand_in)
    scans, _ = selection(data, modality, limit) if data else ([], None)
    told: list[dict[str, Any]] = []
    try:
        for name, model, units in _units(models, settings, trust, stand_in):
            wanted = _calibrated(plain, model, calibrate, modality, limit) if calibrate else plain
            told += _rows(name, model, units, wanted, scans, as_json)
    finally:
        if as_json:
            click.echo(json.dumps(told, indent=1, default=str))
    if any(row["status"] != "ok" for row in told):
        sys.exit(1)


def _check(wanted: Any, calibrate: Path | None, data: Path | None, stand_in: bool) -> None:
    """Before anything is loaded or made."""
    from umd_engine.engine.backends.device import resolve_device

    if stand_in and (data or calibrate):
        raise OptionError("stand-in weights are no evidence", where="--stand-in", mend="give a trained checkpoint")
    if calibrate and wanted.precision != "int8":
        raise OptionError(f"{wanted.precision} needs no calibration", where="--calibrate", mend="use --precision int8")
    if wanted.target == "onnx" and wanted.capability:
        raise OptionError("a graph is of no GPU", where="--capability", mend="use --to tensorrt-rtx")
    if wanted.target == "onnx" and wanted.precision == "tf32":
        raise OptionError("tf32 runs the graph of fp32", where="--precision", mend="use fp32, or --to tensorrt")
    if data and wanted.target != "onnx":
        resolve_device("cuda")  # an engine is verified where it runs


def _rows(
    name: str, model: Any, units: Sequence[Any], wanted: Any, scans: Sequence[Any], as_json: bool
) -> list[dict[str, Any]]:
    """A row a unit, and one of the verification where there are scans and every unit was exported."""
    from umd_engine.commands.export_texts import as_dict, as_line, report_dict, report_lines
    from umd_engine.models.exporting import export_units
    from umd_engine.models.verify import refuse

    rows = []
    for row in export_units(units, wanted):
        rows.append(as_dict(row))
        click.echo(as_line(row), err=as_json)
    if not scans or any(row["status"] != "ok" for row in rows):
        return rows
    verdict: dict[str, Any] = {"model": name}
    try:
        report = _verified(model, scans, wanted)
        verdict = report_dict(name, report)
        click.echo("\n".join(report_lines(name, report)), err=as_json)
        refuse(report, wanted.precision)
    except UmdEngineError as error:
        click.echo(f"{name}: not verified: {error}", err=as_json)
        verdict |= {"status": error.status, "message": str(error)}
    return [*rows, verdict]


def _units(
    models: Sequence[str], settings: Sequence[str], trust: Sequence[Path], stand_in: bool
) -> Iterator[tuple[str, Any, Sequence[Any]]]:
    """Name, model and units of every model; of a stand-in there is no model."""
    from umd_engine.evaluation.loading import parse_requests
    from umd_engine.models.stand_in import check_stand_in, stand_in_units

    if stand_in:
        for name in models:
            check_stand_in(name)
        for name in models:
            yield name, None, stand_in_units(name)
        return
    for request, given in parse_requests(models, settings, trust).items():
        model = request.load(given)
        yield request.title, model, model.units


def _calibrated(plain: Any, model: Any, data: Path, modality: str | None, limit: int | None) -> Any:
    """Windows of the scans of a manifest, as the model's program gives them to its units in fp32."""
    from umd_engine.engine.backends.device import resolve_device
    from umd_engine.evaluation.cases import Settings
    from umd_engine.evaluation.verifying import calibrations_on
    from umd_engine.models.exporting import stated_modality
    from umd_engine.models.ready import open_unit

    device = resolve_device("auto")
    rows, _ = selection(data, modality, limit)
    opened = partial(open_unit, backend="torch", device=device)
    stated = stated_modality(model)
    windows = calibrations_on(rows, model, opened, Settings(device=device), data.name, stated)
    return replace(plain, calibration=windows, stated=stated)


def _verified(model: Any, scans: Sequence[Any], wanted: Any) -> Any:
    """On the device that runs the artifact: an engine's is a GPU."""
    from umd_engine.engine.backends.device import resolve_device
    from umd_engine.evaluation.cases import Settings
    from umd_engine.evaluation.verifying import verify_on
    from umd_engine.models.exporting import opened_as
    from umd_engine.models.ready import open_unit

    device = resolve_device("cpu" if wanted.target == "onnx" else "cuda")
    reference = partial(open_unit, backend="torch", device=device)
    return verify_on(scans, model, partial(opened_as, wanted, device), reference, Settings(device=device))
