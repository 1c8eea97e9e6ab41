"""What the store holds: one row of voxel counts (or one failure) for a scan, a model and an organ."""

from __future__ import annotations

from dataclasses import dataclass, field

OK = "ok"
NO_REFERENCE = "no-reference"
ABSENT = "absent"
FINISHED = (OK, NO_REFERENCE, ABSENT)
MEASURES = ("dice", "surface")  # what a row may hold: voxel counts in any case, distances between surfaces


@dataclass(frozen=True, order=True)
class Key:
    """The identity of a result. `plan` is the plan hash, `step` the click or prompt round, `repeat` the seed."""

    plan: str
    cohort: str
    subject: str
    scan_id: str
    modality: str
    model: str
    organ: str
    step: int = 0
    repeat: int = 0


@dataclass(frozen=True, kw_only=True)
class Row:
    """A result under its key.

    `status` is one of:
        "ok"            tp, fp, fn are voxel counts.
        "no-reference"  the scan has no label, or its label set lacks the organ: fp is the number of predicted
                        voxels, tp and fn are None. A prompted model that could not be asked has no fp either.
        "absent"        the label does not hold the organ, so that a prompted model could not be asked: all are 0.
        anything else   the `.status` of the error the case ended with (errors.py): no counts, `message` says why.

    `voxel_ml` is the volume of a voxel of the counted grid in mL, `seconds` the wall time of the case until the mask
    was there. `synthetic`: the scan is a computer-made phantom, no patient. `prompt` and `prompt_hash` are the
    protocol that a prompted model was asked by, empty for others; `uses_label` says what of the label it was told:
    "none", "click", "box" or "crop". `note` is what the model says of how the mask was made. `inputs` is a hash of
    what its files held (evaluation/contents.py), empty where that is not known. `surfaces` is what was measured of the
    distances between the surfaces (evaluation/surfaces.py), no bytes where a side is empty, None where nothing was.
    """

    plan: str
    cohort: str
    subject: str
    scan_id: str
    modality: str
    model: str
    organ: str
    step: int = 0
    repeat: int = 0
    status: str
    tp: int | None = None
    fp: int | None = None
    fn: int | None = None
    voxel_ml: float | None = None
    seconds: float | None = None
    message: str = ""
    synthetic: bool = False
    prompt: str = ""
    prompt_hash: str = ""
    uses_label: str = "none"
    note: str = ""
    inputs: str = ""
    surfaces: bytes | None = field(default=None, repr=False)

    @property
    def key(self) -> Key:
        return Key(
            self.plan,
            self.cohort,
            self.subject,
            self.scan_id,
            self.modality,
            self.model,
            self.organ,
            self.step,
            self.repeat,
        )

    @property
    def failed(self) -> bool:
        return self.status not in FINISHED

    @property
    def label_voxels(self) -> int | None:
        return None if self.tp is None or self.fn is None else self.tp + self.fn

    @property
    def prediction_voxels(self) -> int | None:
        return None if self.fp is None else (self.tp or 0) + self.fp
