"""Downloads that go on where they stopped, and are what the hub says they are."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from umd_engine.errors import CheckpointError, ModelError
from umd_engine.models.catalog.folder import sha256_of
from umd_engine.models.fetch.hub import HEADERS, SECONDS, Listing, RemoteFile, hub_errors
from umd_engine.models.fetch.record import Record

SHA256_DIGITS = 64


def download(listing: Listing, say: Callable[[str], None]) -> Record:
    """Every file of the listing that is not there yet, and the record of all.

    A file that is there with the listing's hash is kept; what an earlier call left of one is continued.

    Args:
        say: told of each file.

    Raises:
        ModelError: the connection, the hub or the disk failed; what has arrived is kept.
        CheckpointError: another file lies where one belongs, or what arrived is not what the hub lists.
    """
    missing = [file for file in listing.files if not _is_there(file)]
    _check_space(listing.folder, missing)
    for file in listing.files:
        say(f"{file.name}: {'downloading' if file in missing else 'already there'}")
        if file in missing:
            _fetch(listing, file)
    folder = listing.folder
    files = {_relative(file.target, folder): _entry(file) for file in listing.files}
    now = datetime.now(UTC).isoformat(timespec="seconds")
    record = Record(
        listing.known.name, listing.repository, listing.asked, listing.revision, listing.endpoint, now, files
    )
    record.write(folder)
    return record


def _relative(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def _entry(file: RemoteFile) -> dict[str, str | int]:
    return {"source": file.name, "size": file.size, "sha256": sha256_of(file.target)}


def _is_there(file: RemoteFile) -> bool:
    if not file.target.exists():
        return False
    if (
        file.target.is_file()
        and file.target.stat().st_size == file.size
        and digest_of(file.target, file) == file.digest
    ):
        return True
    raise CheckpointError(
        "another file lies here than the one that is published", where=file.target, mend="move it away and fetch again"
    )


def digest_of(path: Path, file: RemoteFile) -> str:
    """The hash of a local file of the kind that the hub lists for `file`."""
    if len(file.digest) == SHA256_DIGITS:
        return sha256_of(path)
    with path.open("rb") as content:  # a git blob: https://git-scm.com/book/en/v2/Git-Internals-Git-Objects
        header = b"blob %d\0" % path.stat().st_size
        return hashlib.file_digest(content, lambda: hashlib.sha1(header, usedforsecurity=False)).hexdigest()


def _check_space(folder: Path, missing: list[RemoteFile]) -> None:
    needed = sum(file.size - _arrived(file) for file in missing)
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = shutil.disk_usage(there).free
    if needed > free:
        raise ModelError(
            f"{needed / 1e9:.2f} GB are needed and {free / 1e9:.2f} GB are free",
            where=folder,
            mend="set UMD_ENGINE_CHECKPOINTS to a folder on a larger disk",
        )


def _part(file: RemoteFile) -> Path:
    """Named after the content, so that what is left of another revision is never continued."""
    return file.target.with_name(f".{file.target.name}.{file.digest[:16]}.part")


def _arrived(file: RemoteFile) -> int:
    return _part(file).stat().st_size if _part(file).is_file() else 0


def _fetch(listing: Listing, file: RemoteFile) -> None:
    part, url = _part(file), listing.url(file.name)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as out:
            _lock(out, part)
            if out.tell() > file.size:
                out.truncate(0)
            with hub_errors(url, file.target, f"file {file.name}", listing.revision):
                _receive(listing, file, out)
    except OSError as error:  # huggingface_hub's own, of a response that broke its promise, has no errno
        fault = str(error.strerror) if error.errno else "the download ended early"
        raise ModelError(fault, where=part, mend="the same command goes on where it stopped") from None
    _check_arrived(file, part, url)
    part.replace(file.target)


def _lock(out: BinaryIO, part: Path) -> None:
    try:
        fcntl.flock(out, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise ModelError("another process is downloading this file", where=part, mend="wait for it") from None


def _receive(listing: Listing, file: RemoteFile, out: BinaryIO) -> None:
    """The rest of a file. The hub's Xet transfer is left aside: it cannot continue what another process left."""
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.file_download import http_get

    out.seek(0, 2)
    arrived = out.tell()
    if arrived == file.size:
        return
    url, endpoint = listing.url(file.name), listing.endpoint
    metadata = get_hf_file_metadata(url, token=False, timeout=SECONDS, headers=HEADERS, endpoint=endpoint)
    headers = {**HEADERS, "accept-encoding": "identity"}
    http_get(metadata.location, out, resume_size=arrived, headers=headers, displayed_filename=file.name)


def _check_arrived(file: RemoteFile, part: Path, url: str) -> None:
    size = part.stat().st_size
    if size == file.size and digest_of(part, file) == file.digest:
        return
    part.unlink()
    short = f"{size} bytes came instead of {file.size}"
    raise CheckpointError(
        short if size != file.size else "what came has another hash than the hub lists",
        where=url,
        mend=f"fetch again, or download it by hand to {file.target}",
    )
