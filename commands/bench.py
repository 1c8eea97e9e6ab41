"""`bench`: what the parts cost."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from umd_engine.commands.options import path, whole_numbers
from umd_engine.errors import OptionError


@click.group(invoke_without_command=True)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME[=PATH]",
    help="Only this model, with stand-in weights or a checkpoint; repeatable. Default: all.",
)
@click.option("--precision", default="fp32", show_default=True, help="fp32, tf32, bf16, fp16 or int8.")
@click.option("--backend", help="docs/backends.md lists them.  [default: torch; onnxruntime for fp16 on a CPU]")
@click.option("--batch", "batches", help="Sizes of a batch, separated by commas.  [default: 1,4,8; 1 with --quick]")
@click.option(
    "--device", default="auto", show_default=True, help="auto, cpu or cuda[:index]; with --budget a profile: rtx4060."
)
@click.option(
    "--budget", metavar="8GB", help="Instead: which models fit a card of that size, how, and how long they take."
)
@click.option("--scan", type=path(dir_okay=False), metavar="FILE", help="A CT to run whole scans on.")
@click.option("--phantom", is_flag=True, help="Run them on a made-up CT, the default.")
@click.option("--quick", is_flag=True, help="Reduced networks, a small phantom, short windows: a look in a minute.")
@click.option("--hour", type=click.FloatRange(min=0), metavar="PRICE", help="What an hour of this machine costs.")
@click.option("--kwh", type=click.FloatRange(min=0), metavar="PRICE", help="What a kilowatt hour costs.")
@click.option("--watts", type=click.FloatRange(min=0), metavar="W", help="What it draws, where no counter tells.")
@click.option("--overhead", is_flag=True, help="Also measure what the profiler itself adds.")
@click.option("--json", "out", type=path(dir_okay=False), metavar="FILE", help="Keep the profile here, row by row.")
@click.option("--html", type=path(dir_okay=False), metavar="FILE", help="Also write it as a page.")
@click.pass_context
def bench(ctx: click.Context, budget: str | None, **options: Any) -> None:
    """What a model costs on this machine: time, memory and energy of its networks and of whole scans.

    Without a command it profiles models. A model by its name alone has stand-in weights: latency and memory do not
    depend on what they are. Exits with 1 if a check or a run failed. docs/bench.md explains every figure.

    \b
    Examples:
      umd-engine bench --quick
      umd-engine bench --model nnunet=MODEL_FOLDER --precision fp16 --json fp16.json --html fp16.html
      umd-engine bench --model vista3d --device cuda --batch 1,4,8 --hour 2.50
      umd-engine bench --budget 8GB --model nnunet --model vista3d
    """
    if ctx.invoked_subcommand is not None:
        if _given(ctx):
            raise OptionError(
                f"options before '{ctx.invoked_subcommand}' mean nothing to it",
                where=f"bench {ctx.invoked_subcommand}",
                mend="give them after it",
            )
        return
    out, html = options.pop("out"), options.pop("html")
    if budget is not None:
        if others := _given(ctx) - {"budget", "models", "device", "out"}:
            raise OptionError(
                f"not with --budget: {', '.join(sorted(others))}", where="--budget", mend="leave them out"
            )
        sys.exit(_fit(budget, options["models"], options["device"], out))
    from umd_engine.bench.profile.run import perform

    sys.exit(perform(_asked(**options), out, html))


def _given(ctx: click.Context) -> set[str]:
    """Options that the command line names."""
    return {name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE}


def _fit(budget: str, models: Sequence[str], device: str, out: Path | None) -> int:
    from umd_engine.bench.budget import perform
    from umd_engine.engine.memory import parse_bytes
    from umd_engine.engine.profiles import find_profile

    return perform(models, parse_bytes(budget, "--budget"), None if device == "auto" else find_profile(device), out)


def _asked(
    models: Sequence[str],
    backend: str | None,
    batches: str | None,
    device: str,
    scan: Path | None,
    phantom: bool,
    quick: bool,
    precision: str,
    **more: Any,
) -> Any:
    from umd_engine.bench.profile.asked import Asked
    from umd_engine.bench.profile.run import all_models, default_backend
    from umd_engine.engine.backends.device import resolve_device

    if scan is not None and phantom:
        raise OptionError("a scan and a phantom", where="--phantom", mend="give one of them")
    found = resolve_device(device)
    where = "cpu" if found.type == "cpu" else f"cuda:{found.index or 0}"
    return Asked(
        models=tuple(models) or all_models(quick),
        backend=backend or default_backend(precision, where),
        precision=precision,
        device=where,
        batches=tuple(whole_numbers(batches or ("1" if quick else "1,4,8"), "--batch")),
        scan=scan,
        quick=quick,
        **more,
    )


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


@bench.command("backends")
@click.option("--model", "names", multiple=True, help="Only this model; repeatable.")
@click.option("--backend", "backends", multiple=True, help="Only this backend; repeatable.")
@click.option("--precision", "precisions", multiple=True, help="Only this precision; repeatable.")
@click.option("--batch", "batches", default="1,4", show_default=True, help="Sizes of a batch, separated by commas.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:index].")
@click.option("--quick", is_flag=True, help="Short windows: a look, seldom stable.")
@click.option("--json", "out", type=path(dir_okay=False), metavar="FILE", help="Also write the report here.")
def bench_backends(
    names: tuple[str, ...],
    backends: tuple[str, ...],
    precisions: tuple[str, ...],
    batches: str,
    device: str,
    quick: bool,
    out: Path | None,
) -> None:
    """Time a model's network by every backend and precision, against eager fp32 with the default allocator.

    Stand-in weights, a reduced patch; each way in a fresh process, its error checked first. Takes minutes a model.
    Exits with 1 if an error is above 1e-4 of the range in fp32, or the best path is below its target at every batch.
    nnunet-amp needs a CUDA device: fp16 at batch 8 against torch's autocast.

    \b
    Examples:
      umd-engine bench backends --model nnunet --batch 1,4,8
      umd-engine bench backends --model vista3d --backend torch-compile --precision fp32 --json vista3d.json
    """
    from umd_engine.bench.backends import BASELINE, benches
    from umd_engine.bench.backends.summary import summarize
    from umd_engine.bench.command import perform
    from umd_engine.engine.backends.device import resolve_device

    sizes = whole_numbers(batches, "--batch")
    listed = benches(names, backends, precisions, sizes, str(resolve_device(device)))
    sys.exit(perform(listed, quick, out, summarize, BASELINE))


@bench.command("plan")
@click.option("--subjects", default=4, show_default=True, type=click.IntRange(min=1), help="Phantoms of each run.")
@click.option("--json", "out", type=path(dir_okay=False), metavar="FILE", help="Also write the report here.")
def bench_plan(subjects: int, out: Path | None) -> None:
    """Hold what `plan --measure` predicts against the real time of three runs on phantoms, back to back.

    Takes minutes. Exits with 1 where a prediction is off by more than 20 %.

    \b
    Example:
      umd-engine bench plan --json plan.json
    """
    from umd_engine.bench.plan import perform

    sys.exit(perform(out, subjects))


@bench.command("pipeline")
@click.option(
    "--pairs", default=4, show_default=True, type=click.IntRange(min=1), help="Subjects, a CT and a PET each."
)
@click.option(
    "--nnunet-python",
    "python",
    envvar="UMD_ENGINE_NNUNET_PYTHON",
    type=path(),
    metavar="PYTHON",
    help="An interpreter with nnunetv2; its rows are not measured without.",
)
@click.option(
    "--nnunet-workers",
    "workers",
    default=1,
    show_default=True,
    type=click.IntRange(min=1),
    help="Processes it prepares and exports with, each of 10 GB for a full-size CT.",
)
@click.option(
    "--ray-python",
    "ray",
    envvar="UMD_ENGINE_RAY_PYTHON",
    type=path(),
    metavar="PYTHON",
    help="An interpreter with umd-engine[cluster], if this one has no Ray.",
)
@click.option("--scans", type=path(file_okay=False), metavar="FOLDER", help="Phantoms, made if it is not there.")
@click.option("--quick", is_flag=True, help="One small pair, every row timed once: a look.")
@click.option("--json", "out", type=path(dir_okay=False), metavar="FILE", help="Also write the report here.")
def bench_pipeline(
    pairs: int,
    python: Path | None,
    workers: int,
    ray: Path | None,
    scans: Path | None,
    quick: bool,
    out: Path | None,
) -> None:
    """Time the whole job on phantoms with the demo's networks, next to nnunetv2 and a MONAI loop; masks compared first.

    Then the scoring of masks alone. Full-size phantoms take a quarter of an hour and 12 GB. Exits with 1 if masks or
    counts differ or a ratio is below its target.

    \b
    Examples:
      umd-engine bench pipeline --quick
      umd-engine bench pipeline --nnunet-python nnunet/bin/python --json pipeline.json
    """
    from umd_engine.bench.command import perform
    from umd_engine.bench.pipeline import BASELINE, benches, rule
    from umd_engine.bench.pipeline.summary import summarize

    listed = benches(1 if quick else pairs, "small" if quick else "full", python, workers, scans, ray)
    sys.exit(perform(listed, quick, out, summarize, BASELINE, rule(quick)))


@bench.command("report")
@click.option("--subjects", default=954, show_default=True, type=click.IntRange(min=2), help="Of the made store.")
@click.option("--json", "out", type=path(dir_okay=False), metavar="FILE", help="Also write the times here.")
def bench_report(subjects: int, out: Path | None) -> None:
    """Time the reports of a made store of the study's size, each in a fresh process.

    Exits with 1 if one takes more than 10 s or 1 GB.

    \b
    Example:
      umd-engine bench report --json report.json
    """
    from umd_engine.bench.report import perform

    sys.exit(perform(out, subjects))


@bench.command("peers")
@click.option("--model", "names", multiple=True, help="Only this model: nnunet, nnunet-demo or vista3d; repeatable.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:index].")
@click.option("--quick", is_flag=True, help="Short windows: a look, seldom stable.")
@click.option("--json", "out", type=path(dir_okay=False), metavar="FILE", help="Also write the report here.")
def bench_peers(names: tuple[str, ...], device: str, quick: bool, out: Path | None) -> None:
    """Time the same network on the same windows of a prepared image: the engine, MONAI, nnunetv2, plain ONNX Runtime.

    One process a model; labels are compared first. A library that is not installed is said. Exits with 1 if labels
    differ.

    \b
    Example:
      umd-engine bench peers --model nnunet --json peers.json
    """
    from umd_engine.bench.command import perform
    from umd_engine.bench.peers import BASELINE, benches
    from umd_engine.engine.backends.device import resolve_device

    sys.exit(perform(benches(names, str(resolve_device(device))), quick, out, baseline=BASELINE))


@bench.command("compare")
@click.argument("before", type=path())
@click.argument("after", type=path())
@click.option("--unlike", is_flag=True, help="Compare unlike machines or protocols too, and say so on every line.")
@click.option(
    "--fail-above",
    "above",
    type=click.FloatRange(min=0, min_open=True),
    metavar="RATIO",
    help="Exit with 1 if the interval of a ratio lies above this, e.g. 1.05.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")
def bench_compare(before: Path, after: Path, unlike: bool, above: float | None, as_json: bool) -> None:
    """Compare two profiles, or two reports of `bench kernels --json` and the like: each figure, AFTER over BEFORE.

    Each ratio has a 95 % interval; where that holds 1 there is no significant difference. docs/bench.md

    \b
    Examples:
      umd-engine bench compare before.json after.json
      umd-engine bench compare reference.json now.json --fail-above 1.05
    """
    from umd_engine.bench.compare import perform

    sys.exit(perform(before, after, unlike, above, as_json))
