"""The main job on real CT, PET and MR: the same rows and masks as a plain per-scan script."""

import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from cohort import MODEL

from umd_engine.bench import plain_nnunet
from umd_engine.cli import main
from umd_engine.data.manifest import read_manifest
from umd_engine.evaluation.store import Store

DATA = Path(__file__).parents[2].parent / "shared" / "data"

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason=f"the real volumes are not at {DATA}")


def umd(*arguments):
    result = CliRunner().invoke(main, [str(a) for a in arguments])
    assert result.exit_code == 0, result.output + result.stderr
    return result.stdout


# With one window a call, as the script calls the network, every voxel is equal. With two, torch computes the
# convolutions in another way: float32 logits differ in the last digits, and random weights leave near ties.
# Share of voxels: logits of random weights nearly tie there, and `finish` interpolates in another order than torch.
NEAR_TIES = 2e-5


@pytest.mark.full
@pytest.mark.parametrize(("subjects", "batch"), [(1, 1), (8, 2)])
def test_import_evaluate_report(tmp_path, subjects, batch):
    """Mirroring is off on both sides: it is the same sum with eight times the work."""
    manifest, run = tmp_path / "scans.csv", tmp_path / "run"
    channels = [word for c in ("0=ct", "1=pet", "2=mr") for word in ("--channel", c)]
    umd("data", "import", DATA / "sts_pet_ct_mr", "--layout", "nnunet", *channels, "--out", manifest)
    assert len(read_manifest(manifest)) == 24
    options = ("--set", "nnunet.folds=0", "--set", "nnunet.mirroring=false", "--save-masks", "--batch", batch)
    scans = 3 * subjects
    umd("evaluate", manifest, "--out", run, "--model", f"nnunet={MODEL}", *options, "--limit", scans)

    with Store(run / "store.sqlite") as store:
        rows = list(store.rows())
    assert len(rows) == scans * 4
    # the cohort's labels are sarcomas: no organ of the model has a reference
    assert {row.status for row in rows} == {"no-reference"}
    assert {row.modality for row in rows} == {"ct", "pet", "mr"}

    plain = tmp_path / "plain"
    plain.mkdir()
    images = [row.images[0] for row in read_manifest(manifest)[:scans]]
    plain_nnunet.run(MODEL, images, [None] * scans, plain, mirror=False)
    organs = json.loads((MODEL / "dataset.json").read_text())["labels"]
    for scan, image in zip(read_manifest(manifest)[:scans], images, strict=True):
        (path,) = run.glob(f"masks/nnunet/*/petct/{scan.subject}/{scan.scan_id}.nii.gz")
        ours, theirs, source = nibabel.load(path), nibabel.load(plain / image.name), nibabel.load(image)
        mask = np.asanyarray(ours.dataobj)
        assert (mask != np.asanyarray(theirs.dataobj)).mean() <= NEAR_TIES, scan.scan_id
        assert np.array_equal(ours.affine, source.affine) and ours.shape == source.shape
        for row in (r for r in rows if r.scan_id == scan.scan_id):
            assert row.fp == (mask == organs[row.organ]).sum()
    report = umd("report", run)
    assert "liver" in report and "no-reference" in report
