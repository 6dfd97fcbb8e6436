"""Bytes to server-sent events."""

from collections.abc import Callable

from reactivex import Observable

from rxstream.framing import SseEvent, SseParser
from rxstream.rx import lift


def parse_sse(
    *, last_event_id: str = "", lenient: bool = False, keep_unknown: bool = False
) -> Callable[[Observable[bytes]], Observable[SseEvent]]:
    """Turn bytes, cut anywhere, into server-sent events; the options are those of `SseParser`.

    Ends in `FramingError`, after the events before it, where a limit is passed.
    """
    return lift(lambda: SseParser(last_event_id=last_event_id, lenient=lenient, keep_unknown=keep_unknown))
