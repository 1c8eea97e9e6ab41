"""Every kernel's implementations on a tiny volume, against its reference."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

KERNELS = ("bounds", "clicks", "components", "confusion", "distance", "norm_act", "resample", "surface", "windows")
TRY = "umd_engine.bench.doctor.kernels:attempt"
CLOSE = 1e-4  # relative; every reference is held far closer by the kernels' own tests


def attempt(kernel: str, backend: str) -> None:
    """Raises:
    BackendError: the implementation cannot run here, or gives another answer than the reference.
    """
    run = _calls()[kernel]
    compare(run(backend), run("reference"))


def compare(found: Any, expected: Any) -> None:
    """Raises:
    BackendError: a number of two answers differs.
    """
    import numpy as np

    from umd_engine.errors import BackendError

    pairs = zip(_arrays(found), _arrays(expected), strict=True)
    if not all(np.allclose(one, other, CLOSE, CLOSE, equal_nan=True) for one, other in pairs):
        raise BackendError("its answer is not the reference's", mend="do not use it; report this")


def _calls() -> Mapping[str, Callable[[str], Any]]:
    """Kernel -> a call of it by the name of an implementation."""
    import numpy as np

    from umd_engine.kernels.bounds import bounds
    from umd_engine.kernels.clicks import ClickKey, draw_clicks
    from umd_engine.kernels.components import components
    from umd_engine.kernels.confusion import confusion
    from umd_engine.kernels.distance import distance
    from umd_engine.kernels.norm_act import norm_act
    from umd_engine.kernels.resample import zoom
    from umd_engine.kernels.surface import surface_metrics
    from umd_engine.kernels.windows import gather

    draw = np.random.default_rng(0)
    image = draw.standard_normal((1, 12, 13, 14)).astype(np.float32)
    label = np.zeros(image.shape[1:], np.uint8)
    label[2:7, 3:9, 2:8], label[8:11, 4:10, 5:12] = 1, 2
    other = np.roll(label, 1, 0)
    starts = np.array([[0, 0, 0], [4, 5, 6]])
    return {
        "bounds": lambda name: bounds(label, 3, name),
        "clicks": lambda name: draw_clicks(label, (1, 2), ClickKey(0, "doctor"), backend=name),
        "components": lambda name: components(label, backend=name).sizes,
        "confusion": lambda name: confusion(label, other, 3, 3, name),
        "distance": lambda name: distance(label > 0, (1.0, 1.0, 2.0), backend=name),
        "norm_act": lambda name: norm_act(image[None], backend=name),
        "resample": lambda name: zoom(image, (8, 9, 20), (3, 3, 3), backend=name),
        "surface": lambda name: surface_metrics(label, other, (1, 2), (1.0, 1.0, 2.0), 1.0, backend=name),
        "windows": lambda name: gather(image, starts, (8, 8, 8), backend=name),
    }


def _arrays(answer: Any) -> Iterator[Any]:
    """NumPy arrays of whatever a kernel returns."""
    import torch

    if isinstance(answer, torch.Tensor):
        yield answer.detach().cpu().numpy()
    elif is_dataclass(answer):
        for one in fields(answer):
            yield from _arrays(getattr(answer, one.name))
    elif isinstance(answer, Mapping):
        for value in answer.values():
            yield from _arrays(value)
    elif isinstance(answer, tuple | list):
        for value in answer:
            yield from _arrays(value)
    elif answer is not None and not isinstance(answer, str):
        yield answer
