"""Sums, the determinism of the corpus, and what must not be in it. Needs no package.

    python check.py [--documents 1000]
"""

import argparse
import hashlib
import itertools
import re
import sys
from pathlib import Path

import corpus

MODELS = Path(__file__).resolve().parent.parent
FIRST_1000 = "c6f5f13b3e2b9a69d278b699af71ee64c9067e0b64d368c6ad960b56228c55e9"


def documents():
    for step in itertools.count():
        yield from corpus.step_documents(step)


def sums():
    bad = []
    for line in (MODELS / "SHA256SUMS").read_text().splitlines():
        digest, name = line.split("  ", 1)
        path = MODELS / name
        if not path.exists() or hashlib.sha256(path.read_bytes()).hexdigest() != digest:
            bad.append(name)
    return bad


def forbidden(given, answer):
    """The held-out task that this pair would be an example of, or None."""
    given = given.rpartition(": ")[2]
    if len(given) >= 3 and set(given) <= set(corpus.LETTERS):
        if answer == corpus.caesar(given, 3):
            return "caesar 3"
        if answer == corpus.caesar(given, 3)[::-1]:
            return "reverse after caesar"
        if answer == corpus.caesar(given[::-1], 3):
            return "reverse after caesar"
    if re.fullmatch(r"\d\d+\+\d+|\d+\+\d\d+", given):
        return "addition of two digits"
    if re.fullmatch(r"\d{4}-\d\d-\d\d", given) and not re.fullmatch(r"\d\d/\d\d/\d{4}", answer):
        return "date in words"
    if answer in ("ok", "bad") and corpus.depth(given) > 2:
        return "deep brackets"
    return None


def trained_on_test(given):
    """True where the input, without its instruction word, belongs to test or val."""
    bare = given.split(": ", 1)[-1]
    closed = re.fullmatch(r"\d\+\d|\d\d?|[A-Za-z]|[a-z]+ty [a-z]+", bare) or bare in corpus.MONTHS
    closed = closed or bare in corpus.ONES or bare in corpus.TENS
    return not closed and corpus.split(bare) != "train"


def main():
    args = argparse.ArgumentParser()
    args.add_argument("--documents", type=int, default=1000)
    count = args.parse_args().documents
    failures = [f"sum of {name}" for name in sums()]
    whole, pairs = hashlib.sha256(), 0
    for number, (tokens, _) in enumerate(itertools.islice(documents(), count)):
        text = bytes(tokens[1:]).decode()
        if number < 1000:
            whole.update(text.encode() + b"\n")
        for piece in text.split(";")[:-1]:
            given, _, answer = piece.partition(">")
            pairs += 1
            if forbidden(given, answer):
                failures.append(f"document {number}: {forbidden(given, answer)}: {piece}")
            if trained_on_test(given):
                failures.append(f"document {number}: input kept for testing: {piece}")
    if count >= 1000 and whole.hexdigest() != FIRST_1000:
        failures.append(f"the first 1,000 documents hash to {whole.hexdigest()}")
    print(f"{count} documents, {pairs} pairs, {len(failures)} failures", *failures[:20], sep="\n")
    sys.exit(bool(failures))


if __name__ == "__main__":
    main()
