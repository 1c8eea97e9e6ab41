"""The command line: what every command has in common. The commands themselves are in `commands/`."""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from typing import Any

import click

from umd_engine import __version__
from umd_engine.commands.bench import bench
from umd_engine.commands.clicks import clicks
from umd_engine.commands.data import data
from umd_engine.commands.doctor import doctor
from umd_engine.commands.export import export
from umd_engine.commands.joining import compare, merge
from umd_engine.commands.models import models
from umd_engine.commands.plan import plan
from umd_engine.commands.results import report, score
from umd_engine.commands.run import demo, evaluate, predict
from umd_engine.engine import host_memory
from umd_engine.errors import UmdEngineError

log = logging.getLogger(__name__)
RUN_NETWORKS = (evaluate, predict, demo, export, plan)


class _Group(click.Group):
    """Shows a typed error as one line and exits with 1; anything else is a bug and keeps its traceback."""

    def main(self, args: Sequence[str] | None = None, *more: Any, **extra: Any) -> Any:
        """Without `args` it is the process's own command line: one that runs networks gets the allocator's settings."""
        word = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
        if args is None and word in [command.name for command in RUN_NETWORKS]:
            host_memory.restart_with_settings()
        return super().main(args, *more, **extra)

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
    log.info(host_memory.told())


for command in (*RUN_NETWORKS, report, score, compare, merge, clicks, data, models, bench, doctor):
    main.add_command(command)


if __name__ == "__main__":
    main()
