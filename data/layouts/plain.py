"""A plain folder: images/X.nii.gz with labels/X.nii.gz, images/ alone, or the images themselves."""

from __future__ import annotations

import re
from pathlib import Path

from umd_engine.data.layouts.common import (
    Imported,
    ImportOptions,
    check_folder,
    check_modality,
    named_label_set,
    nifti_files,
    unit_of,
)
from umd_engine.data.manifest import scan_row
from umd_engine.data.progress import Watch
from umd_engine.errors import ManifestError, MissingFileError, OptionError

PAIRED = "put images into images/ and labels, under the same names, into labels/"
# X_seg.nii.gz beside X.nii.gz is a label, and would be taken for a scan.
LABEL_NAME = re.compile(r"(.+)[._-](?:seg|segmentation|label|labels|mask|gt)", re.IGNORECASE)


def import_plain(folder: Path, options: ImportOptions, manifest: Path, watch: Watch) -> Imported:
    """One row an image: subject X and scan_id X_MODALITY of the file X.nii.gz.

    The scan_id names the modality, so that the manifests of two folders whose subjects have the same names can be
    joined into one of pairs. No file is opened.

    Args:
        folder: holds images/ and, if there are references, labels/; or NIfTI files.
        options: the modality is needed, and with labels the label set.
        manifest, watch: not used.

    Raises:
        MissingFileError: no folder or no NIfTI file in it, a label without image or an image without label.
        ManifestError: two files of one case, files both beside and in images/, labels among the images, names that
            cannot be names of subjects. OptionError: no modality, no label set, or one without labels.
        UnknownNameError: another modality or label set.
    """
    folder = check_folder(folder)
    images, labels = _images(folder), _labels(folder)
    modality = _modality(options)
    label_set = _label_set(folder, options, labels is not None)
    if labels is not None:
        _check_pairs(folder, images, labels)
    return Imported([
        scan_row(
            where=image,
            cohort=options.cohort,
            subject=case,
            scan_id=f"{case}_{modality}",
            modality=modality,
            images=(image,),
            unit=unit_of(modality, options.unit),
            label=labels[case] if labels else None,
            label_set=label_set,
        )
        for case, image in images.items()
    ])  # fmt: skip


def _images(folder: Path) -> dict[str, Path]:
    inner, flat = folder / "images", nifti_files(folder)
    if not inner.is_dir():
        if not flat:
            raise MissingFileError("neither images/ nor a NIfTI file in it", where=folder, mend=_other_layout(folder))
        _check_flat(folder, flat)
        return flat
    if flat:
        fault = f"NIfTI files both in images/ and beside it ({next(iter(flat.values())).name})"
        raise ManifestError(fault, where=folder, mend="move them into images/ or elsewhere")
    if not (images := nifti_files(inner)):
        raise MissingFileError("no NIfTI file (.nii.gz, .nii) in it", where=inner, mend="add the images")
    return images


def _other_layout(folder: Path) -> str:
    if (folder / "dataset.json").is_file():
        return "it has a dataset.json: try --layout nnunet or msd"
    if any(folder.glob("*/segmentations")):
        return "it has folders with segmentations/: try --layout totalsegmentator"
    return PAIRED


def _check_flat(folder: Path, files: dict[str, Path]) -> None:
    if (folder / "labels").is_dir():
        raise ManifestError("it has labels/ but no images/", where=folder, mend="move the images into images/")
    for case, path in files.items():
        match = LABEL_NAME.fullmatch(case)
        if match and match[1] in files:
            fault = f"its name says that it is a label of {files[match[1]].name}"
            raise ManifestError(fault, where=path, mend=PAIRED)


def _labels(folder: Path) -> dict[str, Path] | None:
    inner = folder / "labels"
    return nifti_files(inner) if inner.is_dir() else None


def _modality(options: ImportOptions) -> str:
    if options.modality is None:
        raise OptionError("the layout plain needs it", where="--modality", mend="say --modality ct, mr or pet")
    return check_modality(options.modality)


def _label_set(folder: Path, options: ImportOptions, labelled: bool) -> str | None:
    if options.label_set is None:
        if labelled:
            mend = "name a built-in set, e.g. umd13, or a JSON file"
            raise OptionError(f"{folder / 'labels'} holds labels, and nothing says what they mean",
                              where="--label-set", mend=mend)  # fmt: skip
        return None
    if not labelled:
        raise OptionError(f"{folder} has no labels/", where="--label-set", mend="leave it out or add the labels")
    return named_label_set(options.label_set)


def _check_pairs(folder: Path, images: dict[str, Path], labels: dict[str, Path]) -> None:
    for case, label in labels.items():
        if case not in images:
            mend = f"name it as its image in {folder / 'images'}, or remove it"
            raise MissingFileError("a label without image", where=label, mend=mend)
    for case, image in images.items():
        if case not in labels:
            mend = f"add {folder / 'labels' / image.name} or remove the image; without labels/ all can be predicted"
            raise MissingFileError("an image without label", where=image, mend=mend)
