"""`lift`: what every operator made of a machine keeps."""

from collections.abc import Callable
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.scheduler import ImmediateScheduler
from reactivex.subject import Subject
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.machine import carrying
from rxstream.rx import lift

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed


class Pairs:
    """Joins items two by two: a machine that holds something back."""

    def __init__(self) -> None:
        self.held: list[str] = []

    def feed(self, item: str) -> list[str]:
        if item == "!":
            raise carrying(ValueError("noise"), [*self.held, "good"])
        self.held.append(item)
        if len(self.held) < 2:
            return []
        made = "".join(self.held)
        self.held.clear()
        return [made]

    def flush(self) -> list[str]:
        return self.held


class Burst:
    def feed(self, item: int) -> list[int]:
        return list(range(item))

    def flush(self) -> list[int]:
        return []


class _Same:
    def feed(self, item: int) -> list[int]:
        return [item]

    def flush(self) -> list[int]:
        return []


class Renaming(Pairs):
    def fail(self, error: Exception) -> list[str]:
        raise carrying(KeyError("renamed"), self.held) from error


def marbles(make: Callable[[], Any], *messages: Any) -> list[Any]:
    clock = TestScheduler()
    source = clock.create_hot_observable(*messages)
    return list(clock.start(lambda: source.pipe(lift(make))).messages)


def test_what_a_machine_makes_comes_when_it_is_made() -> None:
    assert marbles(Pairs, on_next(210, "a"), on_next(220, "b"), on_next(230, "c"), on_completed(240)) == [
        on_next(220, "ab"),
        on_next(240, "c"),
        on_completed(240),
    ]


def test_what_was_complete_comes_before_the_machines_error() -> None:
    error = ValueError("noise")
    clock = TestScheduler()
    source = clock.create_hot_observable(on_next(210, "a"), on_next(220, "!"), on_next(230, "b"), on_completed(240))

    messages: list[Any] = list(clock.start(lambda: source.pipe(lift(Pairs))).messages)

    assert messages[:2] == [on_next(220, "a"), on_next(220, "good")]
    assert repr(messages[2].value.exception) == repr(error)
    assert len(messages) == 3
    assert source.subscriptions[0].unsubscribe == 220


def test_what_was_held_back_comes_before_the_sources_error() -> None:
    boom = OSError("boom")

    assert marbles(Pairs, on_next(210, "a"), on_error(220, boom)) == [on_next(220, "a"), on_error(220, boom)]


def test_a_machine_may_name_the_sources_error() -> None:
    messages = marbles(Renaming, on_next(210, "a"), on_error(220, OSError("boom")))

    assert messages[0] == on_next(220, "a")
    assert isinstance(messages[1].value.exception, KeyError)


def test_each_subscription_has_a_machine_of_its_own() -> None:
    heard: list[str] = []
    source: Subject[str] = Subject()
    pairs = source.pipe(lift(Pairs))

    pairs.subscribe(lambda item: heard.append(f"first {item}"))
    source.on_next("a")
    pairs.subscribe(lambda item: heard.append(f"second {item}"))
    source.on_next("b")
    source.on_next("c")

    assert heard == ["first ab", "second bc"]


def test_the_scheduler_goes_upstream() -> None:
    seen: list[object] = []

    def subscribe(observer: abc.ObserverBase[str], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        seen.append(scheduler)
        return reactivex.empty().subscribe(observer)

    scheduler = ImmediateScheduler()
    Observable[str](subscribe).pipe(lift(Pairs), lift(Pairs)).subscribe(scheduler=scheduler)

    assert seen == [scheduler]


def test_nothing_comes_after_enough() -> None:
    heard: list[int] = []
    stopped: list[bool] = []

    reactivex.of(5, 5).pipe(lift(Burst), ops.do_action(lambda item: stopped.append(item == 4)), ops.take(2)).subscribe(
        heard.append
    )

    assert heard == [0, 1]
    assert len(stopped) == 2  # the rest of the burst was not even offered


def test_a_hundred_thousand_items_at_once_cause_no_recursion() -> None:
    heard: list[int] = []

    reactivex.of(100_000).pipe(lift(Burst), lift(_Same)).subscribe(heard.append)

    assert len(heard) == 100_000


@given(st.lists(st.text(alphabet="ab", max_size=2)))
def test_the_operator_makes_what_the_machine_makes(items: list[str]) -> None:
    machine, heard = Pairs(), list[str]()

    reactivex.from_iterable(items).pipe(lift(Pairs)).subscribe(heard.append)

    assert heard == [made for item in items for made in machine.feed(item)] + machine.flush()


def test_a_flush_that_raises_ends_in_its_error() -> None:
    class Unfinished(Pairs):
        def flush(self) -> list[str]:
            raise carrying(ValueError("unfinished"), self.held)

    messages = marbles(Unfinished, on_next(210, "a"), on_completed(220))

    assert messages[0] == on_next(220, "a")
    with pytest.raises(ValueError, match="unfinished"):
        raise messages[1].value.exception
