"""How a stream is to be read, told to whatever its source is.

It travels upstream on the gate of the subscription's scheduler, as demand does. A
source that has no controller of its own goes by it: by the size of its reads and, where
it is a controller, by what that lets wait on the stream's way, as far down as the sink.
"""

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable, abc

from rxstream.flow import AdaptiveReadSize, Gate, StreamBackpressureController
from rxstream.schedulers import FlowScheduler, gate_of
from rxstream.schedulers.gated_scheduler import GatedScheduler, gated

T = TypeVar("T")


def controlled(
    make: Callable[[], StreamBackpressureController | AdaptiveReadSize],
) -> Callable[[Observable[T]], Observable[T]]:
    """Offer what `make` returns, which is asked once for each subscription, to the source."""

    def operator(source: Observable[T]) -> Observable[T]:
        def subscribe(observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
            gate = Gate(gate_of(scheduler))
            gate.offered = make()
            carrier = gated(scheduler, gate)
            subscription = source.subscribe(observer, scheduler=carrier)
            if carrier.has_scheduled and isinstance(scheduler, FlowScheduler | GatedScheduler):
                scheduler.has_scheduled = True  # whoever queues downstream looks whether the source may still come
            return subscription

        return Observable(subscribe)

    return operator
