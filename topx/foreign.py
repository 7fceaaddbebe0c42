"""The name of what is no artifact of Factorization Machines: by its files, its arrays or its first bytes.

The layouts of the other built-in algorithms are those that AWS's own notebooks and users' listings show.
"""

from collections.abc import Collection
from fnmatch import fnmatchcase

_FILES = {
    "xgboost-model*": "an XGBoost model",
    "model_algo-1.labels": "an index of k-NN",
    "state_*": "a model of k-means",
    "additional-params.json": "a model of linear learner",
    "mx-mod-*": "a model of linear learner",
    "model_algo-1-*.params": "a model of DeepAR",
    "image-classification-*.params": "a model of image classification",
    "model_algo_1-*.params": "a model of object detection",
    "vocab.src.json": "a model of sequence-to-sequence",
    "vectors.txt": "word vectors of BlazingText",
    "vectors.bin": "word vectors of BlazingText",
    "model.bin": "a model of BlazingText or fastText",
    "*-symbol.json": "an MXNet checkpoint",
    "*-[0-9][0-9][0-9][0-9].params": "an MXNet checkpoint",
    "saved_model.pb": "a TensorFlow model",
    "*data.pkl": "a PyTorch model",
    "*.pth": "a PyTorch model",
    "*.npy": "a NumPy archive",
}
_BYTES = {
    b"": "an empty file",
    b"\x1f\x8b": "a gzip file",
    b"PK": "a ZIP",
    b"\x12\x01\0\0\0\0\0\0": "a list of arrays of MXNet",
    b"\x0a\x23\xd7\xce": "a recordIO file",
    b"\x93NUMPY": "a NumPy array",
    b"\x89HDF": "an HDF5 file, as Keras writes it",
    b"IxF": "a faiss index",
    b"binf": "an XGBoost model",
    b"{L": "an XGBoost model",
    b"{": "a JSON text",
    b"[": "a JSON text",
    **{bytes([0x80, protocol]): "a Python pickle" for protocol in range(2, 6)},
}


def by_files(names: Collection[str]) -> str | None:
    """The algorithm that writes files of such names, folders aside, if they tell."""
    for pattern, what in _FILES.items():
        if any(fnmatchcase(name.rpartition("/")[2], pattern) for name in names):
            return what
    return None


def by_arrays(names: Collection[str]) -> str:
    """What holds a bare list of arrays of these names; "0", "1" and so on are those of an unnamed list."""
    plain = {name.removeprefix("arg:") for name in names}
    if plain >= {"s", "v"}:
        return "a model of PCA"
    if plain == {"0"}:
        return "a model of k-means"
    if plain == {"0", "1"}:
        return "a model of LDA"
    if plain >= {"w1_weight", "v"} or plain >= {"Linear_Plus_Bias_weight", "v"}:
        return "the bare params of Factorization Machines"
    return f"a bare list of the arrays {listed(names)}"


def by_network(names: Collection[str]) -> str:
    """What holds the arrays of these names beside a graph."""
    if "arg:projection_weight" in names:
        return "a Neural Topic Model (NTM)"
    return f"another network, such as a Neural Topic Model (NTM), with the arrays {listed(names)}"


def by_bytes(head: bytes) -> str:
    """What begins with these bytes, the first 512 of a file."""
    if head[257:262] == b"ustar":
        return "an uncompressed tar archive"
    for magic, what in _BYTES.items():
        if head.startswith(magic) if magic else not head:
            return what
    return f"a file that begins with {head[:8]!r}"


def listed(names: Collection[str]) -> str:
    """The first names, quoted and cut."""
    some = [repr(name)[:60] for name in list(names)[:6]]
    return ", ".join(some) + (" and more" if len(names) > len(some) else "")
