"""What is no model of Factorization Machines: named if another's, refused if damaged, bounded if forged."""

import gzip
import io
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from small_model import (
    MEMBER,
    META,
    little_memory,
    machine,
    model,
    params,
    pax,
    raw,
    regions,
    signed,
    special,
    tar,
    tarred,
    zipped,
)

from topx.errors import ArtifactRejected
from topx.factors import load_factors

ARRAYS = params(arg_w1_weight=np.ones((6, 1)), arg_w0_weight=np.ones(1), arg_v=np.ones((6, 3)))
MEMBERS = {"meta_json": META, "symbol_json": b"{}", "params": ARRAYS}
PICKLE = b"\x80\x04K\x01."
FOREIGN = {
    "k-NN": ([(MEMBER, b"IxF2"), ("model_algo-1.labels", b""), ("model_algo-1.json", b"")], "an index of k-NN"),
    "XGBoost, a pickle": ([("xgboost-model", PICKLE)], "an XGBoost model"),
    "XGBoost, binary JSON": ([("xgboost-model", b"{L\0\0\0\0\0\0\0\7learner")], "an XGBoost model"),
    "XGBoost, several": ([("xgboost-model-0", b"binf"), ("xgboost-model-1", b"binf")], "an XGBoost model"),
    "k-means": ([(MEMBER, params(x=np.ones(3))[:-17] + bytes(8))], "a model of k-means"),
    "k-means with state": ([(MEMBER, b""), ("state_1b9d6bcd", b"")], "a model of k-means"),
    "LDA": ([(MEMBER, params(x=np.ones(1), y=np.ones(1))[:-26] + bytes(8))], "a model of LDA"),
    "PCA": ([(MEMBER, params(mean=np.ones(1), s=np.ones(1), v=np.ones((1, 1))))], "a model of PCA"),
    "PCA without mean": ([(MEMBER, params(s=np.ones(1), v=np.ones((1, 1))))], "a model of PCA"),
    "another list": ([(MEMBER, params(x=np.ones(1), y=np.ones(1)))], "a bare list of the arrays 'x', 'y'"),
    "bare params": ([(MEMBER, ARRAYS)], "the bare params of Factorization Machines"),
    "linear learner": (
        [(MEMBER, zipped(**dict.fromkeys(("additional-params_json", "mx-mod-0000.params"), b"")))],
        "a model of linear learner",
    ),
    "NTM": (
        [(MEMBER, zipped(**MEMBERS | {"params": params(arg_projection_weight=np.ones(2))}))],
        r"a Neural Topic Model \(NTM\)",
    ),
    "NTM of two machines": (
        [(f"model_algo-{n}", zipped(**MEMBERS | {"params": params(arg_projection_weight=np.ones(2))}))
         for n in (1, 2)], "a Neural Topic Model",
    ),
    "another network": (
        [(MEMBER, zipped(**MEMBERS | {"params": params(arg_enc_0_weight=np.ones(2))}))],
        "another network, such as a Neural Topic Model .*, with the arrays 'arg:enc_0_weight'",
    ),
    "half an FM": (
        [(MEMBER, zipped(**MEMBERS | {"params": params(arg_v=np.ones((2, 2)))}))],
        "another network, .* with the arrays 'arg:v'",
    ),
    "an FM twice": (
        [(MEMBER, zipped(**MEMBERS | {"params": params(v=np.ones((6, 3)), arg_w0_weight=np.ones(1),
            arg_w1_weight=np.ones((6, 1)), arg_v=np.ones((6, 3)))}))],
        "another network",
    ),
    "DeepAR": (
        [(f"model_algo-1-{end}", b"") for end in ("0000.params", "config.json", "symbol.json")],
        "a model of DeepAR",
    ),
    "image classification": (
        [(f"image-classification-{end}", b"") for end in ("symbol.json", "0010.params")]
        + [("model-shapes.json", b"")], "a model of image classification",
    ),
    "object detection": (
        [(name, b"") for name in ("hyperparams.json", "model_algo_1-0000.params", "model_algo_1-symbol.json")],
        "a model of object detection",
    ),
    "semantic segmentation": (
        [("hyperparams.json", b"{}"), (MEMBER, params(weight=np.ones(2)))], "a model of semantic segmentation",
    ),
    "sequence-to-sequence": ([("vocab.src.json", b""), ("vocab.trg.json", b"")], "sequence-to-sequence"),
    "BlazingText": ([("vectors.txt", b""), ("vectors.bin", b""), ("eval.json", b"")], "a model of BlazingText"),
    "an MXNet checkpoint": ([("mlp-symbol.json", b"{}"), ("mlp-0000.params", b"")], "an MXNet checkpoint"),
    "TensorFlow": ([("export/1/saved_model.pb", b""), ("export/1/variables/x", b"")], "a TensorFlow model"),
    "Keras": ([("model.h5", b"")], "a Keras model"),
    "Hugging Face": ([("config.json", b"{}"), ("model.safetensors", b"")], "a Hugging Face model"),
    "Hugging Face, pickled": ([("config.json", b"{}"), ("pytorch_model.bin", b"")], "a Hugging Face model"),
    "scikit-learn": ([("model.joblib", PICKLE), ("inference.py", b"")], "a pickled model, such as"),
    "LightGBM of JumpStart": ([("model.pkl", PICKLE)], "a pickled model"),
    "CatBoost": ([("model.cbm", b"CBM1")], "a CatBoost model"),
    "ONNX": ([("model.onnx", b"")], "an ONNX model"),
    "PyTorch": ([("model.pth", zipped(**{"archive/data.pkl": b""}))], "a PyTorch model"),
    "PyTorch by its content": ([(MEMBER, zipped(**{"archive/data.pkl": b""}))], "a PyTorch model"),
    "NumPy": ([(MEMBER, zipped(**{"w.npy": b""}))], "a NumPy archive"),
    "another ZIP": ([(MEMBER, zipped(word=b"document"))], "a ZIP of 'word'"),
    "an empty ZIP": ([(MEMBER, zipped())], "an empty ZIP"),
    "another tar": ([("weights", b""), ("notes", b"")], "a tar archive of 'weights', 'notes'"),
    "a model and more": ([(MEMBER, model()), ("notes", b"")], "a tar archive of 'model_algo-1', 'notes'"),
    "a model twice": ([(MEMBER, model())] * 2, "a tar archive of 'model_algo-1', 'model_algo-1'"),
    "a pickle": ([(MEMBER, PICKLE)], "a Python pickle"),
    "a JSON text": ([(MEMBER, b'{"a": 1}')], "a JSON text"),
    "a model in a folder": ([("model/model_algo-1", model())], "a tar archive of 'model/model_algo-1'"),
    "a tar in a tar": ([(MEMBER, tar((MEMBER, model())))], "an uncompressed tar archive"),
    "an empty archive": ([], "an empty tar archive"),
    "an empty member": ([(MEMBER, b"")], "an empty file"),
}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.tar.gz"


@pytest.mark.parametrize("name", FOREIGN)
def test_another_algorithm_is_named(path: Path, name: str) -> None:
    members, message = FOREIGN[name]
    give = ".*; give the model.tar.gz of a SageMaker Factorization Machines job$"
    with pytest.raises(ArtifactRejected, match=f"^model.tar.gz: this is .*({message}){give}"):
        load_factors(tarred(path, *members))


@pytest.mark.parametrize("name", [name for name in FOREIGN if "tar archive" not in FOREIGN[name][1]])
def test_another_algorithm_is_named_when_it_is_unpacked(tmp_path: Path, name: str) -> None:
    members, message = FOREIGN[name]
    for member, content in members:
        (tmp_path / member).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / member).write_bytes(content)
    if any("/" in member for member, _ in members):
        message = "a folder of 'export'"
    with pytest.raises(ArtifactRejected, match=f"this is .*({message})"):
        load_factors(tmp_path)


FILES = {
    "nothing": (b"", "an empty file"),
    "text": (b"user,item\n", "a file that begins with b'user,ite'"),
    "JSON": (b'{"a": 1}', "a JSON text"),
    "a JSON list": (b"[1]", "a JSON text"),
    "a pickle": (PICKLE, "a Python pickle"),
    "a tar": (tar((MEMBER, model())), "an uncompressed tar archive"),
    "a tar of bzip2": (b"BZh91AY&SY", "a bzip2 file"),
    "a tar of xz": (b"\xfd7zXZ\0\0\4", "an xz file"),
    "a tar of zstd": (b"\x28\xb5\x2f\xfd\0", "a zstd file"),
    "a 7z archive": (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    "an answer of S3": (b'<?xml version="1.0"?>\n<Error>', "an HTML or XML text, such as the answer"),
    "Git LFS": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer to a file that Git LFS keeps"),
    "Parquet": (b"PAR1", "a Parquet file"),
    "Arrow": (b"ARROW1\0\0", "an Arrow file"),
    "Avro": (b"Obj\1", "an Avro file"),
    "safetensors": (struct.pack("<Q", 9) + b'{"w": 1  }', "a safetensors file, a Hugging Face model"),
    "CatBoost": (b"CBM1", "a CatBoost model"),
    "XGBoost, JSON": (b'{"learner":{}}', "an XGBoost model"),
    "recordIO": (b"\x0a\x23\xd7\xce" + bytes(4), "a recordIO file"),
    "HDF5": (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
    "a NumPy array": (b"\x93NUMPY\1\0", "a NumPy array"),
    "XGBoost": (b"{L\0\0\0\0\0\0\0\7learner", "an XGBoost model"),
    "k-NN": (b"IxF2", "a faiss index"),
    "k-means": (params(x=np.ones(3))[:-17] + bytes(8), "a model of k-means"),
    "bare params": (ARRAYS, "the bare params of Factorization Machines"),
    "a ZIP": (zipped(word=b"document"), "a ZIP of 'word'"),
    "nothing, packed": (gzip.compress(b""), "an empty tar archive"),
    "text, packed": (gzip.compress(b"user,item\n" * 99), "a gzip file, but of a file that begins with"),
    "a little text, packed": (gzip.compress(b"{}"), "a gzip file, but of a JSON text"),
    "a ZIP, packed": (gzip.compress(model()), "a gzip file, but of a ZIP"),
    "packed twice": (gzip.compress(gzip.compress(tar((MEMBER, model())))), "a gzip file, but of a gzip file"),
    "a list, packed": (gzip.compress(ARRAYS), "a gzip file, but of a list of arrays of MXNet"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_another_file_is_named(path: Path, name: str) -> None:
    content, message = FILES[name]
    path.write_bytes(content)
    with pytest.raises(ArtifactRejected, match=f"^model.tar.gz: this is .*{message}"):
        load_factors(path)


def test_a_file_is_named_by_its_name_where_its_content_does_not_tell(tmp_path: Path) -> None:
    for name, what in {"mlp-symbol.json": "an MXNet checkpoint", "xgboost-model": "an XGBoost model"}.items():
        (tmp_path / name).write_bytes(PICKLE)
        with pytest.raises(ArtifactRejected, match=f"^{name}: this is {what}"):
            load_factors(tmp_path / name)


def test_what_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "nested" / MEMBER).mkdir(parents=True)
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("nowhere")
    for name, message in {
        "missing": "there is no such file; give the model.tar.gz",
        "empty": "this is an empty folder; give",
        "nested": "there is no such file",
        "pipe": "there is no such file",
        "link": "there is no such file",
    }.items():
        with pytest.raises(ArtifactRejected, match=f"^{name}: {message}"):
            load_factors(tmp_path / name)


UNSAFE = {
    "a parent folder": (("../model_algo-1", b"x"), r"'\.\./model_algo-1' leads to another folder, which"),
    "an absolute path": (("/tmp/model_algo-1", b"x"), "'/tmp/model_algo-1' leads to another folder"),
    "a parent within": (("a/../../model_algo-1", b"x"), "leads to another folder"),
    "a parent of here": (("./../model_algo-1", b"x"), "leads to another folder"),
    "another system's folder": ((r"model\model_algo-1", b"x"), "leads to another folder"),
    "a parent": (("..", b"x"), "leads to another folder"),
    "a symbolic link": ((special(tarfile.SYMTYPE), b""), "'model_algo-1' is a symbolic link, which is unsafe"),
    "a hard link": ((special(tarfile.LNKTYPE), b""), "is a hard link"),
    "a device": ((special(tarfile.CHRTYPE), b""), "is a device"),
    "a disk": ((special(tarfile.BLKTYPE), b""), "is a device"),
    "a pipe": ((special(tarfile.FIFOTYPE), b""), "is a pipe"),
    "a sparse file": ((special(tarfile.GNUTYPE_SPARSE), b""), "is a sparse file"),
    "an unknown kind": ((special(b"V"), b""), "is of the unknown type b'V'"),
}  # fmt: skip


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_members_are_named(path: Path, name: str) -> None:
    member, message = UNSAFE[name]
    before = set(path.parent.iterdir())
    with pytest.raises(ArtifactRejected, match=message):
        load_factors(tarred(path, member, (MEMBER, model())))
    assert set(path.parent.iterdir()) - before == {path}


BROKEN = {
    "meta.json is no JSON": (zipped(**MEMBERS | {"meta_json": b"{"}), "no whole ZIP"),
    "meta.json is a list": (zipped(**MEMBERS | {"meta_json": b"[]"}), "meta.json is no JSON object"),
    "meta.json is deep": (zipped(**MEMBERS | {"meta_json": b"[" * 100_000}), "no whole ZIP"),
    "meta.json is huge": (zipped(**MEMBERS | {"meta_json": bytes(2 << 20)}), "longer than 1048576 bytes"),
    "symbol.json is no text": (zipped(**MEMBERS | {"symbol_json": b'{"\xff": 1}'}), "no whole ZIP"),
    "compressed": (zipped(zipfile.ZIP_DEFLATED, **MEMBERS), "meta.json is compressed or encrypted; SageMaker"),
    "params broken": (zipped(**MEMBERS | {"params": ARRAYS[:-1]}), "params ends too early"),
    "params empty": (zipped(**MEMBERS | {"params": b""}), "params ends too early"),
    "a bare list broken": (ARRAYS[:-1], "params ends too early"),
    "something before": (b"x" + zipped(**MEMBERS), r"a file that begins with b'xPK"),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_says_what_is_wrong(path: Path, name: str) -> None:
    content, message = BROKEN[name]
    with pytest.raises(ArtifactRejected, match=f"^model.tar.gz: .*{message}"):
        load_factors(tarred(path, (MEMBER, content)))


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_tars_of_each_form_are_read(path: Path, form: int) -> None:
    info = tarfile.TarInfo(MEMBER)
    info.mtime, info.uname = 1.5, "é"  # type: ignore[assignment]  # what makes PAX say more
    path.write_bytes(gzip.compress(tar((info, model()), form=form)))
    np.testing.assert_array_equal(load_factors(path).v, machine().v)


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_what_tars_of_a_folder_and_of_macos_add_is_left_out(path: Path, form: int) -> None:
    members: list[tuple[str | tarfile.TarInfo, bytes]] = [
        (special(tarfile.DIRTYPE, "."), b""),
        ("./._model_algo-1", b"\0\5\x16\7Mac OS X"),
        ("./.DS_Store", b"\0\0\0\1Bud1"),
        ("./model_algo-1", model()),
    ]
    path.write_bytes(gzip.compress(tar(*members, form=form)))
    np.testing.assert_array_equal(load_factors(path).v, machine().v)


def test_what_a_header_says_of_the_next_is_believed(path: Path) -> None:
    content = model()
    whole = raw(tarfile.REGTYPE, 0, "x") + content + bytes(-len(content) % 512)
    for about in (
        pax(("path", MEMBER), ("size", str(len(content))), ("comment", "é")),
        pax(("size", "0"), kind=tarfile.XGLTYPE) + pax(("path", MEMBER), ("size", str(len(content)))),
        pax(("size", str(len(content)))) + raw(tarfile.GNUTYPE_LONGLINK, 2) + b"x".ljust(512, b"\0")
        + raw(tarfile.GNUTYPE_LONGNAME, 13) + MEMBER.encode().ljust(512, b"\0"),
    ):  # fmt: skip
        path.write_bytes(gzip.compress(about + whole + bytes(1024)))
        np.testing.assert_array_equal(load_factors(path).v, machine().v)


def test_the_first_model_of_several_machines_is_read(path: Path) -> None:
    path.write_bytes(gzip.compress(tar(*((f"model_algo-{number}", model()) for number in (1, 2)))))
    assert load_factors(path).v.shape == (6, 3)


def test_a_gzip_file_in_pieces_is_read(path: Path) -> None:
    content = tar((MEMBER, model()))
    path.write_bytes(b"".join(gzip.compress(content[at : at + 700]) for at in range(0, len(content), 700)))
    np.testing.assert_array_equal(load_factors(path).v, machine().v)


def zeros(head: bytes, size: int) -> Iterator[bytes]:
    yield head
    for _ in range(size >> 20):
        yield bytes(1 << 20)


def directory(size: int) -> bytes:
    """A ZIP's end that claims a directory of so many bytes."""
    return struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 1, 1, size, 4, 0)


FORGED: dict[str, tuple[Callable[[], Iterator[bytes]], str]] = {
    "a bomb": (lambda: zeros(raw(b"0", 100 << 20), 100 << 20), "with 'model_algo-1' it unpacks to more"),
    "a bomb of another name": (lambda: zeros(raw(b"0", 1 << 40, "x"), 100 << 20), "with 'x' it unpacks"),
    "a size in base 256": (lambda: zeros(raw(b"0", 1 << 60), 1 << 20), "unpacks to more"),
    "a size below nothing": (lambda: iter([raw(b"0", -512) + bytes(1024)]), "claims -512 bytes"),
    "a long header": (lambda: zeros(raw(b"x", 100 << 20), 100 << 20), "header 0 claims 104857600 bytes"),
    "a long name": (lambda: zeros(raw(b"L", 100 << 20), 100 << 20), "header 0 claims 104857600 bytes"),
    "a header below nothing": (lambda: iter([raw(b"x", -512) + bytes(1024)]), "header 0 claims -512 bytes"),
    "a header of digits": (lambda: iter([raw(b"x", 65536) + b"1" * 65536 + bytes(1024)]), "no whole tar.gz"),
    "a record of nothing": (lambda: iter([raw(b"x", 512) + b"0 ".ljust(512, b"1")]), "of a header claims 0"),
    "a record past its end": (lambda: iter([raw(b"x", 512) + b"9999 a=b\n".ljust(512, b"1")]), "claims 9999"),
    "a sparse file, newly": (lambda: iter([pax(("GNU.sparse.size", "1")) + raw(b"0", 0)]), "is a sparse file"),
    "a size that is none": (lambda: iter([pax(("size", "x")) + raw(b"0", 0)]), "no whole tar.gz"),
    "a size below nothing, newly": (lambda: iter([pax(("size", "-1")) + raw(b"0", 0)]), "claims -1 bytes"),
    "headers without end": (lambda: iter([pax(("a", "b")) * 5000]), "more than 100 members"),
    "a thousand members": (lambda: iter([raw(b"0", 0, f"state_{n}") for n in range(1000)]), "than 100 members"),
    "more after the end": (lambda: zeros(tar((MEMBER, model())), 4 << 20), "it goes on after its last member"),
    "other things after the end": (lambda: iter([tar((MEMBER, model())), b"x"]), "it goes on after its last"),
    "a huge directory": (
        lambda: iter([tar((MEMBER, b"PK\3\4" + bytes(8 << 20) + directory(8 << 20)))]),
        "longer than 1048576 bytes",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGED)
def test_a_forged_archive_is_refused_in_little_memory(path: Path, name: str) -> None:
    parts, message = FORGED[name]
    with gzip.open(path, "wb") as file:
        for part in parts():
            file.write(part)
    with little_memory(48 << 20), pytest.raises(ArtifactRejected, match=message):
        load_factors(path)


def test_a_gzip_file_of_endless_pieces_is_refused(path: Path) -> None:
    path.write_bytes(gzip.compress(b"") * 20_000)
    with pytest.raises(ArtifactRejected, match="it is of more than 10000 gzip files"):
        load_factors(path)


def outcome(path: Path) -> str:
    """How a damaged file ends: refused, or read with the numbers that it had."""
    try:
        read = load_factors(path)
    except ArtifactRejected:
        return "refused"
    assert (read.w0, read.w.tobytes(), read.v.tobytes()) == (
        machine().w0,
        machine().w.tobytes(),
        machine().v.tobytes(),
    )
    return "read"


def outcomes(
    path: Path, content: bytes, places: list[int], packed: Callable[[bytes], bytes] = bytes
) -> set[str]:
    """How a file ends with each of these bytes changed in three ways."""
    found = set()
    with little_memory():
        for at in places:
            for flip in (1, 128, 255):
                path.write_bytes(packed(content[:at] + bytes([content[at] ^ flip]) + content[at + 1 :]))
                found.add(outcome(path))
    return found


def test_every_cut_is_refused(path: Path) -> None:
    for content in (gzip.compress(tar((MEMBER, model()))), model()):
        with little_memory():
            for cut in range(len(content)):
                path.write_bytes(content[:cut])
                assert outcome(path) == "refused"


def test_every_cut_of_the_tar_is_refused_or_whole(path: Path) -> None:
    content = tar((MEMBER, model()))
    end = 512 + len(model())
    for cut in {*range(0, len(content), 99), *range(500, 520), *range(end - 9, end + 9)}:
        path.write_bytes(gzip.compress(content[:cut], 0))
        assert outcome(path) == ("refused" if cut < end else "read")


def test_a_damaged_gzip_header_or_sum_is_refused_or_read_right(path: Path) -> None:
    content = gzip.compress(tar((MEMBER, model())))
    places = [*range(30), *range(len(content) - 12, len(content))]
    assert outcomes(path, content, places) == {"refused", "read"}


def test_a_damaged_tar_header_is_refused_or_read_right(path: Path) -> None:
    content = tar((MEMBER, model()))
    assert outcomes(path, content, [*range(512)], lambda damaged: gzip.compress(damaged, 0)) == {
        "refused",
        "read",
    }


def test_a_forged_tar_header_is_refused_or_read_right(path: Path) -> None:
    content = tar((MEMBER, model()))
    assert outcomes(
        path,
        content,
        [*range(148), *range(156, 512)],
        lambda forged: gzip.compress(signed(forged[:512]) + forged[512:], 0),
    ) == {"refused", "read"}


def test_a_damaged_zip_header_is_refused_or_read_right(path: Path) -> None:
    assert outcomes(path, model(), regions(model())) == {"refused", "read"}


def test_a_damaged_header_of_params_is_refused_or_read_right(path: Path) -> None:
    content = model()
    start = content.index(struct.pack("<Q", 0x112))
    numbers = [array.tobytes() for array in (machine().w, np.float32(machine().w0), machine().v)]
    spans = [(at, at + len(bytes_)) for bytes_ in numbers if (at := content.index(bytes_, start))]
    places = [
        at
        for at in range(start, content.rindex(b"arg:v") + 5)
        if not any(low <= at < high for low, high in spans)
    ]
    assert outcomes(path, content, places) == {"refused", "read"}


def test_any_damage_within_a_tar_is_refused_or_read_right(path: Path) -> None:
    content, seeded = tar((MEMBER, model())), random.Random(7)
    places = seeded.sample(range(512, 512 + len(model())), 300)
    assert outcomes(path, content, places, lambda damaged: gzip.compress(damaged, 0)) <= {"refused", "read"}


def zip64(file_size: int, offset: int) -> bytes:
    """A model whose directory gives size and place of `params` in 64 bits, as it likes."""
    content = model()
    start = content.rindex(b"PK\1\2")
    head = bytearray(content[start : content.rindex(b"PK\5\6")])
    extra = struct.pack("<2H3Q", 1, 24, file_size, file_size, offset)
    struct.pack_into("<2L", head, 20, 0xFFFFFFFF, 0xFFFFFFFF)
    struct.pack_into("<H", head, 30, len(extra))
    struct.pack_into("<L", head, 42, 0xFFFFFFFF)
    end = bytearray(content[content.rindex(b"PK\5\6") :])
    struct.pack_into("<L", end, 12, struct.unpack_from("<L", end, 12)[0] + len(extra))
    return content[:start] + bytes(head) + extra + bytes(end)


def test_a_zip_of_64_bits_is_read_and_its_lies_are_refused(path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(model())) as archive:
        info = archive.getinfo("params")
    path.write_bytes(zip64(info.file_size, info.header_offset))
    assert outcome(path) == "read"
    lies = [0, 1, info.file_size + 1, 1 << 31, 1 << 40, (1 << 63) - 1, 1 << 63, (1 << 64) - 1]
    with little_memory():
        for lie in lies:
            path.write_bytes(zip64(lie, info.header_offset))
            assert outcome(path) == "refused"
            path.write_bytes(zip64(info.file_size, lie))
            assert outcome(path) == "refused"


def test_the_same_name_with_another_content_is_no_way_in(path: Path) -> None:
    entries = [("meta.json", META), ("symbol.json", b"{}"), ("params", ARRAYS), ("params", ARRAYS)]
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in entries:
            archive.NameToInfo.pop(name, None)  # zipfile warns of a name that it knows
            archive.writestr(name, content)
    path.write_bytes(file.getvalue())
    with pytest.raises(ArtifactRejected, match=r"a ZIP of 'meta.json', 'symbol.json', 'params', 'params'"):
        load_factors(path)
