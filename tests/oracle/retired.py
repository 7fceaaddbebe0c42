"""MXNet 1.9.1 under today's NumPy: `from retired import mx`, in the oracle's environment alone."""

import numpy as np

# MXNet asks for these names while it is imported; NumPy has dropped them.
DROPPED = (
    "PZERO", "NZERO", "Inf", "PINF", "NINF", "NaN", "NAN", "product", "sometrue", "alltrue", "in1d", "trapz",
    "round_", "msort", "mirr", "npv", "pmt", "ppmt", "pv", "rate",
)  # fmt: skip
for _name in DROPPED:
    setattr(np, _name, getattr(np, _name, None))

import mxnet as mx  # noqa: E402

__all__ = ["mx"]
