"""`plan`: what a run would cost, before it runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from umd_engine.commands.options import path, settings_of, whole_numbers, work_options


@click.command()
@click.argument("manifest", type=path())
@work_options
@click.option("--measure", is_flag=True, help="Sample runs on this machine, one a model and modality; stored.")
@click.option("--costs", type=path(dir_okay=False), metavar="FILE", help="Network calls as bench --json measured them.")
@click.option("--devices", default="1", show_default=True, help="How many devices, separated by commas.")
@click.option("--markdown", type=path(dir_okay=False), metavar="FILE", help="Also write the tables here.")
def plan(
    manifest: Path,
    measure: bool,
    costs: Path | None,
    devices: str,
    markdown: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Say what a run would cost: calls, FLOPs, bytes, memory and time, without running it.

    MANIFEST is a manifest, or "umd": 490 PET/CT and 464 PET/MRI examinations of assumed sizes. --device also takes a
    device that is not here: h200, h100, a100, l40s, rtx4090, t4, rtx3060, rtx4060. A --model by its name alone needs no
    checkpoint.

    \b
    Examples:
      umd-engine plan scans.csv --model nnunet=MODEL_FOLDER --measure
      umd-engine plan scans.csv --model nnunet=MODEL_FOLDER --costs profile.json
      umd-engine plan umd --model nnunet --model vista3d --device h200 --precision fp16 --devices 1,4,8
    """
    from umd_engine.engine.profiles import find_profile
    from umd_engine.evaluation.forecast import planning, told

    profile = None
    if options["device"].partition(":")[0] not in ("auto", "cpu", "cuda"):
        profile, options["device"] = find_profile(options["device"]), "cpu"
    counts = whole_numbers(devices, "--devices")
    cohort = planning.cohort_of(manifest, options["modality"], options["limit"])
    models, bare = planning.models_of(options["models"], options["settings"], options["trust"])
    settings = settings_of(options, [model.name for model in models])
    benched = None
    if costs is not None:
        from umd_engine.bench.profile.costs import calls_of

        benched = calls_of(costs, settings.backend, settings.precision, settings.device.type)
    found = planning.plan(cohort, models, settings, profile, counts, measure, bare, benched=benched)
    if markdown is not None:
        markdown.write_text(told.markdown(found), encoding="utf-8")
    if as_json:
        click.echo(json.dumps(told.as_json(found), indent=1))
    else:
        told.show(found)
