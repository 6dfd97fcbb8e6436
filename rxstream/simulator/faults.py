"""What can go wrong with a reply, as values, and how each changes the steps of one.

    HttpError         the service says no, in its own words
    ErrorPage         a page of HTML from something in between
    NotAStream        a whole JSON answer where a stream was asked for
    ErrorEvent        the service gives up in mid-stream, and says so
    EarlyEnd          the body ends as it should, the answer does not
    NoEndMark         the answer is whole, only its end mark is missing
    Disconnect        the connection breaks
    Stall             nothing more comes, for a time or for ever
    KeepAlives        nothing but signs of life comes, for a time or for ever
    Garbage           bytes that make no sense, then the answer goes on
    StaleConnection   "keep-alive", and yet the connection is gone

Several may befall one reply; they are applied in order.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain, count, repeat
from typing import Literal, Protocol, TypeAlias

from msgspec import Struct

from rxstream.simulator.steps import Close, Step, Wait, Write


class At(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A place in a reply. `At()` is the first byte of the body; a place that is never reached is the body's end."""

    tokens: int | None = None
    """Right after this many of the model's tokens."""
    events: int | None = None
    """Right after this many events."""
    bytes: int = 0
    """So many bytes of the body further on."""
    inside: Literal["event", "character"] | None = None
    """Inside the next event, or inside the next character that takes several bytes."""
    end: bool = False
    """After the last byte of the body, but before HTTP says that it is over."""
    head: int | None = None
    """So many bytes into status line and headers; 0 is before the reply begins."""
    tail: int | None = None
    """So many bytes into what ends a chunked body."""

    def __post_init__(self) -> None:
        bases = [self.tokens, self.events, self.head, self.tail, True if self.end else None]
        if sum(base is not None for base in bases) > 1:
            raise ValueError("a place is after tokens, after events, at the end, in the head or in the tail: say one")
        if (self.bytes or self.inside) and (self.end or self.is_in_http):
            raise ValueError("`bytes` and `inside` are places in the body")
        if self.bytes and self.inside:
            raise ValueError("`inside` finds the place by itself: leave `bytes` out")
        if min(self.bytes, self.tokens or 0, self.events or 0, self.head or 0, self.tail or 0) < 0:
            raise ValueError("a place is not before the beginning")

    @property
    def is_in_http(self) -> bool:
        """Whether the place is in what HTTP puts around the body."""
        return self.head is not None or self.tail is not None


class _Happening(Struct, frozen=True, kw_only=True, tag=True, forbid_unknown_fields=True):
    """What every fault has."""

    times: int | None = None
    """How many requests of the run meet it before all is well; `None`: every one. Equal faults share the count."""


def _check_status(status: int) -> None:
    if not 300 <= status <= 599 or status == 304:
        raise ValueError(f"{status} is no status of an answer that refuses something")


class HttpError(_Happening, frozen=True, kw_only=True, tag=True):
    """The service refuses, with its own body and headers for that status."""

    status: int = 500
    message: str | None = None
    """`None` gives what the service usually says."""
    kind: str | None = None
    """The service's word for the kind of error (`type` in most APIs); `None`: the usual one."""
    code: str | None = None
    retry_after: float | None = None
    """Seconds, in the header `retry-after`."""
    headers: dict[str, str] = {}
    """More headers, or others in place of the usual ones; names in lower case."""

    def __post_init__(self) -> None:
        _check_status(self.status)
        if any(set("\r\n\0") & {*name, *value} for name, value in self.headers.items()):
            raise ValueError("a header holds no line ends")


class ErrorPage(_Happening, frozen=True, kw_only=True, tag=True):
    """A proxy answers in place of the service, in HTML."""

    status: int = 502
    html: str = (
        "<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n"
        "<body>\r\n<center><h1>502 Bad Gateway</h1></center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
    )

    def __post_init__(self) -> None:
        _check_status(self.status)


class NotAStream(_Happening, frozen=True, kw_only=True, tag=True):
    """The whole answer comes as one JSON object, although a stream was asked for."""


class ErrorEvent(_Happening, frozen=True, kw_only=True, tag=True):
    """The stream carries an error of the service, and ends."""

    at: At = At()
    message: str | None = None
    kind: str | None = None
    code: str | None = None


class EarlyEnd(_Happening, frozen=True, kw_only=True, tag=True):
    """The body ends in good order before the answer is over."""

    at: At = At()


class NoEndMark(_Happening, frozen=True, kw_only=True, tag=True):
    """Everything comes but the API's end mark."""


class Disconnect(_Happening, frozen=True, kw_only=True, tag=True):
    """The connection breaks."""

    at: At = At()
    how: Literal["reset", "close", "half_close"] = "reset"
    """As in `Close`."""


class Stall(_Happening, frozen=True, kw_only=True, tag=True):
    """Nothing more comes; `At(head=0)` makes the headers slow."""

    at: At = At()
    seconds: float | None = None
    """`None`: until the client goes away."""


class KeepAlives(_Happening, frozen=True, kw_only=True, tag=True):
    """Nothing comes but pings or comments, whichever the service sends."""

    at: At = At()
    every: float = 1.0
    """Seconds between them."""
    count: int | None = None
    """How many before the answer goes on; `None`: for ever."""


class Garbage(_Happening, frozen=True, kw_only=True, tag=True):
    """Bytes that the service never sends; after them the answer goes on."""

    at: At = At()
    data: bytes | None = None
    """`None`: an event that is no JSON and no UTF-8 (base64 where this is read from JSON)."""


class StaleConnection(_Happening, frozen=True, kw_only=True, tag=True):
    """The reply is good and says keep-alive, but its connection serves no other request."""

    closes: Literal["after_answer", "on_next_request"] = "after_answer"
    """On the next request: it is read, and the connection closed without a byte of an answer."""


Fault: TypeAlias = (
    HttpError
    | ErrorPage
    | NotAStream
    | ErrorEvent
    | EarlyEnd
    | NoEndMark
    | Disconnect
    | Stall
    | KeepAlives
    | Garbage
    | StaleConnection
)


class Words(Protocol):
    """The words of a service that faults are made of."""

    @property
    def ping(self) -> bytes:
        """What the service sends to keep a connection alive."""
        ...

    @property
    def garbage(self) -> bytes:
        """What no reader of its streams can make sense of."""
        ...

    def error_event(self, fault: ErrorEvent, /) -> bytes:
        """Return `fault` as an event of its stream."""
        ...


def spoiled_body(steps: Iterable[Step], fault: Fault, words: Words) -> Iterator[Step]:
    """Let `fault` befall the body that `steps` write; a fault that is not of the body leaves it as it is."""
    if isinstance(fault, NoEndMark):
        return (step for step in steps if not (isinstance(step, Write) and step.is_end_mark))
    at = getattr(fault, "at", None)
    return iter(steps) if at is None or at.is_in_http else interrupted(steps, at, _happening(fault, words))


def spoiled_http(steps: Iterable[Step], fault: Fault, words: Words) -> Iterator[Step]:
    """Let `fault` befall the HTTP that `steps` write, if its place is there."""
    at = getattr(fault, "at", None)
    return interrupted(steps, at, _happening(fault, words)) if at is not None and at.is_in_http else iter(steps)


def _happening(fault: Fault, words: Words) -> Callable[[Iterator[Step]], Iterable[Step]]:
    """What becomes of the rest of the steps when `fault` comes."""
    match fault:
        case ErrorEvent():
            return lambda _: [Write(words.error_event(fault), events=1)]
        case EarlyEnd():
            return lambda _: []
        case Disconnect(how=how):
            return lambda _: [Close(how)]
        case Stall(seconds=seconds):
            return lambda rest: chain([Wait(seconds)], rest)
        case KeepAlives(every=every, count=times):
            return lambda rest: chain(_pings(words.ping, every, times), rest)
        case Garbage(data=data):
            return lambda rest: chain([Write(words.garbage if data is None else data)], rest)
        case _:
            return lambda rest: rest


def _pings(ping: bytes, every: float, times: int | None) -> Iterator[Step]:
    for _ in count() if times is None else repeat(None, times):
        yield Wait(every)
        yield Write(ping)


def interrupted(steps: Iterable[Step], at: At, happen: Callable[[Iterator[Step]], Iterable[Step]]) -> Iterator[Step]:
    """Yield `steps` as far as `at`, and then what `happen` makes of the rest."""
    steps = iter(steps)
    yield from _up_to(steps, at)
    if at.inside is None and not at.bytes and at.head is None and at.tail is None:
        yield from happen(steps)
        return
    left = at.bytes or at.head or at.tail or 0
    for step in steps:
        if not isinstance(step, Write) or (at.tail is not None and step.part != "tail"):
            yield step
            continue
        place = _place_in(step, left, at.inside)
        if place is None:
            left -= len(step.data)
            yield step
            continue
        before, after = _split(step, place)
        yield from before
        yield from happen(chain(after, steps))
        return
    yield from happen(iter(()))


def _up_to(steps: Iterator[Step], at: At) -> Iterator[Step]:
    """Yield the steps before the base of `at`, and leave the others in `steps`."""
    if at.end:
        yield from steps
    tokens, events = at.tokens or 0, at.events or 0
    while tokens > 0 or events > 0:
        step = next(steps, None)
        if step is None:
            return
        if isinstance(step, Write):
            tokens, events = tokens - step.tokens, events - step.events
        yield step


def _place_in(write: Write, left: int, inside: Literal["event", "character"] | None) -> int | None:
    """Where in the bytes of `write` the place is, if it is in them."""
    match inside:
        case None:
            return left if left <= len(write.data) else None
        case "event":
            return len(write.data) // 2 if write.events else None
        case "character":
            return next((place for place, byte in enumerate(write.data) if byte & 0xC0 == 0x80), None)


def _split(write: Write, place: int) -> tuple[list[Write], list[Write]]:
    """`write` as what goes before `place` and what after; the half that completes it bears its counts."""
    if place == 0:
        return [], [write]
    if place == len(write.data):
        return [write], []
    rest = Write(write.data[place:], write.tokens, write.events, write.is_end_mark, write.part)
    return [Write(write.data[:place], part=write.part)], [rest]
