"""A smaller form of a unit, for a machine on which the whole takes too long."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

from umd_engine.engine.tally import Tally, tally
from umd_engine.engine.unit import TensorSpec, Unit
from umd_engine.errors import BackendError
from umd_engine.models.stand_in import STAND_INS, stand_in_units

MULTIPLE = 32  # voxels, that networks of five halvings take


@cache
def counted(unit: Unit) -> Tally | None:
    """FLOPs and bytes of one item; None for a file of the user's, whose operators are not seen."""
    try:
        return tally(unit)
    except BackendError:
        return None


def smaller(unit: Unit, model: str) -> Unit | None:
    """The unit at half its patch or, where its network takes no other patch, the model's reduced stand-in of it.

    Windows are halved along each axis down to a multiple of 32; other inputs, such as embeddings, stay. A network with
    a table of positions takes one patch alone: fewer of its blocks, or narrower ones, stand in then.

    Returns:
        None where there is no smaller form.
    """
    halved = replace(unit, inputs=tuple(_halved(spec) for spec in unit.inputs))
    if halved.inputs != unit.inputs and _takes(halved):
        return halved
    reduced = (
        next((u for u in stand_in_units(model, reduced=True) if u.name == unit.name), None)
        if (model in STAND_INS)
        else None
    )
    whole, less = counted(unit), reduced and counted(reduced)
    return reduced if whole and less and less.flops < whole.flops else None


def _halved(spec: TensorSpec) -> TensorSpec:
    if len(spec.shape) != 4 or spec.axes or max(spec.shape[1:]) <= MULTIPLE:
        return spec
    channels, *axes = spec.shape
    return replace(
        spec, shape=(channels, *(n if n <= MULTIPLE else max(n // 2 // MULTIPLE, 1) * MULTIPLE for n in axes))
    )


def _takes(unit: Unit) -> bool:
    """Whether the network computes such shapes; it runs without memory."""
    try:
        return counted(unit) is not None
    except (RuntimeError, ValueError, AssertionError):  # torch's, and what networks say of a wrong patch
        return False


def difference(unit: Unit, run: Unit) -> str:
    """What was run in place of a unit, in words."""
    if unit is run:
        return ""
    spec = max(run.inputs, key=lambda one: len(one.shape))
    patch = "x".join(map(str, spec.shape[1:]))
    return f"patch {patch}" if run.module is unit.module else f"a reduced network, patch {patch}"
