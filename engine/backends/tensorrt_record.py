"""What an engine of TensorRT was built from and for, and whether it fits a machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from umd_engine.errors import BackendError

Shape = tuple[int, ...]
Profile = Mapping[str, tuple[Shape, Shape, Shape]]


@dataclass(frozen=True)
class Place:
    """A library and the device that it would run an engine on.

    Attributes:
        library: "tensorrt" or "tensorrt-rtx".
        version: the library's, all four numbers where it has four.
        capability: the device's compute capability, "9.0".
        gpu: the device's name.
        driver: version of the driver, "580.65.06".
    """

    library: str
    version: str
    capability: str
    gpu: str
    driver: str


@dataclass(frozen=True)
class EngineRecord:
    """Kept beside an engine, which says none of this in a form that can be read without a device.

    Attributes:
        capabilities: compute capabilities that the engine runs on.
        gpu, driver: what TensorRT timed its kernels on; None for TensorRT-RTX, which compiles them where it runs.
        inputs, outputs: names, in the order of the unit.
        batches: the batch of each profile.
        profiles: of each, every input's lowest, likeliest and highest shape, batch first.
        device_memory: bytes of scratch memory that the engine asks for; None where no device could be asked.
        seconds: how long the build took.
    """

    library: str
    version: str
    capabilities: tuple[str, ...]
    gpu: str | None
    driver: str | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batches: tuple[int, ...]
    profiles: tuple[Profile, ...]
    device_memory: int | None
    seconds: float

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> EngineRecord:
        """What `to_json` gave, after json has made lists of its tuples.

        Raises:
            BackendError: values are missing or of another kind.
        """
        try:
            known = dict(values)
            for name in ("capabilities", "inputs", "outputs", "batches"):
                known[name] = tuple(known[name])
            known["profiles"] = tuple(
                {name: tuple(tuple(shape) for shape in shapes) for name, shapes in profile.items()}
                for profile in known["profiles"]
            )
            return cls(**known)
        except (KeyError, TypeError, AttributeError) as error:
            raise BackendError(f"not the record of an engine: {error}", mend="export the unit again") from None


def check_fits(record: EngineRecord, here: Place) -> None:
    """An engine runs with the library's version, on the GPU and with the driver that it was built for.

    Raises:
        BackendError: one of them is another here; says all that are.
    """
    other = [
        f"{name} {built or 'unknown'} instead of {found}"
        for name, built, found in (
            ("library", record.library, here.library),
            ("version", record.version, here.version),
            ("GPU", record.gpu or here.gpu, here.gpu),
            ("driver", record.driver or here.driver, here.driver),
        )
        if built != found
    ]
    if here.capability not in record.capabilities:
        other.append(f"compute capability {' or '.join(record.capabilities)} instead of {here.capability}")
    if other:
        raise BackendError(
            f"the engine was built for another machine: {', '.join(other)}",
            mend="export the unit again on this machine",
        )
