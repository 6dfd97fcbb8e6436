"""How the tests read a body, and what they read: recordings by folder, and what hypothesis makes of them."""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

from msgspec import Struct

from rxstream.dialect import Dialect
from rxstream.errors import StreamError
from rxstream.messages import AssembledMessage
from rxstream.tokens import StreamEnd, StreamToken, ToolCallTruncated

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures"


class Outcome(Struct, frozen=True):
    """What reading a body came to."""

    tokens: list[StreamToken]
    error: StreamError | None
    message: AssembledMessage

    @property
    def ending(self) -> tuple[str, str] | None:
        """The error as what can be compared: its class and its text."""
        return None if self.error is None else (type(self.error).__name__, str(self.error))


def read(dialect: Dialect[Any], chunks: Iterable[bytes], *, raw_events: bool = False) -> Outcome:
    """Read a body to its end, or to the one error that it may end in."""
    reader = dialect.read_body(raw_events=raw_events)
    tokens: list[StreamToken] = []
    try:
        for chunk in chunks:
            tokens += reader.feed(chunk)
        tokens += reader.flush()
    except StreamError as error:
        return Outcome(tokens + error.completed, error, error.partial or AssembledMessage())
    return Outcome(tokens, None, reader.message)


def cut(wire: bytes, offsets: Iterable[int]) -> list[bytes]:
    """Return `wire` cut at `offsets`, which need not be sorted or distinct."""
    return [wire[a:b] for a, b in pairwise([0, *sorted(offsets), len(wire)])]


def in_pieces(wire: bytes, size: int) -> list[bytes]:
    """Return `wire` in pieces of `size` bytes."""
    return cut(wire, range(size, len(wire), size))


def fixtures_of(dialect: Dialect[Any]) -> list[Path]:
    """Return the recordings that we wrote ourselves for `dialect`."""
    return sorted((FIXTURES / dialect.name).glob("*"))


def telling_offsets(wire: bytes) -> list[int]:
    """Return where to cut `wire`: everywhere if it is small, else around line ends and at places spread evenly."""
    spread = range(0, len(wire), 1 + len(wire) // 1_500)
    around_ends = {end + by for end in line_ends(wire) for by in (-1, 0, 1) if end + by < len(wire)}
    return sorted(around_ends.union(spread))


def line_ends(wire: bytes) -> Iterator[int]:
    """Every offset just after a line end, where an event may end."""
    offset = wire.find(b"\n")
    while offset >= 0:
        yield offset + 1
        offset = wire.find(b"\n", offset + 1)


def without_ending(tokens: list[StreamToken]) -> list[StreamToken]:
    """Return the tokens of a stream that was cut off, without those that only say so.

    What was open at the cut is closed there: calls are truncated, half a character is U+FFFD, and where the
    end mark of an API is optional, the choices that had ended are ended.
    """
    kept = list(tokens)
    while kept and _only_says_so(kept[-1]):
        kept.pop()
    return kept


def _only_says_so(token: StreamToken) -> bool:
    return isinstance(token, ToolCallTruncated | StreamEnd) or "\ufffd" in (
        getattr(token, "text", None),
        getattr(token, "arguments", None),
    )
