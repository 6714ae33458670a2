"""Checkpoint -> the two GGUF files and the safetensors, all in llama's names.

    python export.py --work DIR [--out ..]
"""

import argparse
from pathlib import Path

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Kind
from safetensors.numpy import save_file

from model import CONTEXT, EPS, HEAD, HEADS, HIDDEN, KV, LAYERS, THETA, VOCAB, WIDTH, Model

BOS, END, PAD = 256, ord(";"), 257
# user text + '>', assistant text + ';', system text (examples) as it is; BOS comes from the tokenizer.
CHAT = ("{% for m in messages %}{% if m['role'] == 'user' %}{{ m['content'] + '>' }}"
        "{% elif m['role'] == 'assistant' %}{{ m['content'] + ';' }}"
        "{% else %}{{ m['content'] }}{% endif %}{% endfor %}")
NAMES = {"q": ("attn_q", "self_attn.q_proj"), "k": ("attn_k", "self_attn.k_proj"),
         "v": ("attn_v", "self_attn.v_proj"), "o": ("attn_output", "self_attn.o_proj"),
         "gate": ("ffn_gate", "mlp.gate_proj"), "up": ("ffn_up", "mlp.up_proj"),
         "down": ("ffn_down", "mlp.down_proj")}
NORMS = {"norm1": ("attn_norm", "input_layernorm"), "norm2": ("ffn_norm", "post_attention_layernorm")}


def byte_spelling():
    """GPT-2's printable spelling of the 256 bytes, in byte order."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    table, spare = [], 256
    for byte in range(256):
        table.append(chr(byte if byte in plain else spare))
        spare += byte not in plain
    return table


def paired(weight, heads):
    """Rows of each head from halves (i, i+16) to the pairs (2i, 2i+1) that GGUF's llama has."""
    return weight.reshape(heads, 2, HEAD // 2, WIDTH).swapaxes(1, 2).reshape(heads * HEAD, WIDTH)


def halved(weight, heads):
    """The inverse of `paired`."""
    return weight.reshape(heads, HEAD // 2, 2, WIDTH).swapaxes(1, 2).reshape(heads * HEAD, WIDTH)


def tensors(model):
    """(GGUF name, safetensors name, f32 array in halves order) of every tensor."""
    yield "token_embd.weight", "model.embed_tokens.weight", model.embed.detach().numpy()
    for i, block in enumerate(model.blocks):
        for ours, (short, long) in NORMS.items():
            yield (f"blk.{i}.{short}.weight", f"model.layers.{i}.{long}.weight",
                   getattr(block, ours).detach().numpy())
        for ours, (short, long) in NAMES.items():
            yield (f"blk.{i}.{short}.weight", f"model.layers.{i}.{long}.weight",
                   getattr(block, ours).weight.detach().numpy())
    yield "output_norm.weight", "model.norm.weight", model.norm.detach().numpy()


def write_gguf(model, path, kind):
    out = gguf.GGUFWriter(path, "llama")
    out.add_name("Thrum Demo 0.8M")
    out.add_description("A demonstrator that learns small string tasks from examples; not an assistant.")
    out.add_license("MIT OR Apache-2.0")
    out.add_file_type(gguf.LlamaFileType.MOSTLY_F16 if kind == Kind.F16
                      else gguf.LlamaFileType.MOSTLY_Q8_0)
    out.add_quantization_version(gguf.GGML_QUANT_VERSION)
    out.add_context_length(CONTEXT)
    out.add_embedding_length(WIDTH)
    out.add_block_count(LAYERS)
    out.add_feed_forward_length(HIDDEN)
    out.add_head_count(HEADS)
    out.add_head_count_kv(KV)
    out.add_layer_norm_rms_eps(EPS)
    out.add_rope_freq_base(THETA)
    out.add_rope_dimension_count(HEAD)
    out.add_vocab_size(VOCAB)
    normal, control = gguf.TokenType.NORMAL, gguf.TokenType.CONTROL
    out.add_tokenizer_model("gpt2")
    out.add_tokenizer_pre("gpt-2")
    out.add_token_list(byte_spelling() + ["<s>", "</s>"] + [f"<|r{i}|>" for i in range(62)])
    out.add_token_types([normal] * 256 + [control] * 64)
    # The key must be there and must not be empty for every reader; this merge can never apply,
    # since no single byte is spelled like either side.
    out.add_token_merges(["<s> </s>"])
    out.add_bos_token_id(BOS)
    out.add_eos_token_id(END)
    out.add_pad_token_id(PAD)
    out.add_add_bos_token(True)
    out.add_add_eos_token(False)
    out.add_chat_template(CHAT)
    for name, _, array in tensors(model):
        if "attn_q." in name or "attn_k." in name:
            array = paired(array, HEADS if "attn_q." in name else KV)
        if array.ndim == 1:
            out.add_tensor(name, array)
        else:
            out.add_tensor(name, gguf.quantize(np.ascontiguousarray(array), kind), raw_dtype=kind)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def read_gguf(path):
    """A model holding the dequantised weights of a GGUF file, back in halves order."""
    model = Model()
    stored = {t.name: gguf.dequantize(t.data, t.tensor_type) for t in gguf.GGUFReader(path).tensors}
    for name, _, array in tensors(model):
        value = stored[name].reshape(array.shape).astype(np.float32)
        if "attn_q." in name or "attn_k." in name:
            value = halved(value, HEADS if "attn_q." in name else KV)
        array[...] = value
    return model


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--work", type=Path, required=True)
    args.add_argument("--out", type=Path, default=Path(__file__).resolve().parent.parent)
    args = args.parse_args()
    model = Model()
    saved = args.work / "checkpoint.pt"
    if saved.exists():
        model.load_state_dict(torch.load(saved)["model"])
    write_gguf(model, args.out / "thrum-demo.f16.gguf", Kind.F16)
    write_gguf(model, args.out / "thrum-demo.q8_0.gguf", Kind.Q8_0)
    save_file({long: np.ascontiguousarray(a) for _, long, a in tensors(model)},
              args.out / "thrum-demo.safetensors", {"format": "pt"})


if __name__ == "__main__":
    main()
