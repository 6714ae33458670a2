"""Exact match of the shipped files, dequantised, on inputs that were never trained.

    python evaluate.py [--n 500] [--only f16] [--checkpoint DIR]

Per family and form: n queries from the test part (closed families: the same facts in new
contexts), examples from the training part, the whole answer with its `;`. Teacher-forced
argmax on every answer byte is right exactly when greedy decoding is.
"""

import argparse
import json
import random
from pathlib import Path

import torch

import corpus
from export import read_gguf
from model import Model

MODELS = Path(__file__).resolve().parent.parent
FORMS = {"0 examples": 0, "1": 1, "4": 4, "8": 8, "instruction": None}


def wilson(right, n, z=1.959964):
    """The 95 % Wilson interval of a rate."""
    p, s = right / n, z * z / n
    centre = (p + s / 2) / (1 + s)
    half = z * ((p * (1 - p) + s / 4) / n) ** 0.5 / (1 + s)
    return max(0.0, centre - half), min(1.0, centre + half)


def item(r, name, examples):
    """(prompt tokens, answer tokens)."""
    given, answer = corpus.pair(r, name, "test")
    if examples is None:
        text = f"{name}: {given}>"
    else:
        text = "".join("%s>%s;" % corpus.pair(r, name) for _ in range(examples)) + given + ">"
    return [corpus.BOS, *text.encode()], [*(answer + ";").encode()]


@torch.no_grad()
def exact(model, items, tokens_at_once=16_384):
    """How many items get every answer byte right. Rows are padded on the right."""
    items, right, at = sorted(items, key=lambda i: len(i[0]) + len(i[1])), 0, 0
    while at < len(items):
        rows = max(1, tokens_at_once // (len(items[-1][0]) + len(items[-1][1])))
        part = items[at:at + rows]
        at += rows
        length = max(len(p) + len(a) for p, a in part)
        tokens = torch.zeros(len(part), length, dtype=torch.long)
        for row, (p, a) in zip(tokens, part):
            row[:len(p) + len(a)] = torch.tensor(p + a)
        best = model(tokens.view(-1), [(len(part), length)]).argmax(-1).view(len(part), length)
        for row, (p, a) in zip(best.tolist(), part):
            right += row[len(p) - 1:len(p) + len(a) - 1] == a
    return right


@torch.no_grad()
def by_position(model, documents=128):
    """Answer-byte accuracy in each quarter of fresh 512-byte documents of the corpus."""
    right, seen = [0] * 4, [0] * 4
    for i in range(documents):
        tokens, answer = corpus.document(random.Random(f"position {i}"), 512)
        best = model(torch.tensor(tokens), [(1, 512)]).argmax(-1).tolist()
        for p in range(1, 512):
            if answer[p]:
                seen[p // 128] += 1
                right[p // 128] += best[p - 1] == tokens[p]
    return [round(a / b, 4) for a, b in zip(right, seen)]


def measure(model, n):
    rows = {}
    for name in corpus.NAMES:
        rows[name] = {}
        for form, examples in FORMS.items():
            r = random.Random(f"test {name} {form}")
            right = exact(model, [item(r, name, examples) for _ in range(n)])
            low, high = wilson(right, n)
            rows[name][form] = {"right": right, "n": n, "rate": round(right / n, 4),
                                "low": round(low, 4), "high": round(high, 4)}
        print(name.ljust(11), "  ".join(f"{c['rate']:.3f}" for c in rows[name].values()), flush=True)
    return rows


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--n", type=int, default=500)
    args.add_argument("--threads", type=int, default=2)
    args.add_argument("--checkpoint", type=Path, help="look at a training checkpoint; writes nothing")
    args = args.parse_args()
    torch.set_num_threads(args.threads)
    if args.checkpoint:
        model = Model()
        model.load_state_dict(torch.load(args.checkpoint / "checkpoint.pt")["model"])
        measure(model, args.n)
        return
    result = {"forms": list(FORMS), "closed": {k: v[2] for k, v in corpus.FAMILIES.items()},
              "interval": "Wilson 95 %", "models": {}, "answer_byte_accuracy_by_quarter_of_512": {}}
    for file in ("thrum-demo.f16.gguf", "thrum-demo.q8_0.gguf"):
        print(file)
        model = read_gguf(MODELS / file)
        result["models"][file] = measure(model, args.n)
        result["answer_byte_accuracy_by_quarter_of_512"][file] = by_position(model)
    (MODELS / "table.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
