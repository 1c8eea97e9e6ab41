"""`bench`: what the parts cost."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from umd_engine.commands.options import path


@click.group()
def bench() -> None:
    """What the parts cost on this machine, next to other libraries."""


@bench.command("kernels")
@click.option("--op", "operations", multiple=True, help="Only this operation; repeatable.")
@click.option("--quick", is_flag=True, help="Short windows: a look, seldom stable.")
@click.option("--json", "out", type=path(dir_okay=False), metavar="FILE", help="Also write the report here.")
def bench_kernels(operations: tuple[str, ...], quick: bool, out: Path | None) -> None:
    """Time every operation on volumes, its check first; ratios to other libraries on the same input.

    Each operation runs in a fresh process. Exits with 1 if a check fails or a ratio is below its target.

    \b
    Examples:
      umd-engine bench kernels --op distance
      umd-engine bench kernels --json now.json
    """
    from umd_engine.bench.command import perform
    from umd_engine.bench.kernels import benches

    sys.exit(perform(benches(operations), quick, out))


@bench.command("models")
@click.option("--model", "names", multiple=True, help="Only this model; repeatable.")
@click.option("--quick", is_flag=True, help="Every row timed once: a look.")
@click.option("--json", "out", type=path(dir_okay=False), metavar="FILE", help="Also write the report here.")
def bench_models(names: tuple[str, ...], quick: bool, out: Path | None) -> None:
    """Time whole protocols on phantoms, with stand-in weights, next to the official protocol; masks compared first.

    Takes minutes a model. Exits with 1 if masks differ or a ratio is below its target.

    \b
    Example:
      umd-engine bench models --model sam-med3d-turbo --json sam.json
    """
    from umd_engine.bench.command import perform
    from umd_engine.bench.models import benches

    sys.exit(perform(benches(names), quick, out))


@bench.command("compare")
@click.argument("before", type=path())
@click.argument("after", type=path())
@click.option("--unlike", is_flag=True, help="Compare runs of unlike machines too, and say so on every line.")
def bench_compare(before: Path, after: Path, unlike: bool) -> None:
    """Compare two reports of `bench kernels --json`: the time of each entry, AFTER over BEFORE, with its spread.

    \b
    Example:
      umd-engine bench compare before.json after.json
    """
    from umd_engine.bench.compare import compare

    for line in compare(before, after, unlike):
        click.echo(line)
