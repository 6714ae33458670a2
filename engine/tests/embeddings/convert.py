"""Writes a sentence-transformers BERT folder as GGUF: weights, sizes and WordPiece vocabulary.

    convert.py MODEL_DIR OUT.gguf [F32|F16|Q8_0 [NAME]]

Matrices take the format that is asked for, gains and biases stay F32. Spellings follow llama.cpp:
a token that begins a word begins with U+2581, one that continues a word loses its "##".
"""

import json
import sys
from pathlib import Path

import gguf
import numpy as np
from safetensors.numpy import load_file

FORMATS = {
    "F32": gguf.GGMLQuantizationType.F32,
    "F16": gguf.GGMLQuantizationType.F16,
    "Q8_0": gguf.GGMLQuantizationType.Q8_0,
}
FILE_TYPES = {
    "F32": gguf.LlamaFileType.ALL_F32,
    "F16": gguf.LlamaFileType.MOSTLY_F16,
    "Q8_0": gguf.LlamaFileType.MOSTLY_Q8_0,
}
OUTSIDE = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
BLOCK = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
# Computed from nothing, or by no one: the pooler is not part of a mean-pooled sentence.
SKIPPED = ("embeddings.position_ids", "pooler.")
# modules.json pools by one of these; the numbers are those of GGUF.
POOLING = {"pooling_mode_mean_tokens": 1, "pooling_mode_cls_token": 2, "pooling_mode_lasttoken": 3}


def tensor_name(name: str) -> str | None:
    name = name.removeprefix("bert.")
    if name.startswith(SKIPPED):
        return None
    if name in OUTSIDE:
        return OUTSIDE[name]
    layer, _, rest = name.removeprefix("encoder.layer.").partition(".")
    module, _, kind = rest.rpartition(".")
    return f"blk.{int(layer)}.{BLOCK[module]}.{kind}"


def write_sizes(out: gguf.GGUFWriter, config: dict, pooling: int) -> None:
    if config["hidden_act"] != "gelu" or config.get("position_embedding_type", "absolute") != "absolute":
        raise SystemExit("only GELU and absolute positions are what GGUF's bert means")
    out.add_context_length(config["max_position_embeddings"])
    out.add_embedding_length(config["hidden_size"])
    out.add_block_count(config["num_hidden_layers"])
    out.add_feed_forward_length(config["intermediate_size"])
    out.add_head_count(config["num_attention_heads"])
    out.add_layer_norm_eps(config["layer_norm_eps"])
    out.add_causal_attention(False)
    out.add_pooling_type(gguf.PoolingType(pooling))


def write_vocabulary(out: gguf.GGUFWriter, folder: Path, config: dict) -> None:
    tokens = (folder / "vocab.txt").read_text(encoding="utf-8").rstrip("\n").split("\n")
    if len(tokens) != config["vocab_size"]:
        raise SystemExit(f"{len(tokens)} tokens for {config['vocab_size']} rows")
    options = json.loads((folder / "tokenizer_config.json").read_text())
    lowercase = options.get("do_lower_case", True)
    spellings, kinds = [], []
    for token in tokens:
        if token.startswith("[") and token.endswith("]") and len(token) > 2:
            spellings.append(token)
            kinds.append(gguf.TokenType.UNKNOWN if token == "[UNK]" else gguf.TokenType.CONTROL)
        else:
            spellings.append(token[2:] if token.startswith("##") else "\u2581" + token)
            kinds.append(gguf.TokenType.NORMAL)
    out.add_tokenizer_model("bert")
    out.add_tokenizer_pre("default")
    out.add_token_list(spellings)
    out.add_token_types(kinds)
    out.add_token_type_count(config["type_vocab_size"])
    out.add_bool("tokenizer.ggml.normalizer.lowercase", lowercase)
    # The rule that the model was trained on, where llama.cpp's differs (Korean, Indic scripts);
    # llama.cpp does not read it.
    out.add_string("thrum.tokenizer.normalizer", "bert")
    accents = options.get("strip_accents")
    out.add_bool("tokenizer.ggml.normalizer.strip_accents", lowercase if accents is None else accents)
    ids = {token: id for id, token in enumerate(tokens)}
    out.add_bos_token_id(ids["[CLS]"])
    out.add_uint32("tokenizer.ggml.cls_token_id", ids["[CLS]"])
    out.add_sep_token_id(ids["[SEP]"])
    out.add_unk_token_id(ids["[UNK]"])
    out.add_pad_token_id(ids["[PAD]"])
    if "[MASK]" in ids:
        out.add_mask_token_id(ids["[MASK]"])


def main(folder: Path, path: str, name: str = "F32", title: str = "all-MiniLM-L6-v2") -> None:
    config = json.loads((folder / "config.json").read_text())
    pooling = json.loads((folder / "1_Pooling" / "config.json").read_text())
    pooling = [number for key, number in POOLING.items() if pooling.get(key)]
    if len(pooling) != 1:
        raise SystemExit("one way of pooling is expected")
    out = gguf.GGUFWriter(path, "bert")
    out.add_name(title)
    out.add_file_type(FILE_TYPES[name])
    write_sizes(out, config, pooling[0])
    write_vocabulary(out, folder, config)
    for theirs, weights in load_file(folder / "model.safetensors").items():
        ours = tensor_name(theirs)
        if ours is None:
            continue
        weights = weights.astype(np.float32)
        matrix = weights.ndim == 2
        format = FORMATS[name] if matrix else gguf.GGMLQuantizationType.F32
        data = gguf.quants.quantize(weights, format)
        out.add_tensor(ours, data, raw_dtype=format)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
