"""AWS event streams for tests: written of events, taken apart, put together again.

A recording in `tests/fixtures/bedrock.*` is `converse(...)` or `invoke(...)` of its
events, as `write_bytes` puts it down.
"""

import base64
import json
from collections.abc import Mapping
from struct import unpack
from typing import Any

from rxstream.errors import FramingError
from rxstream.framing import AwsEventStreamParser, AwsMessage
from rxstream.simulator.event_stream import exception, message
from rxstream.tokens import Json

__all__ = ["chunk", "converse", "error", "event", "exception", "invoke", "is_event_stream", "message", "readable"]


def event(kind: str, payload: Json) -> bytes:
    """An event of that kind; half a surrogate pair in it is escaped."""
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, json.dumps(payload).encode())


def converse(*events: dict[str, Json]) -> bytes:
    """Events of Converse, each `{its type: its payload}`."""
    return b"".join(event(kind, payload) for each in events for kind, payload in each.items())


def chunk(inner: bytes, **more: Json) -> bytes:
    """An event of InvokeModel around what the model's maker says."""
    return event("chunk", {"bytes": base64.b64encode(inner).decode(), **more})


def invoke(*events: Json) -> bytes:
    """Events of InvokeModel."""
    return b"".join(chunk(json.dumps(each).encode()) for each in events)


def error(code: str, text: str) -> bytes:
    """The error that ends a stream in a way nobody foresaw."""
    return message({":error-code": code, ":error-message": text, ":message-type": "error"}, b"")


def is_event_stream(wire: bytes) -> bool:
    """Whether `wire` begins as an event stream does."""
    try:
        return bool(AwsEventStreamParser().feed(wire))
    except FramingError as error:
        return bool(error.frames)


def parts(wire: bytes) -> list[tuple[bytes, AwsMessage | None]]:
    """The messages of `wire`, each as it is written and as it is read; last what is no message."""
    found: list[tuple[bytes, AwsMessage | None]] = []
    while len(wire) >= 12:
        size: int = unpack(">I", wire[:4])[0]
        try:
            [read] = AwsEventStreamParser().feed(wire[:size])
        except (FramingError, ValueError):
            break
        found.append((wire[:size], read))
        wire = wire[size:]
    return [*found, (wire, None)] if wire else found


def inner_of(read: AwsMessage) -> bytes:
    """What a message says: its payload, or what that wraps."""
    wrapped = _wrapped(read.payload)
    return read.payload if wrapped is None else wrapped


def with_inner(read: AwsMessage, inner: bytes) -> bytes:
    """The same message with another thing said."""
    headers: Mapping[str, Any] = read.headers
    if _wrapped(read.payload) is not None:
        inner = json.dumps({"bytes": base64.b64encode(inner).decode()}).encode()
    return message(headers, inner)


def _wrapped(payload: bytes) -> bytes | None:
    try:
        return base64.b64decode(json.loads(payload)["bytes"])
    except (ValueError, KeyError, TypeError, RecursionError):
        return None


def readable(wire: bytes) -> bytes:
    """What the messages of `wire` say, a line for each; any other wire as it is."""
    if not is_event_stream(wire):
        return wire
    return b"\n".join(inner_of(read) for _, read in parts(wire) if read is not None)
