"""Whatever can be iterated over, as a stream that goes at the consumer's pace."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from contextlib import aclosing
from typing import TypeVar

from reactivex import Observable

from rxstream.sources.pump import BREATH, Pump, pumped

T = TypeVar("T")


def from_async_iterable(iterable: AsyncIterable[T] | Iterable[T]) -> Observable[T]:
    """Return the items of `iterable`, async or not, as an Observable that waits while its consumer is slow.

    Each subscription iterates anew, so the stream is cold where the iterable is: a
    list or an object with an `__aiter__` of its own can be subscribed to again, a
    generator only once. Disposing ends an async generator at once, also while it
    waits: its `finally` blocks run. What the iterable raises ends the stream.
    """

    async def read(pump: Pump[T]) -> None:
        breathed = pump.loop.time()
        async with aclosing(each(iterable)) as items:
            async for item in items:
                if not await pump.push(item):
                    return
                if pump.loop.time() - breathed > BREATH:  # the pump counts the consumer's time, not the iterable's
                    await asyncio.sleep(0)
                    breathed = pump.loop.time()

    return pumped(read)


async def each(iterable: AsyncIterable[T] | Iterable[T]) -> AsyncGenerator[T]:
    """Give the items of `iterable`, whichever way it gives them; close in the end what they come from."""
    if not isinstance(iterable, AsyncIterable):
        for item in iterable:
            yield item
        return
    items = aiter(iterable)
    try:
        async for item in items:
            yield item
    finally:
        close = getattr(items, "aclose", None)  # generators have it, and iterators that hold something open
        if close is not None:
            await close()
