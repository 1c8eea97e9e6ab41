"""From requests on the command line to models, with those that cannot be loaded in their place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from umd_engine.data.labelset import load_label_set
from umd_engine.data.manifest import ScanRow
from umd_engine.errors import ModelError, OptionError, UmdEngineError
from umd_engine.evaluation.cases import plain_models
from umd_engine.models.catalog import Request
from umd_engine.models.custom.trust import joined
from umd_engine.models.model import Model, PromptedModel
from umd_engine.models.unloaded import stand_in


def parse_requests(
    models: Sequence[str], settings: Sequence[str], trust: Sequence[Path] = ()
) -> dict[Request, dict[str, str]]:
    """`NAME[@ALIAS]=PATH` and `NAME.OPTION=VALUE` texts: each request with its options.

    Args:
        trust: paths whose code may run, for models of one's own.

    Raises:
        OptionError: two models of one name, or a setting of none. And what `Request.parse` raises.
    """
    requests = {request.title: request for request in map(Request.parse, models)}
    if len(requests) < len(models):
        raise OptionError("two models have the same name", where="--model", mend="write NAME@ALIAS=PATH")
    given: dict[str, dict[str, str]] = {title: {} for title in requests}
    for text in settings:
        name, equals, value = text.partition("=")
        title, dot, option = name.rpartition(".")
        if not (equals and dot and title in given):
            names = ", ".join(requests)
            raise OptionError(f"'{text}' sets nothing", where="--set", mend=f"NAME.OPTION=VALUE with NAME of {names}")
        given[title][option] = value
    for title, request in requests.items():
        if trust and request.takes_trust:
            given[title]["trust"] = joined(trust)
    return {requests[title]: options for title, options in given.items()}


def load_models(
    requests: Mapping[Request, Mapping[str, str]], rows: Sequence[ScanRow], organs: Sequence[str]
) -> list[Model | PromptedModel]:
    """Load every model; one whose files are damaged or unsupported becomes an `UnloadedModel`.

    A path that leads nowhere is a slip on the command line and raises. An unloaded model's rows are about the
    organs asked for, or those of the other models, or those of the manifest's label sets.
    """
    loaded: dict[Request, Model | PromptedModel] = {}
    errors: dict[Request, UmdEngineError] = {}
    for request, options in requests.items():
        try:
            loaded[request] = request.load(options)
        except ModelError as error:
            errors[request] = error
    known = list(organs) or list(dict.fromkeys(o for model in plain_models(loaded.values()) for o in model.organs))
    known = known or _labelled(rows)
    return [loaded[r] if r in loaded else stand_in(r, errors[r], known) for r in requests]


def _labelled(rows: Sequence[ScanRow]) -> list[str]:
    names: dict[str, None] = {}
    for label_set in dict.fromkeys(row.label_set or "umd13" for row in rows):
        try:
            names.update(dict.fromkeys(load_label_set(label_set).ids))
        except UmdEngineError:
            continue  # the scans with this label set will say so themselves
    return list(names) or list(load_label_set("umd13").ids)
