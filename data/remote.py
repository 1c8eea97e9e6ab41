"""Files on other machines: a path may be a URL that fsspec opens (s3://, gs://, https://, ...).

A `Path` folds the slashes of a URL ("s3://bucket/x" is Path("s3:/bucket/x")), and this module unfolds them: a path
whose first part is a scheme of two letters or more with a colon is remote.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from umd_engine.errors import DataError, shown

_REMOTE = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/+(?!/)")
HEADER_BLOCK = 1 << 18  # a request's bytes where only a header is wanted: a block of the decompressor
VERSIONS = ("ETag", "etag", "LastModified", "last_modified", "mtime", "created")  # of fsspec's info, the best first
BLOCK = 16 << 20  # where a file is read through: one request a block, one block in memory


def is_remote(path: str | Path) -> bool:
    return _REMOTE.match(str(path)) is not None


def url_of(path: str | Path) -> str:
    """The URL that a remote path stands for."""
    scheme, _, rest = str(path).partition(":")
    return f"{scheme}://{'/' if scheme == 'file' else ''}{rest.lstrip('/')}"  # a file of this machine has no host


def joined(folder: Path, name: str) -> Path:
    """A path from a table: absolute, a URL, or relative to `folder`, which may be remote."""
    if is_remote(name):
        return Path(name)
    return Path(os.path.normpath(folder / name)) if is_remote(folder) else folder / name  # no store knows ".."


def absolute(folder: Path) -> Path:
    """A folder that does not depend on where the command runs."""
    return folder if is_remote(folder) else folder.resolve()


def found_below(folder: Path) -> Callable[[Path], bool]:
    """Tells whether a file is there; one below a remote folder, from one listing of it.

    Raises:
        OSError, DataError: as `read_bytes`.
    """
    if not is_remote(folder):
        return Path.exists
    found = set(_told(folder, lambda system, name: system.invalidate_cache() or system.find(name)))
    return lambda path: _told(path, lambda _, name: name in found)


def size_and_version(path: Path) -> tuple[int, str | None]:
    """A remote file's bytes (-1: not told), and a text that changes with its content, where its file system has one.

    Raises:
        OSError, DataError: as `read_bytes`.
    """
    found = _told(path, lambda system, name: system.invalidate_cache() or system.info(name))
    versions = [str(found[key]) for key in VERSIONS if found.get(key) is not None]
    size = found.get("size")
    return -1 if size is None else int(size), versions[0] if versions else None


def read_bytes(path: Path) -> bytes:
    """A whole file.

    Raises:
        OSError: it cannot be read. DataError: its scheme needs a package that is not installed.
    """
    return bytes(_told(path, lambda system, name: system.cat_file(name))) if is_remote(path) else path.read_bytes()


def write_bytes(path: Path, content: bytes) -> None:
    """A whole remote file; object stores show it when all of it is there.

    Raises:
        OSError, DataError: as `read_bytes`.
    """
    _told(path, lambda system, name: system.pipe_file(name, content))


def create_bytes(path: Path, content: bytes) -> None:
    """A remote file that is not there yet; where its file system cannot tell in one step, two may make it at once.

    Raises:
        FileExistsError: it is there. OSError, DataError: as `read_bytes`.
    """
    _told(path, lambda system, name: system.pipe_file(name, content, mode="create"))


def remove(path: Path) -> None:
    """Remove a remote file.

    Raises:
        OSError, DataError: as `read_bytes`.
    """
    _told(path, lambda system, name: system.rm_file(name))


def open_remote(path: Path, block: int = BLOCK) -> io.RawIOBase:
    """A remote file to read, a request of about `block` bytes a time.

    Raises:
        OSError, DataError: as `read_bytes`.
    """
    return _RemoteFile(path, block)


class _RemoteFile(io.RawIOBase):
    """Turns what a file system raises into OSErrors without secrets."""

    def __init__(self, path: Path, block: int):
        self._path = path
        self._file = _told(path, lambda system, name: system.open(name, "rb", block_size=block, cache_type="readahead"))
        if getattr(self._file, "size", None) is None:  # a server that knows no ranges: only forwards
            self._file = io.BytesIO(_told(path, lambda *_: self._file.read()))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        content = _told(self._path, lambda *_: self._file.read(len(target)))
        target[: len(content)] = content
        return len(content)

    def seek(self, offset: int, whence: int = 0) -> int:
        return int(_told(self._path, lambda *_: self._file.seek(offset, whence)))

    def close(self) -> None:
        if not self.closed:
            self._file.close()
        super().close()


def _told(path: Path, act: Any) -> Any:
    """act(file system, name in it); what it raises as an OSError, or a DataError where a package is missing."""
    import fsspec

    url = url_of(path)
    scheme = url.partition(":")[0]
    if scheme not in fsspec.available_protocols():
        raise DataError(f"no file system has the scheme '{scheme}'", where=path, mend="see the list of fsspec")
    try:
        return act(*fsspec.core.url_to_fs(url))
    except ImportError as error:  # e.g. "Install s3fs to access S3"
        mend = f"{error}; for s3 and http: pip install 'umd-engine[cluster]'"
        raise DataError("its file system needs a package that is not installed", where=path, mend=mend) from None
    except FileNotFoundError:
        raise FileNotFoundError(errno.ENOENT, "no such file", shown(url)) from None
    except FileExistsError:
        raise FileExistsError(errno.EEXIST, "it is there already", shown(url)) from None
    except PermissionError:
        raise PermissionError(errno.EACCES, "permission denied", shown(url)) from None
    except Exception as error:  # of many libraries, whose texts may hold signed URLs and keys
        raise OSError(None, f"{type(error).__name__} of its file system", shown(url)) from None
