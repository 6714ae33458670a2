"""Writes quant.bin: weights, their stored form and that form dequantised, by the `gguf` package.

Run with gguf 0.19.0 and numpy: python make_quant.py
"""

import pathlib
import struct

import numpy as np
from gguf.constants import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

random = np.random.default_rng(20261121)
weights = (random.standard_normal(256) * random.choice([0.01, 1.0, 30.0], 256)).astype(np.float32)
weights[32:64] = 0.0  # a block without a scale
weights[64:96] = -np.abs(weights[64:96])  # the largest magnitude is negative
weights[96:128] = np.abs(weights[96:128])
out = b""
for type_ in (Type.F32, Type.F16, Type.Q4_0, Type.Q8_0):
    stored = quantize(weights, type_)
    back = dequantize(stored, type_)
    out += struct.pack("<II", type_.value, weights.size)
    out += weights.tobytes() + stored.tobytes() + back.astype(np.float32).tobytes()
pathlib.Path(__file__).with_name("quant.bin").write_bytes(out)
