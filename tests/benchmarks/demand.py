"""What each stage that carries demand adds to a token when nobody waits, beside stock operators.

The source pushes tokens in bursts, with a turn of the loop between two of them, as a
socket does. What that costs by itself, with a subscriber that looks at nothing, is
taken off.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any

from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxstream import TextDelta, iterate
from rxstream.flow import StreamBackpressureController
from rxstream.operators import buffered, deliver_on, fan_out, frames, map_async, rate_limit
from rxstream.schedulers import FlowScheduler, gate_of

Way = Callable[[Observable[Any]], Awaitable[None]]

COUNT = 20_000
BURSTS = {"bursts of 16": 16, "one at a time": 1}
TOKENS = [TextDelta(f"{number} ") for number in range(COUNT)]
PLENTY = 1e12
"""Permits a second, so that nobody waits for one."""


def pushed(
    burst: int, controller: StreamBackpressureController | None = None, *, tokens: Sequence[TextDelta] = TOKENS
) -> Observable[TextDelta]:
    """Return `tokens`, pushed at the pace that the gate allows."""

    def subscribe(
        observer: abc.ObserverBase[TextDelta], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        gate = gate_of(scheduler)
        share = controller and controller.stream()
        if gate is not None:
            gate.honour(share)

        async def push() -> None:
            emit = observer.on_next
            for first in range(0, len(tokens), burst):
                for token in tokens[first : first + burst]:
                    emit(token)
                await asyncio.sleep(0)
                if gate is not None and not gate.is_open:
                    await gate.wait()
            observer.on_completed()

        task = asyncio.get_running_loop().create_task(push())

        def stop() -> None:
            task.cancel()

        return Disposable(stop)

    return Observable(subscribe)


async def subscribed(stream: Observable[Any]) -> None:
    """Subscribe to `stream` and wait for its end."""
    await _end_of(stream, None)


async def demanded(stream: Observable[Any]) -> None:
    """The same with a gate, as any stage further down would bring: it is open, but has to be looked at."""
    await _end_of(stream, FlowScheduler(asyncio.get_running_loop()))


async def _end_of(stream: Observable[Any], scheduler: abc.SchedulerBase | None) -> None:
    over = asyncio.Event()
    stream.subscribe(ignore, on_completed=over.set, scheduler=scheduler)
    await over.wait()


async def iterated(stream: Observable[Any]) -> None:
    """Read `stream` in an `async for`."""
    async with iterate(stream) as items:
        async for _ in items:
            pass


def ignore(_: object) -> None:
    """Look at nothing."""


def same(token: TextDelta) -> TextDelta:
    return token


async def awaited(token: TextDelta) -> TextDelta:
    return token


def through(
    operator: Callable[[], Callable[[Observable[TextDelta]], Observable[Any]]], consume: Way = subscribed
) -> Way:
    """The stream behind an operator, made on the loop."""
    return lambda stream: consume(stream.pipe(operator()))


def here() -> AsyncIOScheduler:
    return AsyncIOScheduler(asyncio.get_running_loop())


WAYS: dict[str, Way] = {
    "map": through(lambda: ops.map(same)),
    "buffered": through(buffered),
    "buffered, under demand": through(buffered, demanded),
    "frames": through(lambda: frames(timedelta(milliseconds=33))),
    "rate_limit": through(lambda: rate_limit(PLENTY)),
    "fan_out": through(fan_out),
    "map_async": through(lambda: map_async(awaited)),
    "deliver_on(asyncio)": through(lambda: deliver_on(here())),
    "observe_on(asyncio)": through(lambda: ops.observe_on(here())),
    "iterate": iterated,
}
CONTROLLED = {"deliver_on(asyncio)", "iterate"}
"""Those that are measured with a controller too."""
WAKING = {"map_async", "deliver_on(asyncio)", "observe_on(asyncio)", "iterate"}
"""Those whose consumer has to be woken up: for a token alone that costs more than all the rest, which it would hide."""


def measure(rounds: int) -> dict[str, dict[str, list[float]]]:
    """Return the microseconds that each way adds to a token in each round, the ways in turn, by size of the bursts."""
    figures: dict[str, dict[str, list[float]]] = {}
    for title, burst in BURSTS.items():
        ways = figures[title] = {}
        for _ in range(rounds):
            before = _cost(subscribed, burst)
            costs = dict(_costs(burst))
            alone = (before + _cost(subscribed, burst)) / 2
            for way, cost in costs.items():
                ways.setdefault(way, []).append(cost - alone)
    return figures


def _costs(burst: int) -> Iterator[tuple[str, float]]:
    for way, run in WAYS.items():
        if burst == 1 and way not in WAKING:
            continue
        yield way, _cost(run, burst)
        if way in CONTROLLED:
            yield f"{way}, controlled", _cost(run, burst, StreamBackpressureController())


def _cost(run: Way, burst: int, controller: StreamBackpressureController | None = None) -> float:
    """CPU microseconds a token."""

    async def timed() -> float:
        started = time.process_time()
        await run(pushed(burst, controller))
        return time.process_time() - started

    return asyncio.run(timed()) / COUNT * 1e6
