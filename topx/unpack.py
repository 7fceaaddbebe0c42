"""One member of a tar.gz, copied within bounds: the archive decides neither names nor sizes.

Of tarfile only the reader of one header is used: what it makes of a header about a header takes minutes, or
the whole stack, where that is forged (CVE-2024-6232).
"""

import tarfile
import zlib
from collections.abc import Iterator
from typing import IO

from topx import foreign
from topx.errors import ArtifactRejected

_UNPACKED = 64 << 20  # bytes that any archive may hold; beyond, 250 for one: trained numbers hardly compress
_HEADERS = 100
_ABOUT = 1 << 16  # bytes of a header about the next header
_TRAILING = 1 << 20  # bytes of zeros after the end
_PIECES = 10_000  # of a gzip file
_BLOCK = 1 << 18  # bytes unpacked at a time
_OF_MACOS = ("._", ".DS_Store")  # what its tar and its Finder add

_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_LONG = (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_PLAIN = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_SPECIAL = {
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}


def untar(file: IO[bytes], wanted: str, spool: IO[bytes]) -> list[str]:
    """The names of the members of a tar.gz; the content of the one that is wanted is appended to the spool.

    What `tar .` and macOS add is left out. Reads to the end, where gzip checks its sum. Raises ArtifactRejected
    for what is broken, unsafe, or far larger than any model.
    """
    room = max(_UNPACKED, 250 * file.seek(0, 2))
    file.seek(0)
    stream = _Stream(file)
    names: list[str] = []
    try:
        for name, size in _members(stream):
            if name and not name.startswith(_OF_MACOS):
                names.append(name)
            room -= size
            if room < 0:
                break
            stream.copy(size, spool if name == wanted else None)
        rest = stream.read(_TRAILING + 1)
    except (tarfile.TarError, EOFError, zlib.error, ValueError) as error:
        raise ArtifactRejected(f"this is no whole tar.gz archive: {error}; fetch it again") from error
    if room < 0:
        raise ArtifactRejected(f"with {name!r:.80} it unpacks to more than 250 times its size; no model does")
    if len(rest) > _TRAILING or rest.strip(b"\0"):
        raise ArtifactRejected("it goes on after its last member, which no model does")
    outside = [name for name in names if name.startswith("/") or "\\" in name or ".." in name.split("/")]
    if outside:
        raise ArtifactRejected(f"its member {outside[0]!r:.80} leads to another folder, which is unsafe")
    return names


def _members(stream: "_Stream") -> Iterator[tuple[str, int]]:
    """Name and size of each plain file or folder; the content must be read before the next is asked for.

    The folder that all lie in, "./", has no name.
    """
    about: dict[str, str] = {}
    for place in range(_HEADERS):
        block = stream.read(tarfile.BLOCKSIZE)
        if not block.strip(b"\0"):
            return
        try:
            header = tarfile.TarInfo.frombuf(block, "utf-8", "backslashreplace")
        except tarfile.HeaderError as error:
            what = f"a gzip file, but of {foreign.by_bytes(block)}" if not place else f"header {place}: {error}"
            raise tarfile.ReadError(what) from error
        if header.type in _PAX + _LONG:
            if not 0 <= header.size <= _ABOUT:
                raise tarfile.ReadError(f"header {place} claims {header.size} bytes about the next")
            text = stream.read(header.size)
            stream.read(-header.size % tarfile.BLOCKSIZE)
            if header.type in _PAX:
                about |= _pax(text)
            elif header.type == tarfile.GNUTYPE_LONGNAME:
                about["path"] = text.rstrip(b"\0").decode("utf-8", "backslashreplace")
            continue
        name, size = about.get("path", header.name), int(about.get("size", header.size))
        if size < 0:
            raise tarfile.ReadError(f"{name!r:.80} claims {size} bytes")
        special = _SPECIAL.get(header.type)
        if any(key.startswith("GNU.sparse.") for key in about):
            special = _SPECIAL[tarfile.GNUTYPE_SPARSE]
        elif header.type == tarfile.DIRTYPE:
            name, size = name.rstrip("/") + "/", 0
        elif header.type not in _PLAIN and not special:
            special = f"of the unknown type {header.type!r}"
        if special:
            raise ArtifactRejected(f"its member {name!r:.80} is {special}, which is unsafe")
        about = {}
        yield name.removeprefix("./"), size
        stream.read(-size % tarfile.BLOCKSIZE)
    raise ArtifactRejected(f"it holds more than {_HEADERS} members; no model does")


def _pax(text: bytes) -> dict[str, str]:
    """The records of a POSIX header: each is its own length, a space, key=value and a line feed."""
    records = {}
    while text:
        digits = text[: text.find(b" ", 0, 20)]
        size = int(digits)
        if not len(digits) + 2 < size <= len(text):
            raise tarfile.ReadError(f"a record of a header claims {size} bytes")
        key, _, value = text[len(digits) + 1 : size - 1].decode("utf-8", "backslashreplace").partition("=")
        records[key] = value
        text = text[size:]
    return records


class _Stream:
    """What a gzip file unpacks to; zlib checks the sum at the end of each piece."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self.pieces = 0
        self.unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)

    def read(self, size: int) -> bytes:
        """The next `size` bytes, or fewer at the end."""
        parts = []
        while size and (part := self._some(size)):
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def copy(self, size: int, to: IO[bytes] | None) -> None:
        """Passes the next `size` bytes on; raises EOFError where there are fewer."""
        while size:
            block = self._some(min(size, _BLOCK))
            if not block:
                raise EOFError(f"{size} more bytes belong to its last member")
            size -= len(block)
            if to:
                to.write(block)

    def _some(self, size: int) -> bytes:
        while True:
            if self.unpacker.eof:
                packed = self.unpacker.unused_data or self.file.read(_BLOCK)
                if not packed:
                    return b""
                self.pieces += 1
                if self.pieces > _PIECES:
                    raise EOFError(f"it is of more than {_PIECES} gzip files")
                self.unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16)
            else:
                packed = self.unpacker.unconsumed_tail or self.file.read(_BLOCK)
            part = self.unpacker.decompress(packed, size)
            if part:
                return part
            if not packed and not self.unpacker.eof:
                raise EOFError("it ends too early")
