"""Opens a SageMaker `model.tar.gz` safely, and names what it is where it is no Factorization Machine.

From the outside in: gzip, tar, its one member `model_algo-1`, a ZIP with the stored members `meta.json`,
`symbol.json` and `params`. Nothing is unpacked to a name that the archive chose: the member goes to an unnamed
temporary file, and the arrays are views of that file in memory, paged in as they are used.
"""

import gzip
import json
import shutil
import struct
import tarfile
import tempfile
import zipfile
import zlib
from dataclasses import dataclass
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from topx.errors import ArtifactRejected
from topx.mxparams import MAGIC, read_params

MEMBER = "model_algo-1"
META, SYMBOL, PARAMS = "meta.json", "symbol.json", "params"
LINEAR, BIAS, FACTORS = "arg:w1_weight", "arg:w0_weight", "arg:v"

_UNPACKED = 64 << 20  # bytes that any archive may hold; beyond, 100 for one: trained numbers hardly compress
_SMALL = 1 << 20  # bytes of the headers between two members, of what follows the last, of a JSON member
_MEMBERS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """What an FM artifact holds: `meta.json`, and the arrays of `params` by name."""

    meta: dict[str, Any]
    arrays: dict[str, NDArray[np.float32]]


def open_artifact(path: Path) -> Artifact:
    """The content of an FM artifact; raises ArtifactRejected that names what the file is instead."""
    with path.open("rb") as file, tempfile.TemporaryFile() as spool:
        try:
            names = _unpack(file, spool)
            if names != [MEMBER]:
                raise _foreign(_by_members(names))
            return _opened(spool)
        except ArtifactRejected as rejected:
            raise ArtifactRejected(f"{path.name}: {rejected}") from rejected


def _foreign(what: str) -> ArtifactRejected:
    return ArtifactRejected(f"this is {what}; give the model.tar.gz of a SageMaker Factorization Machines job")


def _listed(names: list[str]) -> str:
    return ", ".join(repr(name)[:60] for name in names[:6]) + (" and more" if len(names) > 6 else "")


class _Bounded(gzip.GzipFile):
    """Unpacks at most `left` more bytes, whatever there is."""

    left = _SMALL

    def read(self, size: int | None = -1) -> bytes:
        most = self.left + 1
        data = super().read(most if size is None or size < 0 else min(size, most))
        self.left -= len(data)
        if self.left < 0:
            raise ArtifactRejected("it unpacks to more than the sizes of its members")
        return data


def _unpack(file: IO[bytes], spool: IO[bytes]) -> list[str]:
    """The names of all members, `model_algo-1` copied to the spool.

    Reads to the end, where gzip checks its sum.
    """
    allowed = max(_UNPACKED, 100 * file.seek(0, 2))
    file.seek(0)
    names: list[str] = []
    try:
        with (
            _Bounded(fileobj=file, mode="rb") as stream,
            tarfile.open(fileobj=stream, mode="r|", bufsize=1 << 16) as archive,
        ):
            while member := archive.next():
                _check(member)
                names.append(member.name)
                allowed -= member.size
                if allowed < 0 or len(names) > _MEMBERS:
                    raise ArtifactRejected(
                        f"with {member.name!r:.60} of {member.size} bytes it holds more than {_MEMBERS} "
                        "members or unpacks to more than 100 times its size; no model does"
                    )
                stream.left = member.size + _SMALL
                if member.name == MEMBER and (content := archive.extractfile(member)):
                    shutil.copyfileobj(content, spool, _SMALL)
            stream.left = _SMALL
            while stream.read(1 << 16):
                pass
    except (tarfile.TarError, gzip.BadGzipFile, EOFError, zlib.error, ValueError) as error:
        raise ArtifactRejected(f"this is no whole tar.gz archive ({error})") from error
    return names


def _check(member: tarfile.TarInfo) -> None:
    kinds = {
        "a directory": member.isdir(),
        "a symbolic link": member.issym(),
        "a hard link": member.islnk(),
        "a device": member.isdev(),
        "a sparse file": member.issparse(),
    }
    wrong = [kind for kind, is_that in kinds.items() if is_that]
    if not member.isreg() or wrong:
        raise ArtifactRejected(
            f"its member {member.name!r:.80} is {wrong[0] if wrong else 'no plain file'}, which is unsafe"
        )
    if "/" in member.name or "\\" in member.name or member.name in ("", ".", ".."):
        raise ArtifactRejected(f"its member {member.name!r:.80} leads to another folder, which is unsafe")


def _by_members(names: list[str]) -> str:
    if not names:
        return "an empty archive"
    if any(name.startswith("xgboost-model") for name in names):
        return "an XGBoost model"
    if f"{MEMBER}.labels" in names:
        return "an index of k-NN"
    if any(name.startswith("state_") for name in names):
        return "a model of k-means"
    return f"an archive of {_listed(names)}"


def _opened(spool: IO[bytes]) -> Artifact:
    if not spool.tell():
        raise _foreign(f"an archive with an empty {MEMBER}")
    spool.flush()
    data = mmap(spool.fileno(), 0, access=ACCESS_READ)
    if data[: len(MAGIC)] == MAGIC:
        names = list(read_params(data))
        if {"s", "v", "mean"} <= {name.removeprefix("arg:") for name in names}:
            raise _foreign("a model of PCA")
        raise _foreign(
            "a model of k-means" if names == ["0"] else f"a bare list of the arrays {_listed(names)}"
        )
    try:
        with zipfile.ZipFile(spool) as archive:
            names = sorted(archive.namelist())
            if "additional-params.json" in names or any(name.startswith("mx-mod-") for name in names):
                raise _foreign("a model of linear learner")
            if names != sorted((META, SYMBOL, PARAMS)):
                raise _foreign(f"a ZIP of {_listed(names)}")
            meta, _ = (_json(archive, name) for name in (META, SYMBOL))
            arrays = read_params(_stored(archive, data))
    except (zipfile.BadZipFile, RuntimeError, EOFError, ValueError, struct.error) as error:
        raise _foreign(f"an archive whose {MEMBER} is no whole ZIP ({error})") from error
    if "arg:Linear_Plus_Bias_weight" in arrays:
        raise ArtifactRejected(
            "it was made by an old image of Factorization Machines (Linear_Plus_Bias): train anew"
        )
    if set(arrays) != {LINEAR, BIAS, FACTORS}:
        raise _foreign(
            f"another network, such as a Neural Topic Model, with the arrays {_listed(list(arrays))}"
        )
    return Artifact(meta=meta, arrays=arrays)


def _info(archive: zipfile.ZipFile, name: str) -> zipfile.ZipInfo:
    """Where a stored member stands; raises ValueError for any other."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{name} is compressed; SageMaker stores it")
    if info.header_offset < 0:  # zipfile would seek there
        raise ValueError(f"{name} would begin before it")
    return info


def _json(archive: zipfile.ZipFile, name: str) -> dict[str, Any]:
    info = _info(archive, name)
    if info.file_size > _SMALL:
        raise ValueError(f"{name} claims {info.file_size} bytes; {_SMALL} are allowed")
    match json.loads(archive.read(info)):
        case dict() as content:
            return content
    raise ValueError(f"{name} is no JSON object")


def _stored(archive: zipfile.ZipFile, data: mmap) -> memoryview:
    """The bytes of `params` where they stand in the ZIP."""
    info = _info(archive, PARAMS)
    archive.open(info).close()  # checks the member's own header
    name, extra = struct.unpack_from("<2H", data, info.header_offset + 26)
    start = info.header_offset + 30 + name + extra
    content = memoryview(data)[start : start + info.file_size]
    if len(content) != info.file_size or zlib.crc32(content) != info.CRC:
        raise ValueError(f"{PARAMS} is not what its checksum says")
    return content
