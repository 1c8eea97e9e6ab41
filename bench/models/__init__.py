"""The models of `umd-engine bench models`: a module each with `entries() -> list[Entry]`."""

from __future__ import annotations

from collections.abc import Iterable

from umd_engine.bench.floor.run import Bench
from umd_engine.errors import UnknownNameError

MODELS = {
    "sam-med3d-turbo": "sam_med3d",
    "segvol": "segvol",
    "nninteractive": "nninteractive",
    "vista3d": "vista3d",
}


def benches(models: Iterable[str] = ()) -> list[Bench]:
    """The benches of the named models, in the order of the list; without names, of all.

    Raises:
        UnknownNameError: a name that is not in the list.
    """
    wanted = tuple(models) or tuple(MODELS)
    for name in wanted:
        if name not in MODELS:
            raise UnknownNameError("model", name, MODELS, where="--model")
    return [Bench(name, f"{__name__}.{module}") for name, module in MODELS.items() if name in wanted]
