"""`evaluate`, `predict` and `demo`: what runs models."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from umd_engine.commands.options import metrics_option, path, run_options, selection, settings_of, spread_of
from umd_engine.commands.results import print_report
from umd_engine.errors import shown


@click.command()
@click.argument("manifest", type=path())
@run_options
@metrics_option
@click.option("--save-masks", is_flag=True, help="Also write every mask under RUN/masks.")
@click.option("--convention", default="umd", show_default=True, help="How empty masks score in the table.")
def evaluate(
    manifest: Path,
    run: Path,
    as_json: bool,
    save_masks: bool,
    metrics: tuple[str, ...],
    convention: str,
    **options: Any,
) -> None:
    """Score models over a manifest of scans; prints a table of Dice.

    The same command again does only what is missing or of changed files. Exits with 1 if a case failed, with 130
    after Ctrl-C, which finishes the cases in flight.

    \b
    Examples:
      umd-engine evaluate scans.csv --out run --model nnunet=Dataset001/nnUNetTrainer__nnUNetPlans__3d_fullres
      umd-engine evaluate scans.csv --out run --model nnunet@ct=CT --model nnunet@pet=PET --modality pet
      umd-engine evaluate scans.csv --out run --model sam-med3d-turbo=sam_med3d_turbo.pth --repeats 3
    """
    from umd_engine.evaluation import run as runner
    from umd_engine.evaluation.conventions import convention as find_convention
    from umd_engine.evaluation.loading import load_models, parse_requests
    from umd_engine.evaluation.lock import only_writer
    from umd_engine.evaluation.progress import say, tell_failures, watch
    from umd_engine.evaluation.run_folder import home, uploading

    chosen = find_convention(convention)
    requests = parse_requests(options["models"], options["settings"], options["trust"])
    rows, everything = selection(manifest, options["modality"], options["limit"])
    spread = spread_of(options, requests)
    settings = settings_of(options, [request.title for request in requests], save_masks=save_masks, metrics=metrics)
    with only_writer(home(run), options["wait"], say), uploading(run, options["wait"], say) as here:
        models = load_models(requests, rows, settings.organs)
        work = runner.Evaluation(rows, models, run, settings, everything, spread)
        failures = watch(work, quiet=as_json)
    # the failures are listed on standard error, where a redirected table does not hide them
    print_report(here, chosen, "json" if as_json else "text", list_failures=as_json)
    if tell_failures(failures):
        sys.exit(1)


@click.command()
@click.argument("manifest", type=path())
@run_options
def predict(manifest: Path, run: Path, as_json: bool, **options: Any) -> None:
    """Write masks of every scan under RUN/masks; labels are not needed.

    The same command again writes only what is missing or of changed images.
    A model that takes prompts needs --replay, or --prompt text.

    \b
    Example:
      umd-engine predict scans.csv --out run --model nnunet=MODEL_FOLDER
    """
    from umd_engine.evaluation import run as runner
    from umd_engine.evaluation.loading import load_models, parse_requests
    from umd_engine.evaluation.lock import only_writer
    from umd_engine.evaluation.progress import count_scans, list_failures, say, tell_failures, watch
    from umd_engine.evaluation.run_folder import home, uploading
    from umd_engine.evaluation.synthetic import warning

    requests = parse_requests(options["models"], options["settings"], options["trust"])
    rows, _ = selection(manifest, options["modality"], options["limit"])
    spread = spread_of(options, requests)
    settings = settings_of(options, [request.title for request in requests])
    with only_writer(home(run), options["wait"], say), uploading(run, options["wait"], say):
        models = load_models(requests, rows, settings.organs)
        work = runner.Prediction(rows, models, run, settings, spread)
        failures = watch(work, quiet=as_json)
    scans, synthetic = count_scans(work)
    if as_json:
        counts = {"scans": scans, "synthetic": synthetic}
        click.echo(json.dumps({"masks": work.masks(), **counts, "failures": list_failures(failures)}, indent=1))
    else:
        if synthetic:
            click.echo(warning(synthetic, scans, "masks"))
        click.echo(f"{len(work.masks())} masks under {shown(run / 'masks')}")
    if tell_failures(failures):
        sys.exit(1)


@click.command()
@click.option("--out", type=path(), default="demo-run", show_default=True, help="The demo's folder.")
@click.option("--subjects", default=4, show_default=True, help="Made-up subjects, each with a CT and a PET.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")
def demo(out: Path, subjects: int, as_json: bool) -> None:
    """The main job on synthetic data: scans, two small networks, a paired table, a picture.

    Needs no data, no checkpoint and no GPU. The same command again does only what is missing.

    \b
    Example:
      umd-engine demo --out demo-run
    """
    from umd_engine.bench.demo.study import run_demo

    done = run_demo(out, subjects, "json" if as_json else "text", quiet=as_json)
    click.echo(done.report)
    click.echo(f"picture in {done.picture}; again: umd-engine report {done.run}", err=True)
    if done.failed:
        sys.exit(1)
