"""Who may run code: files that execute code when they are opened run only where the user trusts them by path."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from umd_engine.errors import OptionError

OPTION = "--trust"


@dataclass(frozen=True)
class Options:
    """What a user may choose of a model of one's own.

    Attributes:
        trust: paths whose code may run, as of --trust: a description, its folder, or a network file; several are
            separated as in PATH.
    """

    trust: str = ""


def joined(paths: Iterable[str | Path]) -> str:
    return os.pathsep.join(str(Path(path).resolve()) for path in paths)


def require_trust(file: Path, description: Path, kind: str, trust: str) -> None:
    """Raise OptionError unless the user trusts the file, its description or the folder that the description is in."""
    trusted = {Path(path).resolve() for path in trust.split(os.pathsep) if path}
    if not trusted & {file.resolve(), description.resolve(), description.resolve().parent}:
        raise OptionError(
            f"a file of format {kind} can run code when it is opened, and was not",
            where=file,
            mend=f"if you know who made it, add {OPTION} {description}; ONNX needs no trust",
        )
