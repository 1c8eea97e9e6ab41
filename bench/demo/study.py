"""`umd-engine demo`: the main job from nothing, on synthetic data.

The two networks below `networks/` are the demo's task-specific references, one for CT and one for PET. Both see
every scan, so the table shows what the UMD study is about: what a network trained on one modality does on the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from umd_engine.data.manifest import ScanRow, read_manifest
from umd_engine.data.phantom.files import MANIFEST, write_cohort
from umd_engine.data.progress import watching
from umd_engine.errors import MissingFileError, OptionError
from umd_engine.evaluation.conventions import convention
from umd_engine.evaluation.loading import load_models, parse_requests
from umd_engine.evaluation.lock import only_writer
from umd_engine.evaluation.picture import draw_run
from umd_engine.evaluation.progress import tell_failures, watch
from umd_engine.evaluation.report import report_run
from umd_engine.evaluation.run import Evaluation, Settings

NETWORKS = Path(__file__).parent / "networks"
MODEL = "nnUNetTrainer__nnUNetPlans__3d_fullres"
CT, PET = NETWORKS / "Dataset901_PhantomCT" / MODEL, NETWORKS / "Dataset902_PhantomPET" / MODEL
# NAME@ALIAS of the table's columns
MODELS = {"nnunet@ct": CT, "nnunet@ct-zscore": CT, "nnunet@pet": PET}
OPTIONS = ("nnunet@ct-zscore.normalization=zscore",)
CONVENTION = "nnunet"


@dataclass(frozen=True)
class Demo:
    """What the demo leaves: its folder, the printed report, the picture, and whether a case failed."""

    run: Path
    report: str
    picture: Path
    failed: bool


def run_demo(out: Path, subjects: int, form: str = "text", quiet: bool = False) -> Demo:
    """Make a cohort below `out`, evaluate it into `out`/run, and draw `out`/organs.png.

    The same call again does only what is missing.

    Args:
        subjects: with a CT and a PET each; seed 0, on which no network was trained.
        form: of the report, as for `report_run`.

    Raises:
        OptionError: `out` holds another number of subjects. MissingFileError: the networks are not there.
    """
    for folder in MODELS.values():
        if not folder.is_dir():
            raise MissingFileError("the demo's network is missing", where=folder, mend="install the package again")
    rows = _cohort(out / "scans", subjects, quiet)
    requests = parse_requests([f"{name}={path}" for name, path in MODELS.items()], OPTIONS)
    run = out / "run"
    with only_writer(run):
        work = Evaluation(rows, load_models(requests, rows, ()), run, Settings())
        failed = tell_failures(watch(work, quiet))
    chosen = convention(CONVENTION)
    picture = out / "organs.png"
    draw_run(run, chosen, picture)
    return Demo(run, report_run(run, chosen, form, list_failures=form == "json"), picture, failed)


def _cohort(folder: Path, subjects: int, quiet: bool) -> list[ScanRow]:
    if not (folder / MANIFEST).exists():
        with watching("phantoms", quiet) as tell:
            return write_cohort(folder, "petct", subjects, tell=tell)
    rows = read_manifest(folder / MANIFEST)
    if (found := len({row.subject for row in rows})) != subjects:
        raise OptionError(f"it holds {found} subjects", where=folder, mend="remove it or name another --out")
    return rows
