"""What arrives, straight into the operators: no task is woken for it.

A model sends an event at a time, and for one event the dearest thing is the second
turn of the event loop, which wakes the task that reads. So while that task waits for
more, a small piece goes to the observer in the very call that delivers it. Whatever is
not that simple (a large piece, a closed gate, a consumer that is busy, the end, an
error) is left to the task, and aiohttp's reader holds it as always.

aiohttp has no door for this. The reader of the response is given a class of ours,
which changes who is asked first and nothing else; where a release of aiohttp does not
let that be done, the task does it all.
"""

import asyncio
import weakref
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from typing import Any

import aiohttp

from rxstream.sources.deadlines import Progress, Watchdog
from rxstream.sources.pump import Pump


@contextmanager
def short_way(
    content: aiohttp.StreamReader, pump: Pump[bytes], watchdog: Watchdog, progress: Progress | None
) -> Generator[Callable[[], Awaitable[bytes]]]:
    """Let small pieces of `content` go the short way while the task waits in the function that this gives.

    That returns what could not, once the consumer wants it: a chunk, or nothing at the end of the body, of the
    answer, or of the wish for more. Raises what the reader raises, and `SubscriberError` if the observer did.
    """
    if not is_open_to_pushing(content):
        yield lambda: content.read(pump.read_size)
        return
    lane = Lane(content, pump, watchdog, progress)
    lanes[id(content)] = weakref.ref(lane)
    try:
        yield lane.read
    finally:
        del lanes[id(content)]
        content.__class__ = aiohttp.StreamReader


class Lane:
    """The short way for one body; open only while the task waits in `read`."""

    def __init__(
        self, content: aiohttp.StreamReader, pump: Pump[bytes], watchdog: Watchdog, progress: Progress | None
    ) -> None:
        self._content = content
        self._pump = pump
        self._watchdog = watchdog
        self._progress = progress
        self._waiter: asyncio.Future[None] | None = None

    async def read(self) -> bytes:
        while not self._has_ended and await self._pump.is_wanted():
            await self._pump.breathe()
            if (chunk := self._content.read_nowait(self._pump.read_size)) or self._content.is_eof():
                return chunk
            self._waiter = self._pump.loop.create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return b""

    def take(self, chunk: bytes) -> bool:
        """Give `chunk` to the observer, if it can go now; return whether that is so."""
        waiter, pump, progress = self._waiter, self._pump, self._progress
        if waiter is None or waiter.done() or len(chunk) > pump.read_size or not pump.is_open:
            return False
        seen = self._watchdog.seen(progress)
        try:
            now = pump.give_now(chunk)
        except Exception as error:
            if not waiter.done():  # else the subscription was disposed of meanwhile
                waiter.set_exception(error)
            return True
        self._watchdog.note(progress, seen, now)
        if self._has_ended or pump.is_tired or not pump.is_open:
            self.wake()
        return True

    def wake(self) -> None:
        """Leave what comes to the task."""
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def _has_ended(self) -> bool:
        return self._progress is not None and self._progress.ended


def is_open_to_pushing(content: aiohttp.StreamReader) -> bool:
    """Make `content` ask its lane first; return False if that can't be."""
    if type(content) is not aiohttp.StreamReader:  # somebody else's, or one with nothing to wait for
        return False
    try:
        content.__class__ = Pushed
    except TypeError:  # a layout that no subclass has: an aiohttp that we don't know
        return False
    return True


lanes: dict[int, weakref.ref[Lane]] = {}
"""By the `id` of the reader, which has no room for an attribute. Weak: a stream whose loop was closed never ends."""


class Pushed(aiohttp.StreamReader):
    """aiohttp's reader of a body, which asks its lane first."""

    __slots__ = ()

    def feed_data(self, data: bytes, *others: Any, **named: Any) -> bool:
        lane = lanes[id(self)]()
        if lane is not None and data and lane.take(data):
            self.total_bytes += len(data)
            return False
        paused = super().feed_data(data, *others, **named)
        if lane is not None:
            lane.wake()
        return paused

    def feed_eof(self) -> None:
        super().feed_eof()
        self._wake()

    def set_exception(self, exc: BaseException, *others: Any, **named: Any) -> None:
        super().set_exception(exc, *others, **named)
        self._wake()

    def _wake(self) -> None:
        if (lane := lanes[id(self)]()) is not None:
            lane.wake()

    def begin_http_chunk_receiving(self) -> None:
        """Nobody asks where the chunks of the transfer ended, and each mark would have to be held."""

    def end_http_chunk_receiving(self) -> None:
        """See `begin_http_chunk_receiving`."""
