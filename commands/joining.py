"""`compare` and `merge`: what reads two runs or more."""

from __future__ import annotations

from pathlib import Path

import click

from umd_engine.commands.options import metric_option, path, wait_option


@click.command()
@click.argument("first_run", metavar="RUN", type=path())
@click.argument("second_run", metavar="RUN", type=path())
@click.option("--first", default="", metavar="NAME", help="Model or plan hash in the first run.")
@click.option("--second", default="", metavar="NAME", help="Model or plan hash in the second run.")
@click.option("--convention", default="umd", show_default=True, help="How empty masks and failures score.")
@metric_option
@click.option(
    "--format",
    "form",
    default="text",
    show_default=True,
    type=click.Choice(["text", "markdown", "latex", "csv", "json"]),
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the intervals' draws.")
@click.option("--draws", default=10_000, show_default=True, type=click.IntRange(min=100), help="For an interval.")
def compare(
    first_run: Path,
    second_run: Path,
    first: str,
    second: str,
    convention: str,
    metric: str,
    form: str,
    as_json: bool,
    seed: int,
    draws: int,
) -> None:
    """Paired differences of two runs on the same scans, per organ, with intervals and tests: second minus first.

    Every model that stands in both runs is compared; two models, also of one run, are named by --first and --second.

    \b
    Examples:
      umd-engine compare run-fp32 run-fp16
      umd-engine compare run run --first vista3d --second sat-pro --metric nsd
    """
    from umd_engine.evaluation.conventions import convention as find_convention
    from umd_engine.evaluation.run_folder import to_read
    from umd_engine.evaluation.statistics.compare import compare_runs
    from umd_engine.evaluation.statistics.summary import Sampling

    chosen, form = find_convention(convention), "json" if as_json else form
    runs = to_read(first_run), to_read(second_run)
    click.echo(compare_runs(*runs, chosen, form, metric, sampling=Sampling(draws, seed), names=(first, second)))


@click.command()
@click.argument("runs", metavar="RUN RUN...", nargs=-1, type=path())
@click.option("--out", type=path(), required=True, metavar="RUN", help="The joined run's folder.")
@wait_option
@click.option("--json", "as_json", is_flag=True, help="Rows of each run, and results that stood in several.")
def merge(runs: tuple[Path, ...], out: Path, wait: bool, as_json: bool) -> None:
    """Join shards of one run, such as halves of a manifest, into a new store. Masks stay where they are.

    Refused, by name: a model with other weights, another protocol, precision or prompt; a result with other counts.

    \b
    Example:
      umd-engine merge shard-1 shard-2 --out run
    """
    import json
    from dataclasses import asdict

    from umd_engine.evaluation.merging import merge as join
    from umd_engine.evaluation.run_folder import to_read

    done = join([to_read(run) for run in runs], out, wait)
    if as_json:
        click.echo(json.dumps(asdict(done)))
        return
    for run, rows in zip(runs, done.rows, strict=True):
        click.echo(f"{run}: {rows} rows")
    click.echo(f"joined in {out}; {done.twice} results stood in several runs and were taken once")
