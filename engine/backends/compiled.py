"""torch.compile as a backend: the module's weights frozen, packed for this machine, one compiled form a batch size."""

from __future__ import annotations

import torch

from umd_engine.engine.backends.batches import in_sizes
from umd_engine.engine.backends.eager import autocast_of, tf32_of
from umd_engine.engine.staging import staged
from umd_engine.engine.unit import Unit
from umd_engine.engine.work import Tensors
from umd_engine.errors import BackendError

SIZES = (1, 2, 4, 8)  # compiled when first met; a batch of another size runs in pieces


class CompiledSession:
    """Runs a unit's module through torch.compile with fixed shapes and frozen weights.

    Freezing folds BatchNorm into convolutions and lays their weights out once; torch's eager convolutions lay them
    out in every call. The first call of a batch size compiles it, 10 to 60 s on two CPU threads.

    Raises:
        BackendError: the precision is useless on a CPU, or the machine lacks a C++ compiler.
    """

    def __init__(self, unit: Unit, device: torch.device, precision: str = "fp32"):
        self.autocast = autocast_of(precision, device)
        self.name, self.device, self.precision = unit.name, device, precision
        # each network of a class counts against the class's limit, beyond which dynamo would run it eagerly
        torch._dynamo.config.recompile_limit = torch._dynamo.config.accumulated_recompile_limit = 4096
        self.module = torch.compile(
            unit.module.to(device).eval(), dynamic=False, fullgraph=True, options={"freezing": True}
        )

    @torch.no_grad()
    def run(self, inputs: Tensors) -> Tensors:
        return in_sizes(self._call, inputs, SIZES)

    def _call(self, inputs: Tensors) -> Tensors:
        inputs = staged(inputs, self.device)
        try:
            with (
                tf32_of(self.precision, self.device),
                torch.autocast(self.device.type, self.autocast, enabled=self.autocast is not None),
            ):
                outputs = self.module(*inputs)
        except torch._dynamo.exc.TorchDynamoException as error:
            raise self._refused(error) from None
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return tuple(out.float() if out.is_floating_point() else out for out in outputs)

    def _refused(self, error: Exception) -> BackendError:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return BackendError(
            f"{self.name} cannot be compiled: {lines[0]}", mend="use --backend torch, or install a C++ compiler"
        )
