r"""Recordings: what a stream gave, and when, as lines of JSON.

    ["5d41402a",{"type":"Began","id":"9f3c2a1b","number":0,"at":0.0,"version":1,"api":"openai.chat",…}]
    ["7d793037",{"type":"Chunk","id":"9f3c2a1b","number":1,"at":0.412003,"text":"data: {…}\n\n"}]
    ["2a5e3b10",{"type":"Chunk","id":"9f3c2a1b","number":2,"at":0.413118,"base64":"/wA="}]
    ["c1a5298f",{"type":"Ended","id":"9f3c2a1b","number":3,"at":0.413202,"how":"completed"}]

Each line is one record and begins with the CRC-32 of the JSON after it, so a line is
whole or recognisably not. A `Chunk` holds bytes, as text where they are UTF-8; a `Token`
holds a token as its own JSON. `at` is in seconds since the stream was subscribed to.

Records are only ever appended, and several recordings may share a file, also at the same
time: `id` says which one a record belongs to, `number` counts its records, so that a
lost, moved or repeated line shows. A recording is whole once it has `Ended`.
"""

import zlib
from datetime import datetime
from typing import Any, Literal, TypeAlias

import msgspec
from msgspec import Struct

from rxstream import errors
from rxstream.errors import FramingError, StreamError, TransportError, TruncatedStreamError
from rxstream.messages import AssembledMessage
from rxstream.surrogates import mend_value
from rxstream.tokens import StreamToken

VERSION = 1
"""Of the format; a reader refuses later ones."""

How = Literal["completed", "failed", "cancelled"]


class Failure(Struct, frozen=True, omit_defaults=True):
    """An error that ended a stream, with its facts."""

    classes: list[str]
    """Its class and, of a `StreamError`, the classes above it."""
    message: str = ""
    """Empty of an error that is no `StreamError`: who knows what its text holds."""
    provider: str | None = None
    status: int | None = None
    kind: str | None = None
    code: str | int | None = None
    request_id: str | None = None
    retry_after: float | None = None
    is_retryable: bool = False
    resume_after: int | None = None
    limit: Literal["line", "event"] | None = None
    partial: AssembledMessage | None = None

    @classmethod
    def of(cls, error: Exception) -> "Failure":
        """Return `error` as a value."""
        if not isinstance(error, StreamError):
            return cls([type(error).__name__])
        classes = [kind.__name__ for kind in type(error).__mro__ if issubclass(kind, StreamError)]
        facts: dict[str, Any] = {name: getattr(error, name, None) for name in cls.__struct_fields__[1:]}
        return mend_value(cls(classes, **facts))

    def as_error(self) -> StreamError:
        """Return the error again: of its own class, or of the nearest above it that is known here.

        One that was no `StreamError` is what every decoder makes of it.
        """
        kind = next((_CLASSES[name] for name in self.classes if name in _CLASSES), None)
        if kind is None:
            return TransportError(f"the source of the stream failed ({self.classes[0] if self.classes else 'unknown'})")
        error = kind(
            self.message,
            provider=self.provider,
            status=self.status,
            kind=self.kind,
            code=self.code,
            request_id=self.request_id,
            retry_after=self.retry_after,
            is_retryable=self.is_retryable,
            partial=self.partial,
        )
        error.resume_after = self.resume_after
        if isinstance(error, FramingError):
            error.limit = self.limit
        return error


_CLASSES: dict[str, type[StreamError]] = {
    name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, StreamError)
}


class Began(Struct, frozen=True, tag=True, omit_defaults=True):
    """The first record: what was recorded."""

    id: str
    number: int
    at: float
    version: int = 0
    api: str | None = None
    """Such as `openai.chat`."""
    model: str | None = None
    date: datetime | None = None
    headers: dict[str, str] = {}
    """Of the answer; values that may be secret are `***`."""


class Chunk(Struct, frozen=True, gc=False, tag=True, omit_defaults=True):
    """Bytes as they came."""

    id: str
    number: int
    at: float
    text: str | None = None
    base64: bytes | None = None
    """Of bytes that are not UTF-8 by themselves."""

    @classmethod
    def of(cls, id: str, number: int, at: float, data: bytes) -> "Chunk":
        """Return the record of `data`."""
        try:
            return cls(id, number, at, data.decode())
        except UnicodeDecodeError:
            return cls(id, number, at, None, data)

    @property
    def data(self) -> bytes:
        """The bytes."""
        return self.base64 or b"" if self.text is None else self.text.encode()


class Token(Struct, frozen=True, gc=False, tag=True):
    """A token as it came."""

    id: str
    number: int
    at: float
    token: StreamToken


class Ended(Struct, frozen=True, tag=True, omit_defaults=True):
    """The last record: how the stream ended."""

    id: str
    number: int
    at: float
    how: How = "failed"
    failure: Failure | None = None

    @property
    def error(self) -> StreamError | None:
        """What a replay ends in."""
        match self.how:
            case "completed":
                return None
            case "cancelled":
                return TruncatedStreamError(
                    "the recording ends here: its consumer let go of the stream", is_retryable=False
                )
            case "failed":
                return (self.failure or Failure([])).as_error()


Record: TypeAlias = Began | Chunk | Token | Ended

_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder[Record](Record).decode


def write_record(record: Record) -> bytes:
    """Return `record` as its line."""
    data = _encode(record)
    return b'["%08x",%b]\n' % (zlib.crc32(data), data)


def read_record(line: bytes) -> Record:
    """Read a line that `write_record` wrote, its end included; raise `FramingError` if it is not as written."""
    end = b"]\r\n" if line.endswith(b"\r\n") else b"]\n"  # on its way a file may be given other line ends
    data = line[12 : -len(end)]
    if line != b'["%08x",%b%b' % (zlib.crc32(data), data, end):
        raise FramingError("this is no whole record of a recording")
    try:
        return _decode(data)
    except (ValueError, RecursionError) as error:
        raise FramingError("a record has a shape that no recording of this version has") from error


def looks_like_recording(data: bytes) -> bool:
    """Whether a file that begins with `data`, 30 bytes of it, is a recording."""
    return data[:2] == b'["' and data[10:27] == b'",{"type":"Began"'


class RecordingReader:
    """Records of a file in, those of one recording out, as far as none is missing: a machine.

    Raises `FramingError` where the recording is damaged, and `TruncatedStreamError` where it breaks off.
    """

    def __init__(self, id: str) -> None:
        self.id = id
        self.has_ended = False
        self._next = 0
        self._damage: int | None = None

    def feed(self, record: Record, /) -> list[Record]:
        if record.id != self.id or self.has_ended:
            return []
        if record.number != self._next:
            raise FramingError(self._said("the recording is damaged"))
        if isinstance(record, Began) and record.version > VERSION:
            raise FramingError(
                f"the recording has format {record.version}; this version of rxstream reads {VERSION} and earlier"
            )
        self._next += 1
        self.has_ended = isinstance(record, Ended)
        return [record]

    def note_damage(self, line: int) -> None:
        """Take note that a line of the file, by number from 1, is no record: it may have been one of these."""
        if self._damage is None:
            self._damage = line

    def flush(self) -> list[Record]:
        if not self.has_ended:
            raise TruncatedStreamError(self._said("the recording breaks off"), is_retryable=False)
        return []

    def _said(self, what: str) -> str:
        after = f"{what} after {self._next} records" if self._next else f"{what}: its beginning is missing"
        return after if self._damage is None else f"{after}; line {self._damage} of the file is not as it was written"
