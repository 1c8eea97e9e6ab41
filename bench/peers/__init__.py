"""The benches of `umd-engine bench peers`: one network, one prepared image and the same windows through the engine and
through what others run windows with."""

from __future__ import annotations

from collections.abc import Iterable

from umd_engine.bench.floor.run import Bench
from umd_engine.engine.host_memory import SETTINGS
from umd_engine.errors import UnknownNameError

MODELS = {
    "nnunet": "PlainConvUNet 32..320, stand-in weights",
    "nnunet-demo": "the demo's CT network on a phantom",
    "vista3d": "class network of reduced width, stand-in weights, on a part of a phantom",
}
BASELINE = "a process a model, all with the allocator's settings of the command line; opening and exporting excluded"


def benches(models: Iterable[str] = (), device: str = "cpu") -> list[Bench]:
    """A process a model; without names, of all.

    Raises:
        UnknownNameError: a name that is not in the list.
    """
    wanted = tuple(models) or tuple(MODELS)
    for name in wanted:
        if name not in MODELS:
            raise UnknownNameError("model", name, MODELS, where="--model")
    return [Bench(name, f"{__name__}.entries", (name, device), SETTINGS) for name in MODELS if name in wanted]
