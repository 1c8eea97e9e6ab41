"""`doctor`: what is installed and what of it works."""

from __future__ import annotations

import sys

import click


@click.command()
@click.option("--device", "devices", multiple=True, metavar="NAME", help="Only this device; repeatable. Default: all.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON to standard output.")
def doctor(devices: tuple[str, ...], as_json: bool) -> None:
    """Say what is installed and which backends, devices and kernels really work, by trying each on a tiny network.

    Each library is tried in a process of its own, with a time limit. What fails or is missing is listed with its reason
    and what to do. Exits with 1 if the default path, torch on the CPU or the GPU, does not work.

    \b
    Examples:
      umd-engine doctor
      umd-engine doctor --device cpu --json
    """
    from umd_engine.bench.doctor.run import diagnose
    from umd_engine.bench.doctor.told import show

    click.echo("trying every backend and kernel, which takes half a minute", err=True)
    found = diagnose(devices)
    if as_json:
        click.echo(found.json)
    else:
        show(found)
    sys.exit(int(not found.healthy))
