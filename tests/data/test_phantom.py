"""The phantom: same seed same bytes, volumes and intensities within their stated bounds, nothing half-written."""

from __future__ import annotations

import hashlib
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
import pytest
from click.testing import CliRunner

from umd_engine.cli import main
from umd_engine.data.check import check_manifest
from umd_engine.data.labelset import load_label_set
from umd_engine.data.layouts import ImportOptions, import_layout
from umd_engine.data.manifest import read_manifest, write_manifest
from umd_engine.data.nifti import read, read_labels, write, write_labels
from umd_engine.data.phantom import COHORTS, Subject, make_subject, write_cohort
from umd_engine.data.phantom.expected import MEANS, REFERENCE_ML, TOLERANCE
from umd_engine.data.phantom.subject import BLADDER, REMOVABLE, draw_person
from umd_engine.errors import DataError, OptionError, UnknownNameError

IDS = {organ: ids[0] for organ, ids in load_label_set("umd13").ids.items()}
DOCS = Path(__file__).parents[2] / "docs" / "phantom.md"


@pytest.fixture(scope="module")
def cohorts() -> dict[str, list[Subject]]:
    return {cohort: [make_subject(cohort, number, seed=31) for number in range(4)] for cohort in COHORTS}


def every_scan(cohorts):
    return [(subject, scan) for subjects in cohorts.values() for subject in subjects for scan in subject.scans]


def file_hashes(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_the_same_seed_gives_the_same_bytes_whatever_the_threads(tmp_path):
    write_cohort(tmp_path / "a", "petct", 1, seed=5)
    cpus = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cpus)})
    try:
        write_cohort(tmp_path / "b", "petct", 1, seed=5)
    finally:
        os.sched_setaffinity(0, cpus)
    assert file_hashes(tmp_path / "a") == file_hashes(tmp_path / "b")
    assert len(file_hashes(tmp_path / "a")) == 5


def test_another_seed_number_or_cohort_is_another_person(cohorts):
    made = [subject.scans[1].image.voxels for subjects in cohorts.values() for subject in subjects]
    made.append(make_subject("petct", 0, seed=32).scans[1].image.voxels)
    assert len({voxels.tobytes() for voxels in made}) == len(made)


def test_volumes_are_an_adults(cohorts):
    for subject, scan in every_scan(cohorts):
        person = subject.person
        voxels = np.bincount(scan.label.voxels.ravel(), minlength=14)
        for organ, reference in REFERENCE_ML.items():
            if organ in person.absent:
                assert voxels[IDS[organ]] == 0, (subject.name, organ)
                continue
            wanted = reference * person.body_scale * (BLADDER[person.bladder] if organ == "urinary_bladder" else 1)
            found = voxels[IDS[organ]] * np.prod(scan.image.spacing) / 1000
            assert abs(found / wanted - 1) < TOLERANCE, (subject.name, scan.modality, organ, found, wanted)


def test_means_are_within_their_stated_ranges(cohorts):
    for subject, scan in every_scan(cohorts):
        for organ, (low, high) in MEANS[scan.modality].items():
            mask = scan.label.voxels == IDS[organ]
            if mask.any():
                assert low <= scan.image.voxels[mask].mean() <= high, (subject.name, scan.modality, organ)


def test_the_stated_ranges_are_those_of_the_documentation():
    text = DOCS.read_text()
    for organ, reference in REFERENCE_ML.items():
        cells = [f"{low:g} to {high:g}" for low, high in (MEANS[m][organ] for m in ("ct", "pet", "mr"))]
        assert f"| {organ} | {reference:g} | {' | '.join(cells)} |" in text, organ


def test_organs_lie_where_they_belong(cohorts):
    """RAS+: x to the patient's right, z to the head."""
    for subject, scan in every_scan(cohorts):
        where = {organ: centre(scan, organ) for organ in IDS if organ not in subject.person.absent}
        for left, right in (("kidney_left", "kidney_right"), ("spleen", "liver"), ("stomach", "liver")):
            if left in where and right in where:
                assert where[left][0] < where[right][0] - 30
        assert where["brain"][2] > where["lung"][2] > where["liver"][2] > where["urinary_bladder"][2]
        assert where["heart"][0] < where["lung"][0] + 10  # to the left of the middle


def centre(scan, organ):
    """mm, of an organ's voxels."""
    index = np.argwhere(scan.label.voxels == IDS[organ]).mean(0)
    return (scan.image.affine @ [*index, 1])[:3]


def test_the_labels_of_two_grids_are_of_one_body(cohorts):
    for subjects in cohorts.values():
        for subject in subjects:
            first, second = subject.scans
            assert first.image.shape != second.image.shape
            for organ in set(IDS) - subject.person.absent:
                volumes = [(s.label.voxels == IDS[organ]).sum() * np.prod(s.image.spacing) for s in subject.scans]
                assert abs(volumes[0] / volumes[1] - 1) < 0.1, organ
                near = 1 if REFERENCE_ML[organ] > 1000 else 5  # mm; a thin organ is a few voxels wide
                assert np.abs(centre(first, organ) - centre(second, organ)).max() < near, organ


def test_a_cohort_varies():
    people = [draw_person((0, 0, number)) for number in range(200)]
    assert {person.sex for person in people} == {"F", "M"}
    assert {person.bladder for person in people} == set(BLADDER)
    assert {person.arms_up for person in people} == {True, False}
    assert set().union(*(person.absent for person in people)) == set(REMOVABLE)
    assert 0.05 < np.mean([bool(person.absent) for person in people]) < 0.25
    assert 0.2 < np.mean([person.contrast > 0 for person in people]) < 0.6
    assert np.std([person.scale[2] for person in people]) > 0.03


def test_noise_is_poisson_like_in_pet_and_the_table_lies_below_in_ct(cohorts):
    ct, pet = cohorts["petct"][0].scans
    liver = pet.image.voxels[pet.label.voxels == IDS["liver"]]
    brain = pet.image.voxels[pet.label.voxels == IDS["brain"]]
    assert 0.05 < liver.std() / liver.mean() < 0.35
    assert brain.max() > liver.max()
    assert ct.image.voxels.dtype == np.int16
    assert ct.image.voxels.min() == -1024  # outside the circle
    table = ct.image.voxels[ct.image.shape[0] // 2] > -970  # [Y, Z]; foam is at -930
    assert (table.mean(1) > 0.98).sum() > 5, "it runs along the whole scan"


@pytest.mark.parametrize("cohort", COHORTS)
def test_files_are_read_back_as_they_were_made(tmp_path, cohort):
    rows = write_cohort(tmp_path / "c", cohort, 1, seed=3)
    subject = make_subject(cohort, 0, seed=3)
    assert [row.modality for row in rows] == list(COHORTS[cohort])
    for row, scan in zip(rows, subject.scans, strict=True):
        image, label = read(row.images[0]), read_labels(row.label)
        assert np.array_equal(image.voxels, scan.image.voxels) and np.array_equal(label.voxels, scan.label.voxels)
        assert np.allclose(image.affine, scan.image.affine, atol=1e-3)
        official = nibabel.load(row.images[0])
        assert nibabel.aff2axcodes(official.affine) == ("L", "P", "S")
        assert bytes(official.header["descrip"].item()).startswith(b"synthetic phantom")
        assert row.synthetic


def test_writing_again_what_was_read_changes_nothing(tmp_path):
    (row, _) = write_cohort(tmp_path / "c", "petct", 1, seed=3)
    image = read(row.images[0])
    write(tmp_path / "again.nii.gz", image)
    write_labels(tmp_path / "labels.nii.gz", read_labels(row.label).voxels, like=image)
    again = read(tmp_path / "again.nii.gz")
    assert again.grid == image.grid and np.array_equal(again.voxels, image.voxels)
    assert read_labels(tmp_path / "labels.nii.gz").grid == image.grid


def test_data_check_finds_no_fault_and_a_layout_imports_it(tmp_path):
    rows = write_cohort(tmp_path / "c", "petmri", 1)
    assert list(check_manifest(tmp_path / "c" / "manifest.csv")) == []
    for kind, stem in (("images", "mr"), ("labels", "mr_label")):
        (tmp_path / "plain" / kind).mkdir(parents=True)
        (rows[0].images[0].parent / f"{stem}.nii.gz").rename(tmp_path / "plain" / kind / "one.nii.gz")
    options = ImportOptions(cohort="petmri", modality="mr", label_set="umd13")
    import_layout("plain", tmp_path / "plain", tmp_path / "plain.csv", options)
    assert list(check_manifest(tmp_path / "plain.csv")) == []
    (imported,) = read_manifest(tmp_path / "plain.csv")
    assert imported.synthetic, "the mark of the header is kept"


def test_data_check_asks_for_a_mark_that_is_missing(tmp_path):
    rows = write_cohort(tmp_path / "c", "petct", 1)
    write_manifest(tmp_path / "c" / "bare.csv", [row.model_copy(update={"synthetic": False}) for row in rows])
    result = CliRunner().invoke(
        main, ["data", "check", str(tmp_path / "c" / "bare.csv"), "--quick", "--fix-suggestions"]
    )
    assert result.exit_code == 1
    assert "set synthetic to yes in line 2" in result.output


def run(*arguments: str):
    return CliRunner().invoke(main, ["data", "phantom", *arguments])


def test_the_command_says_that_the_data_are_synthetic(tmp_path):
    result = run("--subjects", "1", "--out", str(tmp_path / "made"))
    assert result.exit_code == 0, result.output
    assert "synthetic" in result.output
    assert len(read_manifest(tmp_path / "made" / "manifest.csv")) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--cohort", "petc"),
        ("--size", "huge"),
        ("--subjects", "0"),
        ("--subjects", "-3"),
        ("--subjects", "many"),
        ("--seed", "-1"),
    ],
)
def test_bad_arguments_leave_nothing(tmp_path, arguments):
    result = run(*arguments, "--out", str(tmp_path / "made"))
    assert result.exit_code != 0
    assert arguments[-1] in result.output
    assert list(tmp_path.iterdir()) == []


def test_errors_are_typed(tmp_path):
    with pytest.raises(UnknownNameError, match="petct"):
        make_subject("pet-ct", 0, 0)
    with pytest.raises(UnknownNameError):
        make_subject("petct", 0, 0, size="tiny")
    with pytest.raises(OptionError):
        make_subject("petct", -1, 0)
    (tmp_path / "file").write_text("x")
    with pytest.raises(DataError):
        write_cohort(tmp_path / "file" / "below", "petct", 1)


def test_a_folder_with_files_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(OptionError, match="exists"):
        write_cohort(tmp_path, "petct", 1)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_an_empty_folder_is_filled(tmp_path):
    (tmp_path / "empty").mkdir()
    assert len(write_cohort(tmp_path / "empty", "petct", 1)) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_is_read_only(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(DataError, match="cannot write"):
        write_cohort(tmp_path / "made", "petct", 1)


def test_a_full_disk_leaves_nothing(tmp_path):
    """A limit on the size of a file fails its write as a full disk does."""

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    command = [
        sys.executable,
        "-m",
        "umd_engine.cli",
        "data",
        "phantom",
        "--subjects",
        "1",
        "--out",
        str(tmp_path / "x"),
    ]
    done = subprocess.run(command, preexec_fn=limit, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    assert "cannot write" in done.stderr and "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.faults
def test_a_killed_run_leaves_no_cohort(tmp_path):
    out = tmp_path / "made"
    command = [sys.executable, "-m", "umd_engine.cli", "data", "phantom", "--subjects", "50", "--out", str(out)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list(tmp_path.glob(".made.*.part/*/pet_label.nii.gz")):  # the first subject is written
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not out.exists()
    assert len(write_cohort(out, "petct", 1)) == 2, "what the killed run left is in nobody's way"


@pytest.mark.full
def test_a_full_size_pair_is_made_written_and_read_back_in_time(tmp_path):
    began = time.monotonic()
    rows = write_cohort(tmp_path / "full", "petct", 1, seed=8, size="full")
    volumes = [(read(row.images[0]), read_labels(row.label)) for row in rows]
    assert time.monotonic() - began < 90
    subject = make_subject("petct", 0, seed=8, size="full")
    for (image, label), scan in zip(volumes, subject.scans, strict=True):
        assert np.array_equal(image.voxels, scan.image.voxels) and np.array_equal(label.voxels, scan.label.voxels)
    (ct, _), (pet, _) = volumes
    assert ct.shape[:2] == (512, 512) and ct.shape[2] >= 300
    assert np.allclose(ct.spacing, (500 / 512, 500 / 512, 3))
    assert np.prod(pet.shape) < np.prod(ct.shape) / 4
