"""What the hub says of a published model, and its failures as errors with a mend."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from umd_engine import __version__
from umd_engine.errors import ModelError, OptionError
from umd_engine.models.catalog.facts import HUB, Entry, Published
from umd_engine.models.catalog.folder import checkpoints_folder, model_folder

SECONDS = 30.0  # until the hub must have answered
HEADERS = {"user-agent": f"umd-engine/{__version__}"}  # all that is said of this machine


@dataclass(frozen=True)
class RemoteFile:
    """A file of the repository at the listing's commit.

    Attributes:
        size: bytes.
        digest: its SHA-256 where it is stored as a large file, else git's SHA-1 of its content.
        target: where it goes.
    """

    name: str
    size: int
    digest: str
    target: Path


@dataclass(frozen=True)
class Listing:
    """The published files at one commit.

    Attributes:
        asked, revision: as of `Record`.
    """

    known: Entry
    repository: str
    asked: str
    revision: str
    endpoint: str
    files: tuple[RemoteFile, ...]

    @property
    def folder(self) -> Path:
        return model_folder(self.known)

    def url(self, name: str) -> str:
        return f"{self.endpoint}/{self.repository}/resolve/{self.revision}/{name}"


def endpoint_of(given: str | None) -> str:
    """The hub's address: the one given, else HF_ENDPOINT, else huggingface.co.

    Raises:
        OptionError: it is no http address.
    """
    address = (given or os.environ.get("HF_ENDPOINT") or HUB).rstrip("/")
    if not address.startswith(("http://", "https://")):
        raise OptionError(f"'{address}' is no address of a hub", where="--endpoint", mend=f"write {HUB}")
    return address


def published(known: Entry) -> Published:
    """Where the model is published.

    Raises:
        ModelError: its weights are not.
    """
    if known.published is None:
        raise ModelError(f"no address of published weights of {known.name} is known", mend=f"give {known.needs}")
    return known.published


def listed(known: Entry, asked: str, endpoint: str) -> Listing:
    """Ask the hub which files there are.

    Args:
        asked: a branch, a tag or a commit.

    Raises:
        ModelError: no answer, no such repository, revision or file.
    """
    from huggingface_hub import HfApi

    source = published(known)
    page = f"{endpoint}/{source.repository}/tree/{asked}"
    with hub_errors(page, model_folder(known), f"repository {source.repository}", asked):
        hub = HfApi(endpoint=endpoint, token=False, headers=HEADERS)
        info = hub.model_info(source.repository, revision=asked, files_metadata=True, timeout=SECONDS)
    siblings = info.siblings or []
    files: list[RemoteFile] = []
    for wanted in source.files:
        folder = checkpoints_folder() / (wanted.below or known.name)
        found = [_remote(file, folder) for file in siblings if fnmatchcase(file.rfilename, wanted.pattern)]
        if not found:
            raise ModelError(
                f"there is no file {wanted.pattern}", where=page, mend="look there for what took its place"
            )
        files += found
    return Listing(known, source.repository, asked, info.sha or asked, endpoint, tuple(files))


def _remote(file: Any, folder: Path) -> RemoteFile:
    path = PurePosixPath(file.rfilename)
    if path.is_absolute() or ".." in path.parts:
        raise ModelError(f"the hub lists a file outside its folder: {path}", mend="use another --endpoint")
    if file.lfs is not None:
        return RemoteFile(str(path), file.lfs.size, file.lfs.sha256, folder / path)
    if file.size is None or file.blob_id is None:
        raise ModelError(f"the hub gives neither size nor hash of {path}", mend="use another --endpoint")
    return RemoteFile(str(path), file.size, file.blob_id, folder / path)


@contextmanager
def hub_errors(url: str, target: Path, what: str, revision: str) -> Iterator[None]:
    """What can go wrong on the way, as one line that says how to do it by hand."""
    from huggingface_hub import errors

    by_hand = f"or download {url} by hand to {target}"
    try:
        yield
    except errors.GatedRepoError:
        raise ModelError(
            f"{what} is given only to those who are logged in", where=url, mend=f"download it by hand to {target}"
        ) from None
    except errors.RepositoryNotFoundError:
        raise ModelError(f"the hub has no {what}", where=url, mend=f"check --endpoint, {by_hand}") from None
    except errors.RevisionNotFoundError:
        raise ModelError(f"{what} has no revision '{revision}'", where=url, mend="check --revision") from None
    except errors.EntryNotFoundError:
        raise ModelError(f"the hub has no {what}", where=url, mend=f"check --revision, {by_hand}") from None
    except errors.OfflineModeIsEnabled:
        raise ModelError("HF_HUB_OFFLINE forbids the network", where=url, mend=f"unset it, {by_hand}") from None
    except errors.HfHubHTTPError as error:
        answer = f"the hub answered {error.response.status_code} for {what}"
        raise ModelError(answer, where=url, mend=f"try again later, {by_hand}") from None
    except errors.HTTPError as error:
        raise ModelError(
            f"no connection to the hub ({type(error).__name__})",
            where=url,
            mend=f"the same command goes on where it stopped, {by_hand}",
        ) from None
