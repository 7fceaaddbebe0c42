"""Factorization Machines: the formula, and their artifacts both ways."""

import io
import itertools
import json
import struct
import tarfile
import tracemalloc
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from small_model import MEMBER, META, PARAMETERS, machine, model, params, tarred, zipped

from topx import factors as module
from topx.errors import ArtifactRejected, RecordsRejected
from topx.factors import Factors, load_factors, save_factors, save_model


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


def inner(path: Path) -> bytes:
    with tarfile.open(path) as archive:
        content = archive.extractfile(MEMBER)
        assert content is not None
        return content.read()


M = machine()
GENUINE = {
    "params": params(arg_v=M.v, arg_w0_weight=np.ones(1), arg_w1_weight=M.w[:, None]),
    "meta_json": json.dumps(
        {"label_names": ["out_label"], "training_parameters": PARAMETERS, "é": 1.0},
        indent=1,
        ensure_ascii=False,
    ).encode(),
    "symbol_json": b'{"nodes": [ ], "attrs":{"mxnet_version":["int",10301]}}',
}


def by_another_hand(parts: dict[str, bytes] = GENUINE, behind: bool = False, more: bytes = b"") -> bytes:
    """A ZIP with times, rights, order, extra fields and comments of its own; with sums behind if `behind`."""
    file = io.BytesIO()
    with zipfile.ZipFile(Unseekable(file) if behind else file, "w") as archive:
        for second, (name, content) in enumerate(parts.items()):
            info = zipfile.ZipInfo(name.replace("_json", ".json"), (2026, 2, 3, 4, 5, 2 * second))
            info.external_attr, info.extra, info.comment = 0o100644 << 16, more, more
            archive.writestr(info, content)
        archive.comment = more
    return file.getvalue()


class Unseekable(io.RawIOBase):
    """A pipe, to which a ZIP is written from its beginning to its end."""

    def __init__(self, file: io.BytesIO) -> None:
        self.file = file

    def writable(self) -> bool:
        return True

    def write(self, content: bytes) -> int:
        return self.file.write(content)


OLD = {"Linear_Plus_Bias_weight": M.w[None], "Linear_Plus_Bias_bias": np.ones(1), "v": M.v.T}
GOLDEN = Path(__file__).parent / "golden"
PARAMS = {
    "of MXNet": (GOLDEN / "genuine.params").read_bytes(),
    "of MXNet, dense": (GOLDEN / "dense.params").read_bytes(),
    "of an old image": params(**OLD),
    "without prefixes": params(w0_weight=np.ones(1), w1_weight=M.w[:, None], v=M.v),
}
VARIED = {
    "a ZIP of another hand": by_another_hand(),
    "a ZIP with sums behind": by_another_hand(behind=True),
    "a ZIP with more": by_another_hand(more=struct.pack("<2HI", 0x9999, 4, 7)),
    **{name: by_another_hand(GENUINE | {"meta_json": b'{"training_parameters": {}}', "params": content})
       for name, content in PARAMS.items()},
}  # fmt: skip


@pytest.mark.parametrize("name", VARIED)
def test_what_was_opened_is_written_again_byte_for_byte(path: Path, tmp_path: Path, name: str) -> None:
    read = load_factors(tarred(path, (MEMBER, VARIED[name])))
    read.save(tmp_path / "again")
    assert inner(tmp_path / "again") == VARIED[name]
    replace(read, v=read.v.copy(), metadata=dict(read.metadata)).save(tmp_path / "copied")
    assert (tmp_path / "copied").read_bytes() == (tmp_path / "again").read_bytes()


@settings(deadline=None, max_examples=25)
@given(st.data(), st.sampled_from(["regressor", "binary_classifier"]))
def test_a_saved_artifact_is_saved_alike_after_loading(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, predictor: str
) -> None:
    path = tmp_path_factory.mktemp("saved") / "model.tar.gz"
    m = machine(data.draw(st.integers(1, 40)), data.draw(st.integers(1, 9)), data.draw(st.integers(0, 99)))
    extra = data.draw(st.dictionaries(st.sampled_from("abc"), st.text(max_size=5)))
    save_factors(path, m.w0, m.w, m.v, {**extra, "predictor_type": predictor})
    content = path.read_bytes()
    load_factors(path).save(path.with_name("again"))
    assert path.with_name("again").read_bytes() == content


def test_what_was_changed_is_written_anew(path: Path, tmp_path: Path) -> None:
    read = load_factors(tarred(path, (MEMBER, by_another_hand())))
    parameters = {"training_parameters": {"predictor_type": "binary_classifier"}}
    for other in (
        replace(read, w0=0.5),
        replace(read, v=read.v * 2),
        replace(read, v=np.where(np.arange(3) < 2, read.v, 0)),
        replace(read, v=read.v[:, :2], metadata=parameters),
        replace(read, metadata=parameters),
        replace(read, metadata=parameters, source=None),
    ):
        other.save(tmp_path / "other")
        again = load_factors(tmp_path / "other")
        assert (again.w0, again.metadata) == (other.w0, other.metadata)
        np.testing.assert_array_equal(again.v, other.v)
    with pytest.raises(ArtifactRejected, match="predictor_type is ''; regressor and binary_classifier"):
        machine().save(tmp_path / "none")


@pytest.mark.parametrize("prefix", ["arg_", ""])
def test_arrays_of_old_images_are_turned(path: Path, tmp_path: Path, prefix: str) -> None:
    content = params(**{prefix + name: array for name, array in OLD.items()})
    read = load_factors(tarred(path, (MEMBER, zipped(meta_json=META, symbol_json=b"{}", params=content))))
    replace(read, w0=M.w0).save(tmp_path / "again")
    again = load_factors(tmp_path / "again")
    assert again.source is not None
    assert list(again.source.arrays) == ["arg:w1_weight", "arg:w0_weight", "arg:v"]
    for one in (read, again):
        np.testing.assert_array_equal(one.w, M.w)
        np.testing.assert_array_equal(one.v, M.v)
        assert one.metadata == {"training_parameters": PARAMETERS}
    matrix = sparse.random(20, 6, 0.4, "csr", np.float32, random_state=3)
    np.testing.assert_allclose(again.score(matrix), M.score(matrix), rtol=1e-12)


def test_a_model_is_opened_in_each_state_of_unpacking(path: Path, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    (folder / MEMBER).write_bytes(model())
    (folder / "model-symbol.json").write_text("{}")  # what the original article makes of its parts
    for place in (tarred(path, (MEMBER, model())), folder, folder / MEMBER, str(folder)):
        read = load_factors(place)
        read.check()
        np.testing.assert_array_equal(read.v, machine().v)
        assert read.metadata["training_parameters"] == PARAMETERS


def test_an_unpacked_model_is_not_copied(tmp_path: Path) -> None:
    v = np.broadcast_to(np.arange(64, dtype=np.float32), (200_000, 64))
    with (tmp_path / MEMBER).open("wb") as file:
        save_model(file, 0, v[:, 1], v, {"predictor_type": "regressor"})
    tracemalloc.start()
    try:
        read = load_factors(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()
    assert read.v.nbytes == 51_200_000
    np.testing.assert_array_equal(read.v[[0, 199_999]], v[:2])


def damaged(parts: dict[str, bytes]) -> bytes:
    """A ZIP of which one number of `params` was changed after its checksum was made."""
    content = zipped(**parts)
    at = content.index(parts["params"]) + parts["params"].index(machine().v.tobytes()) + 3
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_damaged_numbers_are_found_at_once_in_a_tar_and_else_by_check(path: Path, tmp_path: Path) -> None:
    content = damaged(GENUINE)
    with pytest.raises(ArtifactRejected, match=r"^model.tar.gz: params is not what its checksum 0x\w{8} says"):
        load_factors(tarred(path, (MEMBER, content)))
    (tmp_path / MEMBER).write_bytes(content)
    with pytest.raises(ArtifactRejected, match=r"^params is not what its checksum"):
        load_factors(tmp_path).check()


def fm(**arrays: np.ndarray) -> dict[str, bytes]:
    """The parts of a model; some arrays others than they should be."""
    m = machine()
    named = {"arg_w1_weight": m.w[:, None], "arg_w0_weight": np.ones(1), "arg_v": m.v} | arrays
    return {"meta_json": META, "symbol_json": b"{}", "params": params(**named)}


def as_float64(content: bytes) -> bytes:
    """The same list, w0 said to be float64: 8 bytes of the array that is not float32."""
    bias = np.ones(1, "<f4").tobytes()
    at = content.index(bytes([1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]) + bias)
    return content[: at + 8] + b"\1\0\0\0" + np.ones(1, "<f8").tobytes() + content[at + 16 :]


UNFIT = {
    "no parameters": (fm() | {"meta_json": b"{}"}, "meta.json has no training_parameters"),
    "other parameters": (fm() | {"meta_json": b'{"training_parameters": 1}'}, "no training_parameters"),
    "other sizes": (fm() | {"meta_json": META.replace(b'"6"', b'"7"')}, "feature_dim '7', v has 6"),
    "another dtype": (fm() | {"params": as_float64(fm()["params"])}, "w0_weight is float64; SageMaker writes"),
    "turned": (fm(arg_v=np.ones((3, 6))), r"w has shape \(6, 1\) and v \(3, 6\)"),
    "a flat v": (fm(arg_v=np.ones(6)), r"v \(6,\); they are \(features, 1\) and \(features, num_factors\)"),
    "other widths": (
        fm(arg_w1_weight=np.ones((5, 1)), arg_w0_weight=np.ones(2)),
        r"2 problems:\n- w0 has shape \(2,\).*\n- w has shape \(5, 1\) and v \(6, 3\)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_listed(path: Path, name: str) -> None:
    parts, message = UNFIT[name]
    with pytest.raises(ArtifactRejected, match=f"^model.tar.gz: (.|\n)*{message}"):
        load_factors(tarred(path, (MEMBER, zipped(**parts))))
