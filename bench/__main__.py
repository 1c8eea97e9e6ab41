"""`python -m umd_engine.bench`: every comparison of this machine, each in a fresh process, ratios measured in one run.

Absolute seconds belong to the machine; the ratios are what is promised.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from umd_engine.bench import kernels
from umd_engine.bench.command import perform
from umd_engine.bench.floor.run import Bench

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "tests" / "recordings" / "nnunet_plain_model"
LARGE = ROOT.parent / "shared" / "data" / "ct_large" / "CT.nii.gz"


@click.command()
@click.option("--large", type=click.Path(path_type=Path), default=LARGE, help="A large CT, .nii.gz, to read.")
@click.option("--model", type=click.Path(path_type=Path), default=MODEL, help="A trained nnU-Net folder.")
@click.option("--quick", is_flag=True, help="Short windows: a look, seldom stable.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Also write the report here.")
def main(large: Path, model: Path, quick: bool, out: Path | None) -> None:
    """Measure and compare; exits with 1 when a check fails or a ratio is below its target."""
    jobs = [
        Bench("reading", "umd_engine.bench.reading", (str(large),)),
        Bench("evaluate", "umd_engine.bench.evaluate", (str(model),)),
        *kernels.benches(),
    ]
    sys.exit(perform(jobs, quick, out))


if __name__ == "__main__":
    main()
