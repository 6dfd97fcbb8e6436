"""What a server does on a connection, as values: write these bytes, wait so long, break off.

A reply is an iterator of steps, made lazily, so that a very long answer costs no
memory. The functions here are pure: they pace steps, regroup their bytes into
other writes, and put HTTP around them. Only the server performs them.
"""

import random
from collections.abc import Iterable, Iterator, Mapping
from http import HTTPStatus
from typing import Literal, TypeAlias

from msgspec import Struct

Part: TypeAlias = Literal["head", "body", "tail"]
"""Of an HTTP message: status line and headers; content; what ends a chunked body."""


class Write(Struct, frozen=True, gc=False):
    """Hand these bytes to the socket, in one go."""

    data: bytes
    tokens: int = 0
    """How many of the model's tokens the bytes complete."""
    events: int = 0
    """How many events of the API the bytes complete."""
    is_end_mark: bool = False
    """Whether this is the mark that the API ends a stream with."""
    part: Part = "body"


class Wait(Struct, frozen=True, gc=False):
    """Do nothing for a while."""

    seconds: float | None = None
    """`None` waits until the client goes away."""


class Close(Struct, frozen=True, gc=False):
    """Give the connection up, in the middle of whatever it is."""

    how: Literal["reset", "close", "half_close"] = "reset"
    """`reset` sends a TCP reset; `close` an ordinary end; `half_close` ends our side only and stays to listen."""


Step: TypeAlias = Write | Wait | Close


class Speed(Struct, frozen=True, forbid_unknown_fields=True):
    """How fast the simulated model talks."""

    tokens_per_second: float = 40.0
    """0 is as fast as the client reads."""
    first_token_after: float = 0.25
    """Seconds from the beginning of the answer to its first token."""

    def __post_init__(self) -> None:
        if self.tokens_per_second < 0 or self.first_token_after < 0:
            raise ValueError("a Speed is not negative")


LIVELY = Speed()
"""A pace that is pleasant to watch."""
FAST = Speed(tokens_per_second=0, first_token_after=0)
"""No waiting at all."""


class Writes(Struct, frozen=True, forbid_unknown_fields=True):
    """How the bytes of a body are cut into writes; each is one HTTP chunk.

    Bytes that wait for their write to be full are held back, and let go at the
    end of the body, at a stall without end and before the connection is given up.
    """

    every: int | None = None
    """Bytes in each write, wherever that cuts; `None` writes each event by itself."""
    seed: int | None = None
    """Makes the sizes random, from 1 to `every` bytes, and the same for the same seed."""
    pause: float = 0.0
    """Seconds between one write and the next."""

    def __post_init__(self) -> None:
        if self.every is not None and self.every < 1:
            raise ValueError("every write holds at least 1 byte")
        if self.seed is not None and self.every is None:
            raise ValueError("a seed makes sizes up to `every` bytes: say how many")
        if self.pause < 0:
            raise ValueError("a pause is not negative")


EACH_EVENT = Writes()
FLOOD = Writes(every=64 * 1024)
WHOLE = Writes(every=2**62)
"""The whole body in one write."""


def paced(writes: Iterable[Write], speed: Speed) -> Iterator[Step]:
    """Put the waits between `writes` that `speed` asks for; only the model's tokens take time."""
    gap = 1 / speed.tokens_per_second if speed.tokens_per_second else 0.0
    is_first = True
    for write in writes:
        if write.tokens:
            seconds = gap * (write.tokens - is_first) + speed.first_token_after * is_first
            is_first = False
            if seconds:
                yield Wait(seconds)
        yield write


def grouped(steps: Iterable[Step], writes: Writes) -> Iterator[Step]:
    """Cut the bytes of `steps` into the writes that `writes` asks for."""
    pieces = steps if writes.every is None else _resized(steps, writes.every, writes.seed)
    return _paused(pieces, writes.pause) if writes.pause else iter(pieces)


def _resized(steps: Iterable[Step], every: int, seed: int | None) -> Iterator[Step]:
    chance = random.Random(seed)

    def next_size() -> int:
        return every if seed is None else chance.randint(1, every)

    held, size = bytearray(), next_size()
    for step in steps:
        if isinstance(step, Write):
            held += step.data
            while len(held) >= size:
                yield Write(bytes(held[:size]))
                del held[:size]
                size = next_size()
        else:
            if held and (isinstance(step, Close) or step.seconds is None):
                yield Write(bytes(held))
                held.clear()
            yield step
    if held:
        yield Write(bytes(held))


def _paused(steps: Iterable[Step], seconds: float) -> Iterator[Step]:
    is_first = True
    for step in steps:
        if isinstance(step, Write):
            if not is_first:
                yield Wait(seconds)
            is_first = False
        yield step


def framed(
    steps: Iterable[Step], status: int, headers: Mapping[str, str], transfer: Literal["chunked", "close", "length"]
) -> Iterator[Step]:
    """Put HTTP/1.1 around the body that `steps` write.

    `chunked` makes each write a chunk; `close` ends the body with the connection; with
    `length`, `headers` already say how long it is.
    """
    yield Write(head(status, headers), part="head")
    for step in steps:
        if isinstance(step, Write) and transfer == "chunked":
            if not step.data:
                continue  # a chunk of no bytes is the last one
            yield Write(b"%x\r\n%b\r\n" % (len(step.data), step.data), step.tokens, step.events, step.is_end_mark)
        else:
            yield step
        if isinstance(step, Close):
            return
    if transfer == "chunked":
        yield Write(b"0\r\n\r\n", part="tail")


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the status line and `headers` as they go over the wire."""
    known = {each.value: each.phrase for each in HTTPStatus}
    lines = [f"HTTP/1.1 {status} {known.get(status, '')}", *(f"{name}: {value}" for name, value in headers.items())]
    if any("\r" in line or "\n" in line for line in lines):
        raise ValueError("a header holds no line ends")
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
