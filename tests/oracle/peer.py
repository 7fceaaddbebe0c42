"""The SageMaker SDK v2 and MXNet 1.9.1 as a program that answers: `.oracle/bin/python tests/oracle/peer.py FD`.

FD is a connection of `multiprocessing`: it takes (name of a function in REQUESTS, its arguments) and gives
("answer", value) or ("refusal", one line). It ends with the connection. Both libraries are imported by the
first request that needs them.
"""

import io
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import chdir
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

Stored = tuple[Any, ...]  # (storage type, shape, data, *aux): no aux, row ids, or indices and indptr of csr
TENSORS = {"float32_tensor": "<f4", "float64_tensor": "<f8", "int32_tensor": "<i4"}


def versions() -> dict[str, str]:
    """The version of each library, imported."""
    import sagemaker
    from retired import mx

    return {"sagemaker": sagemaker.__version__, "mxnet": mx.__version__}


def libraries() -> list[str]:
    """The files of libgomp and libquadmath that this process has loaded, under the names MXNet asks for."""
    from retired import mx  # noqa: F401

    lines = Path("/proc/self/maps").read_text().splitlines()
    paths = {line.split(maxsplit=5)[-1] for line in lines}
    return sorted(path for path in paths if Path(path).name.startswith(("libgomp.so", "libquadmath.so")))


def write_sparse(matrix: Any, labels: Any = None) -> bytes:
    """The recordIO file that the SDK makes of a csr_matrix and labels (rows,)."""
    from sagemaker.amazon import common

    file = io.BytesIO()
    common.write_spmatrix_to_sparse_tensor(file, matrix, labels)
    return file.getvalue()


def write_dense(matrix: Any, labels: Any = None) -> bytes:
    """The recordIO file that the SDK makes of an array (rows, features) and labels (rows,)."""
    from sagemaker.amazon import common

    file = io.BytesIO()
    common.write_numpy_to_dense_tensor(file, matrix, labels)
    return file.getvalue()


def read_records(content: bytes) -> list[dict[str, tuple[Any, ...]]]:
    """Of each record the SDK reads: what stands under features and label, as (name, values, keys, shape)."""
    from sagemaker.amazon import common

    records = common.read_records(io.BytesIO(content))
    return [
        {kind: tuple(_tensors(getattr(record, kind))) for kind in ("features", "label")} for record in records
    ]


def _tensors(entries: Any) -> Any:
    for name in sorted(entries):
        kind = entries[name].WhichOneof("value")
        tensor = getattr(entries[name], kind)
        keys, shape = (np.array(list(part), np.uint64) for part in (tensor.keys, tensor.shape))
        yield name, np.array(list(tensor.values), TENSORS[kind]), keys, shape


def images(names: Sequence[str]) -> dict[tuple[str, str], str]:
    """(algorithm, Region) -> address of the image, of all Regions that the SDK has one for."""
    from sagemaker import image_uris, utils

    utils._botocore_resolver = cache(
        utils._botocore_resolver
    )  # which reads a file of megabytes, for each address
    found = {}
    for name in names:
        for region in image_uris.config_for_framework(name)["versions"]["1"]["registries"]:
            found[name, region] = image_uris.retrieve(name, region)
    return found


def save_params(arrays: Sequence[Stored], names: Sequence[str] | None, *, numpy_shapes: bool = False) -> bytes:
    """What mx.nd.save makes of the arrays; with NumPy's shapes it writes version 3 for dense ones."""
    from retired import mx

    with mx.util.np_shape(numpy_shapes), tempfile.TemporaryDirectory() as folder:
        made = [_made(mx, *array) for array in arrays]
        file = Path(folder) / "params"
        mx.nd.save(str(file), made if names is None else dict(zip(names, made, strict=True)))
        return file.read_bytes()


def _made(mx: Any, storage: str, shape: tuple[int, ...], data: Any, *aux: Any) -> Any:
    values = mx.nd.array(data, dtype=data.dtype)
    ids = [mx.nd.array(part, dtype="int64") for part in aux]
    if storage == "row_sparse":
        return mx.nd.sparse.row_sparse_array((values, *ids), shape=shape, dtype=data.dtype)
    if storage == "csr":
        return mx.nd.sparse.csr_matrix((values, *ids), shape=shape, dtype=data.dtype)
    return values


def load_params(content: bytes, *, numpy_shapes: bool = False) -> tuple[list[str] | None, list[Stored]]:
    """(names, arrays) that mx.nd.load reads; version 3 needs NumPy's shapes."""
    from retired import mx

    with mx.util.np_shape(numpy_shapes), tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "params"
        file.write_bytes(content)
        loaded = mx.nd.load(str(file))
        arrays = list(loaded.values() if isinstance(loaded, dict) else loaded)
        return list(loaded) if isinstance(loaded, dict) else None, [_taken(array) for array in arrays]


def _taken(array: Any) -> Stored:
    if array.stype == "default":
        return "default", array.shape, array.asnumpy()
    aux = [array.indices] if array.stype == "row_sparse" else [array.indices, array.indptr]
    return array.stype, array.shape, array.data.asnumpy(), *(part.asnumpy() for part in aux)


def open_model(folder: str, rows: Any) -> tuple[dict[str, Any], Any]:
    """(weights by name, outputs (rows,)) of an artifact, opened as in the original article.

    The folder holds it unpacked, as `model-symbol.json` and `model-0000.params`; rows is a csr_matrix. The
    outputs are the scores, those of a classifier after the sigmoid.
    """
    from retired import mx

    with chdir(folder):
        module = mx.module.Module.load("./model", 0, False, label_names=["out_label"])
    weights = {name: array.asnumpy() for name, array in module._arg_params.items()}
    module.bind(
        data_shapes=[mx.io.DataDesc("data", rows.shape, layout="NC")],
        label_shapes=[mx.io.DataDesc("out_label", (rows.shape[0], 1))],
        for_training=False,
    )
    data = mx.nd.sparse.csr_matrix((rows.data, rows.indices, rows.indptr), shape=rows.shape)
    module.forward(mx.io.DataBatch([data], [mx.nd.zeros((rows.shape[0], 1))]), is_train=False)
    return weights, module.get_outputs()[0].asnumpy()[:, 0]


def save_checkpoint(weights: Any, network: str, *, classify: bool) -> tuple[bytes, bytes]:
    """(symbol.json, params) that MXNet writes of a network, managed or dense, with these weights w0, w, v."""
    import network as networks

    with tempfile.TemporaryDirectory() as folder:
        symbol = getattr(networks, network)(*weights["v"].shape, classify=classify)
        module = networks.bound(symbol, weights, 1)
        module.save_checkpoint(f"{folder}/model", 0)
        return tuple(Path(folder, f"model-{end}").read_bytes() for end in ("symbol.json", "0000.params"))


def train(symbol: str | None, settings: Any, start: Any, rows: Any, labels: Any) -> tuple[Any, Any]:
    """As network.train, of a graph in JSON or, without one, of the managed network."""
    from network import Rows, managed
    from network import train as trained
    from retired import mx

    if symbol is None:
        classify = settings["predictor_type"] == "binary_classifier"
        return trained(managed(*start["v"].shape, classify=classify), settings, start, Rows(*rows), labels)
    return trained(mx.sym.load_json(symbol), settings, start, Rows(*rows), labels)


REQUESTS: dict[str, Callable[..., Any]] = {
    function.__name__: function
    for function in (
        versions, libraries, write_sparse, write_dense, read_records, images, save_params, load_params,
        open_model, save_checkpoint, train,
    )
}  # fmt: skip


def main() -> None:
    """Answers until the other end of the connection is closed."""
    os.environ["SAGEMAKER_SUPPRESS_V2_WARNING"] = "1"
    logging.disable()
    connection = Connection(int(sys.argv[1]))
    while True:
        try:
            name, given = connection.recv()
        except EOFError:
            return
        try:
            answer = "answer", REQUESTS[name](**given)
        except Exception as error:  # noqa: BLE001  whatever a peer raises is its refusal, and what we ask for
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            answer = "refusal", f"{type(error).__name__}: {lines[-1] if lines else 'without a text'}"
        connection.send(answer)


if __name__ == "__main__":
    main()
