"""Which implementation of a kernel runs: by name, never by what happens to work."""

from __future__ import annotations

from umd_engine.errors import BackendError, OptionError

BACKENDS = ("auto", "reference", "cpu", "gpu")


def resolve(backend: str, *, on_gpu: bool, kernel: str) -> str:
    """The name of the implementation to run.

    Args:
        backend: one of `BACKENDS`; "auto" is "gpu" where the inputs lie on a CUDA device, otherwise "cpu".
        on_gpu: whether the inputs lie on a CUDA device.
        kernel: the operation's name, for the error.

    Raises:
        OptionError: an unknown name.
    """
    if backend not in BACKENDS:
        raise OptionError(f"unknown backend '{backend}' of kernel {kernel}", mend=f"one of {', '.join(BACKENDS)}")
    if backend == "auto":
        return "gpu" if on_gpu else "cpu"
    return backend


def missing_library(kernel: str, backend: str, library: str) -> BackendError:
    """The error of a named backend whose library is not installed."""
    return BackendError(
        f"backend '{backend}' of kernel {kernel} needs {library}, which is not installed",
        mend=f"install {library} or name another backend",
    )


def missing_device(kernel: str) -> BackendError:
    """The error of the GPU backend on a machine without a CUDA device."""
    return BackendError(
        f"backend 'gpu' of kernel {kernel} needs a CUDA device and there is none", mend="use backend 'cpu'"
    )
