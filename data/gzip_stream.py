"""Bytes of a plain or gzipped file, decompressed by ISA-L straight into the caller's memory."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from isal import igzip_lib

from umd_engine.data import remote
from umd_engine.data.content import Content, Stamp, stamp_of
from umd_engine.errors import CorruptFileError, DataError, MissingFileError
from umd_engine.kernels.parts import doing

GZIP_MAGIC = b"\x1f\x8b"
# Blocks this size stay in the L2 cache between the decompressor and the copy into place: decompressing all at
# once into fresh memory took 1.3 times as long.
BLOCK = 1 << 18
# Deflate cannot expand a byte to more than 1032; a header that promises more is not worth allocating for.
MAX_EXPANSION = 1032


class ByteStream(AbstractContextManager["ByteStream"]):
    """The content of `path`, gzip (of one or several members) undone where its first bytes say so.

    Args:
        hashed: also hash the bytes of the file as they are read; `content` has them after `finish`.
        block: bytes a request where the file is remote.

    Raises:
        MissingFileError: no such file, or a folder.
        CorruptFileError: truncated or damaged gzip (every member's CRC is checked by `finish`).
        DataError: a file that cannot be opened, a disk or network that fails while it is read.
    """

    def __init__(self, path: Path, hashed: bool = False, block: int = remote.BLOCK):
        self.path = path
        self._file = _open(path, block)
        self._hash = hashlib.sha256() if hashed else None
        try:
            self._stamp = self._stamped() if hashed else None
            self.zipped = self._begins_with(GZIP_MAGIC)
        except BaseException:
            self._file.close()
            raise
        self._member: igzip_lib.IgzipDecompressor | None = None
        self._pending = b""  # compressed bytes of the next member
        self._decoded = memoryview(b"")  # decompressed bytes that nobody has asked for yet

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def most_bytes(self) -> int:
        """An upper bound of the content's size that costs no decompression."""
        with self._typed():
            here = self._file.tell()
            size = self._file.seek(0, io.SEEK_END)
            self._file.seek(here)
        return size * MAX_EXPANSION if self.zipped else size

    def read_into(self, target: memoryview) -> int:
        """Fill `target` (bytes) and return how many bytes there were: fewer only at the end."""
        filled = 0
        while filled < len(target):
            count = self._some(target[filled:])
            if not count:
                break
            filled += count
        return filled

    def _some(self, target: memoryview) -> int:
        """Fill the start of `target`; 0 at the end."""
        if not self.zipped:
            with self._typed():
                count = self._file.readinto(target)  # 2 GiB at most in one call
            self._note(target[:count])
            return count
        if not self._decoded and not self._decode():
            return 0
        count = min(len(target), len(self._decoded))
        target[:count] = self._decoded[:count]
        self._decoded = self._decoded[count:]
        return count

    def take(self, count: int) -> bytes:
        """The next `count` bytes, fewer at the end."""
        held = bytearray(count)
        return bytes(held[: self.read_into(memoryview(held))])

    def finish(self) -> None:
        """Read to the end, so that the CRC of every gzip member has been checked."""
        while self.zipped and self._decode():
            pass
        while self._hash is not None and self._block():
            pass

    @property
    def content(self) -> Content | None:
        """What the file held, if it was asked for and read to its end."""
        if self._hash is None or self._stamp is None:
            return None
        return Content(self._hash.hexdigest(), self._stamp)

    def _stamped(self) -> Stamp:
        if remote.is_remote(self.path):
            return stamp_of(self.path)
        return Stamp.of(os.fstat(self._file.fileno()))

    def _note(self, read: bytes | memoryview) -> None:
        if self._hash is not None:
            self._hash.update(read)

    def _decode(self) -> bool:
        """Decompress another block into `_decoded`; False at the end of the last member."""
        while True:
            if self._member is None and not self._next_member():
                return False
            block = self._feed()
            if block:
                self._decoded = memoryview(block)
                return True

    def _next_member(self) -> bool:
        while not self._pending.strip(b"\0"):  # zero padding between and after members is legal
            self._pending = self._block()
            if not self._pending:
                return False
        if self._pending[:1] != GZIP_MAGIC[:1]:
            raise self._corrupt("bytes that are no gzip follow its end")
        self._member = igzip_lib.IgzipDecompressor(flag=igzip_lib.DECOMP_GZIP)
        return True

    def _feed(self) -> bytes:
        assert self._member is not None
        more = b""
        if self._member.needs_input:
            more, self._pending = self._pending or self._block(), b""
            if not more:
                raise self._corrupt("the gzip stream is truncated")
        try:
            with doing("decode"):
                block: bytes = self._member.decompress(more, BLOCK)
        except igzip_lib.IsalError as error:  # type: ignore[misc]  # isal's stub calls it an instance
            raise self._corrupt(f"damaged gzip stream: {error}") from error
        if self._member.eof:
            self._pending, self._member = self._member.unused_data, None
        return block

    def _begins_with(self, magic: bytes) -> bool:
        with self._typed():
            head = self._file.read(len(magic))
            self._file.seek(0)
        return head == magic

    def _block(self) -> bytes:
        with self._typed():
            block = self._file.read(BLOCK)
        self._note(block)
        return block

    @contextmanager
    def _typed(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            mend = "check the disk or the network, then try again"
            raise DataError(f"cannot be read: {error.strerror}", where=self.path, mend=mend) from error

    def _corrupt(self, fault: str) -> CorruptFileError:
        return CorruptFileError(fault, where=self.path, mend="copy the file again from its source")


def _open(path: Path, block: int) -> io.RawIOBase:
    try:
        return remote.open_remote(path, block) if remote.is_remote(path) else path.open("rb", buffering=0)
    except (FileNotFoundError, NotADirectoryError) as error:
        raise MissingFileError("no such file", where=path, mend="correct the path") from error
    except IsADirectoryError as error:
        raise MissingFileError("a folder, not a file", where=path, mend="name the file in it") from error
    except OSError as error:
        raise DataError(f"cannot be opened: {error.strerror}", where=path, mend="check its permissions") from error
