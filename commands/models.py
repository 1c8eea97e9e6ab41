"""`models`: the catalogue, and parity with the official code."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from umd_engine.commands.options import path
from umd_engine.errors import OptionError


@click.group()
def models() -> None:
    """The models, and how they compare with their official code."""


@models.command("list")
@click.option("--json", "as_json", is_flag=True)
def list_models(as_json: bool) -> None:
    """Every model of the catalogue, with what it needs and its options."""
    from dataclasses import fields

    from umd_engine.models.catalog import CATALOG

    rows = [
        {
            "model": name,
            "summary": found.summary,
            "needs": found.needs,
            "prompts": found.prompts,
            "options": {field.name: field.default for field in fields(found.options)},
        }
        for name, make in CATALOG.items()
        for found in (make(),)
    ]
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    for row in rows:
        click.echo(f"{row['model']}: {row['summary']}\n  needs {row['needs']}\n  options {row['options']}")


@models.command()
@click.argument("folder", type=path())
@click.option("--model", "only", help="Only recordings of this model.")
@click.option("--backend", default="torch", show_default=True, help="torch or onnxruntime.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:index].")
@click.option("--json", "as_json", is_flag=True, help="One object a recording.")
def parity(folder: Path, only: str | None, backend: str, device: str, as_json: bool) -> None:
    """Run every recording of the official code in FOLDER (NAME.spec.json, NAME.npz); a row each.

    Exits with 1 if one deviates by more than its tolerance, or has no checker.
    """
    from umd_engine.engine.backends.device import resolve_device
    from umd_engine.models.parity.check import check_recordings
    from umd_engine.models.parity.recording import find_recordings
    from umd_engine.models.parity.table import as_dict, as_line

    found = [r for r in find_recordings(folder) if only in (None, r.model)]
    if not found:
        raise OptionError(f"no recording of model '{only}'", where=folder)
    rows = []
    for row in check_recordings(found, backend, resolve_device(device)):
        rows.append(row)
        click.echo(as_line(row), err=as_json)
    if as_json:
        click.echo(json.dumps([as_dict(row) for row in rows], indent=1))
    if not all(row.passed for row in rows):
        sys.exit(1)
