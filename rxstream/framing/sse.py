"""Server-sent events, as the WHATWG HTML standard reads them.

    stream = [BOM] *line          a line ends with LF, CR LF or CR
    line   = ":" anything         a comment
           | name [":" [" "] value]
           | ""                   ends the event

`data` values of one event are joined with LF; `event` names it, the last one
counts; `id` is kept from event to event and takes effect at the blank line;
`retry` (digits only) takes effect at once. Other names mean nothing. An event
without a `data` line is none. What is unfinished at the end is dropped.

Nearly every chunk holds whole events of one `data` line, with or without an
`event` line before it. Those are cut out with a few calls in C; every other
block is read line by line, to the same result. CR and CR LF first become LF,
which is right anywhere since no field can hold them. The unfinished line is kept
apart and never looked at again until its end has come, so the cost is linear in
the bytes however they are cut.

Two things go beyond the standard, both only when asked for: `lenient` hands out
the unfinished event at a clean end, `keep_unknown` hands out lines that are no
field of the standard, since some services send their errors so.
"""

import re
from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar, overload

from msgspec import Struct

from rxstream.errors import FramingError
from rxstream.framing.tolerant_json import is_json, read_json
from rxstream.machine import carrying
from rxstream.tokens import Json

MAX_LINE_BYTES = 4 << 20
"""Longest line unless told otherwise: inline images make lines of 1 MiB and more."""
MAX_EVENT_BYTES = 4 << 20
"""Most data in one event unless told otherwise; nearly all events are one line."""

LF, CR = 10, 13  # as numbers: looking for a byte is seven times cheaper than for a string of one
BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"
"""What several services send as the data of the last event."""

Leniency: TypeAlias = bool | Literal["whole"]
"""What to do, at a clean end of the body, with a frame whose end has not come.

`False` drops it, `True` takes it as ended, `"whole"` takes it as ended if its
data is whole JSON or `[DONE]`, so that half a frame is never mistaken for a bad one.
"""

T = TypeVar("T")

_FIELDS = frozenset({b"data", b"event", b"id", b"retry"})
_UNKNOWN_FIELD = re.compile(rb"([A-Za-z_][\w.-]*):")
_JSON_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)


class SseEvent(Struct, frozen=True, gc=False):
    """One server-sent event."""

    event: str
    """Its type; `message` if the server gave none."""
    data: bytes
    """The values of its `data` lines, joined with LF."""
    id: str = ""
    """The last event id when it was handed out; it may be an earlier event's."""
    retry: int | None = None
    """The reconnection time in force, in milliseconds; `None` if none was ever set."""

    @property
    def text(self) -> str:
        """The data as text; bytes that are no UTF-8 become U+FFFD."""
        return self.data.decode("utf-8", "replace")

    @property
    def is_done(self) -> bool:
        """Whether the data is `[DONE]`."""
        return self.data.strip() == DONE

    @overload
    def json(self) -> Json: ...
    @overload
    def json(self, type: type[T]) -> T: ...
    def json(self, type: Any = Any) -> Any:
        """Return the data read as JSON; raise `ProtocolError` if it is none, or not of `type`."""
        return read_json(self.data, type)


class UnknownLines(SseEvent, frozen=True, gc=False):
    """What a server sent between events without the form of one; given only with `keep_unknown`.

    A line `name: value` with a name that the standard does not know has that name
    as `event` and the value as `data`: `error: {…}` is llama.cpp's error. Any other
    line has an empty `event`, which no true event has, and is `data` as it stands.
    If the data opens a bracket, the lines up to the one that closes it belong to it,
    joined with LF, so that pretty-printed JSON is one frame: Gemini's error.
    """


class SseParser:
    """Bytes in, events out, wherever the chunks are cut.

    `feed` raises `FramingError` when a line (without its end) is longer than
    `max_line_bytes`, or the data of an event longer than `max_event_bytes`; `None`
    is no limit. What the parser stores is bounded by the two.

    With `keep_unknown`, lines that are no field of the standard are handed out as
    `UnknownLines`, in their place: when the line ends, or when its JSON does. They
    never touch the event that they stand in, and never raise: JSON that stays open
    is handed out as far as it came at the next known field, at `max_event_bytes`
    or at the end.
    """

    def __init__(
        self,
        *,
        last_event_id: str = "",
        lenient: Leniency = False,
        keep_unknown: bool = False,
        max_line_bytes: int | None = MAX_LINE_BYTES,
        max_event_bytes: int | None = MAX_EVENT_BYTES,
    ) -> None:
        self._lenient = lenient
        self._keep_unknown = keep_unknown
        self._max_line_bytes = float("inf") if max_line_bytes is None else max_line_bytes
        self._max_event_bytes = float("inf") if max_event_bytes is None else max_event_bytes
        self._roomy_bytes = min(self._max_line_bytes, self._max_event_bytes)

        self.last_event_id = last_event_id
        """The id to resume after."""
        self.retry: int | None = None
        """The reconnection time that the server asked for, in milliseconds."""
        self.ended_mid_line = False
        """After the end: whether the input stopped inside a line."""
        self.ended_mid_event = False
        """After the end: whether the input stopped inside an event."""

        self._at_start = True  # the first line has not ended: it may begin with a BOM
        self._after_cr = False  # an LF that comes now belongs to the line end before it
        self._held = bytearray()  # the unfinished line
        self._in_event = False  # a field line came after the last blank line
        self._event = ""
        self._data: bytes | bytearray | None = None
        self._id = last_event_id
        self._unknown = bytearray()  # JSON without the form of an event whose brackets are still open
        self._unknown_name = ""
        self._open_brackets = 0

    def feed(self, chunk: bytes, /) -> list[SseEvent]:
        made: list[SseEvent] = []
        try:
            self.feed_into(chunk, made.append)
        except FramingError as error:
            raise carrying(error, made) from None
        return made

    def feed_into(
        self, chunk: bytes, take: Callable[[SseEvent], object], skim: Callable[[bytes, int], int] | None = None
    ) -> None:
        """Take `chunk` as `feed` does, and hand each event to `take` as soon as it is read.

        `skim` is asked at each place where an event begins, and returns the place where the next one does that
        it does not understand by itself: whole events that end in a blank line, with LF as line ends. What it
        read is not handed out.
        """
        if CR in chunk or self._after_cr:
            chunk = self._with_lf(chunk)
        if self._held or self._in_event or self._at_start:
            chunk = self._finish_event(chunk, take)
        if chunk:
            self._read_events(chunk, take, skim)

    def flush(self) -> list[SseEvent]:
        line = self._end()
        made: list[SseEvent] = []
        try:
            if self._lenient:
                if line:
                    self._read_line(line, made.append)
                if self._lenient is True or self._data is None or _is_whole(bytes(self._data)):
                    self._end_event(made.append)
            self._end_unknown(made.append)
        except FramingError as error:
            raise carrying(error, made) from None
        return made

    def fail(self, error: Exception, /) -> list[SseEvent]:  # noqa: ARG002  # whatever broke the input
        """Note where the input broke off; nothing unfinished is handed out."""
        self._end()
        return []

    def _with_lf(self, chunk: bytes) -> bytes:
        """Return `chunk` with every line end as one LF."""
        if self._after_cr and chunk:
            self._after_cr = False
            chunk = chunk.removeprefix(b"\n")
        if CR in chunk:
            self._after_cr = chunk.endswith(b"\r")
            chunk = chunk.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return chunk

    def _finish_event(self, chunk: bytes, take: Callable[[SseEvent], object]) -> bytes:
        """Read `chunk` to the end of the event begun before; return what follows it."""
        start = 0
        while (end := chunk.find(b"\n", start)) >= 0:
            line = self._take_line(chunk[start:end])
            start = end + 1
            if not line:
                self._end_event(take)
                return chunk[start:]
            self._read_line(line, take)
        self._hold(chunk[start:])
        return b""

    def _read_events(
        self, chunk: bytes, take: Callable[[SseEvent], object], skim: Callable[[bytes, int], int] | None
    ) -> None:
        """Read `chunk`, which begins where an event may begin."""
        start = 0
        roomy = len(chunk) <= self._roomy_bytes  # no limit can be passed within this chunk
        while True:
            is_plain = roomy and not self._unknown
            if is_plain and skim is not None:
                start = skim(chunk, start)
            end = chunk.find(b"\n\n", start)
            if end < 0:
                break
            block = chunk[start:end]
            start = end + 2
            if is_plain:
                if block.startswith(b"data: ") and LF not in block:
                    take(SseEvent("message", block[6:], self.last_event_id, self.retry))
                    continue
                if block.startswith(b"event: "):
                    name, found, data = block[7:].partition(b"\ndata: ")
                    if found and name and LF not in name and LF not in data:
                        take(SseEvent(name.decode("utf-8", "replace"), data, self.last_event_id, self.retry))
                        continue
            self._read_lines(block.split(b"\n"), take)
            self._end_event(take)
        if start < len(chunk):
            lines = chunk[start:].split(b"\n")
            rest = lines.pop()
            self._read_lines(lines, take)
            self._hold(rest)

    def _read_lines(self, lines: list[bytes], take: Callable[[SseEvent], object]) -> None:
        for line in lines:
            if line:
                self._read_line(line, take)
            else:
                self._end_event(take)

    def _read_line(self, line: bytes, take: Callable[[SseEvent], object]) -> None:
        """Take one whole line that is not blank."""
        if len(line) > self._max_line_bytes:
            raise self._line_error()
        name, _, value = line.partition(b":")
        if not name:
            return  # a comment
        self._in_event = True
        if name not in _FIELDS:
            if self._keep_unknown:
                self._read_unknown(line, take)
            return
        self._end_unknown(take)
        value = value.removeprefix(b" ")
        if name == b"data":
            self._add_data(value)
        elif name == b"event":
            self._event = value.decode("utf-8", "replace")
        elif name == b"id":
            if b"\0" not in value:
                self._id = value.decode("utf-8", "replace")
        elif value.isdigit() and len(value.lstrip(b"0")) <= 18:  # a retry; more digits are no time
            self.retry = int(value)

    def _add_data(self, value: bytes) -> None:
        size = len(value) if self._data is None else len(self._data) + 1 + len(value)
        if size > self._max_event_bytes:
            raise FramingError(f"an event has more than {self._max_event_bytes} bytes of data", limit="event")
        if self._data is None:
            self._data = value
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        self._data += b"\n"
        self._data += value

    def _end_event(self, take: Callable[[SseEvent], object]) -> None:
        """Take a blank line."""
        self.last_event_id = self._id
        if self._data is not None:
            take(SseEvent(self._event or "message", bytes(self._data), self._id, self.retry))
        self._data, self._event, self._in_event = None, "", False

    def _read_unknown(self, line: bytes, take: Callable[[SseEvent], object]) -> None:
        """Take a line that is no field of the standard."""
        if self._unknown:
            self._unknown += b"\n" + line
            self._open_brackets += _opened_brackets(line)
        else:
            field = _UNKNOWN_FIELD.match(line)
            self._unknown_name = field[1].decode() if field else ""
            text = line[field.end() :].removeprefix(b" ") if field else line
            self._unknown += text
            self._open_brackets = _opened_brackets(text) if text.lstrip().startswith((b"{", b"[")) else 0
        if self._open_brackets <= 0 or len(self._unknown) > self._max_event_bytes:
            self._give_unknown(take)

    def _end_unknown(self, take: Callable[[SseEvent], object]) -> None:
        """Give up waiting for brackets to close."""
        if self._unknown:
            self._give_unknown(take)

    def _give_unknown(self, take: Callable[[SseEvent], object]) -> None:
        take(UnknownLines(self._unknown_name, bytes(self._unknown), self.last_event_id, self.retry))
        self._unknown.clear()

    def _hold(self, piece: bytes) -> None:
        self._held += piece
        if len(self._held) > self._max_line_bytes:
            raise self._line_error()

    def _take_line(self, rest: bytes) -> bytes:
        """Return the unfinished line, which ends with `rest`."""
        if self._held:
            self._held += rest
            rest = bytes(self._held)
            self._held.clear()
        if len(rest) > self._max_line_bytes:
            raise self._line_error()
        if self._at_start:
            self._at_start = False
            return rest.removeprefix(BOM)
        return rest

    def _line_error(self) -> FramingError:
        return FramingError(f"a line has more than {self._max_line_bytes} bytes", limit="line")

    def _end(self) -> bytes:
        """Note where the input ended; return the unfinished line."""
        line = self._take_line(b"")
        self.ended_mid_line = bool(line)
        self.ended_mid_event = self._in_event or bool(line and not line.startswith(b":"))
        return line


def _is_whole(data: bytes) -> bool:
    return data.strip() == DONE or is_json(data)


def _opened_brackets(text: bytes) -> int:
    """How many more brackets `text` opens than it closes, those in JSON strings aside."""
    bare = _JSON_STRING.sub(b"", text)
    return bare.count(b"{") + bare.count(b"[") - bare.count(b"}") - bare.count(b"]")
