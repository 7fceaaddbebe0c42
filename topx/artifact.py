"""Opens what SageMaker's Factorization Machines wrote, safely, or names what it is instead.

From the outside in: gzip, tar, its one member `model_algo-1` (whether jobs on several machines add one each is
not documented: they are trained jointly, so the first tells all), a ZIP with the stored members `meta.json`,
`symbol.json` and `params`. Nothing is unpacked to a name that the archive chose: the member goes to an unnamed
temporary file, and the arrays are views of that file in memory, paged in as they are used.
"""

import json
import re
import struct
import tempfile
import zipfile
import zlib
from dataclasses import dataclass, replace
from io import FileIO
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any

from topx import foreign
from topx.errors import ArtifactRejected
from topx.mxparams import MAGIC, read_params
from topx.unpack import untar

MEMBER = "model_algo-1"
META, SYMBOL, PARAMS = "meta.json", "symbol.json", "params"
NAMES = "w0_weight", "w1_weight", "v"
OLD_NAMES = "Linear_Plus_Bias_bias", "Linear_Plus_Bias_weight", "v"  # of the first images: w and v are turned

_SMALL = 1 << 20  # bytes of a ZIP's directory and of each text
_BROKEN = (zipfile.BadZipFile, RuntimeError, EOFError, OSError, OverflowError, ValueError, struct.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What a `model_algo-1` holds: meta.json as it stands, the arrays of `params` by name.

    `content` is all of the ZIP, `params` a part of it, `sum` its CRC-32 of that part; None: checked.
    """

    content: memoryview
    meta: bytes
    params: memoryview
    arrays: dict[str, Any]
    sum: int | None

    def check(self) -> None:
        """Raises ArtifactRejected where `params` is not what the ZIP's sum says; reads all of it."""
        if self.sum is not None and zlib.crc32(self.params) != self.sum:
            raise ArtifactRejected(f"{PARAMS} is not what its checksum {self.sum:#010x} says: it is damaged")


def open_artifact(path: Path) -> Artifact:
    """The content of a `model.tar.gz`, of its `model_algo-1`, or of the one in a folder.

    The sum of `params` is checked where it had to be unpacked anyway, and else left to `Artifact.check`.
    Raises ArtifactRejected that names what it is instead.
    """
    try:
        return _open(path)
    except ArtifactRejected as rejected:
        raise ArtifactRejected(f"{path.name or path}: {rejected}") from rejected


_GIVE = "give the model.tar.gz of a SageMaker Factorization Machines job"


def _foreign(what: str) -> ArtifactRejected:
    return ArtifactRejected(f"this is {what}; {_GIVE}")


def _holding(thing: str, names: list[str]) -> ArtifactRejected:
    what = f"a {thing} of {foreign.listed(names)}" if names else f"an empty {thing}"
    return _foreign(foreign.by_files(names) or what)


def _open(path: Path) -> Artifact:
    file, names = path, [path.name]
    if path.is_dir():
        file, names = path / MEMBER, sorted(entry.name for entry in path.iterdir())
        if MEMBER not in names:
            raise _holding("folder", names)
    if not file.is_file():
        raise ArtifactRejected(f"there is no such file; {_GIVE}")
    with file.open("rb") as content:
        if content.read(2) == b"\x1f\x8b":
            return _unpacked(content)
        return _opened(content, names)


def _unpacked(file: IO[bytes]) -> Artifact:
    with tempfile.TemporaryFile() as spool:
        names = untar(file, MEMBER, spool)
        if MEMBER not in names:
            raise _holding("tar archive", names)
        artifact = _opened(spool, names)
    if names.count(MEMBER) > 1 or not all(re.fullmatch(r"model_algo-\d+", name) for name in names):
        raise _holding("tar archive", names)
    artifact.check()
    return replace(artifact, sum=None)


def _opened(file: IO[bytes], names: list[str]) -> Artifact:
    """The content of a ZIP; the names beside it help to tell what it is instead."""
    data = mmap(file.fileno(), 0, access=ACCESS_READ) if file.seek(0, 2) else b""
    head = data[:512]
    if head.startswith(MAGIC):
        raise _foreign(foreign.by_files(names) or foreign.by_arrays(read_params(data)))
    if not head.startswith(b"PK"):
        raise _foreign(foreign.by_files(names) or foreign.by_bytes(head))
    try:
        with _Frugal(file.fileno(), closefd=False) as frugal, zipfile.ZipFile(frugal) as archive:
            inner = archive.namelist()
            if sorted(inner) != sorted((META, SYMBOL, PARAMS)):
                raise _holding("ZIP", inner)
            meta, _ = (_text(archive, name) for name in (META, SYMBOL))
            params, expected = _params(archive, data)
    except _BROKEN as error:
        raise ArtifactRejected(f"this is no whole ZIP of stored members ({error}); {_GIVE}") from error
    arrays = read_params(params)
    plain = {array.removeprefix("arg:") for array in arrays}
    if len(plain) != len(arrays) or plain not in ({*NAMES}, {*OLD_NAMES}):
        raise _foreign(foreign.by_network(arrays))
    return Artifact(content=memoryview(data), meta=meta, params=params, arrays=arrays, sum=expected)


class _Frugal(FileIO):
    """A file of which little is read at a time: zipfile reads a directory of any claimed size in one piece."""

    def read(self, size: int | None = -1) -> bytes:
        content = super().read(_SMALL + 1 if size is None or size < 0 else min(size, _SMALL + 1))
        if len(content) > _SMALL:
            raise zipfile.BadZipFile(f"its directory or a text is longer than {_SMALL} bytes")
        return content


def _stored(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
        raise zipfile.BadZipFile(f"{name} is compressed or encrypted; SageMaker stores it")
    if info.header_offset < 0:  # zipfile would seek there
        raise zipfile.BadZipFile(f"{name} would begin before it")
    return info


def _text(archive: zipfile.ZipFile, name: str) -> bytes:
    content = archive.read(_stored(archive, name))
    if not isinstance(json.loads(content), dict):
        raise zipfile.BadZipFile(f"{name} is no JSON object")
    return content


def _params(archive: zipfile.ZipFile, data: mmap | bytes) -> tuple[memoryview, int]:
    """The bytes of `params` where they stand in the ZIP, and the sum that it gives for them."""
    info = _stored(archive, PARAMS)
    archive.open(info).close()  # checks the member's own header
    name, extra = struct.unpack_from("<2H", data, info.header_offset + 26)
    start = info.header_offset + 30 + name + extra
    content = memoryview(data)[start : start + info.file_size]
    if len(content) != info.file_size:
        raise zipfile.BadZipFile(f"{PARAMS} ends after {len(content)} of {info.file_size} bytes")
    return content, info.CRC
