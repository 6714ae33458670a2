"""Holds what the engine makes of its tiny models against llama.cpp, and prints the table.

    cargo run -p thrum-engine --example conformance -- FOLDER
    pip install numpy && npm install node-llama-cpp@3.22.1
    python run.py node_modules/@node-llama-cpp/linux-x64/bins/linux-x64 FOLDER [llama_cpp.json]

llama.cpp reads the same tokens one by one (forced decoding), through ctypes. From its headers are
taken the signatures and the order of `llama_context_params` up to its last number; defaults that
are known are checked, so that a library with another order is refused.
"""

import ctypes
import json
import pathlib
import sys

import numpy as np

# Positions kept for the test: the first, around the window of 16, and the last.
KEPT = [0, 1, 15, 16, 17, 31, 100, 255, 256, 319]
TOP = 20
TEXTS = [1, 7, 64, 320]
CONTEXT = 512
F32, F16 = 0, 1


class ModelParams(ctypes.Structure):
    _fields_ = [("raw", ctypes.c_ubyte * 512)]


class ContextParams(ctypes.Structure):
    _fields_ = (
        [(name, ctypes.c_uint32) for name in ["n_ctx", "n_batch", "n_ubatch", "n_seq_max", "n_rs_seq", "n_outputs_max", "n_outputs_max_per_seq"]]
        + [(name, ctypes.c_int32) for name in ["n_threads", "n_threads_batch", "ctx_type", "rope_scaling", "pooling", "attention", "flash_attn"]]
        + [(name, ctypes.c_float) for name in ["freq_base", "freq_scale", "ext_factor", "attn_factor", "beta_fast", "beta_slow"]]
        + [("orig_ctx", ctypes.c_uint32), ("defrag", ctypes.c_float)]
        + [("cb_eval", ctypes.c_void_p), ("cb_data", ctypes.c_void_p), ("type_k", ctypes.c_int32), ("type_v", ctypes.c_int32)]
        + [("abort", ctypes.c_void_p), ("abort_data", ctypes.c_void_p), ("embeddings", ctypes.c_bool), ("rest", ctypes.c_ubyte * 255)]
    )


class Batch(ctypes.Structure):
    _fields_ = [("n_tokens", ctypes.c_int32)] + [(name, ctypes.c_void_p) for name in ["token", "embd", "pos", "n_seq_id", "seq_id", "logits"]]


class Llama:
    def __init__(self, folder):
        for name in ["libggml-base.so", "libggml.v0.5.0.so", "libllama.v0.5.0.so"]:
            self.lib = ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
        self.last_words = []
        self.listen = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda _, text, __: self.last_words.append(text.decode(errors="replace")))
        lib, pointer = self.lib, ctypes.c_void_p
        lib.llama_log_set(self.listen, None)
        lib.llama_model_default_params.restype = ModelParams
        lib.llama_context_default_params.restype = ContextParams
        signatures = {
            "llama_model_load_from_file": (pointer, [ctypes.c_char_p, ModelParams]),
            "llama_init_from_model": (pointer, [pointer, ContextParams]),
            "llama_free": (None, [pointer]),
            "llama_model_free": (None, [pointer]),
            "llama_batch_get_one": (Batch, [pointer, ctypes.c_int32]),
            "llama_decode": (ctypes.c_int32, [pointer, Batch]),
            "llama_encode": (ctypes.c_int32, [pointer, Batch]),
            "llama_get_logits_ith": (ctypes.POINTER(ctypes.c_float), [pointer, ctypes.c_int32]),
            "llama_get_embeddings_seq": (ctypes.POINTER(ctypes.c_float), [pointer, ctypes.c_int32]),
        }
        for name, (result, arguments) in signatures.items():
            getattr(lib, name).restype = result
            getattr(lib, name).argtypes = arguments
        lib.llama_backend_init()
        lib.ggml_backend_load_all_from_path(str(folder).encode())

    def context(self, model, kv, embeddings):
        params = self.lib.llama_context_default_params()
        known = (params.n_ctx, params.n_batch, params.rope_scaling, params.pooling, params.flash_attn, params.ext_factor, params.type_k, params.type_v, params.embeddings)
        assert known == (512, 2048, -1, -1, -1, -1.0, F16, F16, False), f"another llama_context_params: {known}"
        params.n_ctx, params.n_threads, params.n_threads_batch = CONTEXT, 1, 1
        params.flash_attn, params.type_k, params.type_v, params.embeddings = 0, kv, kv, embeddings
        context = self.lib.llama_init_from_model(model, params)
        assert context, "".join(self.last_words[-8:])
        return context

    def read(self, path, tokens, kv, encoder):
        model = self.lib.llama_model_load_from_file(str(path).encode(), self.lib.llama_model_default_params())
        if not model:
            raise SystemExit(f"{path} was refused: " + "".join(self.last_words[-8:]))
        rows = []
        if encoder:
            for n in TEXTS:
                context = self.context(model, kv, True)
                array = (ctypes.c_int32 * n)(*tokens[:n])
                assert self.lib.llama_encode(context, self.lib.llama_batch_get_one(array, n)) == 0
                row = np.ctypeslib.as_array(self.lib.llama_get_embeddings_seq(context, 0), (64,)).copy()
                rows.append(row / np.linalg.norm(row))
                self.lib.llama_free(context)
        else:
            context = self.context(model, kv, False)
            for token in tokens:
                one = (ctypes.c_int32 * 1)(token)
                assert self.lib.llama_decode(context, self.lib.llama_batch_get_one(one, 1)) == 0
                rows.append(np.ctypeslib.as_array(self.lib.llama_get_logits_ith(context, -1), (320,)).copy())
            self.lib.llama_free(context)
        self.lib.llama_model_free(model)
        return np.array(rows, np.float32)


def probabilities(logits):
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))


def figures(found, expected, encoder):
    """Top-1 agreement, mean KL in nats, largest difference over the standard deviation."""
    difference = np.abs(found - expected).max() / expected.std()
    if encoder:
        cosine = (found * expected).sum(axis=1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
        return f"cosine {cosine.min():.7f} | | {difference:.1e}"
    agreement = int((found.argmax(axis=1) == expected.argmax(axis=1)).sum())
    p, q = probabilities(expected), probabilities(found)
    divergence = (np.exp(p) * (p - q)).sum(axis=1).mean()
    return f"{agreement}/{len(found)} | {max(divergence, 0.0):.1e} | {difference:.1e}"


def main():
    llama, folder = Llama(pathlib.Path(sys.argv[1])), pathlib.Path(sys.argv[2])
    tokens = np.fromfile(folder / "tokens", np.uint32).tolist()
    golden = {}
    cases = [("f32", F32, "exact"), ("f32", F16, "cpu"), ("q8_0", F16, "cpu")]
    print("| model | weights | llama.cpp's keys and values | path | top-1 | mean KL | max difference |")
    print("|---|---|---|---|---|---|---|")
    for name in sorted(path.name.removesuffix(".f32.gguf") for path in folder.glob("*.f32.gguf")):
        encoder = name == "bert"
        for weights, kv, path in cases[: 2 if encoder else None]:
            expected = llama.read(folder / f"{name}.{weights}.gguf", tokens, kv, encoder)
            found = np.fromfile(folder / f"{name}.{weights}.{path}", np.float32).reshape(expected.shape)
            print(f"| {name} | {weights} | {'f16' if kv else 'f32'} | {path} | {figures(found, expected, encoder)} |", flush=True)
            if path == "exact":
                golden[name] = kept(expected, encoder)
    if len(sys.argv) > 3:
        lines = ",\n".join(f'"{name}": ' + json.dumps(rows, separators=(",", ":")) for name, rows in golden.items())
        pathlib.Path(sys.argv[3]).write_text("{\n" + lines + "\n}\n")


def kept(rows, encoder):
    """By position, the best ids and their logits, best first; an encoder's embeddings whole."""
    if encoder:
        return {str(n): [[i, round(float(value), 6)] for i, value in enumerate(row)] for n, row in enumerate(rows)}
    best = {position: np.argsort(-rows[position], kind="stable")[:TOP] for position in KEPT}
    return {str(position): [[int(i), round(float(rows[position][i]), 5)] for i in ids] for position, ids in best.items()}


if __name__ == "__main__":
    main()
