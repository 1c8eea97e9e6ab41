"""The cache of artifacts: a folder each, named by all that its content depends on, with a sidecar that describes it.

CACHE/KIND/KEY/unit.onnx        and what belongs to it, e.g. unit.onnx.data
CACHE/KIND/KEY/artifact.json    the sidecar: see `Artifact.about`; lists every file with its SHA-256
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from umd_engine.errors import BackendError

SIDECAR = "artifact.json"
SCHEMA = 2
DRAFT = ".umd-engine-draft-"
DAY = 86400  # s
UNWRITABLE = "free space there, or set UMD_ENGINE_CACHE to a folder that can be written"


@dataclass(frozen=True)
class Artifact:
    """A finished artifact.

    Attributes:
        folder: holds its files and the sidecar.
        about: the sidecar: kind, unit, inputs and outputs, precision and its regions, versions, weights' hash, what
            was measured, a digest of all that; JSON-able. `unit` is the name of the first unit that it was made of:
            others of the same identity share it.
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
    found = opened(place)
    if (found.about["kind"], found.about["key"]) != (kind, place.name):
        raise _spoilt(place, "another one was put in its place")
    return found


def opened(folder: Path) -> Artifact:
    """A finished artifact; sidecar and files are as they were when they were made.

    Raises:
        BackendError: a file is missing or was changed, or the sidecar cannot be read or was changed.
    """
    about = _read_sidecar(folder)
    for name, digest in about["files"].items():
        if not (folder / name).is_file():
            raise _spoilt(folder, f"{name} is missing")
        if _digest(folder / name) != digest:
            raise _spoilt(folder, f"{name} was changed after it was made")
    return Artifact(folder, about)


def finished(kind: str, home: Path | None = None) -> list[Artifact]:
    """Every artifact of a kind whose sidecar can be read; its files are not looked at."""
    found = []
    for sidecar in sorted(((home or cache_folder()) / kind).glob(f"[!.]*/{SIDECAR}")):
        with suppress(BackendError):
            found.append(Artifact(sidecar.parent, _read_sidecar(sidecar.parent)))
    return found


def amended(artifact: Artifact, files: Mapping[str, Callable[[Path], object]], **said: Any) -> Artifact:
    """The artifact with more files and more in its sidecar, e.g. what was measured on it.

    Of two that amend it at once the first wins, and both use what that one wrote.

    Args:
        files: name -> writes that file.

    Raises:
        BackendError: the cache cannot be written.
    """
    with _draft(artifact.folder.parent, UNWRITABLE) as draft, _locked(artifact.folder):
        known = _read_sidecar(artifact.folder)
        if said.keys() <= known.keys():
            return Artifact(artifact.folder, known)
        for name, write in files.items():
            write(draft / name)
        digests = {**known["files"], **{name: _digest(draft / name) for name in files}}
        about = _write_sidecar(draft, {**known, **said, "files": digests})
        for name in (*files, SIDECAR):  # whoever reads meanwhile has the old sidecar, which does not list them
            (draft / name).replace(artifact.folder / name)
    return Artifact(artifact.folder, about)


def removed(artifact: Artifact) -> None:
    """Take an artifact that is not to be used out of the cache, whole."""
    with _draft(artifact.folder.parent, UNWRITABLE) as draft, suppress(FileNotFoundError):
        artifact.folder.replace(draft / artifact.folder.name)


def copied(artifact: Artifact, folder: Path) -> Artifact:
    """A copy in the user's folder, which must not hold another artifact.

    Raises:
        BackendError: the folder cannot be written, or holds something else.
    """
    if not _fills(folder):
        with _draft(folder.parent, "give another --out, or free space there") as draft:
            for name in (*artifact.about["files"], SIDECAR):  # not what backends keep beside them
                shutil.copy2(artifact.folder / name, draft / name)
            _move(draft, folder)
    if (folder / SIDECAR).is_file() and (found := opened(folder)).about["key"] == artifact.about["key"]:
        return found
    raise BackendError("the folder is not empty", where=folder, mend="give another --out, or empty it")


def _make(place: Path, kind: str, parts: Mapping[str, Any], make: Make) -> None:
    with _draft(place.parent, UNWRITABLE) as draft:
        said = make(draft)
        files = {path.name: _digest(path) for path in sorted(draft.iterdir())}
        _write_sidecar(draft, {"schema": SCHEMA, "kind": kind, "key": place.name, **said, **parts, "files": files})
        _move(draft, place)


def _move(draft: Path, place: Path) -> None:
    """Into its place whole, unless another process has put one there meanwhile."""
    draft.chmod(0o755)
    try:
        draft.replace(place)
    except OSError:
        if not _fills(place):
            raise


def _fills(folder: Path) -> bool:
    return folder.is_file() or (folder.is_dir() and any(folder.iterdir()))


@contextmanager
def _draft(parent: Path, mend: str) -> Iterator[Path]:
    """A folder that is gone when the block ends; so are those that killed processes left more than a day ago."""
    try:
        parent.mkdir(parents=True, exist_ok=True)
        for old in parent.glob(f"{DRAFT}*"):
            with suppress(FileNotFoundError):  # another process sweeps too
                if time.time() - old.stat().st_mtime > DAY:
                    shutil.rmtree(old, ignore_errors=True)
        with tempfile.TemporaryDirectory(prefix=DRAFT, dir=parent, ignore_cleanup_errors=True) as draft:
            yield Path(draft)
    except OSError as error:
        raise BackendError(f"cannot write the artifact: {error.strerror or error}", where=parent, mend=mend) from None


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Other processes and threads wait; a killed one leaves no lock."""
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, fcntl.LOCK_EX)
        yield
    finally:
        os.close(number)


def _write_sidecar(folder: Path, about: Mapping[str, Any]) -> dict[str, Any]:
    """The sidecar as it will be read: with its own digest."""
    plain: dict[str, Any] = json.loads(json.dumps({**about, "digest": None}, default=str))
    plain["digest"] = key_of(plain)
    (folder / SIDECAR).write_text(json.dumps(plain, indent=1) + "\n", encoding="utf-8")
    return plain


def _read_sidecar(folder: Path) -> dict[str, Any]:
    try:
        about: dict[str, Any] = json.loads((folder / SIDECAR).read_text(encoding="utf-8"))
        schema, digest = about["schema"], key_of({**about, "digest": None})
    except (OSError, ValueError, KeyError, TypeError):
        raise _spoilt(folder, f"its {SIDECAR} cannot be read") from None
    if schema != SCHEMA:
        raise _spoilt(folder, f"its {SIDECAR} has schema {schema}, this version reads {SCHEMA}")
    if about.get("digest") != digest:
        raise _spoilt(folder, f"its {SIDECAR} was changed after it was made")
    return about


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _spoilt(folder: Path, fault: str) -> BackendError:
    return BackendError(f"not an artifact to trust: {fault}", where=folder, mend="delete the folder; it is made again")
