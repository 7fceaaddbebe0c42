"""A small Factorization Machine and the files it can stand in."""

import gzip
import io
import json
import resource
import struct
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from topx.factors import Factors, save_model
from topx.mxparams import write_params

PARAMETERS = {"feature_dim": "6", "num_factors": "3", "predictor_type": "regressor", "epochs": "1"}
META = json.dumps({"training_parameters": PARAMETERS}).encode()
MEMBER = "model_algo-1"


def machine(features: int = 6, num_factors: int = 3, seed: int = 5) -> Factors:
    random = np.random.default_rng(seed)
    w = random.normal(size=features).astype(np.float32)
    v = random.normal(size=(features, num_factors)).astype(np.float32)
    return Factors(w0=float(np.float32(0.3)), w=w, v=v, metadata={})


def params(**arrays: np.ndarray) -> bytes:
    """A list of arrays; `arg_` in a name stands for `arg:`."""
    file = io.BytesIO()
    write_params(file, {name.replace("arg_", "arg:", 1): array for name, array in arrays.items()})
    return file.getvalue()


def zipped(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    """A ZIP; `_json` in a name stands for `.json`."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_json", ".json"), content)
    return file.getvalue()


def model(parameters: dict[str, str] = PARAMETERS) -> bytes:
    """A `model_algo-1` as we write it."""
    file, m = io.BytesIO(), machine()
    save_model(file, m.w0, m.w, m.v, parameters)
    return file.getvalue()


def tar(*members: tuple[str | tarfile.TarInfo, bytes], form: int = tarfile.GNU_FORMAT) -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=form) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return file.getvalue()


def tarred(path: Path, *members: tuple[str | tarfile.TarInfo, bytes], level: int = 1) -> Path:
    path.write_bytes(gzip.compress(tar(*members), level, mtime=0))
    return path


def special(kind: bytes, name: str = MEMBER, target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


def signed(header: bytes) -> bytes:
    """A tar header with the checksum that its bytes have."""
    plain = header[:148] + b" " * 8 + header[156:]
    return header[:148] + b"%06o\0 " % sum(plain) + header[156:]


def raw(kind: bytes, size: int, name: str = MEMBER) -> bytes:
    """A tar header that may lie."""
    info = special(kind, name)
    info.size = size
    return info.tobuf(tarfile.GNU_FORMAT)


def pax(*records: tuple[str, str], kind: bytes = tarfile.XHDTYPE) -> bytes:
    """A header about the next header, with its records."""
    content = b""
    for key, value in records:
        text = f" {key}={value}\n".encode()
        length = len(text) + 1
        while len(str(length)) + len(text) != length:
            length += 1
        content += str(length).encode() + text
    return raw(kind, len(content)) + content + bytes(-len(content) % 512)


@contextmanager
def little_memory(more: int = 160 << 20) -> Iterator[None]:
    """Within, this process may map so many bytes more: what would take them raises MemoryError."""
    status = Path("/proc/self/statm")
    if not status.exists():  # no Linux
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(status.read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def regions(content: bytes) -> list[int]:
    """The places of a ZIP's own headers."""
    places: list[int] = []
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        for info in archive.infolist():
            name, extra = struct.unpack_from("<2H", content, info.header_offset + 26)
            places += range(info.header_offset, info.header_offset + 30 + name + extra)
        return [*places, *range(archive.start_dir, len(content))]
