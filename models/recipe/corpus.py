"""The seeded few-shot corpus of the Thrum demonstrator.

A document is `<s>` followed by `in>out;` pairs, one byte per token. Everything
is a pure function of (seed, step): no state, no files but `words.txt`.

Held out on purpose and absent from every document, also inside another task:
sorting letters, adding numbers of two digits, Caesar with key 3, keyed
substitution, ISO date to "20 Nov 2026", brackets deeper than 2, telling words
from pseudo-words, reverse after Caesar, sort after dedupe.
"""

import hashlib
import random
import string
from functools import lru_cache
from pathlib import Path

BOS, END, SEP = 256, ord(";"), ord(">")
SEED = 20261121
# (rows, bytes per row): one step is 8,192 tokens in three lengths; a row is one document.
GROUPS = ((32, 128), (8, 256), (4, 512))

LETTERS = string.ascii_lowercase
VOWELS = "aeiou"
MONTHS = ("January February March April May June July August September October "
          "November December").split()
ONES = ("zero one two three four five six seven eight nine ten eleven twelve thirteen "
        "fourteen fifteen sixteen seventeen eighteen nineteen").split()
TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
PAIRS = {"(": ")", "[": "]", "{": "}"}


@lru_cache(maxsize=1)
def words():
    """The word list, by length: {3: [...], ..., 8: [...]}."""
    by_length = {n: [] for n in range(3, 9)}
    for word in (Path(__file__).parent / "words.txt").read_text().split():
        by_length[len(word)].append(word)
    return by_length


def split(text):
    """'test', 'val' or 'train': sha256 of the bare input, as one number, mod 10."""
    bucket = int.from_bytes(hashlib.sha256(text.encode()).digest(), "big") % 10
    return "test" if bucket < 2 else "val" if bucket == 2 else "train"


def word(r, low=3, high=8):
    """Half the time a dictionary word, half the time random letters."""
    n = r.randint(low, high)
    if n >= 3 and r.random() < 0.5:
        return r.choice(words()[n])
    return "".join(r.choices(LETTERS, k=n))


def spell(n):
    if n < 20:
        return ONES[n]
    return TENS[n // 10 - 2] + (" " + ONES[n % 10] if n % 10 else "")


def caesar(text, key):
    return "".join(LETTERS[(LETTERS.index(c) + key) % 26] for c in text)


def balanced(text):
    stack = []
    for c in text:
        if c in PAIRS:
            stack.append(PAIRS[c])
        elif not stack or stack.pop() != c:
            return False
    return not stack


def depth(text):
    """The deepest running count of open brackets, whatever their kinds."""
    level = deepest = 0
    for c in text:
        level += 1 if c in PAIRS else -1
        deepest = max(deepest, level)
    return deepest


def letter_few(r, low, high):
    """Letters from a small random alphabet, so that some repeat."""
    return "".join(r.choices(r.sample(LETTERS, 4), k=r.randint(low, high)))


def of_word(function, low=3, high=8):
    def make(r):
        text = word(r, low, high)
        return text, function(text)
    return make


def make_lower(r):
    text = "".join(c.upper() if r.random() < 0.6 else c for c in word(r))
    return text, text.lower()


def make_succ(r):
    i = r.randrange(25)
    alphabet = r.choice((LETTERS, LETTERS.upper()))
    return alphabet[i], alphabet[i + 1]


def make_bigger(r):
    top = r.choice((10, 100, 1000))
    a, b = r.randrange(top), r.randrange(top)
    return f"{a} {b}", str(max(a, b))


def make_count(r):
    text = letter_few(r, 3, 8)
    c = r.choice(text) if r.random() < 0.85 else r.choice(LETTERS)
    return f"{text} {c}", str(text.count(c))


def make_dedupe(r):
    text = letter_few(r, 4, 8)
    return text, "".join(dict.fromkeys(text))


def make_digits(r):
    text = r.choices(string.digits, k=r.randint(1, 6))
    if r.random() < 0.5:
        return "".join(text), "yes"
    for i in r.sample(range(len(text)), r.randint(1, len(text))):
        text[i] = r.choice(LETTERS)
    return "".join(text), "no"


def make_palindrome(r):
    half = r.choices(LETTERS, k=r.randint(2, 4))
    text = half + half[::-1][r.randrange(2):]
    if r.random() < 0.5:
        return "".join(text), "yes"
    if r.random() < 0.5:
        text = list(word(r, 3, 8))
    else:
        i = r.randrange(len(text) // 2)
        text[i] = r.choice(LETTERS.replace(text[i], ""))
    text = "".join(text)
    return text, "yes" if text == text[::-1] else "no"


def make_join(r):
    a, b = word(r, 2, 5), word(r, 2, 5)
    return f"{a} {b}", a + b


def make_zip(r):
    n = r.randint(2, 4)
    a, b = word(r, n, n), word(r, n, n)
    return f"{a} {b}", "".join(x + y for x, y in zip(a, b))


def make_add(r):
    a, b = r.randrange(10), r.randrange(10)
    return f"{a}+{b}", str(a + b)


def make_month(r):
    i = r.randrange(12)
    return MONTHS[i], str(i + 1)


def make_spell(r):
    n = r.randrange(100)
    return str(n), spell(n)


def make_date(r):
    y, m, d = r.randint(1900, 2099), r.randint(1, 12), r.randint(1, 28)
    return f"{y}-{m:02}-{d:02}", f"{d:02}/{m:02}/{y}"


def make_brackets(r):
    """Three kinds, never deeper than 2, in the wrong ones neither."""
    text = ""
    while len(text) < 2 or (len(text) < 8 and r.random() < 0.6):
        outer = r.choice("([{")
        inner = "".join(k + PAIRS[k] for k in r.choices("([{", k=r.randrange(3)))
        text += outer + inner + PAIRS[outer]
    if r.random() < 0.5:
        return text, "ok"
    while True:
        i = r.randrange(len(text))
        wrong = text[:i] + r.choice(("", *"([{)]}")) + text[i + 1:]
        if wrong and not balanced(wrong) and depth(wrong) <= 2:
            return wrong, "bad"


def turned(make):
    def swap(r):
        a, b = make(r)
        return b, a
    return swap


# name (= the instruction word): (maker, share, closed). A closed family is a small
# table of facts: its inputs cannot be kept out of training, so only contexts are new.
FAMILIES = {
    "copy": (of_word(lambda s: s), 0.7, False),
    "first": (of_word(lambda s: s[0]), 0.7, False),
    "last": (of_word(lambda s: s[-1]), 0.7, False),
    "second": (of_word(lambda s: s[1]), 1, False),
    "third": (of_word(lambda s: s[2]), 1, False),
    "upper": (of_word(str.upper), 0.7, False),
    "lower": (make_lower, 0.7, False),
    "reverse": (of_word(lambda s: s[::-1]), 1.5, False),
    "succ": (make_succ, 0.7, True),
    "caesar1": (of_word(lambda s: caesar(s, 1)), 1, False),
    "caesar2": (of_word(lambda s: caesar(s, 2)), 1, False),
    "caesar4": (of_word(lambda s: caesar(s, 4)), 1, False),
    "caesar5": (of_word(lambda s: caesar(s, 5)), 1, False),
    "bigger": (make_bigger, 1, False),
    "count": (make_count, 3, False),
    "length": (of_word(lambda s: str(len(s)), 2, 8), 1, False),
    "dedupe": (make_dedupe, 1.5, False),
    "min": (of_word(min), 1.5, False),
    "max": (of_word(max), 1.5, False),
    "digits": (make_digits, 1, False),
    "palindrome": (make_palindrome, 2, False),
    "join": (make_join, 1, False),
    "zip": (make_zip, 1.3, False),
    "add": (make_add, 1, True),
    "month": (make_month, 0.7, True),
    "monthname": (turned(make_month), 0.7, True),
    "spell": (make_spell, 1, True),
    "number": (turned(make_spell), 1, True),
    "date": (make_date, 1, False),
    "brackets": (make_brackets, 1.5, False),
    "swapends": (of_word(lambda s: s[-1] + s[1:-1] + s[0]), 1, False),
    "double": (of_word(lambda s: s + s, 2, 6), 1, False),
    "surround": (of_word(lambda s: f"({s})"), 0.7, False),
    "dashes": (of_word("-".join, 2, 7), 0.7, False),
    "novowels": (of_word(lambda s: "".join(c for c in s if c not in VOWELS) or "-"), 1, False),
}
NAMES = tuple(FAMILIES)
SHARES = tuple(FAMILIES[name][1] for name in NAMES)


def pair(r, name, part="train"):
    """One (input, output) of a family whose input belongs to the given part."""
    make, _, closed = FAMILIES[name]
    while True:
        given, answer = make(r)
        if closed or split(given) == part:
            return given, answer


def family(r):
    return r.choices(NAMES, SHARES)[0]


class Document:
    """Tokens and their loss weights, filled up to `length`."""

    def __init__(self, length):
        self.length, self.tokens, self.answer = length, [BOS], [False]

    def full(self):
        return len(self.tokens) >= self.length

    def add(self, given, answer):
        given, answer = given.encode() + b">", answer.encode() + b";"
        self.tokens += given + answer
        self.answer += [False] * len(given) + [True] * len(answer)

    def cut(self):
        return self.tokens[:self.length], self.answer[:self.length]


def instruct(r):
    name = family(r)
    given, answer = pair(r, name)
    return f"{name}: {given}", answer


def document(r, length):
    """One document: few-shot, or instructions, or (when long) stretches of both."""
    doc, u = Document(length), r.random()
    if u < 0.25:
        while not doc.full():
            doc.add(*instruct(r))
    elif u < 0.75 or length < 256:
        name = family(r)
        while not doc.full():
            doc.add(*pair(r, name))
    else:
        while not doc.full():
            if r.random() < 0.3:
                for _ in range(r.randint(1, 4)):
                    doc.add(*instruct(r))
            else:
                name = family(r)
                for _ in range(r.randint(2, 14)):
                    doc.add(*pair(r, name))
    return doc.cut()


def step_documents(step, seed=SEED):
    """The documents of one training step, in the order of GROUPS."""
    r = random.Random(seed * 1_000_003 + step)
    for rows, length in GROUPS:
        for _ in range(rows):
            yield document(r, length)
