"""Ways through the windows of a case: each opens what it needs, untimed, and returns a call that gives its labels."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace

import numpy as np
import torch

from umd_engine.bench.peers.cases import HALF, Case
from umd_engine.engine.executor import run_program
from umd_engine.engine.windows import flush_starts
from umd_engine.errors import BackendError

BATCH = 2  # `evaluate`'s
Run = Callable[[], torch.Tensor]  # uint8 [x, y, z]


@dataclass(frozen=True)
class Way:
    """Attributes:
    most: part of the voxels whose label may differ from the plain loop's.
    call: of a peer, in words.
    """

    name: str
    open: Callable[[Case], Run]
    most: float
    call: str = ""

    @property
    def peer(self) -> bool:
        return self.name.startswith("peer:")


def engine(backend: str, case: Case) -> Run:
    """The program and the executor."""
    from umd_engine.models.ready import open_unit

    session = open_unit(case.unit, backend, case.image.device)
    return lambda: run_program(case.program(), lambda unit: session, BATCH)


def loop(case: Case) -> Run:
    """A loop as a script has it; the labels of all others are held against its."""
    return lambda: _window_by_window(case, case.unit.module)


def onnx_runtime(case: Case) -> Run:
    """A session with default options in the loop's network's place, NumPy in and out."""
    import onnxruntime

    from umd_engine.models.ready import graph_of

    on_cuda = case.image.device.type == "cuda"
    provider = "CUDAExecutionProvider" if on_cuda else "CPUExecutionProvider"
    session = onnxruntime.InferenceSession(str(graph_of(case.unit).path), providers=[provider])
    if provider not in session.get_providers():
        raise BackendError(f"ONNX Runtime offers no {provider}", mend="install onnxruntime-gpu")
    name = session.get_inputs()[0].name

    def network(window: torch.Tensor) -> torch.Tensor:
        (logits,) = session.run(None, {name: np.ascontiguousarray(window.cpu().numpy())})
        return torch.from_numpy(logits).to(window.device)

    return lambda: _window_by_window(case, network)


@torch.inference_mode()
def _window_by_window(case: Case, network: Callable[[torch.Tensor], torch.Tensor]) -> torch.Tensor:
    """A window a call, weighted sums in float32, argmax."""
    image, patch, weights = case.image, case.patch, case.weights
    sums: torch.Tensor | None = None
    total = torch.zeros(image.shape[1:], device=image.device)
    starts = [flush_starts(n, p, case.overlap) for n, p in zip(image.shape[1:], patch, strict=True)]
    for corner in itertools.product(*starts):
        where = tuple(slice(s, s + p) for s, p in zip(corner, patch, strict=True))
        logits = network(image[(slice(None), *where)][None])[0] * weights
        if sums is None:
            sums = torch.zeros((len(logits), *image.shape[1:]), device=image.device)
        sums[(slice(None), *where)] += logits
        total[where] += weights
    assert sums is not None
    return case.labels(sums / total)


def monai(case: Case) -> Run:
    """Its inferer, given the weights of all others: its own Gaussian is centred half a voxel away."""
    from monai.inferers import SlidingWindowInferer

    inferer = SlidingWindowInferer(case.patch, BATCH, case.overlap)
    inferer.roi_weight_map = case.weights

    @torch.inference_mode()
    def run() -> torch.Tensor:
        return case.labels(inferer(case.image[None], case.unit.module)[0])

    return run


def nnunet(case: Case) -> Run:
    """Its predictor, which sums in float16, on a prepared image; of a folder where there is one."""
    from nnunetv2.inference.predict_from_raw_data import nnUNetPredictor

    device = case.image.device
    predictor = nnUNetPredictor(
        tile_step_size=HALF, use_mirroring=False, perform_everything_on_device=device.type == "cuda", device=device,
        allow_tqdm=False,
    )  # fmt: skip
    if case.folder is not None:
        predictor.initialize_from_trained_model_folder(str(case.folder), ("all",), "checkpoint_final.pth")
        predictor.network.load_state_dict(predictor.list_of_parameters[0])
    else:  # what it would read from a folder and uses for windows
        heads = case.unit.module(case.unit.example(1)[0].to(device)).shape[1]
        predictor.network, predictor.label_manager = case.unit.module, SimpleNamespace(num_segmentation_heads=heads)
        predictor.configuration_manager = SimpleNamespace(patch_size=case.patch)
    return lambda: case.labels(predictor.predict_sliding_window_return_logits(case.image).float())


LOOP = Way("peer:torch, window by window", loop, 0.0, "network(window), sums in float32, argmax")
MONAI = Way(
    "peer:MONAI SlidingWindowInferer", monai, 1e-3, f"SlidingWindowInferer, batch {BATCH}, the same weights; argmax"
)
NNUNET = Way("peer:nnunetv2 nnUNetPredictor", nnunet, 1e-2, "predict_sliding_window_return_logits; argmax")
ONNX = Way("peer:ONNX Runtime, window by window", onnx_runtime, 1e-3, "InferenceSession as it comes; NumPy in and out")
ENGINES = [Way(f"engine, {name}", partial(engine, name), 1e-3) for name in ("torch", "onnxruntime", "openvino")]


def ways(case: Case) -> list[Way]:
    """The plain loop first."""
    nnunets = [NNUNET] if not case.threshold else []
    return [LOOP, MONAI, *nnunets, ONNX, *ENGINES]
