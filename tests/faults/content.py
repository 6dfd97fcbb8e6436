"""The content half of the fault matrix: what may be wrong in the bytes of a body, and when.

A case is a dialect, a fault and a moment. A fault is debris that is put into a healthy body at that moment: between
events, or inside a string of one. It is made lazily, since some of it is larger than a test may be.
"""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from struct import pack
from zlib import crc32

from rxstream.errors import FramingError, StreamError
from rxstream.framing import AwsEventStreamParser, SseParser
from rxstream.simulator.event_stream import NOTHING, message
from tests.dialects.event_streams import chunk, event
from tests.faults.bodies import RICHEST, Body

EVERYTHING = os.environ.get("RXSTREAM_FAULTS") == "all"
"""Whether all of the matrix is wanted, not only a portion of it."""
PIECE = 1 << 16
"""How much of something large comes at once, in bytes."""

DEEP = 100_000
HUGE = b"1" + b"0" * 5_000

BAD_VALUES: dict[str, bytes] = {
    **{text: text.encode() for text in ("null", "true", "0", "-1", "7", "1000000000", "18446744073709551616")},
    **{text: text.encode() for text in ("1.5", "7.0", "1e999", "-1e999", "NaN", "-Infinity", "1E400")},
    **{text: text.encode() for text in ("[]", "[null]", "[[]]", "[{}]", "{}", '{"":null}', '{"a":1,"a":{}}')},
    "10**5000": HUGE,
    "nothing said": b'""',
    "an unknown word": b'"no such word"',
    "a number as text": b'"7"',
    "half a character": rb'"\ud83d"',
    "its other half": rb'"\ude00"',
    "NUL": rb'"\u0000"',
    "deep lists": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * DEEP + b"1" + b"}" * DEEP,
    "deep, but JSON to some": b"[" * 500 + b"]" * 500,
}
"""JSON, or nearly, to put in the place of any value."""

BAD_BYTES: dict[str, bytes] = {
    "no UTF-8": b"\xff\xfe\x00",
    "half a character": "é".encode()[:1],
    "an overlong character": b"\xc0\x80",
    "a surrogate as bytes": b"\xed\xa0\xbd",
    "BOM": b"\xef\xbb\xbf",
    "NUL": b"\x00",
    "CR": b"\r",
    "bare text": b"upstream connect error",
    "a quote": b'"',
    "a backslash": b"\\",
    "line ends of Unicode": "\u0085\u2028\u2029".encode(),
}


class Moment(StrEnum):
    """When something goes wrong."""

    FIRST = "before the first event"
    MIDDLE = "between events"
    IN_LINE = "inside a line"
    IN_CHARACTER = "inside a character"
    AFTER_END = "after the end mark"


BETWEEN = (Moment.FIRST, Moment.MIDDLE, Moment.AFTER_END)


@dataclass(frozen=True)
class Fault:
    """Something that may be wrong."""

    name: str
    debris: Callable[[Body], Iterable[bytes]]
    """What is put in, in pieces."""
    moments: tuple[Moment, ...] = BETWEEN
    is_large: bool = False
    """Whether it is only to be read in pieces."""
    is_harmless: bool = False
    """Whether it changes nothing."""
    error: type[StreamError] | None = None
    """What it is refused with, if it must be refused."""


@dataclass(frozen=True)
class Case:
    """A fault at a moment."""

    body: Body
    fault: Fault
    moment: Moment
    number: int

    @property
    def name(self) -> str:
        """What it is called."""
        return f"{self.body.dialect.name}: {self.fault.name}, {self.moment}"

    @property
    def events_before(self) -> int:
        """How many events come before the fault whole."""
        match self.moment:
            case Moment.FIRST:
                return 0
            case Moment.AFTER_END:
                return len(self.body.events)
            case _:
                return len(self.body.events) // 2

    def chunks(self) -> Iterator[bytes]:
        """The body with the fault in it: what comes before it, the pieces of it, what comes after it."""
        events, before = self.body.events, self.events_before
        yield b"".join(events[:before])
        if self.moment in BETWEEN:
            yield from self.fault.debris(self.body)
            yield b"".join(events[before:])
            return
        strings = self.body.strings(before)
        opened, rest, place = strings[self.number % len(strings)]
        debris = b"".join(self.fault.debris(self.body))
        if self.moment is Moment.IN_CHARACTER:
            debris = "é".encode()[:1] + debris + "é".encode()[1:]
        yield place.written(opened + debris + rest)
        yield b"".join(events[before + 1 :])


def an_event(body: Body, text: bytes) -> bytes:
    """Return an event of the dialect of `body` that says `text`."""
    parser = body.dialect.parser()
    if isinstance(parser, SseParser):
        return b"data: %b\n\n" % text
    if isinstance(parser, AwsEventStreamParser):
        if body.dialect.name == "bedrock.invoke":
            return chunk(text)
        headers = {":event-type": "contentBlockDelta", ":message-type": "event"}
        return message(headers, text)
    return text + b"\n"


def keep_alive(body: Body) -> bytes:
    """Return what keeps a connection alive and says nothing."""
    parser = body.dialect.parser()
    if isinstance(parser, SseParser):
        return b": keep-alive\n\n"
    return NOTHING if isinstance(parser, AwsEventStreamParser) else b"\n"


def tiny_event(body: Body) -> bytes:
    """Return an event that says nothing, or next to nothing."""
    if isinstance(body.dialect.parser(), AwsEventStreamParser):
        return event("initial-response", {})
    return an_event(body, b"{}")


def a_line_of(size: int) -> Callable[[Body], Iterator[bytes]]:
    """Make an event of one line, `size` bytes of it, in pieces; nothing in it means anything."""

    def debris(body: Body) -> Iterator[bytes]:
        if isinstance(body.dialect.parser(), AwsEventStreamParser):
            yield from _message_of(size)
            return
        start, end = an_event(body, b'{"x":"|"}').split(b"|")
        yield start
        for _ in range(size // PIECE):
            yield b"x" * PIECE
        yield end

    return debris


def a_comment_of(size: int) -> Callable[[Body], Iterator[bytes]]:
    """Make white space or a comment without an end, `size` bytes of it."""

    def debris(body: Body) -> Iterator[bytes]:
        is_sse = isinstance(body.dialect.parser(), SseParser)
        yield b":" if is_sse else b" "
        for _ in range(size // PIECE):
            yield (b"x" if is_sse else b" ") * PIECE
        yield b"\n\n" if is_sse else b"\n"

    return debris


def _message_of(size: int) -> Iterator[bytes]:
    """A message that says it has `size` bytes, and has them, in pieces, under good checksums."""
    headers = message({":event-type": "novelty", ":message-type": "event"}, b"")[12:-4]
    lengths = pack(">II", 16 + len(headers) + size // PIECE * PIECE, len(headers))
    pieces = [lengths + pack(">I", crc32(lengths)) + headers]
    checksum = crc32(pieces[0])
    yield pieces[0]
    for _ in range(size // PIECE):
        piece = b"x" * PIECE
        checksum = crc32(piece, checksum)
        yield piece
    yield pack(">I", checksum)


def repeated(what: Callable[[Body], bytes], times: int) -> Callable[[Body], Iterable[bytes]]:
    """Make so many of something, all in one chunk."""
    return lambda body: [what(body) * times]


def endless(what: Callable[[Body], bytes], times: int) -> Callable[[Body], Iterable[bytes]]:
    """Make so many of something, in many chunks."""
    return lambda body: islice(iter(lambda: what(body) * 1_000, b""), times // 1_000)


def broken_message(where: int) -> Callable[[Body], Iterable[bytes]]:
    """Make a message with one bit wrong, in the byte at `where`."""

    def debris(body: Body) -> list[bytes]:
        whole = bytearray(body.events[len(body.events) // 2])
        whole[where] ^= 1
        return [bytes(whole)]

    return debris


def headers_that_lie(body: Body) -> list[bytes]:
    """Make a message whose headers run past their end, under good checksums."""
    block = b"\x05abc"
    lengths = pack(">II", 16 + len(block), len(block))
    checked = lengths + pack(">I", crc32(lengths)) + block
    return [checked + pack(">I", crc32(checked))]


def _faults() -> Iterator[Fault]:
    everywhere = tuple(Moment)
    for name, debris in BAD_BYTES.items():
        yield Fault(name, lambda _, debris=debris: [debris], everywhere)
    for name, text in BAD_VALUES.items():
        yield Fault(f"an event that is {name}", lambda body, text=text: [an_event(body, text)])
    tiny = 1_000_000 if EVERYTHING else 10_000
    yield Fault("many tiny events in one chunk", repeated(tiny_event, tiny), is_large=True)
    yield Fault("many signs of life in one chunk", repeated(keep_alive, tiny), is_large=True, is_harmless=True)
    yield Fault("endless signs of life", endless(keep_alive, 100_000), is_large=True, is_harmless=True)
    yield Fault("a line of 1 MB", a_line_of(1 << 20), is_large=True)
    yield Fault("a line of 100 MB", a_line_of(100 << 20), is_large=True, error=FramingError)


def _text_faults() -> Iterator[Fault]:
    yield Fault("BOM at the start", lambda _: [b"\xef\xbb\xbf"], (Moment.FIRST,), is_harmless=True)
    yield Fault("a comment of 1 MB", a_comment_of(1 << 20), is_large=True, is_harmless=True)
    yield Fault("a comment of 100 MB", a_comment_of(100 << 20), is_large=True, error=FramingError)


def _message_faults() -> Iterator[Fault]:
    for where, name in ((0, "length"), (8, "checksum of lengths"), (20, "headers"), (-8, "payload"), (-1, "checksum")):
        yield Fault(f"one bit of its {name} wrong", broken_message(where), error=FramingError)
    yield Fault("headers that lie", headers_that_lie, error=FramingError)


def faults_of(body: Body) -> list[Fault]:
    """Return what may go wrong in `body`."""
    if isinstance(body.dialect.parser(), AwsEventStreamParser):
        return [*_faults(), *_message_faults()]
    return [*_faults(), *_text_faults()]


def cases_of(body: Body) -> list[Case]:
    """Return every case of `body`."""
    cases = [(fault, moment) for fault in faults_of(body) for moment in fault.moments]
    return [Case(body, fault, moment, number) for number, (fault, moment) in enumerate(cases)]


def portion_of(body: Body) -> list[Case]:
    """Return the cases to be tried: all, or each fault at one moment, which is another one in other dialects."""
    cases = cases_of(body)
    if EVERYTHING:
        return cases
    chosen: list[Case] = []
    for number, fault in enumerate(faults_of(body)):
        of_fault = [case for case in cases if case.fault.name == fault.name]
        chosen.append(of_fault[(number + RICHEST.index(body)) % len(of_fault)])
    return chosen
