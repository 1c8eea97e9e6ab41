"""`clicks`: the prompts of a run as a file, to be given again."""

from __future__ import annotations

from pathlib import Path

import click

from umd_engine.commands.options import path


@click.group()
def clicks() -> None:
    """The prompts that a run gave its models."""


@clicks.command()
@click.argument("run", type=path())
@click.option("--out", type=path(), required=True, metavar="FILE", help="The JSON file to write.")
@click.option("--model", help="Of this model, as the tables name it; needed where the run has several.")
@click.option("--plan", help="Of this plan hash, or its first digits.")
def export(run: Path, out: Path, model: str | None, plan: str | None) -> None:
    """Write the clicks, boxes and texts of RUN, in voxels and mm, for `evaluate --replay`.

    \b
    Example:
      umd-engine clicks export run --out clicks.json
      umd-engine evaluate scans.csv --out again --model segvol=FOLDER --replay clicks.json
    """
    from umd_engine.evaluation.prompts.export import export_clicks

    count = export_clicks(run, out, model, plan)
    click.echo(f"{count} prompts in {out}")
