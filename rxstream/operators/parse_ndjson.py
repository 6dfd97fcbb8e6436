"""Bytes to lines of JSON."""

from collections.abc import Callable

from reactivex import Observable

from rxstream.framing import NdjsonParser
from rxstream.rx import lift


def parse_ndjson() -> Callable[[Observable[bytes]], Observable[bytes]]:
    """Turn bytes, cut anywhere, into the lines of newline-delimited JSON, blank ones left out.

    Ends in `FramingError`, after the lines before it, where a line passes the limit.
    """
    return lift(NdjsonParser)
