"""The runs of `umd-engine bench backends`: a process a way to run a model's network, the baseline first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from umd_engine.bench.backends.cases import CASES
from umd_engine.bench.backends.ways import ways
from umd_engine.bench.floor.run import Bench
from umd_engine.engine.host_memory import SETTINGS
from umd_engine.errors import UnknownNameError

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
    """A bench a way, in the order of the list of models; without names, of all.

    Raises:
        UnknownNameError: a model, backend or precision that is not in its list.
    """
    wanted = tuple(models) or tuple(CASES)
    for name in wanted:
        if name not in CASES:
            raise UnknownNameError("model", name, CASES, where="--model")
    sizes = ",".join(map(str, sorted(set(batches))))
    return [
        Bench(
            f"{name}, {way.name}",
            f"{__name__}.entries",
            (name, way.name, way.backend, way.precision, way.form, device, sizes),
            SETTINGS if way.kept else {},
        )
        for name in CASES
        if name in wanted
        for way in ways(CASES[name].rewritten, backends, precisions, device)
    ]
