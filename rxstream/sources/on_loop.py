"""Subscribe to a source on the event loop that it runs on."""

from collections.abc import Callable
from typing import TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable, SingleAssignmentDisposable

from rxstream.rx import one_by_one
from rxstream.schedulers import FlowScheduler, call_on, gate_of, loop_for, running_loop

A = TypeVar("A")
T = TypeVar("T")


def on_loop(source: Observable[T]) -> Observable[T]:
    """Return `source`, subscribed to and disposed of on its loop, with a scheduler whose timers run there.

    From within the loop nothing changes. From a thread without one, the loop is
    the background loop, and signals come on its thread.
    """
    return _on_loop(source, lambda observer: observer.on_next)


def each_on_loop(source: Observable[list[T]]) -> Observable[T]:
    """Return each item of the lists of `source`, subscribed to and disposed of as `on_loop` does."""
    return _on_loop(source, one_by_one)


def _on_loop(source: Observable[A], delivery: Callable[[abc.ObserverBase[T]], Callable[[A], None]]) -> Observable[T]:
    def subscribe(observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        loop = loop_for(scheduler)
        flow = scheduler if isinstance(scheduler, FlowScheduler) else FlowScheduler(loop, parent=scheduler)

        def begin() -> abc.DisposableBase:
            return source.subscribe(delivery(observer), observer.on_error, observer.on_completed, scheduler=flow)

        if running_loop() is loop:
            return begin()

        subscription = SingleAssignmentDisposable()
        if (gate := gate_of(flow)) is not None:
            gate.honour()  # the source will, but only once the loop gets to it

        def begin_there() -> None:
            if not subscription.is_disposed:
                subscription.disposable = begin()

        def dispose() -> None:
            call_on(loop, subscription.dispose)

        loop.call_soon_threadsafe(begin_there)
        return Disposable(dispose)

    return Observable(subscribe)
