"""Writes bert.golden: what BERT's own tokenizer, by the `tokenizers` library, makes of every case in
torture.txt with the vocabulary words.json. Blocks and lines are as in goldens.py; "-" is a case that is not
compared, for it has a punctuation mark that the library's tables are too old for.

    pip install tokenizers gguf numpy
    python bert.py
"""

import json

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers

import goldens

# U+2E4F, punctuation since Unicode 12.
TOO_NEW = "\u2e4f"
VARIANTS = [
    {"normalizer": "bert", "control": False},
    {"normalizer": "bert", "control": False, "lowercase": False},
    {"normalizer": "bert", "control": False, "lowercase": True, "strip_accents": False},
]


def tokenizer(vocabulary, variant):
    spelled = [token[1:] if token.startswith("\u2581") else token if token.startswith("[") and token.endswith("]") and len(token) > 2 else "##" + token for token in vocabulary["tokens"]]
    made = Tokenizer(models.WordPiece({token: id for id, token in enumerate(spelled)}, unk_token="[UNK]", max_input_chars_per_word=100))
    made.normalizer = normalizers.BertNormalizer(lowercase=variant.get("lowercase", True), strip_accents=variant.get("strip_accents"))
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    return made


if __name__ == "__main__":
    vocabulary = json.loads((goldens.HERE / "words.json").read_text("utf-8"))
    lines, first = [], None
    for variant in VARIANTS:
        made = tokenizer(vocabulary, variant)
        found = [made.encode(case, add_special_tokens=False).ids for case in goldens.CASES]
        lines.append(json.dumps(variant))
        first = first or found
        lines += ["-" if TOO_NEW in case else "=" if found is not first and ids == other else goldens.line_of(ids, True) for case, ids, other in zip(goldens.CASES, found, first)]
    (goldens.HERE / "bert.golden").write_text("\n".join(lines) + "\n", "utf-8")
