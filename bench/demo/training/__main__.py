"""The command line of the training."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from umd_engine.bench.demo.training.recipe import RECIPES
from umd_engine.bench.demo.training.run import train_network
from umd_engine.engine.host_memory import restart_with_settings
from umd_engine.errors import UmdEngineError


class Follow:
    """A bar a stage, on standard error."""

    def __init__(self, progress: Progress):
        self.progress = progress
        self.tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int, remark: str) -> None:
        if stage not in self.tasks:
            self.tasks[stage] = self.progress.add_task(stage, remark=remark)
        self.progress.update(self.tasks[stage], completed=done, total=total, remark=remark)


@click.command()
@click.argument("modality", type=click.Choice(sorted(RECIPES)))
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder that gets DatasetNNN_...")
@click.option("--minutes", type=click.FloatRange(min=0.1), default=25, show_default=True, help="For the training.")
@click.option("--iterations", type=click.IntRange(min=1), help="Other than the recipe's.")
@click.option("--subjects", type=click.IntRange(min=1), help="Other than the recipe's.")
@click.option("--precision", type=click.Choice(["bf16", "fp32"]), help="Other than the recipe's.")
@click.option("--threads", type=click.IntRange(min=1), default=2, show_default=True)
def main(modality: str, out: Path, minutes: float, threads: int, **changes: Any) -> None:
    """Train the demo's network for MODALITY on the synthetic phantom."""
    torch.set_num_threads(threads)
    recipe = replace(RECIPES[modality], **{key: value for key, value in changes.items() if value is not None})
    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[remark]}"),
    )  # fmt: skip
    try:
        with Progress(*columns, console=Console(stderr=True)) as progress:
            trained = train_network(recipe, out, minutes, Follow(progress))
    except UmdEngineError as error:
        raise click.ClickException(str(error)) from None
    for result in trained.report["held_out"]["results"]:
        Console(file=sys.stdout).print(table(modality, result))
    click.echo(str(trained.model))


def table(network: str, result: dict[str, Any]) -> Table:
    """Dice organ by organ of one test."""
    title = f"{network} network on held-out synthetic {result['modality']}, {result['normalization']}"
    shown = Table("organ", "Dice", "SD", "n", title=title)
    for organ, found in result["organs"].items():
        mean, sd = ("-" if found[key] is None else f"{found[key]:.3f}" for key in ("mean", "sd"))
        shown.add_row(organ, mean, sd, str(found["n"]))
    shown.add_row("mean", f"{result['mean_dice']:.3f}", "", "")
    return shown


if __name__ == "__main__":
    restart_with_settings()
    main()
