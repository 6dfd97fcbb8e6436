"""A script and a request in, the whole HTTP reply out, as steps: everything the server does but the doing."""

from collections.abc import Iterable, Iterator

import msgspec
from msgspec import Struct

from rxstream.simulator.api import Api, Refusal, Said, api_named
from rxstream.simulator.faults import (
    ErrorPage,
    HttpError,
    KeepAlives,
    NotAStream,
    StaleConnection,
    spoiled_body,
    spoiled_http,
)
from rxstream.simulator.script import SMALL_TALK, Script
from rxstream.simulator.steps import EACH_EVENT, FAST, Close, Speed, Step, Wait, Write, Writes, framed, grouped, paced
from rxstream.simulator.turn import ANY_TURN, Turn, answer


class Content(Struct, frozen=True, kw_only=True):
    """Status, headers and body of a reply, before HTTP is put around them."""

    status: int
    headers: dict[str, str]
    steps: Iterator[Step]
    length: int | None = None
    """Bytes of the body, where they are known before it is sent."""


class Reply(Struct, frozen=True, kw_only=True):
    """What to do on the connection, byte by byte, and what becomes of it then."""

    steps: Iterator[Step]
    stays_open: bool
    """Whether the connection is kept for another request."""
    drops_next: bool
    """Whether that other request will find the connection closed."""


def reply(
    api: Api,
    script: Script,
    turn: Turn,
    *,
    speed: Speed = FAST,
    writes: Writes = EACH_EVENT,
    keep_alive: bool = True,
    chunks: bool = True,
) -> Reply:
    """Return the reply of `api` to `turn`, all faults of `script` included.

    `speed` and `writes` hold where `script` leaves them open. `keep_alive` says whether the client
    wants to send another request; `chunks` whether it understands HTTP/1.1.
    """
    made = content(api, script, turn, speed=speed, writes=writes)
    steps, keep_alive = _http(made, keep_alive=keep_alive, chunks=chunks and script.transfer == "chunked")
    for fault in script.faults:
        steps = spoiled_http(steps, fault, api)
    stale = {fault.closes for fault in script.faults if isinstance(fault, StaleConnection)}
    return Reply(
        steps=steps, stays_open=keep_alive and "after_answer" not in stale, drops_next="on_next_request" in stale
    )


def plain_reply(said: Said, *, keep_alive: bool) -> Reply:
    """Return the reply that says `said` and nothing else."""
    steps, keep_alive = _http(_as_content(said), keep_alive=keep_alive, chunks=False)
    return Reply(steps=steps, stays_open=keep_alive, drops_next=False)


def _http(made: Content, *, keep_alive: bool, chunks: bool) -> tuple[Iterator[Step], bool]:
    """`made` with HTTP around it, and whether the connection can then be kept."""
    if made.length is not None:
        transfer, framing = "length", {"content-length": str(made.length)}
    elif chunks:
        transfer, framing = "chunked", {"transfer-encoding": "chunked"}
    else:
        transfer, framing, keep_alive = "close", {}, False
    headers = {**made.headers, **framing, "connection": "keep-alive" if keep_alive else "close"}
    return framed(made.steps, made.status, headers, transfer), keep_alive


def content(api: Api, script: Script, turn: Turn, *, speed: Speed = FAST, writes: Writes = EACH_EVENT) -> Content:
    """Return the content of the reply, after the faults of `script` that befall it."""
    made = _unspoiled(api, script, turn, script.speed or speed)
    steps = made.steps
    for fault in script.faults:
        steps = spoiled_body(steps, fault, api)
    keeps_length = all(getattr(fault, "at", None) is None for fault in script.faults)
    return Content(
        status=made.status,
        headers=made.headers,
        steps=grouped(steps, script.writes or writes),
        length=made.length if keeps_length else None,
    )


def _unspoiled(api: Api, script: Script, turn: Turn, speed: Speed) -> Content:
    """The content before any fault in mid-stream."""
    for fault in script.faults:
        if isinstance(fault, HttpError):
            return _as_content(_refused(fault, api, turn))
        if isinstance(fault, ErrorPage):
            return _as_content(Said(fault.status, {"content-type": "text/html"}, fault.html.encode()))
    said = answer(script if api.has_choices else msgspec.structs.replace(script, choices=1), turn)
    steps = paced(api.stream(said, turn), speed)
    if turn.stream and not any(isinstance(fault, NotAStream) for fault in script.faults):
        return Content(status=200, headers={**api.headers(turn), "content-type": api.content_type}, steps=steps)
    whole = api.whole(said, turn)
    headers = {**api.headers(turn), "content-type": "application/json"}
    return Content(status=200, headers=headers, steps=_all_at_once(steps, whole), length=len(whole))


def _refused(fault: HttpError, api: Api, turn: Turn) -> Said:
    said = api.refuse(Refusal(fault.status, fault.message, kind=fault.kind, code=fault.code), turn)
    retry_after = {} if fault.retry_after is None else {"retry-after": f"{fault.retry_after:g}"}
    return Said(said.status, {**said.headers, **retry_after, **fault.headers}, said.body)


def _as_content(said: Said) -> Content:
    """Return a whole HTTP answer as content."""
    steps: list[Step] = [Write(said.body, events=1)]
    return Content(status=said.status, headers=said.headers, steps=iter(steps), length=len(said.body))


def _all_at_once(steps: Iterable[Step], body: bytes) -> Iterator[Step]:
    """The waits of `steps`, then `body`, which stands for all their tokens."""
    tokens = 0
    for step in steps:
        if isinstance(step, Wait):
            yield step
        elif isinstance(step, Write):
            tokens += step.tokens
    yield Write(body, tokens, events=1)


def chunks(
    api: str, script: Script = SMALL_TALK, turn: Turn = ANY_TURN, *, writes: Writes = EACH_EVENT
) -> Iterator[bytes]:
    """Return the body that the service `api` would send, write by write, without a server.

    Faults change it as they would on the wire: a broken connection or an endless stall is its end,
    other waits take no time.
    """
    for step in content(api_named(api), script, turn, writes=writes).steps:
        match step:
            case Write(data=data):
                yield data
            case Close() | Wait(seconds=None):
                return
            case Wait():
                continue


def body(api: str, script: Script = SMALL_TALK, turn: Turn = ANY_TURN) -> bytes:
    """Return the same as one piece; raises `ValueError` for a fault that never ends."""
    if any(isinstance(fault, KeepAlives) and fault.count is None for fault in script.faults):
        raise ValueError("KeepAlives without a count make a body that never ends")
    return b"".join(chunks(api, script, turn))
