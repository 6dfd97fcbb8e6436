"""What may go wrong between a server's answer and its reader, and what HTTP lets the reader hear of it."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from itertools import count

from rxstream.errors import OverloadedError, PermissionDeniedError, ServerError, StreamError
from tests.faults.answers import (
    CLOSE,
    CONTINUE,
    HALF_CLOSE,
    HINT,
    LAST_CHUNK,
    RESET,
    SILENCE,
    Pause,
    Send,
    Step,
    after,
    before,
    bomb,
    byte_by_byte,
    chunk,
    page,
    plain,
    redirect,
    whole,
    zipped,
)
from tests.faults.wires import IN_BODY, IN_HEAD, MOMENTS, Moment, Wire

BETWEEN_SIGNS = 5.0
"""Seconds between two signs of life."""


class Heard(Enum):
    """How an answer goes on after the moment of its fault, as far as HTTP tells."""

    WHOLE = auto()
    """To its good end."""
    EARLY_END = auto()
    """The body ends, in good order."""
    BREAK = auto()
    """The connection is lost, or what comes can't be read as HTTP any more."""
    SILENCE = auto()
    """Nothing comes, or nothing that means anything."""
    SLOWNESS = auto()
    """All comes, but an event takes longer than silence may last."""
    NOISE = auto()
    """Bytes come that no service sends."""
    ONE_VALUE = auto()
    """To its good end, but it is called one JSON value and not a stream of them."""
    NONSENSE = auto()
    """What answers is not the service, or speaks no HTTP."""


@dataclass(frozen=True)
class Fault:
    """Something that may go wrong."""

    name: str
    heard: Heard
    moments: tuple[Moment, ...]
    """When it can happen."""
    steps: Callable[[Wire, Moment], Iterable[Step]]
    """What the server then does, from the beginning of its answer."""
    says: type[StreamError] | None = None
    """What the status of the answer stands for, where it is that which counts."""
    requests: int = 1
    """How many requests the server gets of a client that does what is right."""


def then(*steps: Step) -> Callable[[Wire, Moment], list[Step]]:
    """Do those steps when the moment has come."""
    return lambda wire, moment: [*before(wire, moment), *steps]


def instead(*steps: Step) -> Callable[[Wire, Moment], list[Step]]:
    """Do those steps in the place of an answer."""
    return lambda _wire, _moment: list(steps)


def first(*steps: Step) -> Callable[[Wire, Moment], list[Step]]:
    """Do those steps, and then answer."""
    return lambda wire, _moment: [*steps, *whole(wire)]


def _endless(seconds: float, said: Callable[[Wire], Send]) -> Callable[[Wire, Moment], Iterator[Step]]:
    """Say the same again and again when the moment has come, with so many seconds between."""

    def steps(wire: Wire, moment: Moment) -> Iterator[Step]:
        yield from before(wire, moment)
        for _ in count():
            yield Pause(seconds)
            yield said(wire)

    return steps


def _slow(wire: Wire, moment: Moment) -> Iterator[Step]:
    yield from before(wire, moment)
    yield from byte_by_byte(after(wire, moment))


def _too_long(wire: Wire, moment: Moment) -> list[Step]:
    pieces = wire.cut(moment)[0]
    return [*plain(wire, pieces, f"content-length: {len(b''.join(pieces)) + 100}"), *CLOSE]


def _too_short(wire: Wire, moment: Moment) -> list[Step]:
    told, rest = wire.cut(moment)
    return [*plain(wire, told, f"content-length: {len(b''.join(told))}"), Send(b"".join(rest) or b"surplus"), *SILENCE]


def _until_closed(*ending: Step) -> Callable[[Wire, Moment], list[Step]]:
    return lambda wire, moment: [*plain(wire, wire.cut(moment)[0], "connection: close"), *ending]


def _without_line_end(wire: Wire, moment: Moment) -> list[Step]:
    *good, last = before(wire, moment)
    return [*good, Send(last.raw[:-2], last.body), *(chunk(piece) for piece in (b"!", b"!")), *SILENCE]


def _as_type(content_type: str | None) -> Callable[[Wire, Moment], list[Step]]:
    def steps(wire: Wire, _moment: Moment) -> list[Step]:
        return plain(wire, wire.events, f"content-length: {len(wire.body)}", content_type=content_type)

    return steps


def _in_old_http(wire: Wire, _moment: Moment) -> list[Step]:
    return [*plain(wire, wire.events, "server: old", version="1.0"), *CLOSE]


def _event_by_event(wire: Wire, _moment: Moment) -> Iterator[Step]:
    for send in whole(wire):
        yield Pause(2.0)  # Responses ends with several events that give no token, and 20 s of that are silence
        yield send


ANYWHERE = MOMENTS
AT_ONCE = (Moment.BEFORE_HEADERS,)
AT_A_GAP = (Moment.BEFORE_FIRST_EVENT, Moment.BETWEEN_EVENTS, Moment.AFTER_END_MARK)
AFTER_A_CHUNK = IN_BODY[1:]

BREAKS = [
    Fault("reset", Heard.BREAK, ANYWHERE, then(*RESET)),
    Fault("close", Heard.BREAK, ANYWHERE, then(*CLOSE)),
    Fault("half close", Heard.BREAK, ANYWHERE, then(*HALF_CLOSE)),
    Fault("reset of a body without length", Heard.BREAK, IN_BODY, _until_closed(*RESET)),
    Fault("close of a body without length", Heard.EARLY_END, IN_BODY, _until_closed(*CLOSE)),
    Fault("half close of a body without length", Heard.EARLY_END, IN_BODY, _until_closed(*HALF_CLOSE)),
    Fault("last chunk too early", Heard.EARLY_END, IN_BODY, then(Send(LAST_CHUNK))),
]
SILENCES = [
    Fault("stall", Heard.SILENCE, ANYWHERE, then(*SILENCE)),
    Fault("one byte a second", Heard.SLOWNESS, ANYWHERE, _slow),
    Fault("keep-alives", Heard.SILENCE, AT_A_GAP, _endless(BETWEEN_SIGNS, lambda wire: chunk(wire.ping, b""))),
    Fault("flood of keep-alives", Heard.SILENCE, AT_A_GAP, _endless(0.0, lambda wire: chunk(wire.ping * 20, b""))),
    Fault("1xx for ever", Heard.SILENCE, IN_HEAD[:2], _endless(BETWEEN_SIGNS, lambda _: HINT)),
    Fault("flood of 1xx", Heard.SILENCE, IN_HEAD[:2], _endless(0.0, lambda _: Send(HINT.raw * 50))),
    Fault("chunk size without end", Heard.SILENCE, IN_BODY, _endless(0.0, lambda _: Send(b"0" * 4096))),
]
LENGTHS = [
    Fault("content-length too long", Heard.BREAK, IN_BODY, _too_long),
    Fault("content-length too short", Heard.EARLY_END, IN_BODY, _too_short),
    Fault(
        "content-length that is none", Heard.NONSENSE, AT_ONCE,
        lambda wire, _: [*plain(wire, wire.events, "content-length: many"), *SILENCE],
    ),
    Fault(
        "two content-lengths", Heard.NONSENSE, AT_ONCE,
        lambda wire, _: [*plain(wire, wire.events, "content-length: 1", "content-length: 2"), *SILENCE],
    ),
]  # fmt: skip
CHUNKS = [
    Fault("chunk size that is none", Heard.BREAK, IN_BODY, then(Send(b"zz\r\n"), *SILENCE)),
    Fault("negative chunk size", Heard.BREAK, IN_BODY, then(Send(b"-1\r\n"), *SILENCE)),
    Fault("chunk size beyond 64 bits", Heard.BREAK, IN_BODY, then(Send(b"f" * 17 + b"\r\n"), *SILENCE)),
    Fault("chunk size too large", Heard.BREAK, IN_BODY, then(Send(b"400\r\n"), *CLOSE)),
    Fault("chunk without its line end", Heard.BREAK, AFTER_A_CHUNK, _without_line_end),
    Fault("trailer that is none", Heard.BREAK, (Moment.IN_TRAILER,), then(Send(b"\0\1\2 \r\n\r\n"), *SILENCE)),
    Fault("good trailer", Heard.WHOLE, (Moment.IN_TRAILER,), then(Send(b"x-checksum: 1\r\n\r\n"))),
]
STRANGERS = [
    Fault("no content type", Heard.WHOLE, AT_ONCE, _as_type(None)),
    Fault("plain text as content type", Heard.WHOLE, AT_ONCE, _as_type("text/plain; charset=latin-1")),
    Fault("bytes as content type", Heard.WHOLE, AT_ONCE, _as_type("application/octet-stream")),
    Fault("JSON as content type", Heard.ONE_VALUE, AT_ONCE, _as_type("application/json")),
    Fault("HTML as content type", Heard.NONSENSE, AT_ONCE, _as_type("text/html")),
    Fault("page, 200", Heard.NONSENSE, AT_ONCE, instead(*page("200 OK"))),
    Fault("page, 200, cut", Heard.NONSENSE, AT_ONCE, instead(*page("200 OK", more=100), *RESET)),
    Fault("page, 200, stalled", Heard.NONSENSE, AT_ONCE, instead(*page("200 OK", more=100), *SILENCE)),
    Fault("page, 403", Heard.NONSENSE, AT_ONCE, instead(*page("403 Forbidden")), PermissionDeniedError),
    Fault("page, 502", Heard.NONSENSE, AT_ONCE, instead(*page("502 Bad Gateway")), ServerError),
    Fault("page, 502, cut", Heard.NONSENSE, AT_ONCE, instead(*page("502 Bad Gateway", more=100), *RESET), ServerError),
    Fault(
        "page, 502, stalled", Heard.NONSENSE, AT_ONCE,
        instead(*page("502 Bad Gateway", more=100), *SILENCE), ServerError,
    ),
    Fault("page, 503", Heard.NONSENSE, AT_ONCE, instead(*page("503 Unavailable")), OverloadedError),
    Fault("another protocol", Heard.NONSENSE, AT_ONCE, instead(Send(b"SSH-2.0-OpenSSH_9.6\r\n"), *SILENCE)),
    Fault(
        "switch to another protocol", Heard.NONSENSE, AT_ONCE,
        instead(Send(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: h2c\r\nconnection: upgrade\r\n\r\n"), *SILENCE),
    ),
    Fault("headers without end", Heard.NONSENSE, IN_HEAD[2:], _endless(0.0, lambda _: Send(b"x-a: b\r\n" * 50))),
    Fault("header without end", Heard.NONSENSE, IN_HEAD[2:], _endless(0.0, lambda _: Send(b"a" * 4096))),
]  # fmt: skip
DETOURS = [
    Fault("nothing wrong", Heard.WHOLE, AT_ONCE, first()),
    Fault("HTTP/1.0", Heard.WHOLE, AT_ONCE, _in_old_http),
    Fault("an event every two seconds", Heard.WHOLE, AT_ONCE, _event_by_event),
    Fault("100", Heard.WHOLE, AT_ONCE, first(CONTINUE)),
    Fault("103", Heard.WHOLE, AT_ONCE, first(HINT)),
    Fault("100, 102 and 103", Heard.WHOLE, AT_ONCE, first(CONTINUE, Send(b"HTTP/1.1 102 Wait\r\n\r\n"), HINT, HINT)),
    Fault("307 to the same origin", Heard.WHOLE, AT_ONCE, instead(*redirect("307 Go", "/moved")), requests=2),
    Fault("308 to the same origin", Heard.WHOLE, AT_ONCE, instead(*redirect("308 Go", "/moved")), requests=2),
    Fault("307 to another origin", Heard.WHOLE, AT_ONCE, instead(*redirect("307 Go", "{other}/x")), requests=2),
    Fault("308 to another origin", Heard.WHOLE, AT_ONCE, instead(*redirect("308 Go", "{other}/x")), requests=2),
    *(
        Fault(f"{status} to another origin", Heard.NONSENSE, AT_ONCE, instead(*redirect(f"{status} Go", "{other}/x")))
        for status in (301, 302, 303)
    ),
    Fault("redirect without end", Heard.NONSENSE, AT_ONCE, instead(*redirect("307 Go", "{again}")), requests=6),
    Fault(
        "redirect to nowhere", Heard.NONSENSE, AT_ONCE, instead(Send(b"HTTP/1.1 307 Go\r\ncontent-length: 0\r\n\r\n"))
    ),
    Fault("redirect to nonsense", Heard.NONSENSE, AT_ONCE, instead(*redirect("307 Go", "http://[1:2/x"))),
    Fault("redirect out of HTTP", Heard.NONSENSE, AT_ONCE, instead(*redirect("307 Go", "file:///etc/passwd"))),
    Fault("second answer", Heard.WHOLE, AT_ONCE, lambda wire, _: [*whole(wire), *page("200 OK")]),
]
PACKED = [
    Fault("gzip", Heard.WHOLE, AT_ONCE, lambda wire, _: zipped(wire, Moment.AFTER_END_MARK)),
    Fault("gzip that ends early", Heard.EARLY_END, IN_BODY, zipped),
    Fault("gzip without its end", Heard.EARLY_END, IN_BODY, lambda wire, moment: zipped(wire, moment, b"")),
    Fault("gzip that breaks", Heard.BREAK, IN_BODY, lambda wire, moment: zipped(wire, moment, b"\xff" * 50)),
    Fault("gzip bomb", Heard.NOISE, AT_A_GAP, bomb),
]
FAULTS = [*BREAKS, *SILENCES, *LENGTHS, *CHUNKS, *STRANGERS, *DETOURS, *PACKED]
