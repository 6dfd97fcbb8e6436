"""What a controller held, and what came, against time."""

import asyncio
from types import TracebackType

from msgspec import Struct

from rxstream.errors import ConfigurationError
from rxstream.flow import StreamBackpressureController
from rxstream.schedulers import running_loop
from rxstream.taps import StreamMetrics


class FlowSample(Struct, frozen=True):
    """The figures at one moment."""

    at: float
    """Seconds since the watch began."""
    depth: int
    """Items that wait."""
    bytes_in: int
    """Bytes that had come."""
    seconds_paused: float
    """How long the source had been told to wait by then."""
    pauses: int
    """How often."""
    dropped: int


class FlowWatch:
    """Looks at a controller every few milliseconds, for the length of a `with`.

        with FlowWatch(controller, metrics) as watch:
            await collect(stream)
        plot_flow(watch)

    `metrics` are those of a `tap_metrics` near the source: what they say of bytes and of
    pauses is then what the socket felt. Without them, bytes are those of the items
    that the controller counted. For a running loop; raises `ConfigurationError` without one.
    """

    def __init__(
        self,
        controller: StreamBackpressureController,
        metrics: StreamMetrics | None = None,
        *,
        period: float = 0.005,
    ) -> None:
        self.controller = controller
        self.samples: list[FlowSample] = []
        self._metrics = metrics
        self._period = period
        self._loop: asyncio.AbstractEventLoop | None = None
        self._began = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> "FlowWatch":
        self._loop = running_loop()
        if self._loop is None:
            raise ConfigurationError("there is no event loop here to watch on")
        self._began = self._loop.time()
        self._look(self._loop)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None and self._loop is not None:
            self._timer.cancel()
            self.samples.append(self._sample(self._loop))

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self.samples.append(self._sample(loop))
        self._timer = loop.call_later(self._period, self._look, loop)

    def _sample(self, loop: asyncio.AbstractEventLoop) -> FlowSample:
        held = self.controller.snapshot()
        felt = self._metrics.pressure if self._metrics is not None else None
        return FlowSample(
            at=loop.time() - self._began,
            depth=held.depth,
            bytes_in=held.bytes_in if self._metrics is None else self._metrics.bytes,
            seconds_paused=held.seconds_paused if felt is None else felt.seconds_paused,
            pauses=held.times_paused if felt is None else felt.pauses,
            dropped=held.dropped,
        )
