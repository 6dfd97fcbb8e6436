"""What a server does on a connection that a fault befalls, as values; `stage` performs them.

Unlike the simulator's, these bytes may be wrong as HTTP: lengths that lie, chunks that are none.
"""

import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal, TypeAlias

from tests.faults.wires import IN_HEAD, Moment, Wire

BOMB = 64 * 1024 * 1024
"""Bytes that a bomb unpacks to."""


@dataclass(frozen=True)
class Send:
    """Send these bytes."""

    raw: bytes
    body: bytes = b""
    """What of the body they carry, as the client will read it."""


@dataclass(frozen=True)
class Pause:
    """Do nothing for so many seconds; `None`: until the client goes away."""

    seconds: float | None = None


@dataclass(frozen=True)
class Break:
    """Give the connection up."""

    how: Literal["reset", "close", "half close"]


Step: TypeAlias = Send | Pause | Break
RESET, CLOSE, HALF_CLOSE, SILENCE = (Break("reset"),), (Break("close"),), (Break("half close"),), (Pause(),)

HINT = Send(b"HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\n")
CONTINUE = Send(b"HTTP/1.1 100 Continue\r\n\r\n")
LAST_CHUNK = b"0\r\n\r\n"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Bad gateway</title></head><body><h1>Sorry</h1></body></html>\n"


def head(wire: Wire, *lines: str, content_type: str | None = "", version: str = "1.1") -> Send:
    """Return the head of an answer with those further lines; without any, its body is chunked."""
    media_type = wire.content_type if content_type == "" else content_type
    named = [] if media_type is None else [f"content-type: {media_type}"]
    return Send(
        "\r\n".join([f"HTTP/{version} 200 OK", *named, *(lines or ("transfer-encoding: chunked",)), "", ""]).encode()
    )


def chunk(piece: bytes, carries: bytes | None = None) -> Send:
    """Return one chunk of a chunked body, which may carry something else than it shows."""
    return Send(b"%x\r\n%b\r\n" % (len(piece), piece), piece if carries is None else carries)


def before(wire: Wire, moment: Moment) -> list[Send]:
    """Return what a server sends until `moment`, in chunks."""
    if moment in IN_HEAD:
        half = Send(head(wire).raw[: len(head(wire).raw) // 2])
        return {Moment.BEFORE_HEADERS: list[Send](), Moment.AFTER_HINT: [HINT], Moment.IN_HEADERS: [half]}[moment]
    tail = [Send(LAST_CHUNK[:3])] if moment is Moment.IN_TRAILER else []
    return [head(wire), *map(chunk, wire.cut(moment)[0]), *tail]


def after(wire: Wire, moment: Moment) -> list[Send]:
    """Return what a server would send after `moment`, if nothing went wrong."""
    if moment is Moment.IN_TRAILER:
        return [Send(LAST_CHUNK[3:])]
    sent = sum(len(step.raw) for step in before(wire, moment)) if moment is Moment.IN_HEADERS else 0
    first = [Send(head(wire).raw[sent:])] if moment in IN_HEAD else []
    return [*first, *map(chunk, wire.cut(moment)[1]), Send(LAST_CHUNK)]


def whole(wire: Wire) -> list[Send]:
    """Return a good answer."""
    return [*before(wire, Moment.AFTER_END_MARK), Send(LAST_CHUNK)]


def plain(
    wire: Wire, pieces: Iterable[bytes], *lines: str, content_type: str | None = "", version: str = "1.1"
) -> list[Step]:
    """Return an answer whose body is not chunked."""
    return [head(wire, *lines, content_type=content_type, version=version), *(Send(piece, piece) for piece in pieces)]


def page(status: str, html: bytes = PAGE, *, more: int = 0) -> list[Step]:
    """Return a page of HTML, which says that it is longer than it is by `more`."""
    top = f"HTTP/1.1 {status}\r\ncontent-type: text/html\r\ncontent-length: {len(html) + more}\r\n\r\n"
    return [Send(top.encode() + html)]


def redirect(status: str, where: str) -> list[Step]:
    """Return a redirect; `{other}` stands for another origin."""
    return [Send(f"HTTP/1.1 {status}\r\nlocation: {where}\r\ncontent-length: 0\r\n\r\n".encode())]


def byte_by_byte(sends: Iterable[Send]) -> Iterator[Step]:
    """Return the same at a byte a second."""
    for send in sends:
        start = send.raw.find(send.body)
        for place in range(len(send.raw)):
            one = send.raw[place : place + 1]
            yield Send(one, one if send.body and start <= place < start + len(send.body) else b"")
            yield Pause(1.0)


def zipped(wire: Wire, moment: Moment, ending: bytes | None = None) -> list[Step]:
    """Return what a server sends until `moment` that packs its answer; then `ending`, or else what ends a good one."""
    packer = zlib.compressobj(wbits=31)
    start = packer.compress(b"") + packer.flush(zlib.Z_SYNC_FLUSH)
    steps: list[Step] = [head(wire, "content-encoding: gzip", "transfer-encoding: chunked"), chunk(start, b"")]
    steps += [chunk(packer.compress(piece) + packer.flush(zlib.Z_SYNC_FLUSH), piece) for piece in wire.cut(moment)[0]]
    if ending is None:
        return [*steps, chunk(packer.flush(), b""), Send(LAST_CHUNK)]
    return [*steps, *([chunk(ending, b"")] if ending else []), Send(LAST_CHUNK)]


def bomb(wire: Wire, moment: Moment) -> list[Step]:
    """Return an answer that unpacks to far more than it is: spaces without a line end, where a line may be long."""
    told = b"".join(wire.cut(moment)[0])
    packer = zlib.compressobj(wbits=31)
    packed = packer.compress(told) + packer.flush(zlib.Z_FULL_FLUSH) + spaces()
    return [head(wire, "content-encoding: gzip", f"content-length: {len(packed)}"), Send(packed, told)]


@cache
def spaces() -> bytes:
    """Return a great many spaces, packed: what may follow anything that was packed and flushed."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(b" " * BOMB) + packer.flush()
