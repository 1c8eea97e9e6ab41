"""Windows against what scripts do: skimage's resize a class, torch's slices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.nn.functional import interpolate

from umd_engine.bench.floor import Entry, Promise
from umd_engine.kernels.windows import accumulate, cases, finish, gather, reference

OLD, NEW, HEADS = (128, 128, 150), (256, 256, 300), 14
RESIZE = "skimage.transform.resize(mean[h].astype(float), shape, order=1, mode='edge', anti_aliasing=False)"
TARGET, MEMORY_TARGET = 5.0, 1 / 3
ACCUMULATE, GATHER = Promise("H200", seconds=90e-6), Promise("H200", share=0.85)


def entries() -> list[Entry]:
    """The inputs are made when first used: each entry's `run` shares them."""
    return [*_finish("organs", noise=0.3), *_finish("noise", noise=30.0), *_accumulate(), *_gather()]


def organ_sums(noise: float, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """sums [14, *OLD] and total [*OLD] of logits: 13 ellipsoids of 8 to 28 voxels' radius, background, and noise."""
    rng = np.random.default_rng(seed)
    axes = np.ogrid[tuple(slice(n) for n in OLD)]
    logits = np.empty((HEADS, *OLD), np.float32)
    for head in range(1, HEADS):
        centre, radii = rng.uniform(0.2, 0.8, 3) * OLD, rng.uniform(8, 28, 3)
        away = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, radii, strict=True))
        logits[head] = np.clip(8 * (1 - np.sqrt(away)), -6, 6)
    logits[0] = -logits[1:].max(axis=0)
    logits += noise * rng.standard_normal(logits.shape, np.float32)
    total = rng.uniform(1, 30, OLD).astype(np.float32)
    return logits * total, total


def resize_and_argmax(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    """nnU-Net's export: every class resized in float64, kept in float32, then the largest."""
    from skimage.transform import resize

    mean = sums / total
    resized = np.zeros((HEADS, *NEW), np.float32)
    for head in range(HEADS):
        resized[head] = resize(mean[head].astype(float), NEW, order=1, mode="edge", anti_aliasing=False)
    return resized.argmax(0).astype(np.uint8)


def interpolate_and_argmax(sums: np.ndarray, total: np.ndarray) -> np.ndarray:
    mean = torch.from_numpy(sums / total)
    return interpolate(mean[None], NEW, mode="trilinear")[0].argmax(0).to(torch.uint8).numpy()


def _finish(name: str, noise: float) -> list[Entry]:
    sums, total = organ_sums(noise)
    moved = cases.FinishCase(name, OLD, NEW, heads=HEADS).bytes_moved
    case = f"finish, 14 x 128x128x150 -> 256x256x300, {name}"

    def check(found: Any) -> None:
        """Every sixteenth plane is the reference's, but where heads are nearer than 1e-5 of their range."""
        labels = found.cpu().numpy() if isinstance(found, torch.Tensor) else found
        for plane in range(0, NEW[0], 16):
            logits = reference.resampled(sums, total, NEW, (1, 1, 1), plane)
            chosen = np.take_along_axis(logits, labels[plane][None].astype(int), 0)[0]
            if not (logits.max(axis=0) - chosen < cases.NEAR_TIE * np.ptp(logits)).all():
                raise AssertionError(f"plane {plane} is not the reference's")

    gpu = _on_gpu(lambda device: finish(device[0], NEW, total=device[1]), sums, total)
    peers = {
        "skimage resize x 14 + argmax": (lambda: resize_and_argmax(sums, total), f"{RESIZE} x 14; argmax(0)", TARGET),
        "torch interpolate + argmax": (
            lambda: interpolate_and_argmax(sums, total),
            "torch.nn.functional.interpolate(mean[None], shape, mode='trilinear')[0].argmax(0)",
            0.0,
        ),
    }
    rows = [
        Entry("windows", "cpu", case, lambda: finish(sums, NEW, total=total), moved, check, memory=True),
        Entry("windows", "gpu", case, gpu, moved, check),
    ]
    for peer, (run, call, target) in peers.items():
        if name == "organs" or peer.startswith("torch"):
            least = MEMORY_TARGET if target else 0.0
            row = Entry("windows", f"peer:{peer}", case, run, 0, check, True, call, memory=True, target=target)
            rows.append(replace(row, memory_target=least))
    return rows


def _accumulate() -> list[Entry]:
    case = cases.SumCase("128^3", (256, 256, 256), (128, 128, 128), heads=HEADS, windows=1, logits="float16")
    sums, weights, logits, starts, flips = case.make()
    label = "accumulate, 14 x 128^3 float16 into float32"
    tensors = [torch.from_numpy(array) for array in (sums, weights, logits)]
    box = tuple(slice(s, s + n) for s, n in zip(starts[0], case.patch, strict=True))
    once = sums.copy()
    accumulate(once, weights, logits, starts, flips=flips, backend="reference")

    def run_cpu() -> None:
        accumulate(tensors[0], tensors[1], tensors[2], starts, flips=flips)

    def run_peer() -> None:
        window = torch.flip(tensors[2][0], [axis + 1 for axis in flips[0]]).float()
        tensors[0][(slice(None), *box)] += window * tensors[1]

    there = cache(lambda: [tensor.cuda() for tensor in tensors])

    def run_gpu() -> None:
        accumulate(there()[0], there()[1], there()[2], starts, flips=flips)

    def check(
        run: Callable[[], Any], held: Callable[[], list[torch.Tensor]] = lambda: tensors
    ) -> Callable[[Any], None]:
        def once_more(_: Any) -> None:
            target = held()[0]
            target.copy_(torch.from_numpy(case.make()[0]))
            run()
            if not np.allclose(target.cpu().numpy(), once, rtol=0, atol=2e-6 * np.abs(once).max()):
                raise AssertionError("sums are not the reference's")

        return once_more

    return [
        Entry("windows", "cpu", label, run_cpu, case.bytes_moved, check(run_cpu)),
        Entry("windows", "gpu", label, run_gpu, case.bytes_moved, check(run_gpu, there), promise=ACCUMULATE),
        Entry(
            "windows", "peer:torch slices", label, run_peer, 0, check(run_peer), True,
            "sums[:, box] += logits[0].flip(axes).float() * weights",
        ),
    ]  # fmt: skip


def _gather() -> list[Entry]:
    case = cases.GatherCase("128^3", ((1, 300, 300, 200),), (128, 128, 128), windows=4, pixel="int16", outside=16)
    arguments = case.make()
    label = "gather, 4 x 128^3 of int16 into float32, some voxels outside"
    volume = torch.from_numpy(arguments["volumes"][0])
    low, high, mean, std = arguments["intensity"][0, 0].tolist()
    expected = gather(**arguments, backend="reference")

    def peer() -> torch.Tensor:
        normalized = volume.float().clamp_(low, high).sub_(mean).div_(std)
        padded = torch.nn.functional.pad(normalized, (16,) * 6, value=arguments["padding"])
        windows = []
        for start, axes in zip(arguments["starts"] + 16, arguments["flips"], strict=True):
            box = tuple(slice(s, s + n) for s, n in zip(start, case.patch, strict=True))
            windows.append(padded[(slice(None), *box)].flip([axis + 1 for axis in axes]))
        return torch.stack(windows)

    def check(found: Any) -> None:
        array = found.cpu().numpy() if isinstance(found, torch.Tensor) else found
        if not np.allclose(array, expected, rtol=0, atol=2e-6 * np.abs(expected).max()):
            raise AssertionError("windows are not the reference's")

    gpu = _on_gpu(lambda device: gather(device[0], **{k: v for k, v in arguments.items() if k != "volumes"}), volume)
    call = "volume.float().clamp_().sub_().div_(); pad; stack of slices, flipped"
    return [
        Entry("windows", "cpu", label, lambda: gather(**arguments), case.bytes_moved, check),
        Entry("windows", "gpu", label, gpu, case.bytes_moved, check, promise=GATHER),
        Entry("windows", "peer:torch on the whole volume", label, peer, 0, check, True, call),
    ]


def _on_gpu(run: Callable[[list[torch.Tensor]], Any], *arrays: Any) -> Callable[[], Any]:
    """`run` with the arrays on the device, moved there at the first call."""
    moved: list[torch.Tensor] = []

    def call() -> Any:
        if not moved:
            moved.extend(torch.as_tensor(array).cuda() for array in arrays)
        return run(moved)

    return call
