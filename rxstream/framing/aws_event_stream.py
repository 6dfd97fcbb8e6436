"""`application/vnd.amazon.eventstream`: the binary messages that Amazon Bedrock streams.

    message = total length, headers length    big endian, 4 bytes each
              CRC-32 of these 8 bytes         4 bytes
              headers, payload
              CRC-32 of all that              4 bytes
    header  = length of its name (1 byte), name, type (1 byte), value

| type | value   | type | value                               |
| ---- | ------- | ---- | ----------------------------------- |
| 0, 1 | true, false | 6 | bytes, after their length (2 bytes) |
| 2    | int8    | 7    | UTF-8, after its length (2 bytes)   |
| 3    | int16   | 8    | int64, milliseconds since 1970      |
| 4    | int32   | 9    | UUID, 16 bytes                      |
| 5    | int64   |      |                                     |

Both checksums are verified. A length is believed only when its checksum is right
and the limits admit it, and nothing is made room for on the word of a length: bytes
are kept as they come. After a wrong checksum there is no telling where the next
message begins, so any error is the end.

Chunks mostly hold whole messages, which are read where they lie. What is unfinished
is kept apart until all of it has come, so the cost is linear in the bytes however
they are cut. A stream repeats its few blocks of headers in every message: each is
read once, and known by its bytes from then on.

Facts: boto/botocore `botocore/eventstream.py`, awslabs/aws-c-event-stream.
"""

from collections.abc import Mapping
from struct import Struct as Layout
from types import MappingProxyType
from typing import TypeAlias
from uuid import UUID
from zlib import crc32

from msgspec import Struct

from rxstream.errors import FramingError
from rxstream.machine import carrying

MAX_HEADERS_BYTES = 128 << 10
"""Longest block of headers; the format's own limit."""
MAX_MESSAGE_BYTES = (24 << 20) + MAX_HEADERS_BYTES + 16
"""Longest message unless told otherwise: the format's own limits for headers and payload."""

PRELUDE_BYTES = 12
"""Two lengths and their checksum."""
SMALLEST_BYTES = 16
"""A message without headers and payload."""

KNOWN_BLOCKS = 64
"""How many blocks of headers are remembered; a service sends a handful."""
KNOWN_BLOCK_BYTES = 1_024
"""The longest that is."""

HeaderValue: TypeAlias = bool | int | bytes | str | UUID

_PRELUDE = Layout(">III")
_CHECKSUM = Layout(">I")
_LENGTH = Layout(">H")
_NUMBERS = {2: Layout(">b"), 3: Layout(">h"), 4: Layout(">i"), 5: Layout(">q"), 8: Layout(">q")}


class AwsMessage(Struct, frozen=True, gc=False):
    """One message of an event stream."""

    headers: Mapping[str, HeaderValue]
    """In their order; not to be changed."""
    payload: bytes

    @property
    def text(self) -> str:
        """The payload as text; bytes that are no UTF-8 become U+FFFD."""
        return self.payload.decode("utf-8", "replace")


class AwsEventStreamParser:
    """Bytes in, messages out, wherever the chunks are cut.

    Raises `FramingError` for a wrong checksum, for lengths that contradict each other,
    for headers that can't be read, and for a message longer than `max_message_bytes`;
    `None` leaves only the limits of the format's lengths. An unfinished message at the
    end is dropped.
    """

    def __init__(self, max_message_bytes: int | None = MAX_MESSAGE_BYTES) -> None:
        self._max_message_bytes = float("inf") if max_message_bytes is None else max_message_bytes
        self._held = bytearray()  # the unfinished message
        self._wanted = PRELUDE_BYTES  # how much of it has to be there to go on
        self._known: dict[bytes, Mapping[str, HeaderValue]] = {}
        self.ended_mid_message = False
        """After the end: whether the input stopped inside a message."""

    def feed(self, chunk: bytes, /) -> list[AwsMessage]:
        if self._held:
            self._held += chunk
            if len(self._held) < self._wanted:
                return []
            chunk = bytes(self._held)
            self._held.clear()
        made: list[AwsMessage] = []
        start, size = 0, len(chunk)
        self._wanted = PRELUDE_BYTES
        try:
            while size - start >= PRELUDE_BYTES:
                total, headers = self._lengths(chunk, start)
                if size - start < total:
                    self._wanted = total
                    break
                made.append(self._message(chunk, start, start + total, headers))
                start += total
        except FramingError as error:
            raise carrying(error, made) from None
        self._held += chunk[start:]
        return made

    def flush(self) -> list[AwsMessage]:
        self.ended_mid_message = bool(self._held)
        self._held.clear()
        return []

    def fail(self, error: Exception, /) -> list[AwsMessage]:  # noqa: ARG002  # whatever broke the input
        """Note where the input broke off; the unfinished message is not handed out."""
        return self.flush()

    def _lengths(self, chunk: bytes, start: int) -> tuple[int, int]:
        """Return the lengths of the message that begins at `start`, and of its headers."""
        total, headers, checksum = _PRELUDE.unpack_from(chunk, start)
        if crc32(chunk[start : start + 8]) != checksum:
            raise FramingError("this is no event stream, or its lengths were spoilt: their checksum is wrong")
        if total < SMALLEST_BYTES + headers:
            raise FramingError(f"a message of {total} bytes can't hold {headers} bytes of headers")
        if headers > MAX_HEADERS_BYTES:
            raise FramingError(f"a message has more than {MAX_HEADERS_BYTES} bytes of headers", limit="event")
        if total > self._max_message_bytes:
            raise FramingError(f"a message has more than {self._max_message_bytes} bytes", limit="event")
        return total, headers

    def _message(self, chunk: bytes, start: int, end: int, headers: int) -> AwsMessage:
        """Return the message from `start` to `end`."""
        (checksum,) = _CHECKSUM.unpack_from(chunk, end - 4)
        if crc32(memoryview(chunk)[start : end - 4]) != checksum:
            raise FramingError("a message was spoilt: its checksum is wrong")
        payload = start + PRELUDE_BYTES + headers
        block = chunk[start + PRELUDE_BYTES : payload]
        return AwsMessage(self._known.get(block) or self._headers(block), chunk[payload : end - 4])

    def _headers(self, block: bytes) -> Mapping[str, HeaderValue]:
        headers = MappingProxyType(_read_headers(block))
        if len(block) <= KNOWN_BLOCK_BYTES and len(self._known) < KNOWN_BLOCKS:
            self._known[block] = headers
        return headers


def _read_headers(block: bytes) -> dict[str, HeaderValue]:
    headers: dict[str, HeaderValue] = {}
    place = 0
    while place < len(block):
        name, place = _read_text(block, place + 1, block[place])
        if name in headers:
            raise FramingError("a message has two headers of one name")
        headers[name], place = _read_value(block, place)
    return headers


def _read_value(block: bytes, place: int) -> tuple[HeaderValue, int]:
    """Return the value whose type stands at `place`, and the place after it."""
    kind, place = _take(block, place, 1)
    match kind[0]:
        case 0 | 1:
            return kind[0] == 0, place
        case 2 | 3 | 4 | 5 | 8 as number:
            layout = _NUMBERS[number]
            value, place = _take(block, place, layout.size)
            return layout.unpack(value)[0], place
        case 6:
            return _take(block, *_read_length(block, place))
        case 7:
            return _read_text(block, *_read_length(block, place))
        case 9:
            value, place = _take(block, place, 16)
            return UUID(bytes=value), place
        case unknown:
            raise FramingError(f"a header has a value of the type {unknown}, which there is not")


def _read_length(block: bytes, place: int) -> tuple[int, int]:
    """Return the place after the length that stands at `place`, and that length."""
    value, place = _take(block, place, 2)
    return place, _LENGTH.unpack(value)[0]


def _read_text(block: bytes, place: int, size: int) -> tuple[str, int]:
    value, place = _take(block, place, size)
    try:
        return value.decode(), place
    except UnicodeDecodeError:
        raise FramingError("a header is no UTF-8") from None


def _take(block: bytes, place: int, size: int) -> tuple[bytes, int]:
    """Return `size` bytes from `place` on, and the place after them."""
    end = place + size
    if end > len(block):
        raise FramingError("a header runs past the end of the headers")
    return block[place:end], end
