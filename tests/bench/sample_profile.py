"""A profile whose figures are real: a few small convolutions and stages, timed here."""

import resource
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from umd_engine.bench.floor.repetition import QUICK
from umd_engine.bench.machine import describe
from umd_engine.bench.profile.result import (
    Ceilings,
    Energy,
    Latency,
    Memory,
    Moment,
    Profile,
    ScanRow,
    State,
    UnitRow,
)

NO_COUNTER = Energy(None, "not available: no counter")
WIDTH, PATCH = 8, (32, 32, 16)


def timed(run):
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


def latency(samples, stable=True, bimodal=False):
    ordered = sorted(samples)
    at = [ordered[min(int(part * len(ordered)), len(ordered) - 1)] for part in (0.5, 0.9, 0.99)]
    return Latency(tuple(samples), at[0], at[1], at[2] if len(ordered) >= 100 else None, stable, bimodal)


def resident():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def unit_row(model, unit, batch, calls, kernel=3, **more):
    """A convolution of 8 channels, timed `calls` times."""
    network = torch.nn.Conv3d(WIDTH, WIDTH, kernel, padding=kernel // 2)
    inputs = torch.randn(batch, WIDTH, *PATCH)
    with torch.inference_mode():
        first = timed(lambda: network(inputs))
        samples = [timed(lambda: network(inputs)) for _ in range(calls)]
    voxels = inputs[0].numel()
    return UnitRow(
        model=model, unit=unit, backend="torch", precision="fp32", device="cpu", batch=batch,
        shapes=((WIDTH, *PATCH),), cold={"load": 0.0, "first call": first}, latency=latency(samples),
        flops=2 * WIDTH * kernel**3 * voxels, nbytes=2 * 4 * voxels, memory=Memory(host=inputs.nbytes),
        energy=NO_COUNTER, file=sum(p.nbytes for p in network.parameters()), error=0.0,
        **{"status": "measured", **more},
    )  # fmt: skip


def scan_row(model, size=48, **more):
    """Stages on a small volume, each timed, and the resident set beside them."""
    began, stages, moments = time.perf_counter(), {}, []

    def stage(name, run):
        held = []
        stages[name] = timed(lambda: held.append(run()))
        moments.append(Moment(time.perf_counter() - began, resident()))
        return held[0]

    with tempfile.TemporaryDirectory() as folder, torch.inference_mode():
        path = Path(folder) / "scan.npy"
        np.save(path, np.random.default_rng(0).normal(size=(size, size, size)).astype(np.float32))
        voxels = stage("read", lambda: np.load(path))
        normal = stage("prepare", lambda: (voxels - voxels.mean()) / voxels.std())
        network = torch.nn.Conv3d(1, WIDTH, 3, padding=1)
        scores = stage("forward", lambda: network(torch.from_numpy(normal)[None, None]))
        mask = stage("finish", lambda: scores[0].max(0).indices.numpy())
        stage("metrics", lambda: np.bincount(mask.ravel()))
    whole = sum(stages.values())
    return ScanRow(
        model=model, scan=f"phantom CT {size}x{size}x{size}", backend="torch", precision="fp32", device="cpu", batch=1,
        voxels=size**3, seconds=latency([whole, whole]), stages=stages, forward={"network": stages["forward"]},
        windows=1, calls=1, memory=Memory(host=scores.nbytes), timeline=tuple(moments), energy=NO_COUNTER,
        **{"status": "measured", **more},
    )  # fmt: skip


def ceilings():
    square, source = torch.randn(256, 256), np.ones(1 << 22, np.uint8)
    product = min(timed(lambda: square @ square) for _ in range(20))
    copied = min(timed(source.copy) for _ in range(20))
    return Ceilings(copy=2 * source.nbytes / copied / 1e9, product={"fp32": 2 * 256**3 / product})


def sample(*, name="small"):
    """Two models; every mark and every status is there."""
    slow = unit_row(name, "network", 4, 10, status="unstable")
    units = (
        unit_row(name, "network", 1, 120),
        replace(slow, latency=replace(slow.latency, stable=False, bimodal=True)),
        UnitRow(name, "network", "torch", "fp32", "cpu", 8, "does not fit", "out of memory"),
        unit_row("other", "encoder", 1, 20, scaled=8.0),
        unit_row("other", "decoder", 1, 20, kernel=1, emulated=True),
        UnitRow("other", "head", "torch", "fp32", "cpu", 1, "check failed", "error 0.5"),
    )
    scans = (
        scan_row(name, cost=1.25),
        ScanRow("other", "phantom CT 48x48x48", "torch", "fp32", "cpu", 1, "not measured", "no checkpoint"),
    )
    return Profile(
        version="0.1.0", commit=None, made="2026-01-01T00:00:00+00:00", machine=describe(), rule=QUICK,
        asked={"models": [name, "other"], "quick": True}, units=units, scans=scans, ceilings={"cpu": ceilings()},
        state=State(load=0.5), protocol={name: "abc123"}, weights={name: "stand-in", "other": "stand-in"},
    )  # fmt: skip
