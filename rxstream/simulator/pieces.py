"""Text cut up as a language model would say it: words with the space before them, sometimes half a word."""

import re
from zlib import crc32

_PIECE = re.compile(r" ?\w+| ?[^\w\s]+|\s+(?!\S)|\s")
_LONGEST = 9
"""Letters of a word that may still be one piece."""


def pieces(text: str) -> list[str]:
    """Return `text` in pieces that a tokenizer might make; joined, they are `text`.

    A character is never cut. The same text always gives the same pieces.
    """
    return [piece for word in _PIECE.findall(text) for piece in _halved(word)]


def _halved(word: str) -> list[str]:
    """`word`, cut up if it is long, or one of the unlucky ones, or in a script whose tokens are short."""
    if len(word) > 2 and min(word.strip() or word) > "\u024f":  # past the Latin letters
        return [word[place : place + 2] for place in range(0, len(word), 2)]
    if len(word) > _LONGEST or (len(word) > 6 and crc32(word.encode("utf-8", "replace")) % 4 == 0):
        half = len(word) // 2
        return [*_halved(word[:half]), *_halved(word[half:])]
    return [word]
