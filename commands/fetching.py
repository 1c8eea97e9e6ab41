"""`models fetch`: the talk with the person who fetches."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from umd_engine.commands.model_texts import bytes_text
from umd_engine.errors import CheckpointError, OptionError
from umd_engine.evaluation.interrupt import exit_status
from umd_engine.models.catalog import Entry, entry
from umd_engine.models.catalog.folder import model_folder
from umd_engine.models.fetch.hub import Listing, endpoint_of, listed, published
from umd_engine.models.fetch.record import NAME, Record, read_record
from umd_engine.models.fetch.transfer import download


def fetch_model(name: str, asked: str, endpoint: str | None, accepted: bool) -> None:
    """Show the licence, ask, download, record; where all is there, compare hashes.

    Args:
        asked: a branch, a tag or a commit.
        accepted: the licence is, without asking.
    """
    known = entry(name)
    source, folder = published(known), model_folder(known)
    click.echo(f"{name}: {known.summary}\n  published  {source.page}")
    click.echo(f"  licence    code {known.code_licence}; weights {known.weights_licence}")
    record = read_record(folder)
    if record is not None and asked in (record.asked, record.revision):
        if _all_there(record, folder):
            return
        asked = record.revision  # the rest of what was fetched, though the branch may have moved on
    listing = listed(known, asked, endpoint_of(endpoint))
    _show(listing)
    if not accepted:
        _ask(known)
    try:
        done = download(listing, click.echo)
    except KeyboardInterrupt:
        click.echo("interrupted: the same command goes on where it stopped", err=True)
        sys.exit(exit_status(signal.SIGINT))
    click.echo(f"fetched {len(done.files)} files, commit {done.revision}; recorded in {folder / NAME}")


def _all_there(record: Record, folder: Path) -> bool:
    """Compare every file with the record.

    Raises:
        CheckpointError: one has changed.
    """
    state: Mapping[str, str] = record.state(folder)
    for file, how in state.items():
        click.echo(f"  {file}: {how}")
        if how == "changed":
            raise CheckpointError(
                f"its SHA-256 is not the recorded {record.files[file]['sha256']}",
                where=folder / file,
                mend="move it away and fetch again",
            )
    complete = "missing" not in state.values()
    if complete:
        click.echo(f"all {len(state)} files are there, commit {record.revision}")
    return complete


def _show(listing: Listing) -> None:
    for file in listing.files:
        click.echo(f"  file       {file.name}, {bytes_text(file.size)}, to {file.target}")
    total = sum(file.size for file in listing.files)
    click.echo(f"  together   {bytes_text(total)}, commit {listing.revision}, from {listing.endpoint}")


def _ask(known: Entry) -> None:
    if not sys.stdin.isatty():
        raise OptionError("nobody is there to accept the licence", where="models fetch", mend="read it and give --yes")
    click.confirm(f"Download under {known.weights_licence}?", abort=True)
