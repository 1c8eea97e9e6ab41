"""Files that appear whole or not at all."""

from __future__ import annotations

import io
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from umd_engine.data.remote import is_remote, write_bytes


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of `path` when the block ends without an error.

    It is written beside `path` under a hidden name, so that a process killed in the middle leaves either the
    old file or none. The folder is made where it is missing. A remote file is held in memory and sent at the end.
    """
    path = Path(path)
    if is_remote(path):
        held = io.BytesIO()
        yield held
        write_bytes(path, held.getvalue())
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}.part")
    try:
        with part.open("wb") as file:
            yield file
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
