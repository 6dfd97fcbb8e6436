"""Encodings for tests: some made by hand, and the real ones where they are in the cache."""

import pytest
import tiktoken

from rxstream.tokenizer import Encoding, find_encoding

WORDS = (
    r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]"""
    r"""|\s+(?!\S)|\s"""
)
"""How cl100k_base splits text; a fact of `tiktoken_ext/openai_public.py`."""

PAIRS = [
    b"th",
    b"the",
    b" th",
    b" the",
    b"in",
    b"ing",
    b"  ",
    b"    ",
    b"\n\n",
    b"..",
    b"()",
    b" (",
    b"'s",
    b"\xc3\xa9",
]

BYTES = tiktoken.Encoding(
    "bytes", pat_str=WORDS, mergeable_ranks={bytes([n]): n for n in range(256)}, special_tokens={}
)
"""Each byte is a token, and its own id."""

RANKS = {bytes([n]): n for n in range(256)} | {pair: 256 + n for n, pair in enumerate(PAIRS)}

SMALL = tiktoken.Encoding("small", pat_str=WORDS, mergeable_ranks=RANKS, special_tokens={"<|end|>": 300})
"""The bytes, and a few tokens of several, so that where a text is cut matters."""

SMALL_R50K = tiktoken.Encoding(
    "small-r50k",
    pat_str=r"'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s",
    mergeable_ranks=RANKS,
    special_tokens={},
)
"""The same tokens in a text split as r50k_base splits it."""


SMALL_O200K = tiktoken.Encoding(
    "small-o200k",
    pat_str=(
        r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
        r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    ),
    mergeable_ranks=RANKS,
    special_tokens={},
)
"""The same tokens in a text split as o200k_base splits it."""


def real(name: str) -> Encoding:
    """The encoding `name`; skips the test where it is not on this machine."""
    encoding = find_encoding(name)
    if encoding is None:
        pytest.skip(f"{name} is not in tiktoken's cache; `rxstream tokens fetch {name}` puts it there")
    return encoding
