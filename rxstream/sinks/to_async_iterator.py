"""A stream as a plain async iterator."""

from collections.abc import AsyncGenerator, Callable
from typing import TypeVar

from reactivex import Observable

from rxstream.flow import Overflow
from rxstream.sinks.iterate import iterate

T = TypeVar("T")


async def to_async_iterator(
    source: Observable[T],
    *,
    capacity: int = 1024,
    low: int | None = None,
    overflow: Overflow = Overflow.PAUSE,
    weigh: Callable[[T], int] | None = None,
    on_drop: Callable[[T], object] | None = None,
) -> AsyncGenerator[T]:
    """Return the items of `source` for an interface that wants an async iterator; as `iterate` otherwise.

    It subscribes at the first step. Whoever leaves it early calls `aclose()`, or uses
    `contextlib.aclosing`: `iterate` does that by itself.
    """
    async with iterate(source, capacity=capacity, low=low, overflow=overflow, weigh=weigh, on_drop=on_drop) as items:
        async for item in items:
            yield item
