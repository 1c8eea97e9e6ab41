"""A cohort of phantoms as files: a folder a subject, and the manifest."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from umd_engine.data.manifest import ScanRow, read_manifest, scan_row, write_manifest
from umd_engine.data.nifti import SYNTHETIC, write
from umd_engine.data.phantom.cohort import PhantomScan, Subject, check_cohort, make_subject
from umd_engine.data.phantom.scanner import LABEL_SET
from umd_engine.data.progress import Watch
from umd_engine.errors import DataError, OptionError

MANIFEST = "manifest.csv"


def write_cohort(
    out: Path, cohort: str, subjects: int, seed: int = 0, size: str = "small", tell: Watch | None = None
) -> list[ScanRow]:
    """Write `subjects` phantoms below `out` as gzipped NIfTI files with `out`/manifest.csv, and return its rows.

    `out` appears when everything is in it: what stops before leaves nothing under that name. The same arguments
    give the same bytes.

    Args:
        out: a folder that does not exist, or is empty.
        cohort: petct or petmri. size: small or full.
        tell: is called with (subjects written, subjects).

    Raises:
        UnknownNameError: no such cohort or size. OptionError: no subject, a negative seed, a folder that has files.
        DataError: a folder that cannot be written to, a full disk.
    """
    check_cohort(cohort, size, seed)
    if subjects < 1:
        raise OptionError(f"{subjects} subjects", where="--subjects", mend="ask for at least 1")
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise OptionError("it exists", where=out, mend="name another folder or remove it")
    with _whole_folder(out) as folder:
        rows: list[ScanRow] = []
        for number in range(subjects):
            rows += _write_subject(folder, cohort, make_subject(cohort, number, seed, size))
            if tell is not None:
                tell(number + 1, subjects)
        write_manifest(folder / MANIFEST, rows)
    return read_manifest(out / MANIFEST)


def _write_subject(folder: Path, cohort: str, subject: Subject) -> Iterator[ScanRow]:
    for scan in subject.scans:
        stem = folder / subject.name / scan.modality
        image, label = Path(f"{stem}.nii.gz"), Path(f"{stem}_label.nii.gz")
        description = f"{SYNTHETIC}, no patient"
        write(image, scan.image, description)
        write(label, scan.label, description)
        yield _row(cohort, subject, scan, image, label)


def _row(cohort: str, subject: Subject, scan: PhantomScan, image: Path, label: Path) -> ScanRow:
    return scan_row(
        cohort=cohort,
        subject=subject.name,
        scan_id=f"{subject.name}_{scan.modality}",
        modality=scan.modality,
        images=(image,),
        unit=scan.unit,
        label=label,
        label_set=LABEL_SET,
        sex=subject.person.sex,
        age=subject.person.age,
        synthetic=True,
    )


@contextmanager
def _whole_folder(out: Path) -> Iterator[Path]:
    """A hidden folder beside `out` that takes its name when the block ends without an error, and else vanishes."""
    part: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(prefix=f".{out.name}.", suffix=".part", dir=out.parent))
        part.chmod(0o777 & ~_umask())
        yield part
        part.replace(out)  # also over an empty folder
    except OSError as error:
        mend = "free some space" if error.errno == errno.ENOSPC else "check the folder"
        raise DataError(f"cannot write: {error.strerror}", where=out, mend=mend) from None
    finally:
        if part is not None:
            shutil.rmtree(part, ignore_errors=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
