"""index.json, SHA256SUMS and the table inside README.md, from what lies in ../."""

import hashlib
import json
from pathlib import Path

MODELS = Path(__file__).resolve().parent.parent
SUMMED = (".gguf", ".safetensors", ".json", ".txt", ".py", ".sh", ".mjs", ".log")
LICENCE = "MIT OR Apache-2.0"
PARAMETERS = 779_392
PROMPTS = [
    {"title": "Reverse a word", "text": "reverse: starling"},
    {"title": "Shift letters by one", "text": "caesar1: honey"},
    {"title": "Number of a month", "text": "month: March"},
    {"title": "Spell a number", "text": "spell: 42"},
    {"title": "Zip two words", "text": "zip: bee hum"},
    {"title": "Turn a date round", "text": "date: 2026-11-20"},
    {"title": "Guess the rule: reverse", "text": "cat>tac;dog>god;bird"},
    {"title": "Guess the rule: drop the vowels", "text": "hive>hv;comb>cmb;pollen>plln;nectar>nctr;garden"},
]
HONEST = ("A 0.8-million-parameter demonstrator that does small string tasks from a word of "
          "instruction or a few examples; it knows nothing else and is not an assistant.")


def digest(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def entry(ident, file, default, description):
    path = MODELS / file
    return {"id": ident, "name": "Thrum Demo 0.8M", "file": file, "bytes": path.stat().st_size,
            "sha256": digest(path), "licence": LICENCE, "default": default, "context": 512,
            "architecture": "llama", "parameters": PARAMETERS, "description": description,
            "prompts": PROMPTS}


def catalogue():
    return {"models": [
        entry("thrum-demo", "thrum-demo.q8_0.gguf", True, HONEST),
        entry("thrum-demo-f16", "thrum-demo.f16.gguf", False, HONEST + " Half-precision weights."),
    ]}


def cell(row):
    return f"{100 * row['rate']:.1f} ({100 * row['low']:.1f}-{100 * row['high']:.1f})"


def table():
    """Markdown: a row per family, a column per number of examples and the instruction form."""
    data = json.loads((MODELS / "table.json").read_text())
    forms = data["forms"]
    text = ""
    for kind, families in data["models"].items():
        text += f"\n### {kind}\n\n| family | " + " | ".join(forms) + " |\n"
        text += "|---" * (len(forms) + 1) + "|\n"
        for name, row in families.items():
            mark = " *" if data["closed"][name] else ""
            text += f"| {name}{mark} | " + " | ".join(cell(row[f]) for f in forms) + " |\n"
        rows = families.values()
        for field, words in (("rate", "Measured at 95 % or more"),
                             ("low", "Lower end of the interval at 95 % or more")):
            text += f"\n{words}, of {len(rows)} families: " + ", ".join(
                f"{f}: **{sum(r[f][field] >= 0.95 for r in rows)}**" for f in forms) + ".\n"
    quarters = data["answer_byte_accuracy_by_quarter_of_512"]
    text += "\nAnswer bytes right in fresh corpus documents of 512, by position (0-127, 128-255, 256-383, 384-511): "
    text += "; ".join(f"{kind} " + ", ".join(f"{100 * q:.1f}" for q in qs)
                      for kind, qs in quarters.items()) + " %.\n"
    return text


def main():
    (MODELS / "index.json").write_text(json.dumps(catalogue(), indent=2) + "\n")
    readme = MODELS / "README.md"
    if readme.exists() and (MODELS / "table.json").exists():
        before, _, rest = readme.read_text().partition("<!-- table -->")
        _, _, after = rest.partition("<!-- /table -->")
        readme.write_text(f"{before}<!-- table -->\n{table()}\n<!-- /table -->{after}")
    files = sorted(p for folder in (MODELS, MODELS / "recipe", MODELS / "golden")
                   for p in folder.iterdir() if p.suffix in SUMMED)
    (MODELS / "SHA256SUMS").write_text(
        "".join(f"{digest(p)}  {p.relative_to(MODELS).as_posix()}\n" for p in files))


if __name__ == "__main__":
    main()
