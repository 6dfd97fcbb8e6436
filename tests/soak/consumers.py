"""Those who consume the streams of the soak: the patient and the hasty, by their names in a `Plan`.

Each returns what it saw. One that stays to the end says how it ended; whoever goes
earlier says nothing of that.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from reactivex import Observable, abc
from reactivex import operators as ops

from rxstream import StreamPipelineBuilder, StreamToken, TextDelta, collect, content_filter, iterate
from rxstream.errors import StreamError
from rxstream.operators import buffered

Tokens = Observable[StreamToken]

THREADS = ThreadPoolExecutor(4, thread_name_prefix="soak")
PIPELINE = StreamPipelineBuilder().add_transformer(content_filter(["never said"])).enable_metrics().build()


@dataclass
class Seen:
    """What a consumer saw of a stream."""

    text: str = ""
    tokens: int = 0
    terminals: int = 0
    error: BaseException | None = None
    has_left: bool = False
    """Whether it left of its own accord."""

    def take(self, token: StreamToken) -> None:
        self.tokens += 1
        if isinstance(token, TextDelta):
            self.text += token.text


class Subscriber:
    """A plain subscriber, on whatever thread; `over` is set on the loop that made it."""

    def __init__(self) -> None:
        self.seen = Seen()
        self.over, self.began = asyncio.Event(), asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def on(self, stream: Tokens) -> abc.DisposableBase:
        return stream.subscribe(self._next, self._end, self._end)

    def _next(self, token: StreamToken) -> None:
        self.seen.take(token)
        if self.seen.tokens == 1:
            self._loop.call_soon_threadsafe(self.began.set)

    def _end(self, error: Exception | None = None) -> None:
        self.seen.terminals += 1
        self.seen.error = error
        self._loop.call_soon_threadsafe(self.began.set)
        self._loop.call_soon_threadsafe(self.over.set)


async def collected(stream: Tokens, chance: random.Random) -> Seen:
    seen = Seen(terminals=1)
    try:
        answer = await collect(stream)
    except StreamError as error:
        seen.error = error
        seen.text = error.partial.text if error.partial else ""
    else:
        seen.text = answer.text
    return seen


async def iterated(stream: Tokens, chance: random.Random) -> Seen:
    return await _iterated(stream, capacity=64, every=1_000_000)


async def slowly(stream: Tokens, chance: random.Random) -> Seen:
    return await _iterated(stream.pipe(buffered(chance.choice((2, 8)))), capacity=2, every=chance.randint(1, 3))


async def piped(stream: Tokens, chance: random.Random) -> Seen:
    return await _iterated(PIPELINE.process(stream), capacity=64, every=8)


async def left(stream: Tokens, chance: random.Random) -> Seen:
    return await _iterated(stream, capacity=chance.choice((4, 64)), every=2, most=chance.randint(0, 20))


async def _iterated(stream: Tokens, *, capacity: int, every: int, most: int | None = None) -> Seen:
    """Take tokens, with a short rest after `every` few, and leave after `most`."""
    seen = Seen()
    try:
        async with iterate(stream, capacity=capacity) as tokens:
            async for token in tokens:
                seen.take(token)
                if seen.tokens % every == 0:
                    await asyncio.sleep(0.002)
                if most is not None and seen.tokens >= most:
                    seen.has_left = True
                    return seen
    except StreamError as error:
        seen.error = error
    seen.terminals = 1
    return seen


async def cancelled(stream: Tokens, chance: random.Random) -> Seen:
    consumer = asyncio.create_task(chance.choice((collected, iterated))(stream, chance))
    await _some_time(chance)
    consumer.cancel()
    consumer.cancel()
    done, _ = await asyncio.wait([consumer])
    return Seen(has_left=True) if all(task.cancelled() for task in done) else await consumer


async def disposed(stream: Tokens, chance: random.Random) -> Seen:
    subscriber = Subscriber()
    subscription = subscriber.on(stream)
    await _some_time(chance)
    subscription.dispose()
    subscription.dispose()
    subscriber.seen.has_left = True
    return subscriber.seen


async def disposed_by_thread(stream: Tokens, chance: random.Random) -> Seen:
    subscriber, loop = Subscriber(), asyncio.get_running_loop()
    subscription = await loop.run_in_executor(THREADS, subscriber.on, stream)  # on the background loop
    if chance.random() < 0.5:
        await subscriber.began.wait()
    await asyncio.gather(*(loop.run_in_executor(THREADS, subscription.dispose) for _ in range(2)))
    subscriber.seen.has_left = True
    return subscriber.seen


async def from_thread(stream: Tokens, chance: random.Random) -> Seen:
    subscriber = Subscriber()
    await asyncio.get_running_loop().run_in_executor(THREADS, subscriber.on, stream)
    await subscriber.over.wait()
    return subscriber.seen


async def taken(stream: Tokens, chance: random.Random) -> Seen:
    subscriber = Subscriber()
    subscriber.on(stream.pipe(ops.take(chance.randint(1, 10))))
    await subscriber.over.wait()
    subscriber.seen.has_left = True
    return subscriber.seen


async def raising(stream: Tokens, chance: random.Random) -> Seen:
    """A subscriber that breaks at an item hears of it; what it raises is no failure of the stream's own."""
    subscriber = Subscriber()

    def broken(_: Any) -> None:
        raise ArithmeticError("the subscriber is broken")

    def end(error: Exception | None = None) -> None:
        subscriber.seen.terminals += 1
        subscriber.over.set()

    stream.subscribe(broken, end, end)
    await subscriber.over.wait()
    subscriber.seen.has_left = True
    return subscriber.seen


async def _some_time(chance: random.Random) -> None:
    """Wait for no turn of the loop, for some, or for a few milliseconds: every state of a stream is met."""
    if chance.random() < 0.5:
        for _ in range(chance.randrange(20)):
            await asyncio.sleep(0)
    else:
        await asyncio.sleep(chance.random() * 0.2)


CONSUMERS: Mapping[str, Callable[[Tokens, random.Random], Awaitable[Seen]]] = {
    consumer.__name__: consumer
    for consumer in (
        collected,
        iterated,
        slowly,
        piped,
        left,
        cancelled,
        disposed,
        disposed_by_thread,
        from_thread,
        taken,
        raising,
    )
}
