"""Sound bytes and texts, and what chance makes of them."""
from __future__ import annotations

import random
from typing import List, Sequence

BYTES = (0, 1, 9, 10, 32, 34, 47, 48, 92, 127, 128, 255)


def mangled_bytes(content: bytes, chance: random.Random, first: int = 1 << 62) -> bytes:
    """Some bytes are others, missing, doubled or moved, mostly among the first so many."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        end = len(content) if chance.random() < 0.3 else min(first, len(content))
        start = chance.randrange(end + 1)
        stop = min(len(content), start + chance.choice((0, 1, 1, 2, 4, 8, 12, 512)))
        content = content[:start] + _instead(content[start:stop], chance) + content[stop:]
    return content


def _instead(part: bytes, chance: random.Random) -> bytes:
    how = chance.randrange(5)
    if how == 0:
        return bytes(chance.choice(BYTES) for _ in part)
    if how == 1:
        return bytes(chance.randrange(256) for _ in part)
    if how == 2:
        return part * chance.choice((0, 2, 3, 300))
    if how == 3:
        return bytes([chance.choice(BYTES)]) * chance.choice((1, len(part), 1000))
    return (chance.choice((-1, 0, 1, 255, 2**15, 2**31 - 1)) % 2**(8 * max(len(part), 4))).to_bytes(
        max(len(part), 4), chance.choice(("little", "big")))


def mangled_tokens(tokens: Sequence[str], others: Sequence[str], chance: random.Random) -> str:
    """A text of these tokens, some of which are others, missing, or there many times."""
    some: List[str] = list(tokens)
    for _ in range(chance.choice((1, 1, 1, 2, 3, 8))):
        at = chance.randrange(len(some))
        how = chance.random()
        if how < 0.6:
            some[at] = chance.choice(others)
        elif how < 0.7:
            del some[at:at + chance.choice((1, 2, 20))]
            some = some or [""]
        elif how < 0.8:
            some.insert(at, chance.choice(others))
        elif how < 0.9:
            some[at] = some[at] * chance.choice((2, 3000))
        else:
            stop = at + chance.choice((1, 3, 30))
            some[at:stop] = some[at:stop] * chance.choice((2, 300))
    return "".join(some)
