"""What the doctor found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter

KIND = "umd-engine doctor"
WORKS, FAILS, MISSING, ABSENT, NEVER = "works", "fails", "missing", "no device", "-"


@dataclass(frozen=True)
class Row:
    """One thing on one device.

    Attributes:
        name: a backend, or a kernel. device: "cpu", "cuda:0"; "cuda" where there is none.
        status: works; fails (it is there, and an answer is wrong, late or an error); missing (a library is not
            installed); no device; "-": nothing of it runs on such a device.
        reason: of a failure. mend: what to do, a command where one helps. seconds: that the try took.
    """

    name: str
    device: str
    status: str
    reason: str = ""
    mend: str = ""
    seconds: float = 0.0


@dataclass(frozen=True)
class Fault:
    """Versions that are known not to go together.

    Attributes:
        found: what is installed. reason: what happens. source: who saw it. mend: a command.
    """

    found: str
    reason: str
    source: str
    mend: str


@dataclass(frozen=True)
class Diagnosis:
    """Attributes:
    versions: of what is installed, by distribution; None: it is not.
    facts: of the machine, as `here.facts` says; `reason` alone where torch could not be asked.
    providers: that ONNX Runtime offers. cache: folder, bytes in it, bytes free on its disk.
    backends, kernels: a row each and device. faults: known bad versions.
    device: that "auto" means here, or the one that was asked for.
    """

    version: str
    versions: Mapping[str, str | None]
    facts: Mapping[str, Any]
    providers: tuple[str, ...]
    cache: tuple[str, int, int]
    backends: tuple[Row, ...]
    kernels: tuple[Row, ...]
    faults: tuple[Fault, ...]
    device: str
    kind: str = KIND

    @property
    def healthy(self) -> bool:
        """Whether the default path works: torch on the device."""
        return any((row.name, row.device, row.status) == ("torch", self.device, WORKS) for row in self.backends)

    @property
    def json(self) -> str:
        return json.dumps(asdict(self), indent=1)


def from_json(text: str) -> Diagnosis:
    """What `Diagnosis.json` wrote."""
    return TypeAdapter(Diagnosis).validate_json(text)
