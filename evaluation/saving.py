"""Masks on the scan's own grid, under RUN/masks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from umd_engine.data.nifti import mask_description, write_labels
from umd_engine.data.scan import Scan
from umd_engine.errors import UmdEngineError
from umd_engine.evaluation.cases import Case, mask_path
from umd_engine.evaluation.contents import hash_of_images
from umd_engine.evaluation.prompts.asked_case import AskedCase
from umd_engine.models.mask import Mask
from umd_engine.models.model import Segmentation


def save_labels(case: Case, scan: Scan, segmentation: Segmentation, run: Path) -> None:
    """The label map of a model without prompts."""
    _save(segmentation.labels, scan, mask_path(case, run))


def save_organs(asked: AskedCase, masks: Sequence[Mask | UmdEngineError], run: Path) -> None:
    """The last mask of every organ and repeat, 0 and 1; none of an organ that ended with an error."""
    for source, mask in zip(asked.sources, masks, strict=True):
        if not isinstance(mask, UmdEngineError):
            target = source.place.organ, source.place.repeat
            _save((source.last or mask).full(), asked.scan, mask_path(asked.case, run, target))


def _save(labels: torch.Tensor, scan: Scan, path: Path) -> None:
    contents = [image.content for image in scan.images if image.content is not None]
    assert len(contents) == len(scan.images), "the crew reads scans with their hashes"
    description = mask_description(hash_of_images(content.sha256 for content in contents), scan.row.synthetic)
    write_labels(path, labels.cpu().numpy(), like=scan.images[0], description=description)
