"""The courier where two threads meet: what the second does at the worst moment, done by a hook in the first."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from reactivex import abc
from reactivex.disposable import Disposable
from reactivex.observer import Observer
from reactivex.testing import TestScheduler

from rxstream.flow import Gate
from rxstream.operators._courier import Courier
from rxstream.schedulers import FlowScheduler

BOOM = OSError("boom")


class Box(list[int]):
    """What waits; does `meanwhile`, once, right after somebody found it empty."""

    meanwhile: Callable[[], None] | None = None

    def __len__(self) -> int:
        length = super().__len__()
        meanwhile = self.meanwhile
        if not length and meanwhile is not None:
            self.meanwhile = None
            meanwhile()
        return length


class Door(Gate):
    """Does `meanwhile`, once, right after somebody found it closed."""

    meanwhile: Callable[[], None] | None = None

    @property
    def is_open(self) -> bool:
        is_open = super().is_open
        meanwhile = self.meanwhile
        if not is_open and meanwhile is not None:
            self.meanwhile = None
            meanwhile()
        return is_open


class Plain(Courier[int]):
    """Holds items in a list."""

    def __init__(self, observer: abc.ObserverBase[int], scheduler: abc.SchedulerBase, **options: Any) -> None:
        self.box = Box()
        super().__init__(observer, scheduler, self.box, **options)

    def _put(self, item: int) -> None:
        self.box.append(item)

    def _deliver_next(self) -> None:
        self._emit(self.box.pop(0))

    def _forget(self) -> None:
        self.box.clear()


def plain(scheduler: abc.SchedulerBase | None = None, **options: Any) -> tuple[Plain, list[Any]]:
    heard: list[Any] = []
    observer = Observer[int](heard.append, heard.append, lambda: heard.append("end"))
    return Plain(observer, scheduler or TestScheduler(), **options), heard


def test_the_last_item_and_the_end_may_come_while_nothing_seems_to_wait() -> None:
    courier, heard = plain()

    def end_it() -> None:
        courier.on_next(2)
        courier.on_completed()

    courier.box.meanwhile = end_it
    courier.on_next(1)

    assert heard == [1, 2, "end"]


@pytest.mark.parametrize("hands_over", [False, True])
def test_an_error_may_come_while_somebody_is_about_to_wait(hands_over: bool) -> None:
    door, clock = Door(), TestScheduler()
    door.close("test")
    courier, heard = plain(clock, demand=door, hands_over=hands_over)
    door.meanwhile = lambda: courier.on_error(BOOM)

    courier.on_next(1)
    clock.advance_by(1)

    assert heard == [1, BOOM]
    assert not vars(door)["_listeners"]


def test_the_door_may_open_while_somebody_is_about_to_wait() -> None:
    door, clock = Door(), TestScheduler()
    door.close("test")
    courier, heard = plain(clock, demand=door)
    door.meanwhile = lambda: door.open("test")

    courier.on_next(1)
    clock.advance_by(1)

    assert heard == [1]


def test_a_dispose_may_come_while_somebody_is_about_to_wait() -> None:
    door, clock = Door(), TestScheduler()
    door.close("test")
    courier, heard = plain(clock, demand=door)
    door.meanwhile = courier.dispose

    courier.on_next(1)
    assert not vars(door)["_listeners"]
    door.open("test")
    clock.advance_by(1)

    assert heard == []


def test_a_subscriber_that_raises_gets_one_error_and_nothing_after() -> None:
    def hear(_: int) -> None:
        raise BOOM

    clock, errors = TestScheduler(), list[Exception]()
    courier = Plain(Observer[int](hear, errors.append), clock, hands_over=True)
    courier.on_next(1)
    courier.on_next(2)

    clock.advance_by(1)
    courier.on_completed()
    clock.advance_by(1)

    assert [error.__cause__ for error in errors] == [BOOM]
    assert courier.source.is_disposed
    assert courier.box == []


def test_a_loop_that_is_gone_ends_it_without_a_word() -> None:
    loop = asyncio.new_event_loop()
    demand = Gate()
    demand.close("test")
    courier, heard = plain(FlowScheduler(loop), demand=demand)
    courier.on_next(1)
    loop.close()

    demand.open("test")

    assert heard == []
    assert courier.source.is_disposed


def test_a_scheduler_that_is_broken_is_heard_of() -> None:
    class Broken(TestScheduler):
        def schedule(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("broken")

    courier, _ = plain(Broken(), hands_over=True)

    with pytest.raises(RuntimeError, match="broken"):
        courier.on_next(1)


def test_a_timer_is_taken_back_on_its_own_loop_only() -> None:
    class Slow(Plain):
        def _wait(self) -> float:
            return 10

    loop = asyncio.new_event_loop()
    courier = Slow(Observer[int](), FlowScheduler(loop))

    async def wait() -> asyncio.TimerHandle:
        courier.on_next(1)
        timers: list[asyncio.TimerHandle] = vars(loop)["_scheduled"]
        return timers[0]

    timer = loop.run_until_complete(wait())
    courier.dispose()
    assert not timer.cancelled()
    loop.run_until_complete(asyncio.sleep(0))

    assert timer.cancelled()
    loop.close()


def test_a_timer_that_fires_although_it_was_taken_back_does_nothing() -> None:
    class Leaky(TestScheduler):
        """Cannot cancel what it has planned."""

        def schedule_relative(self, *arguments: Any, **options: Any) -> Any:
            super().schedule_relative(*arguments, **options)
            return Disposable()

    class Slow(Plain):
        def _wait(self) -> float:
            return 0 if self.is_ended else 10

    clock, heard = Leaky(), list[Any]()
    courier = Slow(Observer[int](heard.append, on_completed=lambda: heard.append("end")), clock)
    courier.on_next(1)
    courier.on_completed()
    assert heard == [1, "end"]

    clock.advance_by(100)

    assert heard == [1, "end"]
