"""Devices that a run's time is derived for, and what is assumed of them and of the machine around them."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch

from umd_engine.engine.tally import Tally
from umd_engine.errors import OptionError, UnknownNameError


@dataclass(frozen=True)
class Profile:
    """A device and its host.

    Attributes:
        flops: dense products a second by precision, as the vendor says; a device need not have all.
        bandwidth, memory: bytes a second of the device's memory, and bytes of it.
        achieved: share of `flops` that networks reach. reached: share of `bandwidth`.
        launch: seconds that an operator takes at least.
        link: bytes a second from the host to the device; None: they share a memory.
        cores, readers: of the host, for one device.
        decode: bytes of voxels a second that a core decompresses. copy: bytes a second that a core converts.
        store: seconds that a case's rows take.
        source: of `flops`, `bandwidth` and `memory`.
    """

    name: str
    flops: Mapping[str, float]
    bandwidth: float
    memory: float
    source: str
    achieved: float = 0.2
    reached: float = 0.6
    launch: float = 6e-6
    link: float | None = 25e9
    cores: int = 16
    readers: int = 4
    decode: float = 600e6
    copy: float = 2e9
    store: float = 5e-3

    def rate(self, precision: str) -> float:
        """Products a second that are reached.

        Raises:
            OptionError: the device has no such precision.
        """
        if precision not in self.flops:
            raise OptionError(
                f"nothing is known of {precision} on {self.name}",
                where="--precision",
                mend=f"use {', '.join(self.flops)}",
            )
        return self.flops[precision] * self.achieved

    def seconds(self, counted: Tally, batch: int, precision: str) -> float:
        """Of a call with so many items, of the counts of one item's call.

        Products take what computing or moving takes, whichever is longer; other operators move; weights are read once
        a call; a device that is given small work waits for its operators to be launched.
        """
        halved = 2 if precision in ("fp16", "bf16") else 1
        speed = self.bandwidth * self.reached * halved
        moved = batch * (counted.product_bytes - counted.weights) + counted.weights
        products = max(batch * counted.flops / self.rate(precision), moved / speed)
        return max(products + batch * counted.other_bytes / speed, counted.operators * self.launch)

    def described(self, precision: str) -> str:
        """What is assumed, in one sentence."""
        return (
            f"{self.name}: {self.rate(precision) / 1e12:.3g} TFLOP/s in {precision} "
            f"({self.achieved:.0%} of {self.flops[precision] / 1e12:.4g}), "
            f"{self.bandwidth * self.reached / 1e12:.3g} TB/s ({self.reached:.0%} of {self.bandwidth / 1e12:.3g}), "
            f"{self.launch * 1e6:g} us an operator; for each device {self.cores} cores and {self.readers} readers of "
            f"{self.decode / 1e6:.0f} MB/s, conversion at {self.copy / 1e9:g} GB/s a core, {self.store * 1e3:g} ms to "
            f"store a case"
        )


def _tensor_cores(fp16: float, tf32: float, fp32: float) -> dict[str, float]:
    return {"fp16": fp16, "bf16": fp16, "tf32": tf32, "fp32": fp32}


DESKTOP = 8  # cores
# dense figures: the vendor's with sparsity are twice these
PROFILES = {
    profile.name: profile
    for profile in (
        Profile("h200", _tensor_cores(989e12, 494e12, 67e12), 4.8e12, 141e9, "NVIDIA H200 data sheet, SXM"),
        Profile("h100", _tensor_cores(989e12, 494e12, 67e12), 3.35e12, 80e9, "NVIDIA H100 data sheet, SXM"),
        Profile("a100", _tensor_cores(312e12, 156e12, 19.5e12), 2.039e12, 80e9, "NVIDIA A100 data sheet, 80 GB SXM"),
        Profile("l40s", _tensor_cores(362e12, 183e12, 91.6e12), 0.864e12, 48e9, "NVIDIA L40S data sheet"),
        Profile(
            "rtx4090",
            _tensor_cores(165e12, 82.6e12, 82.6e12),
            1.008e12,
            24e9,
            "NVIDIA Ada architecture white paper, fp16 with fp32 accumulation",
        ),
        Profile(
            "t4",
            {"fp16": 65e12, "fp32": 8.1e12},  # neither tf32 nor bf16 before compute capability 8
            0.3e12,
            16e9,
            "NVIDIA T4 data sheet",
            link=12.5e9,
        ),
        # GeForce below: fp16 with fp32 accumulation is twice fp32, as the white papers of GA102 and Ada list it
        Profile(
            "rtx3060",
            _tensor_cores(25.5e12, 12.7e12, 12.7e12),
            0.36e12,
            12e9,
            "NVIDIA GeForce RTX 3060, 12 GB: 3584 cores at 1.78 GHz, 192 bit at 15 Gbit/s",
            cores=DESKTOP,
        ),
        Profile(
            "rtx4060",
            _tensor_cores(30.2e12, 15.1e12, 15.1e12),
            0.272e12,
            8e9,
            "NVIDIA GeForce RTX 4060: 3072 cores at 2.46 GHz, 272 GB/s",
            link=12.5e9,
            cores=DESKTOP,
        ),
    )
}


def find_profile(name: str) -> Profile:
    """The profile of that name.

    Raises:
        UnknownNameError: suggests the nearest.
    """
    if name not in PROFILES:
        raise UnknownNameError("device profile", name, PROFILES, where="--device")
    return PROFILES[name]


def holding(nbytes: int) -> Profile:
    """The profile whose memory is the nearest that is not below `nbytes`; the largest where none is."""
    large = [profile for profile in PROFILES.values() if profile.memory >= nbytes]
    return min(
        large or [max(PROFILES.values(), key=lambda one: one.memory)], key=lambda one: (one.memory, one.flops["fp16"])
    )


def this_machine() -> Profile:
    """This machine's processors, as one matrix product and one copy show them; takes about a second."""
    cores = len(os.sched_getaffinity(0))
    square = torch.randn(2048, 2048)
    line = torch.randn(1 << 25)
    products = _best(lambda: square @ square)
    copied = _best(line.clone)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    probed = Profile(
        "this machine",
        {"fp32": 2 * 2048**3 / products},
        2 * line.nbytes / copied,
        memory,
        "one matrix product of 2048^3 and one copy of 134 MB, timed now",
    )
    return replace(probed, achieved=0.5, reached=0.5, launch=2e-6, link=None, cores=cores, readers=1)


def _best(run: object, times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        start = time.perf_counter()
        run()  # type: ignore[operator]
        seconds.append(time.perf_counter() - start)
    return min(seconds)
