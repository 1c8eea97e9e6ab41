"""`report` and `score`: what reads results."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from umd_engine.commands.options import metrics_option, path, wait_option


def print_report(run: Path, convention: Any, form: str, metric: str = "dice", list_failures: bool = True) -> None:
    from umd_engine.evaluation.report import report_run

    click.echo(report_run(run, convention, form, metric, list_failures=list_failures))


@click.command()
@click.argument("run", type=path())
@click.option("--convention", default="umd", show_default=True, help="How empty masks and failures score.")
@click.option("--versus", metavar="CONVENTION", help="Say where the tables differ under this one, and why.")
@click.option(
    "--metric",
    default="dice",
    show_default=True,
    help="dsc, iou, nsd, hd, hd95, assd, masd, volume, fp-volume or fn-volume.",
)
@click.option(
    "--format",
    "form",
    default="text",
    show_default=True,
    type=click.Choice(["text", "markdown", "latex", "csv", "json", "rows"]),
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--picture",
    type=path(),
    metavar="FILE",
    help="Also draw organs x modality x model into a .png, .svg or .pdf file.",
)
@click.option("--stats", is_flag=True, help="Intervals, paired tests and effect sizes, by subject, and subgroups.")
@click.option("--by", default="", metavar="NAME", help="With --stats, tables of each sex, age, scanner or site.")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(min=0), help="Of the intervals' draws.")
@click.option("--draws", default=10_000, show_default=True, type=click.IntRange(min=100), help="For an interval.")
@click.option("--paper", is_flag=True, help="The published Tables 1 to 3 with this run beside them.")
def report(
    run: Path,
    convention: str,
    versus: str | None,
    metric: str,
    form: str,
    as_json: bool,
    picture: Path | None,
    stats: bool,
    by: str,
    seed: int,
    draws: int,
    paper: bool,
) -> None:
    """Tables of a run in the paper's layout: organ rows, model columns, mean(SD), a line a modality
    and the gap between them.

    `--format rows` is a CSV with one line a scan, model and organ, for statistics elsewhere. `--stats` and `--paper`
    are other tables, in every format but `rows`.

    \b
    Examples:
      umd-engine report run
      umd-engine report run --convention nnunet --format markdown > table.md
      umd-engine report run --stats --by sex
      umd-engine report run --paper
      umd-engine report run --metric nsd --convention flare --versus cvpr25
      umd-engine report run --picture gaps.png
    """
    if stats + paper + bool(versus) > 1:
        raise click.UsageError("--stats, --paper and --versus are different tables: give one of them")
    if paper and metric not in ("dice", "dsc"):
        raise click.UsageError("--paper is of Dice alone: the paper has no other metric")
    if by and not stats:
        raise click.UsageError("--by belongs to --stats")
    from umd_engine.evaluation.conventions import convention as find_convention
    from umd_engine.evaluation.metrics import metric as find_metric
    from umd_engine.evaluation.run_folder import to_read

    chosen, other = find_convention(convention), find_convention(versus) if versus else None
    name = find_metric(metric).name
    run = to_read(run)
    if picture is not None:
        from umd_engine.evaluation.picture import draw_run

        draw_run(run, chosen, picture, name)
        click.echo(f"picture in {picture}", err=True)
    form = "json" if as_json else form
    if other is not None:
        from umd_engine.evaluation.report import stored_rows
        from umd_engine.evaluation.versus import versus as compare

        click.echo(compare(stored_rows(run), chosen, other, name, form))
    elif stats:
        from umd_engine.evaluation.statistics.report import report_statistics
        from umd_engine.evaluation.statistics.summary import Sampling

        click.echo(report_statistics(run, chosen, form, metric=name, sampling=Sampling(draws, seed), by=by))
    elif paper:
        from umd_engine.evaluation.paper.report import report_paper

        click.echo(report_paper(run, chosen, form))
    else:
        print_report(run, chosen, form, name)


@click.command()
@click.argument("prediction", type=path())
@click.argument("label", type=path())
@click.option(
    "--pred-map",
    default="umd13",
    show_default=True,
    help="Label set of the prediction: a name or a JSON file.",
)
@click.option("--label-map", default="umd13", show_default=True, help="Label set of the label: a name or a JSON file.")
@click.option("--organs", default="", help="Only these, separated by commas.")
@metrics_option
@click.option("--convention", default="umd", show_default=True, help="How empty masks score.")
@click.option("--into", "run", type=path(), metavar="RUN", help="Also store the rows in this run.")
@click.option("--as", "model", metavar="NAME", help="The model's name in RUN.")
@click.option("--cohort", default="scored", show_default=True, help="The cohort's name in RUN.")
@click.option("--modality", default="ct", show_default=True, type=click.Choice(["ct", "mr", "pet"]), help="In RUN.")
@wait_option
@click.option("--json", "as_json", is_flag=True, help="One object an organ.")
def score(prediction: Path, label: Path, run: Path | None, as_json: bool, **options: Any) -> None:
    """Score existing masks: two NIfTI files, or two folders whose files have the same names.

    With the folder of a run and its manifest: measure the surfaces that rows lack on the masks that the run saved.

    \b
    Examples:
      umd-engine score pred.nii.gz label.nii.gz --pred-map totalsegmentator-v2-117 --label-map umd13
      umd-engine score run scans.csv
    """
    from umd_engine.evaluation.score import score_command

    text, failed = score_command(prediction, label, run=run, as_json=as_json, **options)
    click.echo(text)
    if failed:
        sys.exit(1)
