"""`data`: manifests and phantoms."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import click

from umd_engine.commands.options import path
from umd_engine.errors import OptionError


@click.group()
def data() -> None:
    """Manifests: make one from a folder, check every row of one."""


@data.command("import")
@click.argument("folder", type=path())
@click.option(
    "--layout",
    required=True,
    help="How the folder is laid out: plain, nnunet, msd, totalsegmentator, amos22, flare22, autopet, enhance-pet, "
    "cvpr25, bids or dicom.",
)
@click.option(
    "--channel",
    "channels",
    multiple=True,
    metavar="N=MODALITY",
    help="nnunet: one scan a channel, e.g. 0=ct; repeatable.",
)
@click.option("--modality", type=click.Choice(["ct", "mr", "pet"]), help="plain, msd: of every scan.")
@click.option(
    "--unit", help="plain, msd: of the voxels; default HU for ct, SUV for pet, none for mr. bids: of the PET."
)
@click.option("--label-set", metavar="NAME|FILE", help="plain, bids, cvpr25: what the ids of the labels mean.")
@click.option(
    "--converted", type=path(), help="enhance-pet, cvpr25, dicom: for the NIfTI files.  [default: NAME.converted]"
)
@click.option("--cohort", default="petct", show_default=True, help="petct, petmri or a name of your own.")
@click.option("--out", type=path(), required=True, help="The manifest, .csv or .parquet.")
def import_(folder: Path, layout: str, channels: tuple[str, ...], out: Path, **options: Any) -> None:
    """Write a manifest of a folder's scans. Exits with 1 if a case is left out.

    \b
    Examples:
      umd-engine data import Dataset001_STS --layout nnunet --channel 0=ct --channel 1=pet --out scans.csv
      umd-engine data import FOLDER --layout plain --modality ct --label-set umd13 --out scans.csv
      umd-engine data import Task09_Spleen --layout msd --out spleen.csv
      umd-engine data import Totalsegmentator_dataset_v201 --layout totalsegmentator --out ts.csv
      umd-engine data import amos22 --layout amos22 --cohort amos --out amos.csv
      umd-engine data import hospital --layout dicom --cohort petct --converted nifti --out scans.csv
    """
    from umd_engine.data.layouts import ImportOptions, import_layout
    from umd_engine.data.progress import watching
    from umd_engine.data.words import counted

    with watching("files") as watch:
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
@click.option("--out", type=path(), help="The folder to make.  [default: phantom-COHORT]")
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
@click.argument("manifest", type=path())
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
