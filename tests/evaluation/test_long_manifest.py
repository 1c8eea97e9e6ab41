"""Host memory does not grow with the manifest."""

import os
import subprocess
import sys
from pathlib import Path

import nibabel
import pytest
from cohort import affine, image_of, label_of, write_manifest

SHAPE = (40, 40, 32)
SCANS = 300
A_SCAN = 3 * 40 * 40 * 32  # bytes of a scan as it is read: int16, and a label of uint8


@pytest.fixture
def manifest(tmp_path):
    """300 scans that share three pairs of files; every 30th is damaged."""
    for seed in range(3):
        nibabel.save(nibabel.Nifti1Image(image_of(seed, SHAPE), affine()), tmp_path / f"{seed}.nii.gz")
        label = label_of(seed, SHAPE)
        nibabel.save(nibabel.Nifti1Image(label, affine()), tmp_path / f"{seed}_label.nii.gz")
    whole = (tmp_path / "0.nii.gz").read_bytes()
    (tmp_path / "bad.nii.gz").write_bytes(whole[: len(whole) // 2])
    rows = []
    for i in range(SCANS):
        image = "bad" if i % 30 == 7 else i % 3
        rows.append(f"long,s{i:03d},s{i:03d}_ct,ct,{image}.nii.gz,HU,{i % 3}_label.nii.gz,labels.json")
    return write_manifest(tmp_path, rows)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.full
def test_300_scans_need_no_more_memory_than_50(manifest, tmp_path):
    script = Path(__file__).with_name("long_run.py")
    done = subprocess.run(
        [sys.executable, str(script), str(manifest), str(tmp_path / "run")],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True,
    )  # fmt: skip
    seen = [tuple(map(int, line.split())) for line in done.stdout.splitlines()]
    assert len(seen) == SCANS // 50 and seen[-1][1] == 2 * 10
    after_50, after_300 = seen[0][0], seen[-1][0]
    assert after_300 - after_50 < 250 * A_SCAN / 5, seen  # of 250 more scans not even a fifth is still there
