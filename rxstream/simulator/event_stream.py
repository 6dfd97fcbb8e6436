"""Messages of `application/vnd.amazon.eventstream`, written: see `rxstream.framing.aws_event_stream`."""

import random
import string
from collections.abc import Mapping
from struct import pack
from zlib import crc32

from rxstream.simulator.api import to_json
from rxstream.tokens import Json

_ALPHABET = string.ascii_lowercase + string.ascii_uppercase + string.digits


def message(headers: Mapping[str, str], payload: bytes) -> bytes:
    """Return a message with both its checksums."""
    block = b"".join(_header(name.encode(), value.encode()) for name, value in headers.items())
    lengths = pack(">II", 16 + len(block) + len(payload), len(block))
    checked = lengths + pack(">I", crc32(lengths)) + block + payload
    return checked + pack(">I", crc32(checked))


def _header(name: bytes, value: bytes) -> bytes:
    return pack(">B", len(name)) + name + pack(">BH", 7, len(value)) + value


def event(kind: str, payload: Json) -> bytes:
    """Return an event of that kind."""
    return message(
        {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}, to_json(payload)
    )


def exception(kind: str, text: str) -> bytes:
    """Return the exception that ends a stream."""
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, to_json({"message": text}))


def padding(chance: random.Random) -> str:
    """Return what Bedrock puts into each event so that its length says nothing: the alphabet, up to somewhere."""
    return _ALPHABET[: chance.randint(1, len(_ALPHABET))]


NOTHING = message({}, b"")
"""The smallest message; clients take no notice of it."""
