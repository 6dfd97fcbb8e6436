"""Bytes or frames of an API to tokens."""

from collections.abc import Callable
from typing import Any

from reactivex import Observable

from rxstream.dialect import Dialect
from rxstream.dialects import dialect as named
from rxstream.rx import lift
from rxstream.tokens import StreamToken


def decode(
    dialect: Dialect[Any] | str, *, raw_events: bool = False
) -> Callable[[Observable[bytes]], Observable[StreamToken]]:
    """Turn the bytes of a response body, cut anywhere, into tokens, in one hop.

    `dialect` is a `Dialect` or its name, such as `openai.chat`. With `raw_events`
    events that no rule maps come as `RawEvent`. Ends in one `StreamError` with
    what had arrived as `.partial` if the body is broken, cut or carries an error.
    Raises `ConfigurationError` for an unknown name.
    """
    chosen = named(dialect)
    return lift(lambda: chosen.read_body(raw_events=raw_events))


def decode_frames(
    dialect: Dialect[Any] | str, *, raw_events: bool = False
) -> Callable[[Observable[Any]], Observable[StreamToken]]:
    """Turn frames, such as `parse_sse()` gives, into tokens; otherwise as `decode`."""
    chosen = named(dialect)
    return lift(lambda: chosen.read_frames(raw_events=raw_events))
