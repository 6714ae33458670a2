"""Trains the three small vocabularies that the tokenizer goldens use, on torture.txt itself.

    pip install tokenizers==0.23.3 sentencepiece==0.2.3 && python vocabularies.py

Merges may cross what a pre-tokenizer cuts (words, spaces, digits), so that every cut shows in the
tokens. Some tokens are taken away afterwards: what a vocabulary lacks is a case too.
"""

import io
import json
import pathlib

import sentencepiece
from sentencepiece import sentencepiece_model_pb2
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

HERE = pathlib.Path(__file__).parent
NORMAL, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE = 1, 2, 3, 4, 5, 6
CASES = [json.loads(line) for line in (HERE / "torture.txt").read_text("utf-8").split("\n") if line]


def write(name, vocabulary):
    (HERE / f"{name}.json").write_text(json.dumps(vocabulary, ensure_ascii=False, separators=(",", ":")) + "\n", "utf-8")
    print(name, len(vocabulary["tokens"]), "tokens")


def byte_level():
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=2400, initial_alphabet=alphabet, max_token_length=24, show_progress=False)
    tokenizer.train_from_iterator([case[i : i + 200] for case in CASES for i in range(0, len(case), 200)], trainer)
    model = json.loads(tokenizer.to_str())["model"]
    tokens = sorted(model["vocab"], key=model["vocab"].get)
    merges = [" ".join(merge) for merge in model["merges"]]
    # The bytes 0x1c and 0x7b ("{") have no token; nor have some results of merges.
    special = [("<|endoftext|>", CONTROL), ("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("</s>", NORMAL), ("<mask>", USER_DEFINED), ("<m", USER_DEFINED), ("    ", USER_DEFINED), ("<unk>", UNKNOWN), ("<0x41>", BYTE), ("unused0", UNUSED)]
    gone = {"Ĝ", "{"} | set(tokens[300::97]) | {text for text, _ in special}
    tokens = [token for token in tokens if token not in gone]
    types = [NORMAL] * len(tokens)
    for text, kind in special:
        tokens.append(text)
        types.append(kind)
    write("bytes", {"model": "gpt2", "tokens": tokens, "types": types, "merges": merges, "bos": tokens.index("<|endoftext|>"), "eos": tokens.index("<|im_end|>")})


def sentencepieces():
    trained = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter([case.replace("\0", "") for case in CASES if case.replace("\0", "")]),
        model_writer=trained, model_type="bpe", vocab_size=2400, byte_fallback=True, character_coverage=0.98,
        normalization_rule_name="identity", remove_extra_whitespaces=False, split_by_whitespace=False,
        split_by_unicode_script=False, split_by_number=False, allow_whitespace_only_pieces=True,
        user_defined_symbols=["<mask>", "\n\n", "<|end|>"], control_symbols=["<|endoftext|>", "<start_of_turn>", "<|im_start|>", "<|im_end|>"],
        hard_vocab_limit=False, minloglevel=2,
    )
    proto = sentencepiece_model_pb2.ModelProto.FromString(trained.getvalue())
    kinds = {1: NORMAL, 2: UNKNOWN, 3: CONTROL, 4: USER_DEFINED, 5: UNUSED, 6: BYTE}
    pieces = [(piece.piece, piece.score, kinds[piece.type]) for piece in proto.pieces]
    write("pieces", {"model": "llama", "tokens": [p[0] for p in pieces], "scores": [p[1] for p in pieces], "types": [p[2] for p in pieces], "bos": 1, "eos": 2})


def word_pieces(name, lowercase):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=lowercase)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    trainer = trainers.WordPieceTrainer(vocab_size=1400, special_tokens=special, limit_alphabet=420, show_progress=False)
    tokenizer.train_from_iterator(CASES, trainer)
    vocab = tokenizer.get_vocab()
    words = sorted(vocab, key=vocab.get)
    # As llama.cpp's converter spells them: a word begins with U+2581, the rest of one with nothing.
    spell = lambda word: word if word in special else word[2:] if word.startswith("##") else "\u2581" + word
    write(name, {"model": "bert", "tokens": [spell(word) for word in words], "types": [CONTROL if word in special else NORMAL for word in words], "bos": vocab["[CLS]"], "sep": vocab["[SEP]"], "unk": vocab["[UNK]"], "pad": vocab["[PAD]"], "mask": vocab["[MASK]"], "lowercase": lowercase})


if __name__ == "__main__":
    byte_level()
    sentencepieces()
    word_pieces("words", True)
