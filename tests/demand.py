"""Both ends of a stage that holds something: a source pushed by hand, a consumer that opens and closes its gate."""

import asyncio
import sys
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any, Generic, TypeVar

from reactivex import Observable, abc
from reactivex.disposable import Disposable
from reactivex.testing import TestScheduler

from rxstream.flow import Gate
from rxstream.schedulers import gate_of
from rxstream.schedulers.gated_scheduler import GatedScheduler

T = TypeVar("T")


class Faucet(Generic[T]):
    """A hot source that brings what it is told to.

    It says that it waits at the gate, unless told not to; whether it does is the test's affair.
    """

    def __init__(self, *, waits: bool = True) -> None:
        self.gate: Gate | None = None
        """The gate that the last subscription came with."""
        self.subscribed = 0
        self.disposed = 0
        self._waits = waits
        self._observers: list[abc.ObserverBase[T]] = []
        self.stream: Observable[T] = Observable(self._subscribe)

    @property
    def is_wanted(self) -> bool:
        """Whether a source that waits would go on."""
        return self.gate is None or self.gate.is_open

    def push(self, *items: T) -> None:
        for item in items:
            for observer in self._observers[:]:
                observer.on_next(item)

    def complete(self) -> None:
        for observer in self._observers[:]:
            observer.on_completed()

    def fail(self, error: Exception) -> None:
        for observer in self._observers[:]:
            observer.on_error(error)

    def _subscribe(
        self, observer: abc.ObserverBase[T], scheduler: abc.SchedulerBase | None = None
    ) -> abc.DisposableBase:
        self.subscribed += 1
        self.gate = gate_of(scheduler)
        if self.gate is not None and self._waits:
            self.gate.honour()
        self._observers.append(observer)

        def dispose() -> None:
            self.disposed += 1
            self._observers.remove(observer)

        return Disposable(dispose)


class Item:
    """Something to see whether anybody still holds it."""


class Consumer:
    """Subscribes to `stream` in virtual time, wants items or not, and keeps what it hears."""

    def __init__(self, stream: Observable[Any], *, clock: TestScheduler | None = None, wants: bool = True) -> None:
        self.clock = clock or TestScheduler()
        self.gate = Gate()
        self.heard: list[Any] = []
        self.error: Exception | None = None
        self.is_completed = False
        self.terminals = 0
        if not wants:
            self.close()
        self.subscription = stream.subscribe(
            self._hear, self._fail, self._complete, scheduler=GatedScheduler(self.clock, self.gate)
        )

    def close(self) -> None:
        """Want nothing for now."""
        self.gate.close(self)

    def open(self) -> None:
        """Want items again, and let the scheduler run."""
        self.gate.open(self)
        self.turn()

    def turn(self) -> None:
        """Let the scheduler do what is due by now."""
        self.clock.advance_by(0.000_001)

    def _hear(self, item: Any) -> None:
        assert not self.terminals
        self.heard.append(item)

    def _fail(self, error: Exception) -> None:
        self.terminals += 1
        self.error = error

    def _complete(self) -> None:
        self.terminals += 1
        self.is_completed = True


async def turns(count: int = 10) -> None:
    """Let the running loop go round a few times."""
    for _ in range(count):
        await asyncio.sleep(0)


@contextmanager
def quick_switches() -> Generator[None]:
    """Let threads take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        yield
    finally:
        sys.setswitchinterval(usual)
