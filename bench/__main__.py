"""`python -m umd_engine.bench`: every comparison of this machine, ratios measured in one run.

Absolute seconds belong to the machine; the ratios are what is promised.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click

from umd_engine import __version__
from umd_engine.bench import confusion, evaluate, machine, reading

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "tests" / "recordings" / "nnunet_plain_model"
LARGE = ROOT.parent / "shared" / "data" / "ct_large" / "CT.nii.gz"


def benches(large: Path, model: Path) -> Iterator[Callable[[], dict[str, Any]]]:
    if large.exists():
        yield lambda: reading.run(large)
    else:
        click.echo(f"reading: not measured, there is no {large}", err=True)
    yield confusion.run
    yield lambda: evaluate.run(model)


@click.command()
@click.option("--large", type=click.Path(path_type=Path), default=LARGE, help="A large CT, .nii.gz, to read.")
@click.option("--model", type=click.Path(path_type=Path), default=MODEL, help="A trained nnU-Net folder.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Also write the results here.")
def main(large: Path, model: Path, out: Path | None) -> None:
    """Measure and compare; exits with 1 when a ratio is below its target."""
    results = []
    for bench in benches(large, model):
        result = bench()
        results.append(result)
        click.echo(
            f"{result['name']}: {result['seconds']:.4f} s, {result['peer']} {result['peer_seconds']:.4f} s, "
            f"ratio {result['ratio']:.2f} (target {result['target']})"
        )
    if out is not None:
        content = {"version": __version__, "machine": machine.describe(), "results": results}
        out.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    if any(result["ratio"] < result["target"] for result in results):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
