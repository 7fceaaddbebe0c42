"""FM artifacts: the formula, genuine files both ways, and a named refusal of everything else."""

import gzip
import io
import itertools
import json
import struct
import tarfile
import tracemalloc
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from topx import factors as module
from topx.errors import ArtifactRejected, RecordsRejected
from topx.factors import Factors, load_factors, save_factors, save_model
from topx.mxparams import write_params

PARAMETERS = {"feature_dim": "6", "num_factors": "3", "predictor_type": "regressor", "epochs": "1"}


def machine(features: int = 6, num_factors: int = 3, seed: int = 5) -> Factors:
    random = np.random.default_rng(seed)
    w = random.normal(size=features).astype(np.float32)
    v = random.normal(size=(features, num_factors)).astype(np.float32)
    return Factors(w0=float(np.float32(0.3)), w=w, v=v, metadata={})


def params(**arrays: np.ndarray) -> bytes:
    file = io.BytesIO()
    write_params(file, {name.replace("arg_", "arg:", 1): array for name, array in arrays.items()})
    return file.getvalue()


def zipped(compression: int = zipfile.ZIP_STORED, **members: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name.replace("_json", ".json"), content)
    return file.getvalue()


def model(parameters: dict[str, str] = PARAMETERS) -> bytes:
    file, m = io.BytesIO(), machine()
    save_model(file, m.w0, m.w, m.v, parameters)
    return file.getvalue()


def tarred(path: Path, *members: tuple[str | tarfile.TarInfo, bytes], level: int = 1) -> Path:
    with tarfile.open(path, "w:gz", compresslevel=level) as archive:
        for member, content in members:
            info = tarfile.TarInfo(member) if isinstance(member, str) else member
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def special(kind: bytes, name: str = "model_algo-1", target: str = "/etc/passwd") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, target
    return info


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "model.tar.gz"


def by_hand(m: Factors, matrix: np.ndarray) -> np.ndarray:
    """w0 + sum of w_i x_i + sum over pairs i < j of <v_i, v_j> x_i x_j, in float64."""
    v = m.v.astype(np.float64)
    pairs = [
        sum(v[i] @ v[j] * row[i] * row[j] for i, j in itertools.combinations(range(len(row)), 2))
        for row in matrix
    ]
    return m.w0 + matrix @ m.w.astype(np.float64) + pairs


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from([0, 0, 1, 1, -2, 0.5]), min_size=6, max_size=6), max_size=9))
def test_score_is_the_sum_over_pairs(rows: list[list[float]]) -> None:
    matrix = np.array(rows, np.float32).reshape(-1, 6)
    expected = by_hand(machine(), matrix)
    for given_as in (sparse.csr_array(matrix), sparse.csc_matrix(matrix), matrix):
        scores = machine().score(given_as)
        assert scores.dtype == np.float64
        np.testing.assert_allclose(scores, expected, rtol=1e-12, atol=1e-12)


def test_blocks_of_any_size_score_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = sparse.random(50, 6, 0.4, "csr", np.float32, random_state=2)
    expected = machine().score(matrix)
    monkeypatch.setattr(module, "_NUMBERS", 3)
    np.testing.assert_allclose(machine().score(matrix), expected, rtol=1e-12)


def test_a_two_hot_row_scores_its_two_weights_and_one_product() -> None:
    m = machine()
    expected = m.w0 + float(m.w[1]) + float(m.w[4]) + m.v[1].astype(float) @ m.v[4].astype(float)
    assert m.score(sparse.csr_array([[0, 1, 0, 0, 1, 0]]))[0] == pytest.approx(expected, rel=1e-12)


def test_a_key_twice_in_a_row_counts_as_its_sum() -> None:
    twice = sparse.csr_array(([1.0, 2.0, 1.0], [3, 3, 0], [0, 3]), shape=(1, 6))
    assert not twice.has_canonical_format
    np.testing.assert_allclose(machine().score(twice), machine().score(twice.toarray()), rtol=1e-12)
    assert twice.nnz == 3


def test_rows_of_another_width_are_refused() -> None:
    with pytest.raises(RecordsRejected, match="rows have 7 columns, the model has 6 features"):
        machine().score(sparse.csr_array((2, 7)))


def test_check_counts_what_is_not_finite_in_each_array(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BLOCK", 4)
    m = machine()
    m.check()
    m.w[4] = np.inf
    m.v[2, 1] = m.v[2, 2] = m.v[5, 0] = np.nan
    with pytest.raises(ArtifactRejected) as refused:
        m.check()
    assert "2 problems" in str(refused.value)
    assert "w holds 1 numbers of 6 that are not finite, the first in row 4" in str(refused.value)
    assert "v holds 3 numbers of 18 that are not finite, the first in row 2" in str(refused.value)
    with pytest.raises(ArtifactRejected, match="w0 holds 1 numbers"):
        Factors(w0=float("nan"), w=machine().w, v=machine().v, metadata={}).check()


@pytest.mark.parametrize("predictor", ["regressor", "binary_classifier"])
def test_a_saved_artifact_loads_as_it_was(path: Path, predictor: str) -> None:
    m, parameters = machine(), PARAMETERS | {"predictor_type": predictor}
    save_factors(path, m.w0, m.w, m.v, parameters)
    read = load_factors(path)
    assert read.w0 == m.w0
    np.testing.assert_array_equal(read.w, m.w)
    np.testing.assert_array_equal(read.v, m.v)
    assert (read.w.dtype, read.v.dtype) == (np.float32, np.float32)
    assert read.metadata["training_parameters"] == parameters
    assert read.metadata["label_names"] == ["out_label"]


def test_an_artifact_is_laid_out_like_a_genuine_one(path: Path) -> None:
    m = machine()
    save_factors(path, m.w0, m.w, m.v, PARAMETERS)
    with tarfile.open(path) as archive:
        assert archive.getnames() == ["model_algo-1"]
        inner = archive.extractfile("model_algo-1")
        assert inner is not None
        content = inner.read()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.namelist() == ["meta.json", "symbol.json", "params"]
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert json.loads(archive.read("meta.json"))["epoch_number"] == 1
        symbol = json.loads(archive.read("symbol.json"))
        assert archive.read("params") == params(
            arg_w1_weight=m.w[:, None], arg_w0_weight=np.array([m.w0]), arg_v=m.v
        )
    nodes = symbol["nodes"]
    names = ["data", "w1_weight", "w0_weight", "v", "out_label"]
    assert [nodes[place]["name"] for place in symbol["arg_nodes"]] == names
    assert symbol["attrs"] == {"mxnet_version": ["int", 10301]}
    assert nodes[symbol["heads"][0][0]]["op"] == "LinearRegressionOutput"
    assert nodes[5]["attrs"] == {"__shape__": "(6, 3)", "__storage_type__": "1"}


def test_the_same_model_makes_the_same_bytes(tmp_path: Path) -> None:
    m = machine()
    for name in ("a.tar.gz", "b.tar.gz"):
        save_factors(tmp_path / name, m.w0, m.w, np.asfortranarray(m.v), PARAMETERS)
    assert (tmp_path / "a.tar.gz").read_bytes() == (tmp_path / "b.tar.gz").read_bytes()


@pytest.mark.parametrize(
    ("w", "v", "parameters", "message"),
    [
        (np.ones(5), np.ones((6, 3)), PARAMETERS, "have shapes"),
        (np.ones(6), np.ones(6), PARAMETERS, "have shapes"),
        (np.ones(6), np.ones((6, 3)), {"predictor_type": "ranker"}, "predictor_type is 'ranker'; regressor"),
    ],
)
def test_what_makes_no_model_is_not_saved(
    path: Path, w: np.ndarray, v: np.ndarray, parameters: dict[str, str], message: str
) -> None:
    with pytest.raises(ArtifactRejected, match=message):
        save_factors(path, 0, w, v, parameters)


META = json.dumps({"training_parameters": PARAMETERS}).encode()
ARRAYS = params(arg_w1_weight=np.ones((6, 1)), arg_w0_weight=np.ones(1), arg_v=np.ones((6, 3)))
MEMBERS = {"meta_json": META, "symbol_json": b"{}", "params": ARRAYS}
FOREIGN = {
    "k-NN": ([("model_algo-1", b"IxF2"), ("model_algo-1.labels", b"")], "this is an index of k-NN"),
    "XGBoost": ([("xgboost-model", b"binf")], "an XGBoost model"),
    "k-means": ([("model_algo-1", params(x=np.ones(3))[:-17] + bytes(8))], "a model of k-means"),
    "k-means with state": ([("model_algo-1", b""), ("state_1b9d6bcd", b"")], "a model of k-means"),
    "PCA": ([("model_algo-1", params(mean=np.ones(1), s=np.ones(1), v=np.ones((1, 1))))], "a model of PCA"),
    "another list": ([("model_algo-1", params(x=np.ones(1), y=np.ones(1)))], "list of the arrays 'x', 'y'"),
    "linear learner": (
        [("model_algo-1", zipped(**{"additional-params_json": b"{}", "mx-mod-0000": b""}))],
        "a model of linear learner",
    ),
    "NTM": (
        [("model_algo-1", zipped(**MEMBERS | {"params": params(arg_enc_0_weight=np.ones(2))}))],
        "another network, such as a Neural Topic Model, with the arrays 'arg:enc_0_weight'",
    ),
    "an old FM": (
        [("model_algo-1", zipped(**MEMBERS | {"params": params(arg_Linear_Plus_Bias_weight=np.ones(2))}))],
        "made by an old image of Factorization Machines",
    ),
    "another ZIP": ([("model_algo-1", zipped(word=b"document"))], "this is a ZIP of 'word'"),
    "another tar": ([("saved_model.pb", b""), ("variables", b"")], "archive of 'saved_model.pb', 'variables'"),
    "a pickle": ([("model_algo-1", b"\x80\x04K\x01.")], "whose model_algo-1 is no whole ZIP"),
    "an empty archive": ([], "this is an empty archive"),
    "an empty member": ([("model_algo-1", b"")], "an empty model_algo-1"),
}  # fmt: skip


@pytest.mark.parametrize("name", FOREIGN)
def test_another_algorithm_is_named(path: Path, name: str) -> None:
    members, message = FOREIGN[name]
    with pytest.raises(ArtifactRejected, match=f"^model.tar.gz: .*{message}"):
        load_factors(tarred(path, *members))


UNSAFE = {
    "a parent folder": (("../model_algo-1", b"x"), r"'\.\./model_algo-1' leads to another folder"),
    "an absolute path": (("/tmp/model_algo-1", b"x"), "'/tmp/model_algo-1' leads to another folder"),
    "a folder": (("model/model_algo-1", b"x"), "leads to another folder"),
    "a parent": (("..", b"x"), "leads to another folder"),
    "a symbolic link": ((special(tarfile.SYMTYPE), b""), "'model_algo-1' is a symbolic link, which is unsafe"),
    "a hard link": ((special(tarfile.LNKTYPE), b""), "is a hard link"),
    "a device": ((special(tarfile.CHRTYPE), b""), "is a device"),
    "a pipe": ((special(tarfile.FIFOTYPE), b""), "is a device"),
    "a directory": ((special(tarfile.DIRTYPE, "model"), b""), "is a directory"),
}


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_members_are_named(path: Path, name: str) -> None:
    member, message = UNSAFE[name]
    before = set(path.parent.iterdir())
    with pytest.raises(ArtifactRejected, match=message):
        load_factors(tarred(path, member, ("model_algo-1", model())))
    assert set(path.parent.iterdir()) - before == {path}


BROKEN = {
    "meta.json is no JSON": (zipped(**MEMBERS | {"meta_json": b"{"}), "no whole ZIP"),
    "meta.json is a list": (zipped(**MEMBERS | {"meta_json": b"[]"}), "meta.json is no JSON object"),
    "meta.json is deep": (zipped(**MEMBERS | {"meta_json": b"[" * 100_000}), "no whole ZIP"),
    "meta.json is huge": (zipped(**MEMBERS | {"meta_json": bytes(2 << 20)}), "meta.json claims 2097152 bytes"),
    "no parameters": (zipped(**MEMBERS | {"meta_json": b"{}"}), "meta.json has no training_parameters"),
    "compressed": (zipped(zipfile.ZIP_DEFLATED, **MEMBERS), "meta.json is compressed; SageMaker stores it"),
    "params broken": (zipped(**MEMBERS | {"params": ARRAYS[:-1]}), "params ends too early"),
    "other sizes": (
        zipped(**MEMBERS | {"meta_json": META.replace(b'"6"', b'"7"')}),
        "feature_dim '7', v has 6",
    ),
    "other widths": (
        zipped(
            **MEMBERS
            | {"params": params(arg_w1_weight=np.ones((5, 1)), arg_w0_weight=np.ones(2), arg_v=np.ones((6, 3)))}
        ),
        r"2 problems:\n- w0 has shape \(2,\).*\n- w has shape \(5, 1\) and v \(6, 3\)",
    ),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_model_says_what_is_wrong(path: Path, name: str) -> None:
    content, message = BROKEN[name]
    with pytest.raises(ArtifactRejected, match=message):
        load_factors(tarred(path, ("model_algo-1", content)))


def test_no_gzip_and_nothing_at_all_are_refused(path: Path) -> None:
    for content in (b"", b"not a tar.gz", gzip.compress(b""), gzip.compress(b"not a tar"), model()):
        path.write_bytes(content)
        with pytest.raises(
            ArtifactRejected, match=r"^model.tar.gz: this is (no whole tar.gz|an empty) archive"
        ):
            load_factors(path)


def zeros(size: int, member: tarfile.TarInfo) -> Iterator[bytes]:
    member.size = size
    yield member.tobuf(tarfile.GNU_FORMAT)
    for _ in range(size >> 20):
        yield bytes(1 << 20)


@pytest.mark.parametrize(
    ("member", "message"),
    [
        (tarfile.TarInfo("model_algo-1"), "unpacks to more than 100 times its size"),
        (special(tarfile.XHDTYPE), "unpacks to more than the sizes of its members"),
        (special(tarfile.GNUTYPE_LONGNAME), "unpacks to more than the sizes of its members"),
    ],
)
def test_a_bomb_is_refused_before_it_unpacks(path: Path, member: tarfile.TarInfo, message: str) -> None:
    with gzip.open(path, "wb", 1) as file:
        for part in zeros(100 << 20, member):
            file.write(part)
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactRejected, match=message):
            load_factors(path)
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


def test_a_thousand_members_are_refused(path: Path) -> None:
    with pytest.raises(ArtifactRejected, match="more than 100 members"):
        load_factors(tarred(path, *((f"state_{n}", b"") for n in range(1000))))


def test_what_follows_the_archive_is_bounded(path: Path) -> None:
    tarred(path, ("model_algo-1", model()))
    load_factors(path)
    with path.open("ab") as file:
        file.write(gzip.compress(bytes(4 << 20)))
    with pytest.raises(ArtifactRejected, match="unpacks to more"):
        load_factors(path)


def survives(path: Path) -> str:
    try:
        load_factors(path)
    except ArtifactRejected:
        return "refused"
    return "read"


def test_every_cut_of_the_archive_is_refused(path: Path) -> None:
    content = tarred(path, ("model_algo-1", model())).read_bytes()
    for cut in range(len(content)):
        path.write_bytes(content[:cut])
        assert survives(path) == "refused"


def test_a_flipped_byte_of_the_archive_never_changes_a_number(path: Path) -> None:
    content = bytearray(tarred(path, ("model_algo-1", model())).read_bytes())
    for at in range(len(content)):
        content[at] ^= at % 255 + 1
        path.write_bytes(content)
        if survives(path) == "read":  # the header's time, name or system
            np.testing.assert_array_equal(load_factors(path).v, machine().v)
        content[at] ^= at % 255 + 1


def test_a_flipped_byte_of_the_zip_is_refused_or_read(path: Path) -> None:
    content = bytearray(model())
    outcomes = set()
    for at in range(len(content)):
        content[at] ^= at % 255 + 1
        outcomes.add(survives(tarred(path, ("model_algo-1", bytes(content)), level=0)))
        content[at] ^= at % 255 + 1
    assert outcomes == {"read", "refused"}


def test_a_flipped_byte_of_the_tar_header_is_refused_or_read(path: Path) -> None:
    with gzip.open(tarred(path, ("model_algo-1", model()))) as file:
        content = bytearray(file.read())
    for at in range(512):
        flip = 128 if 100 <= at < 157 else at % 255 + 1  # a high bit begins a number of another kind
        content[at] ^= flip
        struct.pack_into("8s", content, 148, b"%06o\0 " % (sum(content[:148]) + 256 + sum(content[156:512])))
        path.write_bytes(gzip.compress(content, 0))
        survives(path)
        content[at] ^= flip
