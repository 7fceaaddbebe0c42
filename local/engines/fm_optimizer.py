"""How SageMaker Factorization Machines learn: a second-order FM under lazy Adam, compiled.

Model: S. Rendle, Factorization Machines, 2010. Update: D. Kingma and J. Ba, Adam, 2015, in the lazy form of
Apache MXNet: only rows with a non-zero in the batch change, while the count of updates is global. Calibrated
against genuine jobs and held to MXNet 1.9.1 by a golden file: mean gradient of a batch, decay inside the
gradient, float32 throughout. One thread and one fixed order of additions: equal seeds give equal bytes.
"""

import math
import os
from pathlib import Path
from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

# Compiling takes seconds: the result is kept per user, as the package may lie where nothing can be written.
if not numba.config.CACHE_DIR:  # type: ignore[attr-defined]
    _caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    numba.config.CACHE_DIR = str(Path(_caches) / "topx" / "numba")  # type: ignore[attr-defined]

Floats = NDArray[np.float32]

_ONE = np.float32(1)
_BETA1, _BETA2 = np.float32(0.9), np.float32(0.999)
_REST1, _REST2 = _ONE - _BETA1, _ONE - _BETA2  # in float32, as MXNet takes it: 0.00099999, not 0.001
_LANES = 16  # partial sums of an inner product: a vector register wide, and the order of additions

_compiled = numba.njit(cache=True, error_model="numpy", nogil=True)


class Rows(NamedTuple):
    """Sparse rows in file order; where all are two-hot (two different keys of value 1), only keys are held."""

    keys: NDArray[np.int32]  # (non-zeros,)
    starts: NDArray[np.int64]  # (rows + 1,) as in CSR; empty: two-hot
    values: Floats  # (non-zeros,); empty: two-hot
    labels: Floats  # (rows,); surplus labels at the end belong to empty rows


class Weights(NamedTuple):
    """The weights with their Adam moments side by side; axis 1 is weight, mean, mean square."""

    bias: Floats  # (1, 3)
    linear: Floats  # (features, 3)
    factors: Floats  # (features, 3, num_factors)


class Rates(NamedTuple):
    """Step lengths and decays of the three arrays, and what bends every gradient."""

    bias_lr: float
    linear_lr: float
    factors_lr: float
    bias_wd: np.float32
    linear_wd: np.float32
    factors_wd: np.float32
    rescale: np.float32  # times the sum of a batch's gradients: 1 / mini_batch_size unless given
    clip: np.float32  # bound of a gradient with its decay; 0 or less: none
    epsilon: np.float32  # added to the root of the mean square


class Machine:
    """A factorization machine in training."""

    def __init__(self, weights: Weights, rates: Rates, *, mini_batch_size: int, classify: bool) -> None:
        self.weights = weights
        self.updates = 0
        self._rates, self._size, self._classify = rates, mini_batch_size, classify
        self._places = np.full(len(weights.linear), -1, np.int32)  # key -> place among the batch's gradients

    def train(self, rows: Rows, first: int, batches: int) -> Floats:
        """Scores (batches * mini_batch_size,) of the rows of these batches, each from before its update.

        The last batch must be full: surplus labels of `rows` make its empty rows.
        """
        room = _room(rows, self._size, len(self._places))
        scores: Floats = _train(
            rows, self.weights, self._rates, self._places, room, first, batches, self._size,
            self.updates, self._classify,
        )  # fmt: skip
        self.updates += batches
        return scores

    def score(self, rows: Rows) -> Floats:
        """FM scores (rows,), before any sigmoid: w0 + x.w + the sum over pairs of features x_f x_g v_f.v_g."""
        scores: Floats = _scores(rows, self.weights)
        return scores


def _room(rows: Rows, size: int, features: int) -> int:
    """The most features that one batch can touch."""
    if len(rows.starts) == 0:
        return min(2 * size, features)
    return min(int(np.diff(rows.starts[::size], append=rows.starts[-1]).max()), features)


@_compiled
def _inner(a: Any, b: Any, lanes: Any) -> Any:
    """Inner product in a fixed order: by lanes, which the compiler may vectorise as they stand."""
    for lane in range(_LANES):
        lanes[lane] = 0
    whole = len(a) - len(a) % _LANES
    for start in range(0, whole, _LANES):
        for lane in range(_LANES):
            lanes[lane] += a[start + lane] * b[start + lane]
    for j in range(whole, len(a)):
        lanes[j - whole] += a[j] * b[j]
    width = _LANES // 2
    while width:
        for lane in range(width):
            lanes[lane] += lanes[lane + width]
        width //= 2
    return lanes[0]


@_compiled
def _score(rows: Any, row: Any, weights: Any, scratch: Any, lanes: Any) -> Any:
    """The score of a row; unless rows are two-hot, leaves x.v (num_factors,) in `scratch[0]`."""
    score = weights.bias[0, 0]
    if len(rows.starts) == 0:
        if 2 * row < len(rows.keys):
            a, b = rows.keys[2 * row], rows.keys[2 * row + 1]
            score += weights.linear[a, 0] + weights.linear[b, 0]
            score += _inner(weights.factors[a, 0], weights.factors[b, 0], lanes)
        return score
    sums, pairs, halves = scratch[0], scratch[1], scratch[2]
    sums[:] = 0
    pairs[:] = 0
    for n in range(rows.starts[row], rows.starts[row + 1]):
        key, x = rows.keys[n], rows.values[n]
        score += x * weights.linear[key, 0]
        for j in range(len(sums)):
            part = x * weights.factors[key, 0, j]
            sums[j] += part
            pairs[j] -= part * part
    for j in range(len(sums)):
        pairs[j] += sums[j] * sums[j]
    halves[:] = 0.5
    return score + _inner(pairs, halves, lanes)


@_compiled
def _scores(rows: Any, weights: Any) -> Any:
    scores = np.empty(len(rows.labels), np.float32)
    scratch = np.empty((3, weights.factors.shape[2]), np.float32)
    lanes = np.empty(_LANES, np.float32)
    for row in range(len(scores)):
        scores[row] = _score(rows, row, weights, scratch, lanes)
    return scores


@_compiled
def _place(key: Any, used: Any, places: Any, touched: Any, linear: Any, factors: Any) -> Any:
    """(place of a key among the batch's gradients, places used); a new place starts at zero."""
    place = places[key]
    if place >= 0:
        return place, used
    places[key], touched[used], linear[used] = used, key, 0
    for j in range(factors.shape[1]):
        factors[used, j] = 0
    return np.int32(used), used + 1


@_compiled
def _adam(weight: Any, mean: Any, square: Any, gradient: Any, rate: Any, decay: Any, rates: Any) -> Any:
    """(weight, mean, mean square) after one update."""
    step = gradient * rates.rescale + decay * weight
    if rates.clip > 0:
        step = min(max(step, -rates.clip), rates.clip)
    mean = _BETA1 * mean + _REST1 * step
    square = _BETA2 * square + _REST2 * (step * step)
    return weight - rate * mean / (math.sqrt(square) + rates.epsilon), mean, square


@_compiled
def _update(weights: Any, rates: Any, updates: Any, touched: Any, bias: Any, linear: Any, factors: Any) -> None:
    correction = math.sqrt(1 - 0.999**updates) / (1 - 0.9**updates)
    rate, decay = np.float32(rates.bias_lr * correction), rates.bias_wd
    w = weights.bias[0]
    w[0], w[1], w[2] = _adam(w[0], w[1], w[2], bias, rate, decay, rates)
    for place in range(len(touched)):
        rate, decay = np.float32(rates.linear_lr * correction), rates.linear_wd
        w = weights.linear[touched[place]]
        w[0], w[1], w[2] = _adam(w[0], w[1], w[2], linear[place], rate, decay, rates)
        rate, decay = np.float32(rates.factors_lr * correction), rates.factors_wd
        v, gradient = weights.factors[touched[place]], factors[place]
        for j in range(len(gradient)):
            v[0, j], v[1, j], v[2, j] = _adam(v[0, j], v[1, j], v[2, j], gradient[j], rate, decay, rates)


@_compiled
def _train(
    rows: Any, weights: Any, rates: Any, places: Any, room: Any, first: Any, batches: Any, size: Any,
    updates: Any, classify: Any,
) -> Any:  # fmt: skip
    num_factors = weights.factors.shape[2]
    scores = np.empty(batches * size, np.float32)
    scratch = np.empty((3, num_factors), np.float32)
    lanes = np.empty(_LANES, np.float32)
    touched = np.empty(room, np.int32)
    linear = np.empty(room, np.float32)
    factors = np.empty((room, num_factors), np.float32)
    for batch in range(first, first + batches):
        bias, used = np.float32(0), 0
        for row in range(batch * size, (batch + 1) * size):
            score = _score(rows, row, weights, scratch, lanes)
            scores[row - first * size] = score
            error = (_ONE / (_ONE + math.exp(-score)) if classify else score) - rows.labels[row]
            bias += error
            if len(rows.starts) > 0:
                for n in range(rows.starts[row], rows.starts[row + 1]):
                    key, x = rows.keys[n], rows.values[n]
                    i, used = _place(key, used, places, touched, linear, factors)
                    linear[i] += error * x
                    for j in range(num_factors):
                        factors[i, j] += error * (x * scratch[0, j] - x * x * weights.factors[key, 0, j])
            elif 2 * row < len(rows.keys):
                a, b = rows.keys[2 * row], rows.keys[2 * row + 1]
                i, used = _place(a, used, places, touched, linear, factors)
                k, used = _place(b, used, places, touched, linear, factors)
                linear[i] += error
                linear[k] += error
                for j in range(num_factors):
                    factors[i, j] += error * weights.factors[b, 0, j]
                    factors[k, j] += error * weights.factors[a, 0, j]
        _update(weights, rates, updates + batch - first + 1, touched[:used], bias, linear, factors)
        for place in range(used):
            places[touched[place]] = -1
    return scores
