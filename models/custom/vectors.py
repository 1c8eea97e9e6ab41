"""The vectors of a text-prompted network: a local file, a vector a text."""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from umd_engine.errors import CheckpointError, MissingFileError, ModelError, PromptError
from umd_engine.models.catalog.folder import sha256_of

SHOWN = 8  # texts that a message lists
_DAMAGE = (ValueError, OSError, EOFError, KeyError, BadZipFile, NotImplementedError, zlib.error)


@dataclass(frozen=True, eq=False)
class Vectors:
    """A vector a text.

    Attributes:
        of_text: text, stripped and in one case, -> float32 [length].
        digest: SHA-256 of the file.
    """

    path: Path
    of_text: Mapping[str, torch.Tensor]
    digest: str

    def find(self, text: str) -> torch.Tensor:
        """float32 [length].

        Raises:
            PromptError: the file has no vector for it; names near ones.
        """
        if (found := self.of_text.get(_plain(text))) is not None:
            return found
        near = difflib.get_close_matches(_plain(text), self.of_text, n=3)
        more = f" and {len(self.of_text) - SHOWN} more" if len(self.of_text) > SHOWN else ""
        known = f"it has {', '.join(sorted(self.of_text)[:SHOWN])}{more}"
        mend = f"did you mean {' or '.join(near)}?" if near else known
        raise PromptError(f"no vector for the text '{text}'", where=self.path, mend=mend)


def read_vectors(path: Path, length: int) -> Vectors:
    """The vectors of an .npz file, one array a text, as `numpy.savez(file, **vectors)` writes it; never a pickle.

    Raises:
        MissingFileError: no such file. CheckpointError: no .npz file, or one with Python objects in it.
        ModelError: no vector, one that is not float32 [length] and finite, or two of one text.
    """
    if not path.is_file():
        raise MissingFileError("no such file of vectors", where=path, mend="mend texts.file of the description")
    found: dict[str, torch.Tensor] = {}
    for text, array in _arrays(path).items():
        fault = _fault(array, length)
        if _plain(text) in found:
            fault = "is there twice"
        if fault:
            mend = "save a float32 vector a text; texts.length says how long they are"
            raise ModelError(f"'{text}' {fault}", where=path, mend=mend)
        found[_plain(text)] = torch.from_numpy(array)
    if not found:
        raise ModelError("it holds no vector", where=path, mend="save a float32 vector a text with numpy.savez")
    return Vectors(path, found, sha256_of(path))


def _arrays(path: Path) -> dict[str, np.ndarray]:
    try:
        with path.open("rb") as file, np.lib.npyio.NpzFile(file, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except _DAMAGE as error:
        raise CheckpointError(
            f"not a readable .npz file of vectors ({type(error).__name__}: {str(error)[:80]})",
            where=path,
            mend="save it again with numpy.savez",
        ) from None


def _fault(array: np.ndarray, length: int) -> str:
    if not isinstance(array, np.ndarray) or array.dtype != np.float32:  # a member that is no array is bytes
        return f"is {getattr(array, 'dtype', 'no array')}, not float32"
    if array.shape != (length,):
        return f"has the shape {list(array.shape)}, not [{length}]"
    return "" if np.isfinite(array).all() else "is not finite"


def _plain(text: str) -> str:
    return text.strip().casefold()
