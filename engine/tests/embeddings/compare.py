"""Compares vectors with those of the model's own implementation in PyTorch.

    compare.py MODEL_DIR SENTENCES embed=COMMAND GGUF...

COMMAND is the example `embed`, with its back end if it has one ("embed cpu"). Every text is cut at
512 tokens on both sides. Prints the smallest and the mean cosine for each file, and every text below
0.999.
"""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from transformers import AutoModel, AutoTokenizer

LONGEST = 512
ENOUGH = 0.999


def reference(folder: str, texts: list[str]) -> tuple[np.ndarray, list[int]]:
    """Mean-pooled vectors of length 1, computed one text at a time, and the tokens of each text."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder).eval()
    vectors, counts = [], []
    for text in texts:
        inputs = tokenizer(text, truncation=True, max_length=LONGEST, return_tensors="pt")
        with torch.no_grad():
            hidden = model(**inputs).last_hidden_state[0]
        vectors.append(torch.nn.functional.normalize(hidden.mean(0), dim=0).numpy())
        counts.append(hidden.shape[0])
    return np.array(vectors), counts


def main(folder: str, sentences: str, command: str, *files: str) -> None:
    program, *backend = command.removeprefix("embed=").split()
    text = Path(sentences).read_text(encoding="utf-8")
    texts = text.rstrip("\n").split("\n")
    expected, counts = reference(folder, texts)
    print(f"{len(texts)} texts of {min(counts)} to {max(counts)} tokens")
    for file in files:
        run = subprocess.run([program, file, *backend], input=text, text=True, capture_output=True, check=True)
        found = np.array([json.loads(line) for line in run.stdout.splitlines()])
        cosines = (found * expected).sum(1)
        print(f"{Path(file).name}: min {cosines.min():.6f} mean {cosines.mean():.6f}")
        for i in np.flatnonzero(cosines < ENOUGH):
            print(f"  {cosines[i]:.6f} {texts[i][:60]}")


if __name__ == "__main__":
    main(*sys.argv[1:])
