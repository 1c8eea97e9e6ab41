"""Whole scans: every model on one scan, from file to rows."""

from __future__ import annotations

import signal
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from pydantic import TypeAdapter

from umd_engine.bench.floor.repetition import FULL, Rule
from umd_engine.bench.profile.asked import Asked
from umd_engine.bench.profile.result import Ceilings, ScanRow
from umd_engine.bench.profile.scan_worker import Order, failed
from umd_engine.bench.profile.scanned import Scanned, given, phantom
from umd_engine.bench.profile.subject import request_of
from umd_engine.bench.profile.worker import conv_of

GLANCE = Rule(window=0.02, warm=0.05, most=4, budget=0.5)  # of `quick`


def scan_rows(
    asked: Asked,
    ceilings: Mapping[str, Ceilings] | None = None,
    wrong: Mapping[str, str] = MappingProxyType({}),
    begun: Callable[[str], None] = lambda line: None,
) -> Iterator[ScanRow]:
    """A row a model, in a fresh process each; with `quick` one process for all of them, whose start takes longer than
    a small scan.

    Without a scan it is a phantom CT, full-size on a CUDA device, else small; with `quick` a part of a small one, but
    for models with a checkpoint.

    Args:
        ceilings: of the device, by which a call that takes too long is known before it is made.
        wrong: models that are not run, with the reason.
        begun: told a line before each scan.
    """
    conv = conv_of(ceilings[asked.device].conv, asked.precision) if ceilings and asked.device in ceilings else None
    with tempfile.TemporaryDirectory() as folder:
        scans = _scans(asked, Path(folder))
        for text in asked.models:
            if (why := wrong.get(name_of(text))) is not None:
                yield failed(text, scans[text], asked, "not measured", why)
        models = tuple(text for text in asked.models if name_of(text) not in wrong)
        for part in [models] * bool(models) if asked.quick else [(text,) for text in models]:
            scanned = tuple(scans[text] for text in part)
            order = Order(replace(asked, models=part), scanned, GLANCE if asked.quick else FULL, conv)
            yield from _followed(order, begun)


def _scans(asked: Asked, folder: Path) -> Mapping[str, Scanned]:
    """The scan of every model."""
    if asked.scan is not None:
        return dict.fromkeys(asked.models, given(folder, asked.scan))
    whole = [text for text in asked.models if not asked.quick or request_of(text) is not None]
    size = "full" if torch.device(asked.device).type == "cuda" and not asked.quick else "small"
    found = dict.fromkeys(whole, phantom(folder, size)) if whole else {}
    if len(whole) < len(asked.models):
        found = dict.fromkeys(asked.models, phantom(folder, "small", part=True)) | found
    return found


def _followed(order: Order, begun: Callable[[str], None]) -> Iterator[ScanRow]:
    """The rows that a process tells; where it dies, the model that it was at says so and another one goes on."""
    status, done = 0, 0
    for kind, content in order.job().follow():
        if kind == "begin":
            begun(f"{content['model']}: a scan")
        elif kind == "row":
            done += 1
            yield TypeAdapter(ScanRow).validate_python(content)
        else:
            status = content
    if status and done < len(order.asked.models):
        why = ("failed", f"its process ended with {status}")
        if status == -signal.SIGKILL:
            why = ("does not fit", "its process was killed, most likely for want of memory")
        yield failed(order.asked.models[done], order.scanned[done], order.asked, *why)
        left = replace(order.asked, models=order.asked.models[done + 1 :])
        if left.models:
            yield from _followed(replace(order, asked=left, scanned=order.scanned[done + 1 :]), begun)
