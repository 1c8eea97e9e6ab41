"""The models of a profile: their units, with a checkpoint or with stand-in weights."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from umd_engine.bench.profile.patch import counted
from umd_engine.engine.unit import Unit
from umd_engine.errors import OptionError
from umd_engine.exporters.artifact import key_of
from umd_engine.models.catalog import Request
from umd_engine.models.catalog.own import kind_of
from umd_engine.models.outline import outline
from umd_engine.models.stand_in import check_stand_in, stand_in_units

STAND_IN = "stand-in"


@dataclass(frozen=True)
class Subject:
    """A model as it is profiled.

    Attributes:
        name: of its rows. weights: "stand-in", or their hash. protocol: its hash.
        units: as they run. whole: FLOPs of a unit that a reduced one stands in for, by its name.
        load: seconds that its checkpoint took; None without one.
    """

    name: str
    weights: str
    protocol: str
    units: Sequence[Unit]
    whole: Mapping[str, int] = field(default_factory=dict)
    load: float | None = None


def request_of(text: str) -> Request | None:
    """The checkpoint of a `--model`; None: a name alone, which has stand-in weights.

    Raises:
        UnknownNameError, MissingFileError, OptionError: as `Request.parse`, or a name without stand-in.
    """
    if "=" in text or kind_of(text) is not None:
        return Request.parse(text)
    check_stand_in(text)
    return None


def name_of(text: str) -> str:
    """How rows name the model of a `--model`."""
    request = request_of(text)
    return text if request is None else request.title


def check_models(texts: Sequence[str]) -> None:
    """Raises:
    OptionError: two models of one name. And what `request_of` raises.
    """
    names = [name_of(text) for text in texts]
    if len(set(names)) < len(names):
        raise OptionError("two models have the same name", where="--model", mend="write NAME@ALIAS=PATH")


def subject_of(text: str, quick: bool) -> Subject:
    """Load a model, or make its stand-in.

    Args:
        quick: stand-ins are reduced.

    Raises:
        ModelError: the checkpoint cannot be used. BackendError: a library that the network comes from is missing.
    """
    request = request_of(text)
    if request is not None:
        start = time.perf_counter()
        model = request.load({})
        load = time.perf_counter() - start
        return Subject(request.title, model.weights, key_of(model.protocol), model.units, load=load)
    protocol = key_of(outline(text, text, {}).protocol)
    units = stand_in_units(text, reduced=quick)
    return Subject(text, STAND_IN, protocol, units, _flops(stand_in_units(text, weights=False)) if quick else {})


def _flops(units: Sequence[Unit]) -> dict[str, int]:
    return {unit.name: count.flops for unit in units if (count := counted(unit)) is not None}
