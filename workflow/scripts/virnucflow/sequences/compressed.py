"""Files as they are stored: plain or compressed with gzip, bgzip, bzip2, xz or zstd."""

import bz2
import gzip
import hashlib
import io
import lzma
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from backports import zstd

from virnucflow.cli import InputError

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

BGZF_END = bytes.fromhex("1f8b08040000000000ff0600424302001b0003000000000000000000")
BUFFER = 1 << 20
PIECE = 1 << 16
# A file may ask for this much memory to be decompressed; `zstd -22` and `xz -9` ask for no more.
MOST_WINDOW_LOG = 27
MOST_MEMORY = 1 << MOST_WINDOW_LOG
GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"  # with which files begin
WINDOW_OPTIONS: Mapping[int, int] = {zstd.DecompressionParameter.window_log_max: MOST_WINDOW_LOG}
TOO_MUCH_MEMORY = ("Memory usage limit exceeded", "Frame requires too much memory")  # as lzma and zstd say it


@dataclass
class Stored:
    """A file as it lies on the disk, compressed or not; the rest is known once all of it was read.

    `left_out` are the records of a BAM file that are not read, by their flags.
    """

    path: Path
    sha256: str = ""
    bytes: int = 0
    left_out: Counter[str] = field(default_factory=Counter)


class _HashedFile(io.RawIOBase):
    """A file that takes its own SHA-256 while it is read from the beginning to the end."""

    def __init__(self, path: Path) -> None:
        self._file, self.sha256, self.bytes = path.open("rb", buffering=0), hashlib.sha256(), 0

    def readable(self) -> bool:
        return True

    def close(self) -> None:
        self._file.close()
        super().close()

    def readinto(self, buffer: "WriteableBuffer") -> int:
        number = self._file.readinto(buffer)
        self.sha256.update(memoryview(buffer)[:number])
        self.bytes += number
        return number


class _Streams(io.RawIOBase):
    """Streams of bzip2 or xz, one after another. The library's own files end silently at a damaged second stream."""

    def __init__(self, file: io.BufferedIOBase, new: Callable[[], bz2.BZ2Decompressor | lzma.LZMADecompressor]) -> None:
        self.file, self.new, self.decompressor = file, new, new()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int:
        room = memoryview(buffer)
        while True:
            stored = b""
            if self.decompressor.eof:
                stored = self.decompressor.unused_data.lstrip(b"\0")  # xz may be padded
                while not stored:
                    if not (more := self.file.read(BUFFER)):
                        return 0
                    stored = more.lstrip(b"\0")
                self.decompressor = self.new()
            elif self.decompressor.needs_input and not (stored := self.file.read(BUFFER)):
                raise EOFError("it ends within a stream")
            if data := self.decompressor.decompress(stored, len(room)):
                room[: len(data)] = data
                return len(data)


def _check_bgzip(path: Path) -> None:
    """bgzip ends a file with an empty block, without which it was cut."""
    with path.open("rb") as file:
        bgzip = file.read(14)[12:] == b"BC"
        file.seek(-min(len(BGZF_END), path.stat().st_size), io.SEEK_END)
        if bgzip and file.read() != BGZF_END:
            raise EOFError("it ends before the block that bgzip writes last")


def _decompress(path: Path, file: io.BufferedIOBase) -> io.BufferedIOBase:
    """The content of a file, of which nothing has been read yet; its first bytes decide how, not its name."""
    with path.open("rb") as again:
        start = again.read(6)
    if start.startswith(GZIP):
        _check_bgzip(path)
        return gzip.GzipFile(fileobj=file)
    if start.startswith(ZSTD):
        return zstd.open(file, options=WINDOW_OPTIONS)
    new = _decompressor(start)
    return io.BufferedReader(_Streams(file, new)) if new else file


@contextmanager
def decompressed(path: Path, stored: Stored | None = None) -> Iterator[io.BufferedIOBase]:
    """A file's content, decompressed where it is compressed; when the block ends well, `stored` is filled in.

    Raises InputError where a compressed file turns out to be cut or damaged, or needs too much memory.
    """
    with _telling(path):
        raw = _HashedFile(path) if stored else path.open("rb", buffering=0)
        with raw, io.BufferedReader(raw, BUFFER) as file, _decompress(path, file) as stream:
            yield stream
            if stored and isinstance(raw, _HashedFile):
                while file.read(BUFFER):  # what lies behind the end of the content
                    pass
                stored.sha256, stored.bytes = raw.sha256.hexdigest(), raw.bytes


def first_bytes(path: Path, least: int) -> tuple[bytes, int]:
    """The first bytes of a file's content, at least so many unless it ends before, and of how many stored bytes they
    are: of all, where the content ends with them. Raises InputError as `decompressed` does, but for a file that is cut.
    """
    with _telling(path), path.open("rb") as file:
        new = _decompressor(file.read(6))
        file.seek(0)
        if new is None:
            content = file.read(least)
            return content, len(content)
        text, decompressor, taken = bytearray(), new(), 0
        while len(text) < least and (block := file.read(PIECE)):
            before = len(text)
            while block:
                text += decompressor.decompress(block)
                block = b""
                if decompressor.eof:
                    block, decompressor = decompressor.unused_data.lstrip(b"\0"), new()
            if len(text) > before:
                taken = file.tell()
        return bytes(text), taken if file.read(1) else path.stat().st_size


def _decompressor(start: bytes) -> Callable[[], Any] | None:
    """What makes a decompressor for a file that begins with these bytes; None where it is not compressed."""
    if start.startswith(GZIP):
        return lambda: zlib.decompressobj(wbits=31)
    if start.startswith(b"BZh"):
        return bz2.BZ2Decompressor
    if start.startswith(b"\xfd7zXZ\x00"):
        return lambda: lzma.LZMADecompressor(memlimit=MOST_MEMORY)
    if start.startswith(ZSTD):
        return lambda: zstd.ZstdDecompressor(options=WINDOW_OPTIONS)
    return None


@contextmanager
def _telling(path: Path) -> Iterator[None]:
    """Within this, what a decompressor says becomes an InputError."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile, zstd.ZstdError) as error:
        raise InputError(_describe(path, error)) from None
    except OSError as error:
        if error.errno is not None:
            raise
        raise InputError(_describe(path, error)) from None


def _describe(path: Path, error: Exception) -> str:
    if any(said in str(error) for said in TOO_MUCH_MEMORY):
        return (
            f"{path}: needs more than {MOST_MEMORY >> 20} MB of memory to be decompressed; "
            "compress it again with a smaller window, for example with zstd without --long"
        )
    return f"{path}: the compressed file is cut or damaged ({error}); copy it again"
