"""Options that several commands share, and what they mean."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from umd_engine.errors import OptionError, UnknownNameError
from umd_engine.evaluation.rows import MEASURES


def parse_measures(text: str) -> tuple[str, ...]:
    """The measures of "dice,surface", or of metrics such as "dice,nsd"; voxels are counted in any case.

    Raises:
        UnknownNameError: another one.
    """
    names = [name.strip() for name in text.split(",") if name.strip()]
    return tuple(one for one in MEASURES if one in (MEASURES[0], *map(_measure_of, names)))


def _measure_of(name: str) -> str:
    if name in MEASURES:
        return name
    from umd_engine.evaluation.metrics import ALIASES, METRICS

    metric = METRICS.get(ALIASES.get(name, name))
    if metric is None:
        raise UnknownNameError("metric", name, [*MEASURES, *METRICS, *ALIASES], where="--metrics")
    return MEASURES[metric.of_surfaces]


def path(**kwargs: Any) -> click.Path:
    return click.Path(path_type=Path, **kwargs)


metrics_option = click.option(
    "--metrics",
    default=",".join(MEASURES),
    show_default=True,
    callback=lambda context, option, value: parse_measures(value),
    help="What rows hold: dice (voxel counts), surface (NSD, HD, HD95, ASSD, MASD); or single metrics.",
)
metric_option = click.option(
    "--metric",
    default="dice",
    show_default=True,
    help="dice, iou, nsd, hd, hd95, assd, masd, volume, fp-volume or fn-volume.",
)
wait_option = click.option("--wait", is_flag=True, help="Wait where another process is writing to the run.")


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options that `evaluate` and `predict` share."""
    options: list[Callable[..., Any]] = [
        click.option("--out", "run", type=path(), required=True, metavar="RUN", help="The run's folder."),
        work_options,
        click.option(
            "--cluster", metavar="WHERE",
            help="Run on Ray workers: local:N, auto, HOST:PORT or ray://HOST:PORT. docs/cluster.md",
        ),
        click.option(
            "--read-timeout", default=600.0, show_default=True, type=click.FloatRange(min=0), metavar="SECONDS",
            help="A file that takes longer is a failed scan; 0 waits for ever.",
        ),
        wait_option,
        click.option("--trace", type=path(), metavar="FILE", help="Write what ran when, for https://ui.perfetto.dev."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def work_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """What is to be done and how, without where it goes: also `plan`'s."""
    options = [
        click.option(
            "--model", "models", multiple=True, required=True, metavar="NAME[@ALIAS]=PATH",
            help="A model and its checkpoint, or my.yaml; repeatable. An alias names a second one of an architecture.",
        ),
        click.option(
            "--trust", multiple=True, type=path(), metavar="PATH",
            help="Code of this description, its folder or its network file may run; repeatable.",
        ),
        click.option(
            "--set", "settings", multiple=True, metavar="NAME.OPTION=VALUE",
            help="A protocol option of one model, e.g. nnunet.mirroring=false; repeatable.",
        ),
        click.option("--organs", default="", help="Only these, separated by commas."),
        click.option("--modality", type=click.Choice(["ct", "mr", "pet"]), help="Only scans of this modality."),
        click.option("--limit", type=click.IntRange(min=1), help="Only the first N scans."),
        click.option("--backend", default="torch", show_default=True, help="docs/backends.md lists them."),
        click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:index]."),
        click.option("--precision", default="fp32", show_default=True, help="fp32, tf32, bf16, fp16 or int8."),
        click.option("--batch", default=2, show_default=True, type=click.IntRange(min=1), help="Windows a call."),
        click.option(
            "--readers", default=1, show_default=True, type=click.IntRange(min=1),
            help="Threads that read and prepare scans ahead, each a scan. docs/running.md",
        ),
        click.option(
            "--memory", metavar="20GB",
            help="What scans in flight may hold together: GB (also of a bare number), GiB, MB. Default: three quarters "
            "of what is free on the device, or of this machine's memory on a CPU. docs/memory.md",
        ),
        click.option(
            "--prompt", "prompts", multiple=True, metavar="[MODEL=]NAME",
            help="How prompted models are asked, e.g. ritm-5, box or segvol=text; default one point. docs/prompts.md",
        ),
        click.option("--repeats", type=click.IntRange(min=1), help="Draws of each prompt; default 1."),
        click.option("--independent", is_flag=True, help="Draw first clicks anew in every scan of a subject."),
        click.option("--replay", type=path(), metavar="FILE", help="Give the prompts of clicks export again."),
        click.option(
            "--seed", default=0, show_default=True, type=click.IntRange(0, 2**64 - 1), help="Of every random draw."
        ),
        click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def selection(manifest: Path, modality: str | None, limit: int | None) -> tuple[list[Any], list[Any]]:
    """The scans asked for, and all of the manifest."""
    from umd_engine.data.manifest import read_manifest

    everything = read_manifest(manifest)
    rows = [row for row in everything if modality in (None, row.modality)]
    if not rows:
        raise OptionError("no scan is left to do", where=manifest, mend="check --modality and the manifest")
    return rows[:limit], everything


def settings_of(options: dict[str, Any], titles: Sequence[str], **more: Any) -> Any:
    """The run's settings; `titles` are how its models are named."""
    from umd_engine.engine.backends.device import resolve_device
    from umd_engine.engine.memory import parse_bytes
    from umd_engine.evaluation.prompts.asking import parse_prompts
    from umd_engine.evaluation.run import Settings

    return Settings(
        backend=options["backend"],
        device=resolve_device("cpu" if options.get("cluster") else options["device"]),  # a worker finds its own
        precision=options["precision"],
        batch_size=options["batch"],
        readers=options["readers"],
        memory=None if options["memory"] is None else parse_bytes(options["memory"]),
        organs=tuple(dict.fromkeys(o.strip() for o in options["organs"].split(",") if o.strip())),
        seed=options["seed"],
        read_timeout=options.get("read_timeout", 0.0),
        trace=options.get("trace"),
        prompts=parse_prompts(
            options["prompts"], titles, options["repeats"], options["independent"], options["replay"]
        ),
        **more,
    )


def spread_of(options: dict[str, Any], requests: Mapping[Any, Mapping[str, str]]) -> Any:
    """What spreads the cases over --cluster; None: they run in this process."""
    if options["cluster"] is None:
        return None
    from umd_engine.engine.cluster import Cluster
    from umd_engine.evaluation.spread import Spread

    return Spread(Cluster(options["cluster"], options["device"]), requests)


def whole_numbers(text: str, where: str) -> list[int]:
    """The positive numbers of "1,4,8".

    Raises:
        OptionError: something else.
    """
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) > 0 for word in words):
        raise OptionError(f"'{text}' is no list of whole numbers", where=where, mend="e.g. 1,4,8")
    return [int(word) for word in words]
