"""Subscribe to a source on the event loop that it runs on."""

from typing import TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxstream.schedulers import FlowScheduler, gate_of, loop_for, running_loop

T = TypeVar("T")


def on_loop(source: Observable[T]) -> Observable[T]:
    """Return `source`, subscribed to and disposed of on its loop, with a scheduler whose timers run there.

    From within the loop nothing changes. From a thread without one, the loop is
    the background loop, and signals come on its thread.
    """

    def subscribe(observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        loop = loop_for(scheduler)
        flow = scheduler if isinstance(scheduler, FlowScheduler) else FlowScheduler(loop, parent=scheduler)
        if running_loop() is loop:
            return source.subscribe(observer, scheduler=flow)

        subscription = SingleAssignmentDisposable()
        if (gate := gate_of(flow)) is not None:
            gate.honour()  # the source will, but only once the loop gets to it

        def begin() -> None:
            if not subscription.is_disposed:
                subscription.disposable = source.subscribe(observer, scheduler=flow)

        def dispose() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(subscription.dispose)

        loop.call_soon_threadsafe(begin)
        return Disposable(dispose)

    return Observable(subscribe)
