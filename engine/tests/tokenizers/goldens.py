"""Writes what llama.cpp makes of every case in torture.txt, with every vocabulary and variant.

    pip install gguf numpy && npm install node-llama-cpp@3.22.1
    python goldens.py node_modules/@node-llama-cpp/linux-x64/bins/linux-x64

llama.cpp is called through ctypes: the one fact taken from its headers that is not a function's
signature is where `vocab_only` lies in `llama_model_params`.

A golden file has a block for each variant: a line of JSON that says what is set, then a line for
each case: its token ids, or after a "#" their FNV-1a hash where the ids in full would only make the
file large. "=" stands for the same line as in the first block. The last block says which tokens end
an answer, and has a hash of the pieces of every 32 tokens.
"""

import ctypes
import json
import pathlib
import sys
import tempfile

import gguf

HERE = pathlib.Path(__file__).parent
VOCAB_ONLY_OFFSET = 72
CASES = [json.loads(line) for line in (HERE / "torture.txt").read_text("utf-8").split("\n") if line]
CASES.append("\n".join(CASES))

# Variants whose ids are written in full: the families that people run most.
IN_FULL = ["gpt-2", "llama-bpe", "qwen2", "smollm"]
PRE_TOKENIZERS = ["gpt-2", "default", "llama-bpe", "dbrx", "qwen2", "qwen35", "smollm", "starcoder", "falcon", "tekken", "gpt-4o", "deepseek-llm", "deepseek-coder", "deepseek-v3", "minicpm5", "bloom", "viking", "seed-coder", "bailingmoe"]
VARIANTS = {
    "bytes": [{"pre": pre, "control": True} for pre in PRE_TOKENIZERS]
    + [{"pre": "gpt-2", "control": False}, {"pre": "llama-bpe", "control": True, "framed": True}, {"pre": "gpt-2", "control": True, "framed": True, "add_eos": True}],
    "pieces": [
        {"control": True},
        {"control": False},
        {"control": True, "add_space_prefix": False},
        {"control": True, "name": "Phi-3-mini"},
        {"control": True, "framed": True, "add_eos": True},
    ],
    "words": [{"control": True}, {"control": False, "framed": True}, {"control": True, "lowercase": False}, {"control": True, "lowercase": True, "strip_accents": False}],
}


class Params(ctypes.Structure):
    _fields_ = [("raw", ctypes.c_ubyte * 512)]


class Llama:
    def __init__(self, folder):
        for name in ["libggml-base.so", "libggml.v0.5.0.so", "libllama.v0.5.0.so"]:
            self.lib = ctypes.CDLL(str(folder / name), mode=ctypes.RTLD_GLOBAL)
        self.quiet = ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)(lambda *_: None)
        lib = self.lib
        lib.llama_log_set(self.quiet, None)
        lib.llama_model_default_params.restype = Params
        lib.llama_model_load_from_file.restype = ctypes.c_void_p
        lib.llama_model_load_from_file.argtypes = [ctypes.c_char_p, Params]
        lib.llama_model_get_vocab.restype = ctypes.c_void_p
        lib.llama_model_get_vocab.argtypes = [ctypes.c_void_p]
        ints, flag = ctypes.POINTER(ctypes.c_int32), ctypes.c_bool
        lib.llama_tokenize.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_int32, ints, ctypes.c_int32, flag, flag]
        lib.llama_detokenize.argtypes = [ctypes.c_void_p, ints, ctypes.c_int32, ctypes.c_char_p, ctypes.c_int32, flag, flag]
        lib.llama_token_to_piece.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_char_p, ctypes.c_int32, ctypes.c_int32, flag]
        lib.llama_vocab_is_eog.argtypes = [ctypes.c_void_p, ctypes.c_int32]
        lib.llama_vocab_is_eog.restype = flag
        lib.llama_backend_init()
        lib.ggml_backend_load_all_from_path(str(folder).encode())

    def load(self, path):
        params = self.lib.llama_model_default_params()
        params.raw[VOCAB_ONLY_OFFSET] = 1
        model = self.lib.llama_model_load_from_file(str(path).encode(), params)
        assert model, f"{path} was refused"
        self.vocab = self.lib.llama_model_get_vocab(model)

    def tokenize(self, text, framed, control):
        raw = text.encode("utf-8", "surrogatepass")
        room = len(raw) + 16
        ids = (ctypes.c_int32 * room)()
        n = self.lib.llama_tokenize(self.vocab, raw, len(raw), ids, room, framed, control)
        assert n >= 0
        return list(ids[:n])

    def piece(self, token):
        room = ctypes.create_string_buffer(1024)
        n = self.lib.llama_token_to_piece(self.vocab, token, room, 1024, 0, False)
        return room.raw[:n]

    def detokenize(self, ids):
        array, room = (ctypes.c_int32 * len(ids))(*ids), ctypes.create_string_buffer(1 << 17)
        n = self.lib.llama_detokenize(self.vocab, array, len(ids), room, 1 << 17, False, False)
        assert n >= 0
        return room.raw[:n]


def write_gguf(path, vocabulary, variant):
    writer = gguf.GGUFWriter(path, "bert" if vocabulary["model"] == "bert" else "llama")
    if "name" in variant:
        writer.add_name(variant["name"])
    writer.add_tokenizer_model(vocabulary["model"])
    if "pre" in variant:
        writer.add_tokenizer_pre(variant["pre"])
    writer.add_token_list(vocabulary["tokens"])
    writer.add_token_types(vocabulary["types"])
    if "scores" in vocabulary:
        writer.add_token_scores(vocabulary["scores"])
    if "merges" in vocabulary:
        writer.add_token_merges(vocabulary["merges"])
    ids = {"bos": writer.add_bos_token_id, "eos": writer.add_eos_token_id, "sep": writer.add_sep_token_id, "unk": writer.add_unk_token_id, "pad": writer.add_pad_token_id, "mask": writer.add_mask_token_id}
    for key, add in ids.items():
        if key in vocabulary:
            add(vocabulary[key])
    flags = {"add_space_prefix": "tokenizer.ggml.add_space_prefix", "add_eos": "tokenizer.ggml.add_eos_token", "lowercase": "tokenizer.ggml.normalizer.lowercase", "strip_accents": "tokenizer.ggml.normalizer.strip_accents"}
    for key, name in flags.items():
        if key in variant:
            writer.add_bool(name, variant[key])
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def fnv(data):
    value = 0xCBF29CE484222325
    for byte in data:
        value = (value ^ byte) * 0x100000001B3 % (1 << 64)
    return f"#{value:016x}"


def line_of(ids, in_full):
    if in_full and len(ids) < 2000:
        return " ".join(map(str, ids))
    return fnv(b"".join(token.to_bytes(4, "little") for token in ids))


def golden(llama, vocabulary, variants):
    lines, first = [], None
    for variant in variants:
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder) / "vocabulary.gguf"
            write_gguf(path, vocabulary, variant)
            llama.load(path)
            found = [llama.tokenize(case, variant.get("framed", False), variant["control"]) for case in CASES]
        lines.append(json.dumps(variant))
        in_full = variant["control"] and not variant.get("framed") and variant.get("pre", "gpt-2") in IN_FULL
        block = [line_of(ids, in_full) for ids in found]
        if first is None:
            first, same = found, [None] * len(found)
        else:
            same = [ids == other for ids, other in zip(found, first)]
        lines += ["=" if equal else line for line, equal in zip(block, same)]
    ends = [token for token in range(len(vocabulary["tokens"])) if llama.lib.llama_vocab_is_eog(llama.vocab, token)]
    pieces = [llama.piece(token) for token in range(len(vocabulary["tokens"]))]
    lines.append(json.dumps({"ends": ends}))
    lines += [fnv(b"\0".join(pieces[at : at + 32])) for at in range(0, len(pieces), 32)]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    llama = Llama(pathlib.Path(sys.argv[1]))
    for name, variants in VARIANTS.items():
        vocabulary = json.loads((HERE / f"{name}.json").read_text("utf-8"))
        (HERE / f"{name}.golden").write_text(golden(llama, vocabulary, variants), "utf-8")
