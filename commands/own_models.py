"""`models new` and `models try`: a model of one's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from umd_engine.commands.options import path
from umd_engine.errors import OptionError


@click.command()
@click.argument("file", type=path(), metavar="MY.yaml")
@click.option("--format", "kind", default="onnx", show_default=True, help="onnx, torchscript, pt2 or python.")
def new(file: Path, kind: str) -> None:
    """Write a commented description of a model of one's own, to be filled in.

    \b
    Example:
      umd-engine models new my.yaml
    """
    from umd_engine.models.custom.template import write_template

    write_template(file, kind)
    click.echo(f"{file}: fill it in, then umd-engine models check {file} and umd-engine models try {file}")


@click.command("try")
@click.argument("model", metavar="MY.yaml")
@click.option("--image", "files", multiple=True, type=path(), help="One a channel; default: the phantom.")
@click.option("--trust", multiple=True, type=path(), metavar="PATH", help="Its code may run; repeatable.")
@click.option("--picture", type=path(), help="The .png file.  [default: NAME-try.png]")
@click.option("--device", default="auto", show_default=True, help="auto, cpu or cuda[:index].")
@click.option("--json", "as_json", is_flag=True, help="One object.")
def try_(
    model: str, files: tuple[Path, ...], trust: tuple[Path, ...], picture: Path | None, device: str, as_json: bool
) -> None:
    """Run a model on the phantom, or on images, and draw what it finds.

    A description, a MONAI bundle's folder, or NAME=PATH. A model that waits for prompts is asked for every organ of the
    phantom, by its default prompt; masks that overlap cover one another in the picture.

    \b
    Examples:
      umd-engine models try my.yaml
      umd-engine models try deepbet.yaml --trust deepbet.yaml --image t1.nii.gz
    """
    from umd_engine.engine.backends.device import resolve_device
    from umd_engine.evaluation.loading import parse_requests
    from umd_engine.evaluation.trying import try_prompted
    from umd_engine.evaluation.wording import plain
    from umd_engine.models.custom.picture import check_picture, draw_planes
    from umd_engine.models.model import is_prompted

    ((request, settings),) = parse_requests([model], [], trust).items()
    target = picture or Path(f"{request.title.replace('@', '-')}-try.png")
    check_picture(target)
    loaded = request.load(settings)
    channels = getattr(getattr(loaded, "description", None), "channels", ("ct",))
    failed: Mapping[str, str] = {}
    if is_prompted(loaded):
        if files:
            raise OptionError(
                f"{request.name} waits for prompts, which are drawn from the phantom's label",
                where="--image",
                mend="leave it out, or use umd-engine evaluate with a label",
            )
        trial, failed = try_prompted(loaded, channels, resolve_device(device))
    else:
        trial = _try_plain(loaded, channels, files, resolve_device(device))
    title = f"{request.title}{', on a synthetic phantom, no patient' if trial.synthetic else ''}"
    segmentation = trial.segmentation
    organs = {plain(organ): ids for organ, ids in segmentation.organs.items()}
    draw_planes(trial.images[0], segmentation.labels.cpu().numpy(), organs, title, target)
    if as_json:
        told = {"organs_ml": trial.millilitres, "synthetic": trial.synthetic, "seconds": trial.seconds}
        click.echo(json.dumps({**told, "failed": failed, "weights": loaded.weights, "picture": str(target)}, indent=1))
    else:
        for organ, volume in trial.millilitres.items():
            click.echo(f"{plain(organ)}: {volume:.1f} ml{'' if volume else ', nothing found'}")
        for organ, reason in failed.items():
            click.echo(plain(f"{organ}: {reason}"))
        click.echo(f"{trial.seconds:.1f} s; picture in {target}{' (synthetic scan)' if trial.synthetic else ''}")
    if failed and not trial.millilitres:
        sys.exit(1)


def _try_plain(model: Any, channels: Sequence[str], files: Sequence[Path], device: Any) -> Any:
    from umd_engine.data.nifti import read
    from umd_engine.data.words import counted
    from umd_engine.models.custom.trial import count_windows, phantom_images, try_model

    images = [read(file) for file in files] or phantom_images(channels)
    if (count := count_windows(model, images[0])) is not None:
        click.echo(f"{counted(count, 'window')} over a scan of {'x'.join(map(str, images[0].shape))} voxels", err=True)
    return try_model(model, images, not files, device)
