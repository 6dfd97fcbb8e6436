"""Cut text into deltas, and see what a machine makes of them."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from hypothesis import strategies as st

from rxstream.machine import Machine
from rxstream.tokens import StreamToken, TextDelta

Tokens = Machine[StreamToken, Any]


def pieces(text: str, cuts: Sequence[int]) -> list[str]:
    """Cut `text` at `cuts`, wherever in it they are."""
    places = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    return [text[start:end] for start, end in pairwise(places)]


def deltas(texts: Sequence[str]) -> list[StreamToken]:
    """Make deltas of one block."""
    return [TextDelta(text) for text in texts]


def run(machine: Tokens, tokens: Sequence[StreamToken]) -> list[Any]:
    """Feed `tokens` and flush."""
    return [made for token in tokens for made in machine.feed(token)] + machine.flush()


def joined(tokens: Sequence[Any]) -> str:
    """All the visible text of `tokens`."""
    return "".join(token.text for token in tokens if isinstance(token, TextDelta))


def filtered(machine: Tokens, *texts: str) -> str:
    """What becomes of a text in pieces."""
    return joined(run(machine, deltas(texts)))


cuts = st.lists(st.integers(1, 40), max_size=12)
"""Where to cut a text."""
