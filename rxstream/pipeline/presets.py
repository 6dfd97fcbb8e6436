"""The presets: what each sets, as one table.

What is read at a time, and what is held in all, is for the source of a stream to keep:
rxstream's own do, unless they were given a controller. The rest is in the pipeline. No
preset measures anything: `enable_metrics()` does.

That each is what it says is measured by `python -m tests.benchmarks`. Smaller reads were
tried for low latency and are not in it: a token that comes with many others came no
sooner, since each read costs more than it saves, and one that comes alone is read alone.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from msgspec import Struct

from rxstream.flow import AdaptiveReadSize, BackpressureConfig, Overflow, StreamBackpressureController
from rxstream.flow.gated_queue import held_bytes
from rxstream.flow.read_size import LARGEST_READ, SMALLEST_READ

KIB = 1024


class Preset(Struct, frozen=True, kw_only=True):
    """One way to weigh latency, throughput and memory against each other."""

    name: str
    smallest_read: int = SMALLEST_READ
    """Bytes; what is read at a time grows and shrinks between the two."""
    largest_read: int = LARGEST_READ
    maximum_items: int | None = None
    """Tokens that may wait, from the source to the sink; `None` leaves that to each queue."""
    maximum_bytes: int | None = None
    capacity: int | None = None
    """Where the pipeline's own queue makes the source wait: tokens, or what `weigh` says; `None` has no queue."""
    overflow: Overflow = Overflow.PAUSE
    weigh: Callable[[Any], int] | None = None
    gather: timedelta | None = None
    """How long neighbouring deltas are gathered into one; `None` passes each on as it comes."""

    @property
    def control(self) -> Callable[[], StreamBackpressureController | AdaptiveReadSize] | None:
        """What makes what each stream's source is to go by, if the preset has anything to say about that."""
        if self.maximum_items is not None and self.maximum_bytes is not None:
            config = BackpressureConfig(
                minimum_buffer=self.smallest_read,
                maximum_buffer=self.largest_read,
                maximum_items=self.maximum_items,
                maximum_bytes=self.maximum_bytes,
            )
            return lambda: StreamBackpressureController(config)
        if (self.smallest_read, self.largest_read) == (SMALLEST_READ, LARGEST_READ):
            return None
        return lambda: AdaptiveReadSize(minimum=self.smallest_read, maximum=self.largest_read)


LOW_LATENCY = Preset(
    name="low_latency",
    capacity=4 * KIB,
    weigh=held_bytes,
    overflow=Overflow.CONFLATE,
)
BALANCED = Preset(name="balanced", capacity=256)
HIGH_THROUGHPUT = Preset(
    name="high_throughput",
    smallest_read=64 * KIB,
    capacity=1024 * KIB,
    weigh=held_bytes,
    overflow=Overflow.CONFLATE,
    gather=timedelta(milliseconds=20),
)
LOW_MEMORY = Preset(
    name="low_memory",
    smallest_read=4 * KIB,
    largest_read=4 * KIB,
    maximum_items=128,
    maximum_bytes=16 * KIB,
    capacity=64,
)

PRESETS = {preset.name: preset for preset in (LOW_LATENCY, BALANCED, HIGH_THROUGHPUT, LOW_MEMORY)}
"""By name."""
