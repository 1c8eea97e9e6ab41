"""The vectors of a text-prompted network: a local file, a vector a text."""

from __future__ import annotations

import difflib
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

import numpy as np
import torch

from umd_engine.errors import CheckpointError, MissingFileError, ModelError, PromptError
from umd_engine.models.catalog.folder import sha256_of

SHOWN = 8  # texts that a message lists
_DAMAGE = (ValueError, OSError, EOFError, KeyError, BadZipFile, RuntimeError, zlib.error)
_HEADERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


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
    try:
        with ZipFile(path) as stored:
            for member in stored.infolist():
                text, vector = _vector(stored, member, length, path)
                if _plain(text) in found:
                    raise _unfit(text, "is there twice", path)
                found[_plain(text)] = torch.from_numpy(vector)
    except _DAMAGE as error:
        raise CheckpointError(
            f"not a readable .npz file of vectors ({type(error).__name__}: {str(error)[:80]})",
            where=path,
            mend="save it again with numpy.savez",
        ) from None
    if not found:
        raise ModelError("it holds no vector", where=path, mend="save a float32 vector a text with numpy.savez")
    return Vectors(path, found, sha256_of(path))


def _unfit(text: str, fault: str, path: Path) -> ModelError:
    mend = "save a float32 vector a text; texts.length says how long they are"
    return ModelError(f"'{text}' {fault}", where=path, mend=mend)


def _vector(stored: ZipFile, member: ZipInfo, length: int, path: Path) -> tuple[str, np.ndarray]:
    """A text and its float32 [length]; of an array that is no such vector only the header is read."""
    text = member.filename.removesuffix(".npy")
    if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        raise ValueError("packed as NumPy does not pack")
    with stored.open(member) as file:
        if text == member.filename:
            raise _unfit(text, "is no array", path)
        version = np.lib.format.read_magic(file)
        if version not in _HEADERS:
            raise ValueError("an array with fields")
        shape, _, dtype = _HEADERS[version](file)
        if dtype.hasobject:
            raise ValueError("Object arrays cannot be loaded when allow_pickle=False")
        if dtype != np.float32:
            raise _unfit(text, f"is {dtype}, not float32", path)
        if shape != (length,):
            raise _unfit(text, f"has the shape {list(shape)}, not [{length}]", path)
        content = file.read(4 * length + 1)  # one more: to the end, where the sum is checked
    if len(content) != 4 * length:
        raise ValueError(f"'{text}' is shorter or longer than its shape")
    vector = np.frombuffer(content, np.float32).copy()
    if not np.isfinite(vector).all():
        raise _unfit(text, "is not finite", path)
    return text, vector


def _plain(text: str) -> str:
    return text.strip().casefold()
