"""Checks every message in this folder with Python's json and OpenSSL's Ed25519."""

import base64
import json
import pathlib

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


def public_key(peer_id: str) -> bytes:
    number = 0
    for character in peer_id:
        number = number * 58 + ALPHABET.index(character)
    # The peer id begins with a zero byte, which base58 writes as a leading "1".
    multihash = number.to_bytes(38, "big")
    assert multihash[:6] == bytes([0x00, 0x24, 0x08, 0x01, 0x12, 0x20])
    return multihash[6:]


def canonical(value) -> bytes:
    # Our member names are ASCII, so sorting by code point is sorting by UTF-16 code unit.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode()


# `answers.json` is no message.
here = pathlib.Path(__file__).parent
for path in sorted([*here.glob("advert*.json"), *here.glob("hint.json"), *here.glob("task_*.json")]):
    message = json.loads(path.read_bytes())
    signature = base64.b64decode(message.pop("signature") + "==")
    kind = path.stem.split("_")[0].encode()
    domain = b"thrum/" + kind + b"/1\n"
    key = Ed25519PublicKey.from_public_bytes(public_key(message["sender_id"]))
    key.verify(signature, domain + canonical(message))
    print("verified", path.name)
