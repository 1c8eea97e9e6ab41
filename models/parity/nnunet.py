"""nnU-Net recordings: label map and probabilities of `nnUNetPredictor.predict_single_npy_array`."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import torch

from umd_engine.engine.executor import run_program
from umd_engine.engine.work import Program
from umd_engine.errors import CorruptFileError
from umd_engine.models.nnunet.finish import labels_from_logits, probabilities_from_logits
from umd_engine.models.nnunet.model import NnUNet
from umd_engine.models.nnunet.prepare import prepare_image
from umd_engine.models.nnunet.protocol import Options
from umd_engine.models.parity.recipe import fill
from umd_engine.models.parity.recording import Recording
from umd_engine.models.parity.result import Deviation, Measured
from umd_engine.models.ready import open_unit


def check_nnunet(recording: Recording, backend: str, device: torch.device) -> Measured:
    """Every step's `seg` in differing voxels and `prob` in absolute difference; then the engine variant's."""
    spec = recording.spec
    labels, probabilities = _run(recording, spec.get("variant", "official"), backend, device)
    deviations = []
    tolerance = spec["tolerance"]
    for step in spec["steps"]:
        if "seg" in step:
            wrong = int((labels != recording.stored(step["seg"])).sum())
            deviations.append(Deviation("voxels", wrong, tolerance["voxels"]))
        if "prob" in step:
            stored = recording.stored(step["prob"]).astype(np.float32)
            worst = float(np.abs(probabilities - stored).max())
            deviations.append(Deviation("prob", worst, tolerance["prob"]))
    if not deviations:
        raise CorruptFileError("no step names a 'seg' or 'prob'", where=recording.path)
    ours, ours_prob = _run(recording, "engine", backend, device)
    variants = (
        f"{int((ours != labels).sum())} of {labels.size} voxels, "
        f"prob {float(np.abs(ours_prob - probabilities).max()):.1e}"
    )
    return Measured(tuple(deviations), variants)


def _run(recording: Recording, variant: str, backend: str, device: torch.device) -> tuple[np.ndarray, np.ndarray]:
    model = _model(recording, variant)
    image = torch.from_numpy(recording.image()).to(device)
    said = recording.spec["image"]
    spacing = recording.stored(said["spacing"]) if isinstance(said.get("spacing"), str) else said["spacing"]
    result = run_program(_program(model, image, spacing), partial(open_unit, backend=backend, device=device))
    return result[0].cpu().numpy(), result[1].cpu().numpy()


def _model(recording: Recording, variant: str) -> NnUNet:
    weights = recording.spec["weights"]
    folds = weights.get("folds", [weights["fold"]] if "fold" in weights else [])
    options = Options(variant=variant, folds=",".join(str(fold) for fold in folds))
    model = NnUNet("nnunet", recording.path.parent / weights["folder"], options)
    if "state_dict" in weights:
        for unit in model.units:
            unit.module.load_state_dict(fill(unit.module.state_dict(), weights["state_dict"]["fill"]))
            unit.__dict__.pop("content_hash", None)  # the cached hash is that of the weights just replaced
    return model


def _program(model: NnUNet, image: torch.Tensor, spacing: Any) -> Program[tuple[torch.Tensor, torch.Tensor]]:
    case = prepare_image(image, spacing, model.plans)
    logits = yield from model.logits(case)
    finish = (logits, case, model.plans, model.options.official)
    return labels_from_logits(*finish), probabilities_from_logits(*finish)
