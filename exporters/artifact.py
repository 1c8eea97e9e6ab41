"""The cache of artifacts: a folder each, named by all that its content depends on, with a sidecar that describes it.

CACHE/KIND/KEY/unit.onnx        and what belongs to it, e.g. unit.onnx.data
CACHE/KIND/KEY/artifact.json    the sidecar: see `Artifact.about`; lists every file with its SHA-256
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umd_engine.errors import BackendError

SIDECAR = "artifact.json"
SCHEMA = 1
UNWRITABLE = "set UMD_ENGINE_CACHE to a folder that can be written"


@dataclass(frozen=True)
class Artifact:
    """A finished artifact.

    Attributes:
        folder: holds its files and the sidecar.
        about: the sidecar: kind, unit, inputs and outputs, precision and its regions, versions, weights' hash, what
            was measured; JSON-able.
    """

    folder: Path
    about: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The file that a backend opens."""
        return self.folder / self.about["file"]


Make = Callable[[Path], Mapping[str, Any]]


def cache_folder() -> Path:
    """`UMD_ENGINE_CACHE`, or `umd-engine` in the user's cache folder."""
    if path := os.environ.get("UMD_ENGINE_CACHE"):
        return Path(path)
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "umd-engine"


def key_of(parts: Mapping[str, Any]) -> str:
    """A name for everything that an artifact depends on."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:32]


def cached(kind: str, parts: Mapping[str, Any], make: Make, home: Path | None = None) -> Artifact:
    """The artifact that `parts` describe, made when the cache has none.

    It is made in a folder of its own and moved into place whole, so that a half-written one is never seen; of two
    that make it at once the first to finish wins, and both use that one.

    Args:
        make: writes the files into an empty folder and returns what the sidecar says besides `parts`, which it cannot
            change; "file" names the one that a backend opens.
        home: the cache; default `cache_folder()`.

    Raises:
        BackendError: the cache cannot be written, or the artifact was changed after it was made.
    """
    home = home or cache_folder()
    place = home / kind / key_of(parts)
    if not place.exists():
        _make(place, kind, parts, make)
    return opened(place)


def opened(folder: Path) -> Artifact:
    """A finished artifact; every file is as it was when it was made.

    Raises:
        BackendError: a file is missing or was changed, or the sidecar cannot be read.
    """
    try:
        about = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        written = about["files"]
        schema = about["schema"]
    except (OSError, ValueError, KeyError, TypeError):
        raise _spoilt(folder, f"its {SIDECAR} cannot be read") from None
    if schema != SCHEMA:
        raise _spoilt(folder, f"its {SIDECAR} has schema {schema}, this version reads {SCHEMA}")
    for name, digest in written.items():
        if not (folder / name).is_file():
            raise _spoilt(folder, f"{name} is missing")
        if _digest(folder / name) != digest:
            raise _spoilt(folder, f"{name} was changed after it was made")
    return Artifact(folder, about)


def finished(kind: str, home: Path | None = None) -> list[Artifact]:
    """Every artifact of a kind whose sidecar can be read, unchecked."""
    found = []
    for sidecar in sorted(((home or cache_folder()) / kind).glob(f"[!.]*/{SIDECAR}")):
        try:
            found.append(Artifact(sidecar.parent, json.loads(sidecar.read_text(encoding="utf-8"))))
        except (OSError, ValueError):
            continue
    return found


def amended(artifact: Artifact, files: Mapping[str, Callable[[Path], object]], **said: Any) -> Artifact:
    """The artifact with more files and more in its sidecar, e.g. what was measured on it.

    Args:
        files: name -> writes that file.

    Raises:
        BackendError: the cache cannot be written.
    """
    try:
        for name, write in files.items():
            draft = artifact.folder / f".draft-{os.getpid()}-{name}"
            write(draft)
            draft.replace(artifact.folder / name)
        digests = {**artifact.about["files"], **{name: _digest(artifact.folder / name) for name in files}}
        about = {**artifact.about, **said, "files": digests}
        _write_sidecar(artifact.folder, about)
    except OSError as error:
        raise _unwritable(artifact.folder, error, UNWRITABLE) from None
    return Artifact(artifact.folder, about)


def copied(artifact: Artifact, folder: Path) -> Artifact:
    """A copy in the user's folder, which must not hold another artifact.

    Raises:
        BackendError: the folder cannot be written, or holds something else.
    """
    if folder.exists() and any(folder.iterdir()):
        if (folder / SIDECAR).is_file() and opened(folder).about["key"] == artifact.about["key"]:
            return opened(folder)
        raise BackendError("the folder is not empty", where=folder, mend="give another --out, or empty it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    except OSError as error:
        raise _unwritable(folder.parent, error, "give another --out") from None
    try:
        for name in (*artifact.about["files"], SIDECAR):  # not what backends keep beside them
            shutil.copy2(artifact.folder / name, draft / name)
        draft.chmod(0o755)
        draft.replace(folder)
    except OSError as error:
        raise _unwritable(folder, error, "give another --out, or free space there") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return opened(folder)


def _make(place: Path, kind: str, parts: Mapping[str, Any], make: Make) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=place.parent))
    except OSError as error:
        raise _unwritable(place.parent, error, UNWRITABLE) from None
    try:
        said = make(draft)
        files = {path.name: _digest(path) for path in sorted(draft.iterdir())}
        about = {"schema": SCHEMA, "kind": kind, "key": place.name, **said, **parts, "files": files}
        _write_sidecar(draft, about)
        draft.chmod(0o755)
        draft.replace(place)
    except OSError as error:
        if not place.exists():  # another process has not put it there either
            raise _unwritable(place, error, "free space there, or set UMD_ENGINE_CACHE") from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _write_sidecar(folder: Path, about: Mapping[str, Any]) -> None:
    draft = folder / f".{os.getpid()}-{SIDECAR}"
    draft.write_text(json.dumps(about, indent=1, default=str) + "\n", encoding="utf-8")
    draft.replace(folder / SIDECAR)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unwritable(place: Path, error: OSError, mend: str) -> BackendError:
    return BackendError(f"cannot write the artifact: {error.strerror or error}", where=place, mend=mend)


def _spoilt(folder: Path, fault: str) -> BackendError:
    return BackendError(f"not an artifact to trust: {fault}", where=folder, mend="delete the folder; it is made again")
