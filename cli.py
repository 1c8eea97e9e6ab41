"""The command line. Each command translates its arguments and calls; nothing is computed here."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from umd_engine import __version__
from umd_engine.errors import OptionError, UmdEngineError


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


def _path(**kwargs: Any) -> click.Path:
    return click.Path(path_type=Path, **kwargs)


def _run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `evaluate` and `predict` share."""
    options = [
        click.option("--out", "run", type=_path(), required=True, metavar="RUN", help="The run's folder."),
        click.option(
            "--model", "models", multiple=True, required=True, metavar="NAME[@ALIAS]=PATH",
            help="A model and its checkpoint; repeatable. An alias names a second checkpoint of one architecture.",
        ),
        click.option(
            "--set", "settings", multiple=True, metavar="NAME.OPTION=VALUE",
            help="A protocol option of one model, e.g. nnunet.mirroring=false; repeatable.",
        ),
        click.option("--organs", default="", help="Only these, separated by commas."),
        click.option("--modality", type=click.Choice(["ct", "mr", "pet"]), help="Only scans of this modality."),
        click.option("--limit", type=click.IntRange(min=1), help="Only the first N scans."),
        click.option("--backend", default="torch", show_default=True, help="torch or onnxruntime."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:index]."),
        click.option("--precision", default="fp32", show_default=True, help="fp32, tf32, bf16 or fp16."),
        click.option("--batch", default=2, show_default=True, type=click.IntRange(min=1), help="Windows a call."),
        click.option("--memory", default=8.0, show_default=True, help="GB that scans in flight may hold together."),
        click.option("--seed", default=0, show_default=True, help="Of every random draw."),
        click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _selection(manifest: Path, modality: str | None, limit: int | None) -> list[Any]:
    from umd_engine.data.manifest import read_manifest

    rows = [row for row in read_manifest(manifest) if modality in (None, row.modality)]
    if not rows:
        raise OptionError("no scan is left to do", where=manifest, mend="check --modality and the manifest")
    return rows[:limit]


def _settings(options: dict[str, Any], **more: Any) -> Any:
    from umd_engine.engine.backends.device import resolve_device
    from umd_engine.engine.host_memory import keep_freed_memory
    from umd_engine.evaluation.run import Settings

    keep_freed_memory()
    return Settings(
        backend=options["backend"],
        device=resolve_device(options["device"]),
        precision=options["precision"],
        batch_size=options["batch"],
        memory=_bytes(options["memory"]),
        organs=tuple(o.strip() for o in options["organs"].split(",") if o.strip()),
        seed=options["seed"],
        **more,
    )


def _bytes(gigabytes: float) -> int:
    if not 0 < gigabytes < 1e6:
        raise OptionError(f"{gigabytes} GB is no amount of memory", where="--memory", mend="give GB above 0")
    return int(gigabytes * 1e9)


@main.command()
@click.argument("manifest", type=_path())
@_run_options
@click.option("--save-masks", is_flag=True, help="Also write every label map under RUN/masks.")
@click.option("--convention", default="umd", show_default=True, help="How empty masks score in the table.")
def evaluate(manifest: Path, run: Path, as_json: bool, save_masks: bool, convention: str, **options: Any) -> None:
    """Score models over a manifest of scans; prints a table of Dice.

    The same command again does only what is missing. Exits with 1 if a case failed.

    \b
    Examples:
      umd-engine evaluate scans.csv --out run --model nnunet=Dataset001/nnUNetTrainer__nnUNetPlans__3d_fullres
      umd-engine evaluate scans.csv --out run --model nnunet@ct=CT --model nnunet@pet=PET --modality pet
    """
    from umd_engine.evaluation import run as runner
    from umd_engine.evaluation.conventions import convention as find_convention
    from umd_engine.evaluation.loading import load_models, parse_requests
    from umd_engine.evaluation.progress import tell_failures, watch

    chosen = find_convention(convention)
    requests = parse_requests(options["models"], options["settings"])
    rows = _selection(manifest, options["modality"], options["limit"])
    settings = _settings(options, save_masks=save_masks)
    work = runner.Evaluation(rows, load_models(requests, rows, settings.organs), run, settings)
    failures = watch(work, quiet=as_json)
    # the failures are listed on standard error, where a redirected table does not hide them
    _print_report(run, chosen, "json" if as_json else "text", list_failures=as_json)
    if tell_failures(failures):
        sys.exit(1)


@main.command()
@click.argument("manifest", type=_path())
@_run_options
def predict(manifest: Path, run: Path, as_json: bool, **options: Any) -> None:
    """Write label maps of every scan under RUN/masks; labels are not needed.

    \b
    Example:
      umd-engine predict scans.csv --out run --model nnunet=MODEL_FOLDER
    """
    from umd_engine.evaluation import run as runner
    from umd_engine.evaluation.loading import load_models, parse_requests
    from umd_engine.evaluation.progress import count_scans, list_failures, tell_failures, watch
    from umd_engine.evaluation.synthetic import warning

    requests = parse_requests(options["models"], options["settings"])
    rows = _selection(manifest, options["modality"], options["limit"])
    settings = _settings(options)
    work = runner.Prediction(rows, load_models(requests, rows, settings.organs), run, settings)
    failures = watch(work, quiet=as_json)
    scans, synthetic = count_scans(work)
    if as_json:
        counts = {"scans": scans, "synthetic": synthetic}
        click.echo(json.dumps({"masks": work.masks(), **counts, "failures": list_failures(failures)}, indent=1))
    else:
        if synthetic:
            click.echo(warning(synthetic, scans, "masks"))
        click.echo(f"{len(work.masks())} masks under {run / 'masks'}")
    if tell_failures(failures):
        sys.exit(1)


@main.command()
@click.option("--out", type=_path(), default="demo-run", show_default=True, help="The demo's folder.")
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
    from umd_engine.engine.host_memory import keep_freed_memory

    keep_freed_memory()
    done = run_demo(out, subjects, "json" if as_json else "text", quiet=as_json)
    click.echo(done.report)
    click.echo(f"picture in {done.picture}; again: umd-engine report {done.run}", err=True)
    if done.failed:
        sys.exit(1)


def _print_report(run: Path, convention: Any, form: str, list_failures: bool = True) -> None:
    from umd_engine.evaluation.report import report_run

    click.echo(report_run(run, convention, form, list_failures=list_failures))


@main.command()
@click.argument("run", type=_path())
@click.option("--convention", default="umd", show_default=True, help="How empty masks and failures score.")
@click.option(
    "--format",
    "form",
    default="text",
    show_default=True,
    type=click.Choice(["text", "markdown", "csv", "json", "rows"]),
)
@click.option("--json", "as_json", is_flag=True, help="The same as --format json.")
@click.option(
    "--picture",
    type=_path(),
    metavar="FILE",
    help="Also draw organs x modality x model into a .png, .svg or .pdf file.",
)
def report(run: Path, convention: str, form: str, as_json: bool, picture: Path | None) -> None:
    """Tables of a run in the paper's layout: organ rows, model columns, mean(SD), a line a modality
    and the gap between them.

    `--format rows` is a CSV with one line a scan, model and organ, for statistics elsewhere.

    \b
    Examples:
      umd-engine report run
      umd-engine report run --convention nnunet --format markdown > table.md
      umd-engine report run --picture gaps.png
    """
    from umd_engine.evaluation.conventions import convention as find_convention

    chosen = find_convention(convention)
    if picture is not None:
        from umd_engine.evaluation.picture import draw_run

        draw_run(run, chosen, picture)
        click.echo(f"picture in {picture}", err=True)
    _print_report(run, chosen, "json" if as_json else form)


@main.command()
@click.argument("prediction", type=_path())
@click.argument("label", type=_path())
@click.option(
    "--pred-map",
    default="umd13",
    show_default=True,
    help="Label set of the prediction: a name or a JSON file.",
)
@click.option("--label-map", default="umd13", show_default=True, help="Label set of the label: a name or a JSON file.")
@click.option("--organs", default="", help="Only these, separated by commas.")
@click.option("--convention", default="umd", show_default=True, help="How empty masks score.")
@click.option("--into", "run", type=_path(), metavar="RUN", help="Also store the rows in this run.")
@click.option("--as", "model", metavar="NAME", help="The model's name in RUN.")
@click.option("--cohort", default="scored", show_default=True, help="The cohort's name in RUN.")
@click.option("--modality", default="ct", show_default=True, type=click.Choice(["ct", "mr", "pet"]), help="In RUN.")
@click.option("--json", "as_json", is_flag=True, help="One object an organ.")
def score(prediction: Path, label: Path, run: Path | None, as_json: bool, **options: Any) -> None:
    """Score existing masks: two NIfTI files, or two folders whose files have the same names.

    \b
    Example:
      umd-engine score pred.nii.gz label.nii.gz --pred-map totalsegmentator-v2-117 --label-map umd13
    """
    from umd_engine.evaluation.score import score_command

    text, failed = score_command(prediction, label, run=run, as_json=as_json, **options)
    click.echo(text)
    if failed:
        sys.exit(1)


@main.group()
def data() -> None:
    """Manifests: make one from a folder, check every row of one."""


@data.command("import")
@click.argument("folder", type=_path())
@click.option("--layout", required=True, help="How the folder is laid out: plain, nnunet, msd or totalsegmentator.")
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="N=MODALITY",
    help="nnunet: one scan a channel, e.g. 0=ct; repeatable.",
)
@click.option("--modality", type=click.Choice(["ct", "mr", "pet"]), help="plain, msd: of every scan.")
@click.option("--unit", help="plain, msd: of the voxels; default HU for ct, SUV for pet, none for mr.")
@click.option("--label-set", metavar="NAME|FILE", help="plain: what the ids of the labels mean.")
@click.option("--cohort", default="petct", show_default=True, help="petct, petmri or a name of your own.")
@click.option("--out", type=_path(), required=True, help="The manifest, .csv or .parquet.")
def import_(folder: Path, layout: str, channels: tuple[str, ...], out: Path, **options: Any) -> None:
    """Write a manifest of a folder's scans. Exits with 1 if a case is left out.

    \b
    Examples:
      umd-engine data import Dataset001_STS --layout nnunet --channel 0=ct --channel 1=pet --out scans.csv
      umd-engine data import FOLDER --layout plain --modality ct --label-set umd13 --out scans.csv
      umd-engine data import Task09_Spleen --layout msd --out spleen.csv
      umd-engine data import Totalsegmentator_dataset_v201 --layout totalsegmentator --out ts.csv
    """
    from umd_engine.data.layouts import ImportOptions, import_layout
    from umd_engine.data.progress import watching
    from umd_engine.data.words import counted

    with watching("label maps") as watch:
        found = import_layout(layout, folder, out, ImportOptions(channels=_channels(channels), **options), watch)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    for left in found.left_out:
        click.echo(f"left out: {left}", err=True)
    subjects = {row.subject for row in found.rows}
    click.echo(f"{counted(len(found.rows), 'scan')} of {counted(len(subjects), 'subject')} in {out}")
    if found.left_out:
        click.echo(f"{len(found.left_out)} left out; mend them, remove {out} and import again", err=True)
        sys.exit(1)


def _channels(texts: tuple[str, ...]) -> dict[int, str] | None:
    pairs = [text.partition("=") for text in texts]
    if bad := [p for p in pairs if not p[0].isdigit() or p[2] not in ("ct", "mr", "pet")]:
        raise OptionError(f"'{''.join(bad[0])}' is not N=ct, N=mr or N=pet", where="--channel")
    return {int(number): modality for number, _, modality in pairs} or None


@data.command()
@click.option("--cohort", default="petct", show_default=True, help="petct (CT and PET) or petmri (MR and PET).")
@click.option("--subjects", default=4, show_default=True, help="How many, each with two scans.")
@click.option("--seed", default=0, show_default=True, help="The same seed gives the same bytes.")
@click.option("--size", default="small", show_default=True, help="small, or full: what a scanner delivers.")
@click.option("--out", type=_path(), help="The folder to make.  [default: phantom-COHORT]")
def phantom(cohort: str, subjects: int, seed: int, size: str, out: Path | None) -> None:
    """Make whole-body scans of people who do not exist, with exact labels, to try everything out.

    \b
    Examples:
      umd-engine data phantom --cohort petct --subjects 4
      umd-engine data phantom --cohort petmri --subjects 1 --size full --seed 7 --out phantom-full
    """
    from umd_engine.data.phantom.files import MANIFEST, write_cohort
    from umd_engine.data.progress import watching

    folder = out or Path(f"phantom-{cohort}")
    with watching("phantoms") as watch:
        rows = write_cohort(folder, cohort, subjects, seed, size, watch)
    click.echo(f"{len(rows)} synthetic scans of {subjects} made-up subjects in {folder / MANIFEST}")


@data.command()
@click.argument("manifest", type=_path())
@click.option("--quick", is_flag=True, help="Headers only, no voxels.")
@click.option("--fix-suggestions", "suggest", is_flag=True, help="Say how to mend each fault; no file is changed.")
@click.option("--json", "as_json", is_flag=True, help="One object a fault.")
def check(manifest: Path, quick: bool, suggest: bool, as_json: bool) -> None:
    """Find every fault of every row before any work. Exits with 1 if there is one.

    \b
    Example:
      umd-engine data check scans.csv --fix-suggestions
    """
    from umd_engine.data.check import check_manifest
    from umd_engine.data.words import counted

    faults = list(check_manifest(manifest, deep=not quick))
    if suggest:
        _print_suggestions(manifest, faults, quick, as_json)
    elif as_json:
        click.echo(json.dumps([fault.as_dict() for fault in faults], indent=1))
    else:
        for fault in faults:
            click.echo(str(fault))
    if not as_json:
        click.echo(counted(len(faults), "fault") if faults else "no faults")
    if faults:
        sys.exit(1)


def _print_suggestions(manifest: Path, faults: list[Any], quick: bool, as_json: bool) -> None:
    from umd_engine.data.suggestions import advise, as_record, corrected

    advised = list(advise(manifest, faults, deep=not quick))
    if as_json:
        click.echo(json.dumps([as_record(fault, advice) for fault, advice in advised], indent=1))
        return
    for fault, advice in advised:
        click.echo(f"{fault}\n  suggestion: {advice.text}" if advice else str(fault))
    if lines := corrected(manifest, advised):
        click.echo(f"these lines with the suggested cells ({manifest} was not changed):\n{lines}", nl=False)


@main.group()
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
@click.argument("folder", type=_path())
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


@main.group()
def bench() -> None:
    """What the parts cost on this machine, next to other libraries."""


@bench.command("kernels")
@click.option("--op", "operations", multiple=True, help="Only this operation; repeatable.")
@click.option("--quick", is_flag=True, help="Short windows: a look, seldom stable.")
@click.option("--json", "out", type=_path(dir_okay=False), metavar="FILE", help="Also write the report here.")
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


@bench.command("compare")
@click.argument("before", type=_path())
@click.argument("after", type=_path())
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


if __name__ == "__main__":
    main()
