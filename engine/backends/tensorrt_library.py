"""One door to TensorRT 10.x and 11.x and to TensorRT-RTX: what differs between them is known here alone."""

from __future__ import annotations

import ctypes
import importlib
from functools import cache
from typing import Any

import torch

from umd_engine.engine.backends.tensorrt_record import Place
from umd_engine.errors import BackendError, UnknownNameError

_MODULES = {"tensorrt": "tensorrt", "tensorrt-rtx": "tensorrt_rtx"}
LIBRARIES = tuple(_MODULES)
# what TensorRT-RTX builds for when nothing is named (its documentation, "CPU-Only AOT and TensorRT-RTX Engines")
_PORTABLE = ("8.0", "8.6", "8.9", "12.0")


class TensorRTLibrary:
    """An imported TensorRT.

    Attributes:
        name: "tensorrt" or "tensorrt-rtx".
        module: its Python module, the same names in all three for what is used here.
        logger: the one logger of the process; TensorRT keeps the first that it is given.
        errors: what the library called an error, oldest first, until cleared.
    """

    def __init__(self, name: str, module: Any):
        self.name, self.module, self.version = name, module, str(module.__version__)
        self.errors: list[str] = []
        self.logger = _logger(module, self.errors)

    def __str__(self) -> str:
        return f"{'TensorRT-RTX' if self.is_rtx else 'TensorRT'} {self.version}"

    @property
    def is_rtx(self) -> bool:
        return self.name == "tensorrt-rtx"

    def create_network(self, builder: Any) -> Any:
        """A strongly typed network: a flag until TensorRT 10, the only kind from 11 on."""
        flag = getattr(self.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
        return builder.create_network(0 if flag is None else 1 << int(flag))

    def set_target(self, config: Any, capability: str | None) -> tuple[str, ...]:
        """Choose what the engine is built for; the compute capabilities that it will run on.

        Raises:
            BackendError: TensorRT without its device, a capability that the library does not build for.
        """
        if not self.is_rtx:
            own = _capability(torch.device("cuda")) if torch.cuda.is_available() else None
            if own is None or capability not in (None, own):
                raise BackendError(
                    f"TensorRT builds for the GPU of this machine, compute capability {own or 'none'}",
                    mend="build where the engine will run, or use tensorrt-rtx",
                )
            return (own,)
        # an engine that allocates nothing while it runs can be captured as a CUDA graph
        config.set_flag(self.module.BuilderFlag.REQUIRE_USER_ALLOCATION)
        if capability is None:
            return _PORTABLE
        known = {
            f"{name[2:-1]}.{name[-1]}": value
            for name, value in self.module.ComputeCapability.__members__.items()
            if name.startswith("SM")
        }
        if capability not in known:
            raise BackendError(
                f"{self} does not build for compute capability {capability}", mend=f"known: {', '.join(known)}"
            )
        config.num_compute_capabilities = 1
        config.set_compute_capability(known[capability], 0)
        return (capability,)

    def create_context(self, engine: Any) -> Any:
        """An execution context with scratch memory for the one profile that it will be given; None on failure."""
        strategy = self.module.ExecutionContextAllocationStrategy.ON_PROFILE_CHANGE
        if not self.is_rtx:
            return engine.create_execution_context(strategy)
        config = engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(strategy)
        # kernels of the profile's shapes before the first call, not in a thread beside it: a CUDA graph keeps them
        config.dynamic_shapes_kernel_specialization_strategy = (
            self.module.DynamicShapesKernelSpecializationStrategy.EAGER
        )
        return engine.create_execution_context(config)

    def place(self, device: torch.device) -> Place:
        """This library and a CUDA device of this machine."""
        name = torch.cuda.get_device_name(device)
        return Place(self.name, self.version, _capability(device), name, driver_version() or "unknown")


@cache
def open_tensorrt(name: str) -> TensorRTLibrary:
    """TensorRT by the name of its extra.

    Raises:
        UnknownNameError: neither tensorrt nor tensorrt-rtx.
        BackendError: it is not installed, cannot be loaded, or is of a version that is not known here.
    """
    if name not in _MODULES:
        raise UnknownNameError("TensorRT library", name, LIBRARIES)
    mend = f"pip install 'umd-engine[{name}]'"
    try:
        module = importlib.import_module(_MODULES[name])
    except ImportError:
        raise BackendError(f"{name} is not installed", mend=mend) from None
    except (OSError, RuntimeError) as error:
        raise BackendError(f"{name} cannot be loaded: {error}", mend=mend) from None
    library = TensorRTLibrary(name, module)
    if not library.is_rtx and library.version.split(".")[0] not in ("10", "11"):
        raise BackendError(f"{library} is not supported, 10 and 11 are", mend=mend)
    return library


def driver_version() -> str | None:
    """Version of NVIDIA's driver by its management library; None where there is none."""
    text = ctypes.create_string_buffer(96)
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return None
    if nvml.nvmlInit_v2() != 0:
        return None
    found = nvml.nvmlSystemGetDriverVersion(text, ctypes.c_uint(len(text))) == 0
    nvml.nvmlShutdown()
    return text.value.decode() if found else None


def _capability(device: torch.device) -> str:
    major, minor = torch.cuda.get_device_capability(device)
    return f"{major}.{minor}"


def _logger(module: Any, errors: list[str]) -> Any:
    severity = module.ILogger.Severity

    class Logger(module.ILogger):
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, level: Any, message: str) -> None:
            if level in (severity.INTERNAL_ERROR, severity.ERROR):
                errors.append(message)

    return Logger()
