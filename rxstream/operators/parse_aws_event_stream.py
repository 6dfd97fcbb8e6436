"""Bytes to the messages of an AWS event stream."""

from collections.abc import Callable

from reactivex import Observable

from rxstream.framing import AwsEventStreamParser, AwsMessage
from rxstream.rx import lift


def parse_aws_event_stream() -> Callable[[Observable[bytes]], Observable[AwsMessage]]:
    """Turn bytes, cut anywhere, into the messages of `application/vnd.amazon.eventstream`.

    Ends in `FramingError`, after the messages before it, where a checksum is wrong, headers can't be read or
    a message passes the limit.
    """
    return lift(AwsEventStreamParser)
