"""The runs of `umd-engine bench backends`: a process a way to run a model's network, the baseline first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch

from umd_engine.bench.backends.cases import CASES
from umd_engine.bench.backends.ways import ways
from umd_engine.bench.floor.run import Bench
from umd_engine.engine.host_memory import SETTINGS
from umd_engine.errors import BackendError, UnknownNameError

BASELINE = (
    "a fresh process a backend and precision; the baseline with the default allocator, all others with the settings "
    "of the command line"
)


def benches(
    models: Iterable[str] = (),
    backends: Sequence[str] = (),
    precisions: Sequence[str] = (),
    batches: Sequence[int] = (1, 4),
    device: str = "cpu",
) -> list[Bench]:
    """A bench a way, in the order of the list of models; without names, of all that run on the device.

    Raises:
        UnknownNameError: a model, backend or precision that is not in its list.
        BackendError: a model that is measured on a CUDA device alone.
    """
    kind = torch.device(device).type
    wanted = tuple(models) or tuple(name for name, case in CASES.items() if case.on in (kind, "cpu"))
    for name in wanted:
        if name not in CASES:
            raise UnknownNameError("model", name, CASES, where="--model")
        if CASES[name].on == "cuda" != kind:
            raise BackendError(f"{name} is measured on a CUDA device alone", mend="use --device cuda")
    return [
        Bench(
            f"{name}, {way.name}",
            f"{__name__}.entries",
            (name, way.name, way.backend, way.precision, way.form, device, _sizes(CASES[name].batches or batches)),
            SETTINGS if way.kept else {},
        )
        for name in CASES
        if name in wanted
        for way in ways(CASES[name], backends, precisions, kind)
    ]


def _sizes(batches: Sequence[int]) -> str:
    return ",".join(map(str, sorted(set(batches))))
