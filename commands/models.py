"""`models`: the catalogue, its checkpoints, and parity with the official code."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click

from umd_engine.commands.options import path
from umd_engine.commands.own_models import new, try_
from umd_engine.errors import OptionError


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="One object a model.")
@click.pass_context
def models(context: click.Context, as_json: bool) -> None:
    """The models, their checkpoints, and how they compare with their official code.

    \b
    Examples:
      umd-engine models
      umd-engine models fetch sam-med3d-turbo
      umd-engine models check segvol=SegVol_v1.pth
    """
    if context.invoked_subcommand is None:
        _list(as_json)
    elif as_json:
        raise click.UsageError(f"write --json after {context.invoked_subcommand}")


@models.command("list")
@click.option("--json", "as_json", is_flag=True, help="One object a model.")
def list_models(as_json: bool) -> None:
    """Every model: prompts, patch, spacing, parameters, where it is published, licence, options, and whether
    its checkpoint is found in the checkpoint folder (UMD_ENGINE_CHECKPOINTS)."""
    _list(as_json)


def _list(as_json: bool) -> None:
    from umd_engine.commands.model_texts import list_text
    from umd_engine.models.listing import describe_all

    rows = describe_all()
    click.echo(json.dumps(rows, indent=1) if as_json else list_text(rows))


for command in (new, try_):
    models.add_command(command)


@models.command()
@click.argument("model", metavar="NAME[=PATH]")
@click.option("--set", "settings", multiple=True, metavar="OPTION=VALUE", help="A protocol option; repeatable.")
@click.option("--trust", multiple=True, type=path(), metavar="PATH", help="Code of a model of one's own may run.")
@click.option("--json", "as_json", is_flag=True, help="One object with every missing and unexpected name.")
def check(model: str, settings: tuple[str, ...], trust: tuple[Path, ...], as_json: bool) -> None:
    """Load a checkpoint strictly, hash it, and say what is missing or unexpected by name.

    Without =PATH the checkpoint in the checkpoint folder. Exits with 1 on a fault.

    \b
    Examples:
      umd-engine models check sam-med3d-turbo
      umd-engine models check nnunet=MODEL_FOLDER --set folds=0
      umd-engine models check my.yaml --trust my.yaml
    """
    from umd_engine.commands.model_texts import check_text
    from umd_engine.models.catalog import Request
    from umd_engine.models.check import check as examine
    from umd_engine.models.custom.trust import joined

    request = Request.parse(model)
    given = dict(map(_setting, settings))
    if trust and request.takes_trust:
        given["trust"] = joined(trust)
    found = examine(request, given)
    click.echo(json.dumps(asdict(found), indent=1, default=str) if as_json else check_text(found))
    if found.faults:
        sys.exit(1)


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise OptionError(f"'{text}' sets nothing", where="--set", mend="write OPTION=VALUE")
    return name, value


@models.command()
@click.argument("name")
@click.option("--yes", is_flag=True, help="Accept the licence without being asked.")
@click.option("--revision", default="main", show_default=True, help="A branch, a tag or a commit of the repository.")
@click.option("--endpoint", metavar="URL", help="Another hub, e.g. a mirror; else HF_ENDPOINT.")
def fetch(name: str, yes: bool, revision: str, endpoint: str | None) -> None:
    """Download a model's published weights into the checkpoint folder, after showing the licence.

    What has arrived is kept: the same command goes on where it stopped, and when all is there it compares
    hashes with those of the download (fetched.json).

    \b
    Examples:
      umd-engine models fetch sam-med3d-turbo
      umd-engine models fetch segvol --yes --endpoint https://hf-mirror.com
    """
    from umd_engine.commands.fetching import fetch_model

    fetch_model(name, revision, endpoint, yes)


@models.command()
@click.argument("folder", type=path())
@click.option("--model", "only", help="Only recordings of this model.")
@click.option("--backend", default="torch", show_default=True, help="docs/backends.md lists them.")
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
