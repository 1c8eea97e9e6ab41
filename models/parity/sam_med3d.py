"""SAM-Med3D recordings: the embedding, and logits and IoU after every click, through both forms of the encoder."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from umd_engine.engine.executor import Session
from umd_engine.errors import CorruptFileError
from umd_engine.models.parity.recipe import fill
from umd_engine.models.parity.recording import Recording
from umd_engine.models.parity.result import Deviation, Measured
from umd_engine.models.ready import open_unit
from umd_engine.models.sam_med3d.decoder import LOW
from umd_engine.models.sam_med3d.network import Network, Pieces

ONNX_OF_RANGE = 1e-4
FORMS = ("reduced", "literal")


def check_sam_med3d(recording: Recording, backend: str, device: torch.device) -> Measured:
    """Embedding and logits in shares of the stored output's range, IoU absolute.

    The spec's `encoders` names the forms of the encoder to check; default: both, the decoder after the reduced one.
    """
    network = Network()
    weights = fill(network.state_dict(), recording.spec["weights"]["state_dict"]["fill"])
    forms = recording.spec.get("encoders", FORMS)
    deviations: list[Deviation] = []
    embeddings = []
    for form in forms:
        network = Network(reduced=form == "reduced")
        network.load_state_dict(weights)
        check = _Check(recording, Pieces("sam-med3d-turbo", network), backend, device)
        embeddings.append(check.encode(deviations, "" if form == "reduced" else f" {form}"))
        if form == forms[0]:
            check.decode(deviations, embeddings[0])
    return Measured(tuple(deviations), _between(embeddings))


def _between(embeddings: list[torch.Tensor]) -> str:
    if len(embeddings) < 2:
        return "one form of the encoder"
    span = float(embeddings[1].max() - embeddings[1].min())
    apart = float((embeddings[0] - embeddings[1]).abs().max()) / span
    return f"the reduced encoder is {apart:.1e} of the range from the literal one"


class _Check:
    """One network held against one recording."""

    def __init__(self, recording: Recording, pieces: Pieces, backend: str, device: torch.device):
        self.recording, self.pieces, self.backend, self.device = recording, pieces, backend, device
        tolerance = recording.spec["tolerance"]
        self.of_range = tolerance["of_range"] if backend == "torch" else ONNX_OF_RANGE
        self.absolute = tolerance["absolute"] if backend == "torch" else ONNX_OF_RANGE

    def _open(self, unit: Any) -> Session:
        return open_unit(unit, self.backend, self.device)

    def encode(self, deviations: list[Deviation], title: str) -> torch.Tensor:
        step = next(step for step in self.recording.spec["steps"] if "encode" in step)
        image = torch.from_numpy(self.recording.image())
        (embedding,) = self._open(self.pieces.encoder).run((image,))
        deviations.append(self._off(step["encode"], embedding, title))
        return embedding

    def decode(self, deviations: list[Deviation], embedding: torch.Tensor) -> None:
        kept = {"zeros": torch.zeros((1, 1, LOW, LOW, LOW), device=embedding.device)}
        for step in self.recording.spec["steps"]:
            if "points" not in step:
                continue
            points = torch.tensor([step["points"]], dtype=torch.float32)
            labels = torch.tensor([step["labels"]], dtype=torch.float32)
            session = self._open(self.pieces.decoder(points.shape[1]))
            kept[step["logits"]], iou = session.run((embedding, points, labels, kept[step["mask"]]))
            deviations.append(self._off(step["logits"], kept[step["logits"]]))
            deviations.append(self._off(step["iou"], iou))

    def _off(self, name: str, output: torch.Tensor, title: str = "") -> Deviation:
        shape, stats, values = (self.recording.stored(f"{name}/{key}") for key in ("shape", "stats", "values"))
        if tuple(output.shape) != tuple(shape):
            raise CorruptFileError(f"'{name}' has shape {tuple(shape)}, not {tuple(output.shape)}")
        flat = output.cpu().numpy().ravel()
        at = np.linspace(0, flat.size - 1, len(values)).astype(np.int64)
        worst = float(np.abs(flat[at] - values).max())
        if flat.size == 1:
            return Deviation(name + title, worst, self.absolute)
        return Deviation(name + title, worst / float(stats[3] - stats[2]), self.of_range)
