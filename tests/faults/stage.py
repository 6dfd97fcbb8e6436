"""One case of the matrix, performed over real sockets on a loop whose clock moves by hand."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from reactivex import Observable

from rxstream.flow import RetryPolicy
from rxstream.providers import AiProvider
from rxstream.simulator.api import api_named
from rxstream.sources import Deadlines, push
from rxstream.tokens import StreamStart, StreamToken
from tests.faults.answers import Break, Pause, Send, whole
from tests.faults.transport import Case
from tests.loopback import Exchange, MovableLoop, serving, turns

KEY = "key-that-stays-at-home"
DEADLINES = Deadlines(first_content=60, idle=20)
AGAIN = b" /spoiled/again "
"""Where every answer is the spoiled one, in the first line of a request."""
PATIENCE = 20.0
"""Real seconds after which something that should happen never will."""
SETTLED = 6
"""Turns of the loop in which what was sent is read, understood and answered."""


class Server:
    """Answers one request by the steps of a case, and all others as it should."""

    def __init__(self, case: Case, spoiled: int) -> None:
        self._case = case
        self._spoiled = spoiled
        self.url = self.url_of_another = ""
        self.heads: list[bytes] = []
        """Of every request, in lower case."""
        self.body = bytearray()
        """What was sent of the spoiled answer's body, as a client reads it."""
        self.is_done = False
        """Whether time may pass: all is sent that goes out at once."""
        self.connections = 0
        """How many the client holds."""

    async def handle(self, exchange: Exchange) -> None:
        self.connections += 1
        try:
            while await exchange.read_request():
                self.heads.append(exchange.head)
                if len(self.heads) != self._spoiled and AGAIN not in exchange.head:
                    await exchange.send(b"".join(step.raw for step in whole(self._case.wire)))
                elif not await self._spoil(exchange):
                    return
        finally:
            self.connections -= 1
            self.is_done = True

    async def _spoil(self, exchange: Exchange) -> bool:
        """Do the steps; return whether the connection may serve another request."""
        case, held = self._case, b""
        for step in case.fault.steps(case.wire, case.moment):
            if isinstance(step, Send):
                self.body += step.body
                held += step.raw.replace(b"{other}", self.url_of_another.encode()).replace(b"{again}", AGAIN.strip())
                if case.condition.in_one_go:
                    continue
            await exchange.send(held)
            await turns(SETTLED)
            held = b""
            match step:
                case Send():
                    continue
                case Pause(seconds=None) | Break(how="half close"):
                    if isinstance(step, Break):
                        exchange.writer.write_eof()
                    self.is_done = True
                    await exchange.wait_closed_by_client()
                    return False
                case Pause(seconds=seconds):
                    self.is_done = True
                    await asyncio.sleep(seconds or 0.0)
                case Break(how=how):
                    if how == "reset":
                        exchange.reset()
                    return False  # and what serves the connection closes it
        await exchange.send(held)
        self.is_done = True
        return True


class Listener:
    """What a subscriber heard, and when (loop time)."""

    def __init__(self, source: Observable[StreamToken]) -> None:
        self._time = asyncio.get_running_loop().time
        self.tokens: list[StreamToken] = []
        self.error: Exception | None = None
        self.signals_after_the_end = 0
        self.is_over = False
        self.subscribed_at = self.last_token_at = self.ended_at = self._time()
        source.subscribe(self._next, self._end, lambda: self._end(None))

    def _next(self, token: StreamToken) -> None:
        self.signals_after_the_end += self.is_over
        self.tokens.append(token)
        self.last_token_at = self._time()

    def _end(self, error: Exception | None) -> None:
        self.signals_after_the_end += self.is_over
        self.error, self.is_over, self.ended_at = error, True, self._time()


@dataclass(frozen=True)
class Seen:
    """What became of a case."""

    listener: Listener
    requests: int
    """What the server got for it."""
    body: bytes
    """What was sent of the spoiled answer's body."""
    heads_elsewhere: list[bytes]
    """What another origin was sent."""
    next: Listener
    """Who asked the same provider next, and was given a good answer."""


def has_begun(tokens: list[StreamToken]) -> bool:
    """Whether anything came that is never taken back."""
    return not all(isinstance(token, StreamStart) for token in tokens)


async def until(condition: Callable[[], bool], what: str, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Go round the loop until `condition` holds, and do `meanwhile` in between."""
    give_up_at = time.monotonic() + PATIENCE
    while not condition():
        await turns(SETTLED)
        meanwhile()
        assert time.monotonic() < give_up_at, f"never: {what}"


async def perform(case: Case, loop: MovableLoop, *, retries: int = 0) -> Seen:
    """Let it happen; raises `AssertionError` if something is left open."""

    def tick() -> None:
        loop.move(1.0)

    server, other = Server(case, 1 + case.condition.is_pooled), Server(case, 0)
    async with serving(server.handle) as server.url, serving(other.handle) as server.url_of_another:
        base_url = server.url + api_named(case.wire.api).base_path
        provider = AiProvider(
            case.wire.api, base_url=base_url, api_key=KEY, deadlines=DEADLINES, retry=RetryPolicy(retries=retries)
        )
        async with provider:
            stream = provider.stream("Why?", model=case.wire.model)
            if case.condition.is_pooled:
                await _answered(stream)
            listener = Listener(stream)

            def tick_if_done() -> None:
                expected = case.wire.tokens(bytes(server.body))
                is_held_back = not has_begun(expected) or retries > 0  # until it is sure that nothing is asked again
                if server.is_done and (is_held_back or len(listener.tokens) >= len(expected)):
                    tick()

            await until(lambda: listener.is_over, "the end", tick_if_done)
            requests = len(server.heads) + len(other.heads) - case.condition.is_pooled
            await until(lambda: server.is_done, "the end of what is sent", tick)
            following = await _answered(stream)
            await until(lambda: server.connections <= 1 and other.connections <= 1, "the spoiled one closed", tick)
        await until(lambda: server.connections + other.connections == 0, "every connection closed", tick)
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others, f"tasks left behind: {others}"
    assert not push.lanes
    timers = [timer for timer in loop._scheduled if not timer.cancelled()]  # type: ignore[attr-defined]  # asyncio's own list
    assert not timers, f"timers left behind: {timers}"
    return Seen(listener, requests, bytes(server.body), other.heads, following)


async def _answered(stream: Observable[StreamToken]) -> Listener:
    """Subscribe, and wait for the end."""
    listener = Listener(stream)
    await until(lambda: listener.is_over, "the end of a good answer")
    return listener


def descriptors() -> int:
    """How many files and sockets this process has open; 0 where the system does not tell."""
    place = Path("/proc/self/fd")
    return len(list(place.iterdir())) if place.is_dir() else 0
