"""Writes tiny.gguf and tiny.jsonl: a small random BERT, and the vectors that transformers gives.

    tiny.py        (beside convert.py and sentences.txt; needs torch, transformers, tokenizers, gguf)
"""

import json
import tempfile
from pathlib import Path

import torch
from tokenizers import BertWordPieceTokenizer
from transformers import BertConfig, BertModel, BertTokenizerFast

import compare
import convert

HERE = Path(__file__).parent
# Wide enough that every part shows in the result, small enough to be kept.
CONFIG = dict(
    hidden_size=32,
    num_hidden_layers=2,
    num_attention_heads=4,
    intermediate_size=64,
    max_position_embeddings=300,
    hidden_act="gelu",
    layer_norm_eps=1e-12,
)
TEXTS = [
    "A man is eating food.",
    "Hello",
    "?!",
    "naïve café résumé façade coöperate Zoë",
    "Straße, Größe, Fußgängerübergänge",
    "SHOUTING and mIxEd",
    "北京 and 東京 are capitals.",
    "an unknown 😀 word",
    " ".join(["the harbour was quiet and the fishermen mended nets."] * 5),
]


def main() -> None:
    torch.manual_seed(3)
    trainer = BertWordPieceTokenizer(lowercase=True)
    trainer.train([str(HERE / "sentences.txt")], vocab_size=400, limit_alphabet=110, show_progress=False)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        trainer.save_model(name)
        vocab_size = trainer.get_vocab_size()
        BertTokenizerFast(vocab=str(folder / "vocab.txt"), do_lower_case=True).save_pretrained(name)
        vocab = sorted(trainer.get_vocab().items(), key=lambda it: it[1])
        (folder / "vocab.txt").write_text("\n".join(token for token, _ in vocab) + "\n", encoding="utf-8")
        model = BertModel(BertConfig(vocab_size=vocab_size, **CONFIG))
        # As initialised, gains are one, biases nothing and texts almost alike.
        with torch.no_grad():
            for weights in model.parameters():
                weights.add_(torch.randn_like(weights) * 0.3)
        model.save_pretrained(name)
        (folder / "1_Pooling").mkdir()
        (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
        config = json.loads((folder / "config.json").read_text())
        config.setdefault("hidden_act", "gelu")
        (folder / "config.json").write_text(json.dumps(config))
        convert.main(folder, str(HERE / "tiny.gguf"), "F32", title="tiny")
        vectors, counts = compare.reference(name, TEXTS)
    print(vocab_size, counts)
    with open(HERE / "tiny.jsonl", "w", encoding="utf-8") as out:
        for text, count, vector in zip(TEXTS, counts, vectors):
            row = {"text": text, "tokens": count, "vector": [round(float(x), 6) for x in vector]}
            out.write(json.dumps(row, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
