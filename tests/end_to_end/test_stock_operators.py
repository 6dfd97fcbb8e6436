"""Demand through the operators of reactivex: which of them pass it on, and how far a source then gets ahead."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from itertools import pairwise
from typing import Any, cast

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import ConnectableObservable, Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.scheduler.eventloop import AsyncIOScheduler

from rxstream import iterate
from rxstream.errors import ConfigurationError
from rxstream.flow import Gate
from rxstream.operators import deliver_on
from rxstream.schedulers import FlowScheduler, gate_of
from rxstream.sources import from_async_iterable
from tests.virtual_loop import run_virtual, virtual_time

Stock = Callable[[Observable[Any]], Any]

MANY = 20_000
AHEAD = 64 + 4
"""The capacity of the queue, and what `iterate` takes from it at once."""

nothing = reactivex.never()


def same(item: Any, *_: Any) -> Any:
    return item


PASSED_ON: dict[str, Stock] = {
    "all": ops.all(bool),
    "amb": ops.amb(nothing),
    "as_observable": ops.as_observable(),
    "average": ops.average(),
    "buffer": ops.buffer(nothing),
    "buffer_toggle": ops.buffer_toggle(nothing, lambda _: nothing),
    "buffer_when": ops.buffer_when(lambda: nothing),
    "buffer_with_count": ops.buffer_with_count(2),
    "buffer_with_time": ops.buffer_with_time(1.0),
    "buffer_with_time_or_count": ops.buffer_with_time_or_count(1.0, 2),
    "catch": ops.catch(nothing),
    "combine_latest": ops.combine_latest(nothing),
    "concat": ops.concat(nothing),
    "concat_map": ops.concat_map(lambda _: nothing),
    "contains": ops.contains(1),
    "count": ops.count(),
    "debounce": ops.debounce(1.0),
    "default_if_empty": ops.default_if_empty(1),
    "delay": ops.delay(1.0),
    "delay_subscription": ops.delay_subscription(1.0),
    "delay_with_mapper": ops.delay_with_mapper(lambda _: nothing),
    "dematerialize": ops.dematerialize(),
    "distinct": ops.distinct(),
    "distinct_until_changed": ops.distinct_until_changed(),
    "do_action": ops.do_action(),
    "do_while": ops.do_while(lambda _: False),
    "element_at": ops.element_at(0),
    "expand": ops.expand(lambda _: nothing),
    "filter": ops.filter(bool),
    "filter_indexed": ops.filter_indexed(same),
    "finally_action": ops.finally_action(lambda: None),
    "find": ops.find(same),
    "first": ops.first(),
    "flat_map": ops.flat_map(lambda _: nothing),
    "fork_join": ops.fork_join(nothing),
    "group_by": ops.group_by(same),
    "group_by_until": ops.group_by_until(same, None, lambda _: nothing),
    "group_join": ops.group_join(nothing, lambda _: nothing, lambda _: nothing),
    "ignore_elements": ops.ignore_elements(),
    "is_empty": ops.is_empty(),
    "join": ops.join(nothing, lambda _: nothing, lambda _: nothing),
    "last": ops.last(),
    "map": ops.map(same),
    "map_indexed": ops.map_indexed(same),
    "materialize": ops.materialize(),
    "max": ops.max(),
    "max_by": ops.max_by(same),
    "merge": ops.merge(nothing),
    "min": ops.min(),
    "on_error_resume_next": ops.on_error_resume_next(nothing),
    "pairwise": ops.pairwise(),
    "publish": ops.publish(),
    "reduce": ops.reduce(same),
    "repeat": ops.repeat(2),
    "replay": ops.replay(buffer_size=1),
    "retry": ops.retry(2),
    "sample": ops.sample(1.0),
    "scan": ops.scan(same),
    "sequence_equal": ops.sequence_equal(nothing),
    "share": ops.share(),
    "single": ops.single(),
    "skip": ops.skip(1),
    "skip_last": ops.skip_last(1),
    "skip_last_with_time": ops.skip_last_with_time(1.0),
    "skip_until": ops.skip_until(nothing),
    "skip_until_with_time": ops.skip_until_with_time(1.0),
    "skip_while": ops.skip_while(bool),
    "skip_with_time": ops.skip_with_time(1.0),
    "slice": ops.slice(0, 3),
    "some": ops.some(),
    "starmap": ops.starmap(same),
    "start_with": ops.start_with(1),
    "sum": ops.sum(),
    "switch_latest": ops.switch_latest(),
    "switch_map": ops.switch_map(lambda _: nothing),
    "take": ops.take(3),
    "take_last": ops.take_last(1),
    "take_last_buffer": ops.take_last_buffer(1),
    "take_last_with_time": ops.take_last_with_time(1.0),
    "take_until": ops.take_until(nothing),
    "take_until_with_time": ops.take_until_with_time(1.0),
    "take_while": ops.take_while(bool),
    "take_with_time": ops.take_with_time(1.0),
    "throttle_first": ops.throttle_first(1.0),
    "throttle_with_mapper": ops.throttle_with_mapper(lambda _: nothing),
    "throttle_with_timeout": ops.throttle_with_timeout(1.0),
    "time_interval": ops.time_interval(),
    "timeout": ops.timeout(1.0),
    "timeout_with_mapper": ops.timeout_with_mapper(nothing, lambda _: nothing),
    "timestamp": ops.timestamp(),
    "to_dict": ops.to_dict(same),
    "to_iterable": ops.to_iterable(),
    "to_list": ops.to_list(),
    "to_set": ops.to_set(),
    "while_do": ops.while_do(lambda _: True),
    "window": ops.window(nothing),
    "window_when": ops.window_when(lambda: nothing),
    "window_with_count": ops.window_with_count(2),
    "window_with_time": ops.window_with_time(1.0),
    "with_latest_from": ops.with_latest_from(nothing),
    "zip": ops.zip(nothing),
    "zip_latest": ops.zip_latest(nothing),
    "zip_with_iterable": ops.zip_with_iterable([1]),
}
KEPT: dict[str, Callable[[abc.SchedulerBase], Stock]] = {
    "delay": lambda own: ops.delay(1.0, scheduler=own),
    "skip_last_with_time": lambda own: ops.skip_last_with_time(1.0, scheduler=own),
    "subscribe_on": ops.subscribe_on,
    "throttle_first": lambda own: ops.throttle_first(1.0, scheduler=own),
    "time_interval": lambda own: ops.time_interval(scheduler=own),
}
"""Those that pass on the scheduler that they were given, instead of the one that they were subscribed with."""


@pytest.mark.parametrize("name", PASSED_ON)
@virtual_time
async def test_the_source_finds_the_gate_behind_a_stock_operator(name: str) -> None:
    found: list[Gate | None] = []

    def subscribe(_: Any, scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        found.append(gate_of(scheduler))
        return Disposable()

    flow = FlowScheduler(asyncio.get_running_loop())
    stream = Observable[Any](subscribe).pipe(PASSED_ON[name])
    subscription = stream.subscribe(on_error=same, scheduler=flow)
    if isinstance(stream, ConnectableObservable):
        stream.connect(flow)
    await asyncio.sleep(2)

    assert found == [flow.gate]
    subscription.dispose()


class Numbers:
    """Counts, and knows how far it was asked to."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.given = 0

    async def __aiter__(self) -> AsyncGenerator[int]:
        for number in range(self.count):
            self.given += 1
            yield number


async def most_ahead(count: int, *operators: Stock) -> tuple[int, list[Any]]:
    """By how much a source of `count` items was ahead at most of a consumer that waits now and then; what that got."""
    numbers, most = Numbers(count), 0
    taken: list[Any] = []
    async with iterate(from_async_iterable(numbers).pipe(*operators), capacity=64) as items:
        async for item in items:
            taken.append(item)
            most = max(most, numbers.given - len(taken))
            if len(taken) % 50 == 0:
                await asyncio.sleep(0.001)
    return most, taken


merged = cast(Stock, ops.merge_all())
ONE_FOR_ONE: dict[str, Stock] = {
    "catch": ops.catch(nothing),
    "concat": ops.concat(reactivex.empty()),
    "distinct_until_changed": ops.distinct_until_changed(),
    "do_action": ops.do_action(),
    "filter": ops.filter(lambda _: True),
    "finally_action": ops.finally_action(lambda: None),
    "group_by": reactivex.compose(ops.group_by(lambda number: number % 3), merged),
    "map": ops.map(same),
    "materialize": reactivex.compose(ops.materialize(), ops.dematerialize()),
    "merge": ops.merge(reactivex.empty()),
    "on_error_resume_next": ops.on_error_resume_next(reactivex.empty()),
    "pairwise": reactivex.compose(ops.start_with(-1), ops.pairwise(), ops.map(max)),
    "retry": ops.retry(2),
    "scan": ops.scan(max),
    "share": ops.share(),
    "take_until": ops.take_until(nothing),
    "take_while": ops.take_while(lambda _: True),
    "timeout": ops.timeout(3_600.0),
    "timestamp": reactivex.compose(ops.timestamp(), ops.map(lambda stamped: stamped.value)),
    "window_with_count": reactivex.compose(ops.window_with_count(5), merged),
}
"""Operators that hold nothing, and after which everything comes as it was, once."""


@given(st.lists(st.sampled_from(sorted(ONE_FOR_ONE)), min_size=1, max_size=12))
def test_however_deep_the_source_is_hardly_ahead(names: list[str]) -> None:
    most, taken = run_virtual(most_ahead(500, *(ONE_FOR_ONE[name] for name in names)))

    assert most <= AHEAD
    assert taken == list(range(500))


@virtual_time
async def test_ten_deep_a_source_of_twenty_thousand_items_is_hardly_ahead() -> None:
    names = ["map", "filter", "scan", "do_action", "distinct_until_changed", "merge", "timeout", "retry", "share"]

    most, taken = await most_ahead(MANY, *(ONE_FOR_ONE[name] for name in names), ops.pairwise())

    assert most <= AHEAD + 1
    assert taken == list(pairwise(range(MANY)))


@pytest.mark.parametrize("name", KEPT)
@virtual_time
async def test_an_operator_that_keeps_demand_from_the_source_is_an_error(name: str) -> None:
    own = AsyncIOScheduler(asyncio.get_running_loop())
    numbers = Numbers(MANY)
    stream = from_async_iterable(numbers).pipe(KEPT[name](own))

    with pytest.raises(ConfigurationError, match=r"cannot wait for a slow consumer: .*CONFLATE"):
        async with iterate(stream, capacity=64):
            pytest.fail("it was subscribed to")
    await asyncio.sleep(10)

    assert numbers.given == 0


@pytest.mark.parametrize("name", KEPT)
@virtual_time
async def test_it_is_none_where_its_scheduler_carries_the_gate(name: str) -> None:
    flow = FlowScheduler(asyncio.get_running_loop())
    flow.gate.close("test")
    numbers = Numbers(MANY)
    heard: list[Any] = []

    subscription = from_async_iterable(numbers).pipe(KEPT[name](flow)).subscribe(heard.append)
    await asyncio.sleep(10)

    assert numbers.given <= 1
    assert flow.gate.is_honoured
    subscription.dispose()


HOLDING: dict[str, Callable[[AsyncIOScheduler], Stock]] = {
    "observe_on": ops.observe_on,
    "concat_map": lambda _: ops.concat_map(reactivex.just),
    "flat_map": lambda _: ops.flat_map(reactivex.just),  # `just` hands its item over in a later turn of the loop
    "zip": lambda _: reactivex.compose(ops.zip(reactivex.interval(0.001)), ops.map(lambda pair: pair[0])),
}


@pytest.mark.parametrize("name", HOLDING)
@virtual_time
async def test_what_an_operator_queues_by_itself_is_beyond_demand(name: str) -> None:
    scheduler = AsyncIOScheduler(asyncio.get_running_loop())

    most, taken = await most_ahead(2_000, HOLDING[name](scheduler))

    assert most > 10 * AHEAD
    assert taken == list(range(2_000))


@virtual_time
async def test_deliver_on_is_an_observe_on_that_is_not() -> None:
    scheduler = AsyncIOScheduler(asyncio.get_running_loop())

    most, taken = await most_ahead(MANY, deliver_on(scheduler, 64))

    assert most <= 64 + AHEAD
    assert taken == list(range(MANY))
