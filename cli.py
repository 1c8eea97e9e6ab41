"""The command line: what every command has in common. The commands themselves are in `commands/`."""

from __future__ import annotations

import logging
from typing import Any

import click

from umd_engine import __version__
from umd_engine.commands.bench import bench
from umd_engine.commands.clicks import clicks
from umd_engine.commands.data import data
from umd_engine.commands.export import export
from umd_engine.commands.models import models
from umd_engine.commands.results import report, score
from umd_engine.commands.run import demo, evaluate, predict
from umd_engine.errors import UmdEngineError


class _Group(click.Group):
    """Shows a typed error as one line and exits with 1; anything else is a bug and keeps its traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except UmdEngineError as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="umd-engine")
@click.option("-v", "--verbose", is_flag=True, help="Log what the engine does to standard error.")
def main(verbose: bool) -> None:
    """Re-evaluate 3D medical segmentation models over cohorts of CT, MR and PET scans.

    \b
    A first run:
      umd-engine data import Dataset001_X --layout nnunet --cohort petct --out scans.csv
      umd-engine data check scans.csv
      umd-engine evaluate scans.csv --out run --model nnunet=MODEL_FOLDER
      umd-engine report run
    """
    logging.basicConfig(level=logging.INFO if verbose else logging.ERROR, format="%(levelname)s %(name)s: %(message)s")


for command in (evaluate, predict, demo, report, score, clicks, data, models, export, bench):
    main.add_command(command)


if __name__ == "__main__":
    main()
