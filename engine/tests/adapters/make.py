"""Makes small PEFT adapters of random weights, what they add to each matrix, and their GGUF form.

Run: python make.py PATH_OF_LLAMA_CPP
with torch, transformers and peft from PyPI and a source tree of llama.cpp (for its
convert_lora_to_gguf.py; node-llama-cpp's npm package brings one, as a git bundle).
Written with torch 2.15, transformers 5.23, peft 0.21.2 and llama.cpp v0.5.0.

For each case NAME/ holds adapter_config.json and adapter_model.safetensors as PEFT saved them,
adapter.gguf as llama.cpp converted them, and deltas.safetensors: merged minus unmerged weights of
every targeted matrix by GGUF name, in GGUF's row order.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoModelForCausalLM, BertConfig, Gemma2Config, LlamaConfig
from transformers import Phi3Config, Qwen2Config, Qwen3Config

HERE = Path(__file__).parent
SIZES = dict(
    hidden_size=32,
    intermediate_size=40,
    num_attention_heads=4,
    vocab_size=64,
    max_position_embeddings=64,
)
DECODER = dict(SIZES, num_key_value_heads=2, pad_token_id=0)
LLAMA_MODULES = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

# name: base config, LoRA settings, type of the saved numbers
CASES = {
    "llama": (
        LlamaConfig(num_hidden_layers=1, **DECODER),
        dict(r=4, lora_alpha=8, target_modules=LLAMA_MODULES),
        torch.float32,
    ),
    "llama_patterns": (
        LlamaConfig(num_hidden_layers=2, **DECODER),
        dict(
            r=4,
            lora_alpha=6,
            target_modules=["q_proj", "k_proj", "down_proj"],
            rank_pattern={"layers.0.self_attn.q_proj": 7, "down_proj": 1},
            alpha_pattern={"model.layers.1.self_attn.k_proj": 20},
            use_rslora=True,
        ),
        torch.bfloat16,
    ),
    "qwen2": (
        Qwen2Config(num_hidden_layers=1, **DECODER),
        dict(r=3, lora_alpha=16, target_modules="all-linear"),
        torch.float16,
    ),
    "qwen3": (
        Qwen3Config(num_hidden_layers=1, head_dim=16, **DECODER),
        dict(r=2, lora_alpha=1, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]),
        torch.float32,
    ),
    "gemma2": (
        Gemma2Config(num_hidden_layers=1, head_dim=16, **DECODER),
        dict(r=2, lora_alpha=4, target_modules=LLAMA_MODULES),
        torch.bfloat16,
    ),
    "phi3": (
        Phi3Config(num_hidden_layers=1, **DECODER),
        dict(r=4, lora_alpha=4, target_modules=["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]),
        torch.float32,
    ),
    "bert": (
        BertConfig(num_hidden_layers=1, **SIZES),
        # The pooler has no place in GGUF.
        dict(
            r=2,
            lora_alpha=2,
            target_modules=["query", "key", "value", "dense"],
            exclude_modules=["pooler.dense"],
        ),
        torch.float32,
    ),
}

GGUF_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
}


def permuted(delta, n_heads):
    """The rows of llama's queries and keys as GGUF has them."""
    rows, cols = delta.shape
    return delta.reshape(n_heads, 2, rows // n_heads // 2, cols).swapaxes(1, 2).reshape(rows, cols)


def parts(config, module, delta):
    """The matrices of the model that a module is made of, by GGUF name."""
    if module == "self_attn.qkv_proj":
        kv = config.hidden_size // config.num_attention_heads * config.num_key_value_heads
        return zip(["attn_q", "attn_k", "attn_v"], delta.split([config.hidden_size, kv, kv]))
    if module == "mlp.gate_up_proj":
        return zip(["ffn_gate", "ffn_up"], delta.chunk(2))
    name = GGUF_NAMES[module]
    if config.model_type == "llama" and name in ("attn_q", "attn_k"):
        heads = config.num_attention_heads if name == "attn_q" else config.num_key_value_heads
        delta = permuted(delta, heads)
    return [(name, delta)]


def make(name, config, settings, dtype, llama_cpp):
    torch.manual_seed(len(name))
    is_bert = config.model_type == "bert"
    base = (AutoModel if is_bert else AutoModelForCausalLM).from_config(config)
    lora = LoraConfig(task_type="FEATURE_EXTRACTION" if is_bert else "CAUSAL_LM", **settings)
    model = get_peft_model(base, lora)
    for key, parameter in model.named_parameters():
        if "lora_" in key:
            parameter.data = (torch.randn_like(parameter) * 0.3).to(dtype).float()
    out = HERE / name
    shutil.rmtree(out, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        model.save_pretrained(scratch / "adapter")
        (scratch / "adapter" / "README.md").unlink()
        path = scratch / "adapter" / "adapter_model.safetensors"
        stored = {key: value.to(dtype) for key, value in load_file(path).items()}
        save_file(stored, path, metadata={"format": "pt"})
        saved = json.loads((scratch / "adapter" / "adapter_config.json").read_text())
        saved["target_modules"] = sorted(saved["target_modules"])
        saved["base_model_name_or_path"] = f"thrum/{name}"
        (scratch / "adapter" / "adapter_config.json").write_text(json.dumps(saved, indent=2))
        base.config.architectures = [type(base).__name__]
        base.config.save_pretrained(scratch / "base")
        # llama.cpp's converter knows one alpha / rank for all.
        if "rank_pattern" in settings:
            shutil.copytree(scratch / "adapter", out)
        else:
            convert(name, scratch, out, dtype, llama_cpp)
    deltas = {}
    for path, module in model.named_modules():
        if not hasattr(module, "get_delta_weight"):
            continue
        tail = path.split("layers." if not is_bert else "layer.")[-1]
        layer, module_name = tail.split(".", 1)
        delta = module.get_delta_weight("default").detach()
        for gguf_name, part in parts(config, module_name, delta):
            deltas[f"blk.{layer}.{gguf_name}.weight"] = part.contiguous()
    save_file(deltas, out / "deltas.safetensors", metadata={"format": "pt"})


def convert(name, scratch, out, dtype, llama_cpp):
    converted = subprocess.run(
        [sys.executable, llama_cpp / "convert_lora_to_gguf.py", scratch / "adapter"]
        + ["--base", scratch / "base", "--outfile", scratch / "adapter" / "adapter.gguf"]
        + ["--outtype", "f16" if dtype == torch.float16 else "f32"],
        capture_output=True,
        text=True,
    )
    print(name, "gguf:", converted.stderr.strip().splitlines()[-1])
    shutil.copytree(scratch / "adapter", out)


if __name__ == "__main__":
    for name, (config, settings, dtype) in CASES.items():
        make(name, config, settings, dtype, Path(sys.argv[1]))
