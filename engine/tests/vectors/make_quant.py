"""Writes quant.bin: what the `gguf` package makes of stored blocks, and of weights to be stored.

Run with gguf 0.19.0 and numpy: python make_quant.py

All numbers are little endian. For each of the 14 formats:
- type id u32, number of blocks u32, the blocks, their weights in f32;
- number of further blocks u32, FNV-1a of their weights u64: these blocks are made of `Random`,
  which the test repeats.
Then 512 weights in f32 and their stored form in each format that the package quantises.
"""

import pathlib
import struct

import numpy as np
from gguf.constants import GGML_QUANT_SIZES
from gguf.constants import GGMLQuantizationType as Type
from gguf.quants import dequantize, quantize

FORMATS = [
    Type.F32, Type.F16, Type.BF16, Type.Q8_0, Type.Q4_0, Type.Q4_1, Type.Q5_0, Type.Q5_1,
    Type.Q2_K, Type.Q3_K, Type.Q4_K, Type.Q5_K, Type.Q6_K, Type.IQ4_NL,
]  # fmt: skip
QUANTISED_BY_GGUF = FORMATS[:8]

# Where a block's f16 numbers start: only they can be infinite or not a number.
HALVES = {
    Type.Q8_0: [0], Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2],
    Type.Q2_K: [80, 82], Type.Q3_K: [108], Type.Q4_K: [0, 2], Type.Q5_K: [0, 2],
    Type.Q6_K: [208], Type.IQ4_NL: [0], Type.F16: [0],
}  # fmt: skip

# Largest, smallest, subnormal, zeroes of both signs, and ordinary ones.
SPECIAL_HALVES = [0x7BFF, 0xFBFF, 0x0001, 0x8001, 0x03FF, 0x0400, 0x0000, 0x8000, 0x3C00, 0xA1B2]

MASK = (1 << 64) - 1
FURTHER_WEIGHTS = 1 << 17


class Random:
    """Marsaglia's xorshift64*, as in `engine/src/synthetic.rs`."""

    def __init__(self, seed):
        self.state = seed

    def bits(self):
        x = self.state | 1
        x ^= x >> 12
        x = (x ^ (x << 25)) & MASK
        x ^= x >> 27
        self.state = x
        return (x * 0x2545F4914F6CDD1D & MASK) >> 32


def tamed(type_, block):
    """The block with every exponent of all ones lowered, so that all weights are finite."""
    for at in HALVES.get(type_, []):
        if block[at + 1] & 0x7C == 0x7C:
            block[at + 1] ^= 0x40
    if type_ in (Type.F32, Type.BF16) and block[-1] & 0x7F == 0x7F and block[-2] & 0x80:
        block[-1] ^= 0x40
    return bytes(block)


def chosen_blocks(type_, random):
    n_bytes = GGML_QUANT_SIZES[type_][1]
    n_random = {True: 12, False: 40}[n_bytes > 64]
    blocks = [bytearray(random.bits() & 0xFF for _ in range(n_bytes)) for _ in range(n_random)]
    blocks += [bytearray([byte]) * n_bytes for byte in (0x00, 0xFF, 0x80, 0x7F, 0x08)]
    for n, half in enumerate(SPECIAL_HALVES if type_ in HALVES else []):
        block = bytearray(random.bits() & 0xFF for _ in range(n_bytes))
        for place, at in enumerate(HALVES[type_]):
            other = SPECIAL_HALVES[(n + 3 * place) % len(SPECIAL_HALVES)]
            block[at : at + 2] = struct.pack("<H", half if place == 0 else other)
        blocks.append(block)
    return b"".join(tamed(type_, block) for block in blocks), len(blocks)


def further_blocks(type_):
    block_len, n_bytes = GGML_QUANT_SIZES[type_]
    random = Random(type_.value + 1)
    n_blocks = FURTHER_WEIGHTS // block_len
    blocks = [bytearray(random.bits() & 0xFF for _ in range(n_bytes)) for _ in range(n_blocks)]
    return b"".join(tamed(type_, block) for block in blocks), n_blocks


def weights_of(type_, blocks):
    weights = dequantize(np.frombuffer(blocks, np.uint8), type_).astype(np.float32)
    assert np.isfinite(weights).all()
    return weights


def fnv(weights):
    state = 0xCBF29CE484222325
    for word in weights.view(np.uint32).tolist():
        state = (state ^ word) * 0x100000001B3 & MASK
    return state


random = Random(20261121)
out = b""
for type_ in FORMATS:
    blocks, n_blocks = chosen_blocks(type_, random)
    out += struct.pack("<II", type_.value, n_blocks) + blocks + weights_of(type_, blocks).tobytes()
    blocks, n_blocks = further_blocks(type_)
    out += struct.pack("<IQ", n_blocks, fnv(weights_of(type_, blocks)))

normal = np.random.default_rng(20261121)
weights = (normal.standard_normal(512) * normal.choice([0.01, 1.0, 30.0], 512)).astype(np.float32)
weights[32:64] = 0.0  # a block without a scale
weights[64:96] = -np.abs(weights[64:96])  # the largest magnitude is negative
weights[96:128] = np.abs(weights[96:128])
weights[128:160] = 0.37  # a block without a range
weights[160:192] = 1.0e-7  # a scale that is subnormal in f16
out += weights.tobytes()
for type_ in QUANTISED_BY_GGUF:
    out += quantize(weights, type_).tobytes()
pathlib.Path(__file__).with_name("quant.bin").write_bytes(out)
