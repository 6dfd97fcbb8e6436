"""Where machines meet Rx: `lift` makes an operator of a machine.

No other file repeats this closure. What it keeps: a fresh machine for each
subscription, the `scheduler` passed upstream (demand travels on it), what a
machine had completed delivered before its error, and nothing after a terminal.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, TypeVar, cast

from reactivex import Observable, abc

from rxstream.errors import SubscriberError
from rxstream.machine import Machine, completed_by, finish_broken
from rxstream.tokens import StreamToken

A = TypeVar("A")
B = TypeVar("B")

Operator: TypeAlias = Callable[[Observable[A]], Observable[B]]
"""What `pipe` takes. Public functions spell it out: an alias breaks inference in mypy."""


class StreamTransformer(Machine[StreamToken, StreamToken], Protocol):
    """Stream tokens in, stream tokens out: what to write for a transformer of your own.

    It takes `feed(token)`, which returns the tokens that are ready, and `flush()`, which
    returns what was held back; `lift` makes an operator of it. `Machine` says the rest.
    """


class Stoppable(Protocol):
    """What Rx hands to a subscribe function: an observer that knows whether it has stopped."""

    is_stopped: bool


def lift(make: Callable[[], Machine[A, B]]) -> Callable[[Observable[A]], Observable[B]]:
    """Make an operator of the machine that `make` returns, a new one for each subscription.

    What `feed` or `flush` raises ends the stream with `on_error`, after what the
    error carries as `.completed`. When the source fails, the machine's `fail`
    (or else `flush`) gives what was held back before the error is passed on. A
    subscriber that raises is told of it by a `SubscriberError`, at the latest in the end.
    """
    return _lifted(make, one_by_one)


def lift_lists(make: Callable[[], Machine[A, B]]) -> Callable[[Observable[A]], Observable[list[B]]]:
    """Make an operator as `lift` does, of which each item is all that one call of the machine gave, if it gave any.

    What lies between this and `one_by_one` costs once for each chunk, and not for each token.
    """
    return _lifted(make, _as_it_is)


def one_by_one(observer: abc.ObserverBase[B]) -> Callable[[list[B]], None]:
    """Return what gives each item of a list to `observer`, as long as that has not stopped."""
    emit, downstream = observer.on_next, cast(Stoppable, observer)

    def deliver(items: list[B]) -> None:
        for item in items:
            if downstream.is_stopped:
                return
            emit(item)

    return deliver


def _as_it_is(observer: abc.ObserverBase[Any]) -> Callable[[list[Any]], None]:
    """What gives a list to `observer`, unless it is empty."""
    emit = observer.on_next

    def deliver(items: list[Any]) -> None:
        if items:
            emit(items)

    return deliver


def _lifted(
    make: Callable[[], Machine[Any, Any]],
    delivery: Callable[[abc.ObserverBase[Any]], Callable[[list[Any]], None]],
) -> Callable[[Observable[Any]], Observable[Any]]:
    """The operator of `lift`, which hands over what the machine gives by `delivery`."""

    def operator(source: Observable[Any]) -> Observable[Any]:
        def subscribe(
            observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            machine = make()
            feed, deliver = machine.feed, delivery(observer)
            downstream = cast(Stoppable, observer)

            def end_with(error: Exception, made: list[Any]) -> None:
                try:
                    if not isinstance(error, SubscriberError):  # who raised at an item is given no more
                        deliver(made)
                finally:
                    observer.on_error(error)

            def on_next(item: Any) -> None:
                if downstream.is_stopped:  # a source may still have items in hand after a dispose or an error
                    return
                try:
                    made = feed(item)
                except Exception as error:
                    end_with(error, completed_by(error))
                else:
                    deliver(made)

            def on_error(error: Exception) -> None:
                try:
                    made = finish_broken(machine, error)
                except Exception as named:  # the machine's own name for what happened
                    end_with(named, completed_by(named))
                else:
                    end_with(error, made)

            def on_completed() -> None:
                try:
                    made = machine.flush()
                except Exception as error:
                    end_with(error, completed_by(error))
                    return
                try:
                    deliver(made)
                except Exception as error:  # the source has ended and cannot say it any more
                    observer.on_error(raised_by_subscriber(error))
                else:
                    observer.on_completed()

            return source.subscribe(on_next, on_error, on_completed, scheduler=scheduler)

        return Observable(subscribe)

    return operator


def raised_by_subscriber(error: Exception) -> SubscriberError:
    """Return what a stream ends in whose subscriber raised `error` at an item."""
    broken = SubscriberError(f"the subscriber raised {type(error).__name__}")
    broken.__cause__ = error
    return broken
