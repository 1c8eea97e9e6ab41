"""How much memory a run may plan with: an amount that a user wrote, or what is free less a margin."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from umd_engine.errors import OptionError

UNITS = {"": 10**9, "mb": 10**6, "gb": 10**9, "mib": 1 << 20, "gib": 1 << 30}
MARGIN = 0.25  # of what is free: activations of a batch, which no program declares, and other people
PROC, CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# limit, usage and the page cache that the kernel gives back, by version of control groups
_FILES = {
    1: ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    2: ("memory.max", "memory.current", "inactive_file"),
}


def parse_bytes(text: str, where: str = "--memory") -> int:
    """Bytes of "20GB", "16GiB" or "500 MB"; a bare number is GB.

    Raises:
        OptionError: something else, or nothing at all.
    """
    found = re.fullmatch(r"(\d+\.?\d*|\.\d+)\s*(|[mg]i?b)", text.strip().lower())
    nbytes = int(float(found[1]) * UNITS[found[2]]) if found else 0
    if not 0 < nbytes < 10**15:
        raise OptionError(f"'{text}' is no amount of memory", where=where, mend="give e.g. 20GB, 16GiB or 500MB")
    return nbytes


def budget(device: torch.device) -> int:
    """Bytes that programs may declare together on a device that nobody said more about."""
    return int(free_bytes(device) * (1 - MARGIN))


def free_bytes(device: torch.device) -> int:
    """Bytes that are free: of the device, or of this machine's memory within its control groups' limits."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return free_on_host()


def free_on_host(proc: Path = PROC, groups: Path = CGROUPS) -> int:
    """The least of what the kernel calls available and of the room that each control group above us has."""
    return max(0, min([_available(proc), *_rooms(proc, groups)]))


def _available(proc: Path) -> int:
    path = proc / "meminfo"
    if path.exists():
        return _counter(path, "MemAvailable:") * 1024
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")  # no Linux: all there is


def _rooms(proc: Path, groups: Path) -> Iterator[int]:
    """The room of our control group and of each above it; limits of a container are those of the mounted root."""
    membership = proc / "self" / "cgroup"
    for line in membership.read_text(encoding="utf-8").splitlines() if membership.exists() else []:
        _, controllers, path = line.split(":", 2)
        if controllers and "memory" not in controllers.split(","):
            continue
        root, version = (groups / "memory", 1) if controllers else (groups, 2)
        folder = root / path.lstrip("/")
        for place in (folder, *folder.parents):
            if place.is_relative_to(root):
                yield from _room(place, *_FILES[version])


def _room(folder: Path, limit: str, usage: str, cache: str) -> Iterator[int]:
    try:
        most, used = (folder / limit).read_text(encoding="utf-8"), (folder / usage).read_text(encoding="utf-8")
        if most.strip() != "max":
            yield int(most) - int(used) + _counter(folder / "memory.stat", cache)
    except OSError:
        return  # no such group here, or none with a limit


def _counter(path: Path, name: str) -> int:
    """The number behind a name in a file of names and numbers; 0 where it is not there."""
    lines = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return next((int(words[1]) for words in lines if words[0] == name), 0)
