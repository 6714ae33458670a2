"""Does PyTorch on the dequantised GGUF files say what llama.cpp said in ../golden?"""

import json
from pathlib import Path

import torch

from export import BOS, read_gguf

MODELS = Path(__file__).resolve().parent.parent


def check(kind):
    model = read_gguf(MODELS / f"thrum-demo.{kind}.gguf").eval()
    golden = json.loads((MODELS / "golden" / f"{kind}.json").read_text())
    worst, same, ties, tokens_right = 0.0, 0, [], True
    for case in golden["cases"]:
        tokens_right &= case["tokens"] == [BOS, *case["text"].encode()]
        tokens = case["tokens"] + case["continuation"]
        with torch.no_grad():
            logits = model(torch.tensor(tokens), [(1, len(tokens))])
        for position, row in case["logits"].items():
            worst = max(worst, (logits[int(position)] - torch.tensor(row)).abs().max().item())
        ours = logits.argmax(-1)[len(case["tokens"]) - 1:-1].tolist()
        same += ours == case["continuation"]
        ties += [g for a, b, g in zip(ours, case["continuation"], case["gaps"]) if a != b]
    print(f"{kind}: token ids equal bytes: {tokens_right}; greedy equal in {same} of "
          f"{len(golden['cases'])} prompts (llama.cpp's gap where not: {ties}); "
          f"max |logit difference| {worst:.5f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    check("f16")
    check("q8_0")
