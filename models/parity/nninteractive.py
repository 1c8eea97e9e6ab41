"""nnInteractive recordings: the mask and the network calls after each step of the official session."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch

from umd_engine.engine import executor
from umd_engine.engine.executor import run_program
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Program, Tensors
from umd_engine.errors import CorruptFileError
from umd_engine.models.mask import Mask
from umd_engine.models.nninteractive.draws import numpys_stream
from umd_engine.models.nninteractive.model import NnInteractive
from umd_engine.models.nninteractive.protocol import Options, normalize
from umd_engine.models.nninteractive.region import Region, triple
from umd_engine.models.nninteractive.session import Session
from umd_engine.models.parity.recording import Recording
from umd_engine.models.parity.result import Deviation, Measured
from umd_engine.models.ready import open_unit

Steps = tuple[list[np.ndarray], list[int]]  # the mask and the network calls of each step
Opener = Callable[[Unit], executor.Session]
LOGITS = 1e-4  # of their range, between backends


def check_nninteractive(recording: Recording, backend: str, device: torch.device) -> Measured:
    """Every step's mask in differing voxels and its network calls; then the engine variant's, with the same draws.

    A patch of the second pass sees what those before it found, so with random weights one voxel on the edge grows to
    thousands within a chain of patches, whichever way it falls. Another backend than torch is therefore compared call
    by call: torch answers, and the other's logits for the same input are held against its own. What that backend finds
    when it is left to itself is told beside it.
    """
    spec = recording.spec
    variant, torchs = spec.get("variant", "official"), partial(open_unit, backend="torch", device=device)
    theirs = partial(open_unit, backend=backend, device=device)
    beside = _Beside(torchs, theirs)
    masks, calls = _run(recording, variant, torchs if backend == "torch" else beside, device)
    deviations = _compared(recording, masks, calls)
    if backend != "torch":
        deviations.append(Deviation("logits", beside.apart, spec["tolerance"].get("logits", LOGITS)))
    ours, our_calls = _run(recording, "engine" if backend == "torch" else variant, theirs, device)
    moved = [int((a != b).sum()) for a, b in zip(ours, masks, strict=True)]
    alone = "" if backend == "torch" else f"not run; {backend} left to itself: "
    told = f"{alone}{moved} of {masks[0].size} voxels, {sum(our_calls)} calls of {sum(calls)}"
    return Measured(tuple(deviations), told)


def _compared(recording: Recording, masks: Sequence[np.ndarray], calls: Sequence[int]) -> list[Deviation]:
    stored, stored_calls = _stored_masks(recording), recording.stored(recording.spec["calls"]).tolist()
    if not len(masks) == len(stored) == len(stored_calls):
        raise CorruptFileError(f"{len(masks)} steps, but {len(stored)} masks", where=recording.path)
    tolerance = recording.spec["tolerance"]
    wrong = [int((mask != wanted).sum()) for mask, wanted in zip(masks, stored, strict=True)]
    missed = max(abs(ours - theirs) for ours, theirs in zip(calls, stored_calls, strict=True))
    return [
        *(Deviation(f"voxels{number}", count, tolerance["voxels"]) for number, count in enumerate(wrong)),
        Deviation("calls", missed, tolerance["calls"]),
    ]


class _Beside:
    """Sessions of two backends as one: the first answers, the second is compared with it."""

    def __init__(self, first: Opener, second: Opener):
        self.openers = first, second
        self.spans: list[tuple[float, float, float]] = []  # of every answer its ends, and how far the other is off

    def __call__(self, unit: Unit) -> _Beside:
        self.sessions = [opener(unit) for opener in self.openers]
        return self

    def run(self, inputs: Tensors) -> Tensors:
        answers, others = (session.run(inputs) for session in self.sessions)
        for answer, other in zip(answers, others, strict=True):
            off = (answer - other.to(answer)).abs().max()
            self.spans.append((float(answer.min()), float(answer.max()), float(off)))
        return answers

    @property
    def apart(self) -> float:
        """The largest difference of all answers, in shares of the first's range over all of them; may be NaN."""
        low, high, off = np.array(self.spans).T
        return float(off.max() / (high.max() - low.min()))


def _stored_masks(recording: Recording) -> np.ndarray:
    """uint8 [steps, X, Y, Z]; `packed` says the shape of masks stored as bits."""
    said = recording.spec["masks"]
    if isinstance(said, str):
        return recording.stored(said)
    shape = tuple(said["shape"])
    return np.unpackbits(recording.stored(said["packed"]), count=int(np.prod(shape))).reshape(shape)


def _run(recording: Recording, variant: str, opener: Opener, device: torch.device) -> Steps:
    spec = recording.spec
    weights = spec["weights"]
    options = Options(variant=variant, autozoom=spec.get("autozoom", True), fold=str(weights.get("fold", "")))
    model = NnInteractive("nninteractive", recording.path.parent / weights["folder"], options)
    image = torch.from_numpy(recording.image()).to(device)
    image = image[0] if image.ndim == 4 else image
    with _threads(spec.get("threads", 2)):
        normalize(image, options.official)
    # the engine's own draws would look elsewhere: here its arithmetic is compared
    session = model.session(image, numpys_stream(int(spec["random"]["np.random.seed"])))
    return run_program(_program(session, spec["steps"]), opener)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    """torch's float32 mean depends on how many threads share it: a recording repeats with as many as it was made."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _program(session: Session, steps: Sequence[Mapping[str, Any]]) -> Program[Steps]:
    masks, calls = [], []
    for step in steps:
        give(session, step)
        counts: list[int] = []
        if step.get("predict", True):
            yield from _counted(session.predict(), counts)
        calls.append(sum(counts))
        masks.append(session.mask.full().cpu().numpy())
    return masks, calls


def _counted(program: Program[None], counts: list[int]) -> Program[None]:
    for work in program:
        counts.append(work.count)
        yield work


def give(session: Session, step: Mapping[str, Any]) -> None:
    """A step of the spec, in voxels of the file's order."""
    positive = step.get("positive", True)
    if "point" in step:
        session.add_point(triple(step["point"]), positive)
    elif "box" in step:
        session.add_box(_region(step["box"]), positive)
    elif "initial_segmentation" in step:
        session.start_from(_drawn(session, (0, 0, 0), session.mask.shape, step["initial_segmentation"]["ones"]))
        if step.get("predict", True):
            session.refine_all()
    else:
        kind = next(kind for kind in ("scribble", "lasso") if kind in step)
        at = _region(step["at"])
        session.add_drawing(kind, _drawn(session, at.low, step[kind]["shape"], step[kind]["ones"]), positive)


def _drawn(session: Session, low: Sequence[int], shape: Sequence[int], ones: Sequence[Sequence[int]]) -> Mask:
    """Ones in a box of a drawing that lies at `low`."""
    assert all(0 <= a < b <= n for (a, b), n in zip(ones, shape, strict=True)), ones
    box = _region(ones).moved(triple(low))
    return Mask(torch.ones(box.size, dtype=torch.uint8, device=session.image.device), box.low, session.mask.shape)


def _region(spans: Sequence[Sequence[int]]) -> Region:
    return Region(triple(low for low, _ in spans), triple(high for _, high in spans))
