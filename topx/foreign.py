"""The name of what is no artifact of Factorization Machines: by its files, its arrays or its first bytes.

The layouts of the other built-in algorithms are those that AWS's own notebooks and users' listings show.
"""

from collections.abc import Collection
from fnmatch import fnmatchcase

_FILES = {  # the first that fits
    "an XGBoost model": ("xgboost-model*",),
    "an index of k-NN": ("model_algo-1.labels",),
    "a model of k-means": ("state_*",),
    "a model of linear learner": ("additional-params.json", "mx-mod-*"),
    "a model of DeepAR": ("model_algo-1-*.params",),
    "a model of image classification": ("image-classification-*.params",),
    "a model of object detection": ("model_algo_1-*.params",),
    "a model of sequence-to-sequence": ("vocab.src.json",),
    "a model of BlazingText or fastText": ("vectors.txt", "vectors.bin", "model.bin"),
    "a model of semantic segmentation": ("hyperparams.json",),
    "an MXNet checkpoint": ("*-symbol.json", "*-[0-9][0-9][0-9][0-9].params"),
    "a TensorFlow model": ("saved_model.pb",),
    "a Keras model": ("*.h5", "*.keras"),
    "a Hugging Face model": ("*.safetensors", "pytorch_model*.bin"),
    "a PyTorch model": ("data.pkl", "*.pt", "*.pth"),
    "an ONNX model": ("*.onnx",),
    "a CatBoost model": ("*.cbm",),
    "a pickled model, such as scikit-learn's": ("*.joblib", "*.pkl"),
    "a NumPy archive": ("*.np[yz]",),
}
_BYTES = {
    "an XGBoost model": (b"binf", b"{L", b'{"learner"'),
    "a CatBoost model": (b"CBM1",),
    "a faiss index, as k-NN writes it": (b"IxF", b"IwFl", b"IwPQ"),
    "a list of arrays of MXNet": (b"\x12\1\0\0\0\0\0\0",),
    "a recordIO file": (b"\x0a\x23\xd7\xce",),
    "a Parquet file": (b"PAR1",),
    "an Arrow file": (b"ARROW1",),
    "an Avro file": (b"Obj\1",),
    "a NumPy array": (b"\x93NUMPY",),
    "an HDF5 file, as Keras writes it": (b"\x89HDF",),
    "a Python pickle": tuple(bytes([0x80, protocol]) for protocol in range(2, 6)),
    "a gzip file": (b"\x1f\x8b",),
    "a ZIP": (b"PK",),
    "a bzip2 file": (b"BZh",),
    "an xz file": (b"\xfd7zXZ",),
    "a zstd file": (b"\x28\xb5\x2f\xfd",),
    "a 7z archive": (b"7z\xbc\xaf",),
    "a JSON text": (b"{", b"["),
    "an HTML or XML text, such as the answer to a download that failed": (b"<",),
    "a pointer to a file that Git LFS keeps": (b"version https://git-lfs",),
}


def by_files(names: Collection[str]) -> str | None:
    """The algorithm that writes files of such names, folders aside, if they tell."""
    plain = [name.rpartition("/")[2] for name in names]
    for what, patterns in _FILES.items():
        if any(fnmatchcase(name, pattern) for pattern in patterns for name in plain):
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
    if not head:
        return "an empty file"
    if head[257:262] == b"ustar":
        return "an uncompressed tar archive"
    if head[4:10] == b'\0\0\0\0{"':
        return "a safetensors file, a Hugging Face model"
    for what, magics in _BYTES.items():
        if head.startswith(magics):
            return what
    return f"a file that begins with {head[:8]!r}"


def listed(names: Collection[str]) -> str:
    """The first names, quoted and cut."""
    some = [repr(name)[:60] for name in list(names)[:6]]
    return ", ".join(some) + (" and more" if len(names) > len(some) else "")
