"""Producer, consumer, time, errors and dispose in any order, for every stage that holds something.

The machines run on a loop in virtual time and are turned by hand: what happens in one
step happens before the loop goes round. After every step what came in is out, dropped
or held, in order and within bounds; and in the end nothing is left.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from rxstream.errors import BufferOverflowError
from rxstream.flow import Overflow
from rxstream.operators import buffered, fan_out, map_async, throttle_text
from rxstream.sinks import iterate
from rxstream.tokens import TextDelta
from tests.contract.broken_stages import (
    Clinging,
    Forgetful,
    Hasty,
    LastOneFirst,
    Leaky,
    LeftItems,
    Overlapping,
    Pushy,
    Queueing,
    Sleepy,
    Unbounded,
    stage_of,
)
from tests.contract.probes import Bench, BoomError, Spring, Supply, turns
from tests.contract.subjects import MILLISECOND, STAGES, THINGS, Items, Stage, Thing
from tests.virtual_loop import VirtualTimeLoop

CHUNK = 3
"""How many items a source may bring before it looks at the gate again."""
some = settings(
    max_examples=settings().max_examples // 4,
    stateful_step_count=30,
    phases=[Phase.reuse, Phase.generate, Phase.shrink],  # to explain takes minutes, and the steps say it all
)


async def now_and_then(thing: Thing) -> Thing:
    """The same, some time later: the next one may be quicker."""
    await asyncio.sleep(0.01 * (thing.number * 7 % 4))
    return thing


def letters(deltas: list[Any]) -> list[Any]:
    """Text, wherever it was cut."""
    return [*"".join(delta.text for delta in deltas)]


def length(delta: TextDelta) -> int:
    """What a delta weighs."""
    return len(delta.text)


TEXTS = Items(lambda number: TextDelta(f"{number},"), read=letters)

HOLDING: dict[str, Stage] = {
    f"{make.__name__} {how}".strip(): stage
    for (make, how), stage in STAGES.items()
    if stage.items is THINGS and make is not map_async
} | {
    "buffered CONFLATE of text": Stage(
        partial(buffered, 12, overflow=Overflow.CONFLATE, weigh=length), TEXTS, ahead=12
    ),
    "map_async one at a time": Stage(partial(map_async, now_and_then), ahead=1, under_way=1),
    "map_async three at a time": Stage(partial(map_async, now_and_then, 3), ahead=1, under_way=3),
    "map_async as they get done": Stage(
        partial(map_async, now_and_then, 3, ordered=False), replace(THINGS, read=sorted), ahead=1, under_way=3
    ),
    "throttle_text": Stage(partial(throttle_text, 200, max_lag=100 * MILLISECOND, period=10 * MILLISECOND), TEXTS),
}
"""Every stage that may hold items."""


class OnLoop(RuleBasedStateMachine):
    """A machine with a loop of its own, which goes round only when it is told to."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = VirtualTimeLoop()

    def run(self, steps: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(steps)

    def settle(self) -> None:
        self.run(asyncio.sleep(60))
        self.run(turns())

    def finish(self) -> None:
        """End what is not ended yet, and see that all is well."""

    def teardown(self) -> None:
        try:
            self.finish()
            assert not asyncio.all_tasks(self.loop)
            assert not self.loop.pending_timers
            assert not self.loop.errors
        finally:
            for task in asyncio.all_tasks(self.loop):
                task.cancel()
            self.loop.run_until_complete(turns())
            self.loop.close()


class Interleaving(OnLoop):
    """One stage between a source that waits at the gate and a consumer that wants more or does not."""

    STEPS = st.sampled_from(
        ["push", "push chunk", "push chunk", "want", "want nothing", "one at a time", "all", "ask for more", "turn"]
    )

    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.unwanted = 0
        """How many came since nothing was wanted any more."""
        self.ending = ""
        self.is_one_at_a_time = False
        self.asked = 0
        """How many items the subscriber's own code still makes the source bring."""
        self.run(self.begin())

    async def begin(self) -> None:
        self.bench = Bench(self.stage).subscribe()
        self.bench.watch.react = self.hear

    def hear(self) -> None:
        if not self.bench.demand.is_open and self.ending != "fail":
            self.unwanted += 1
        if self.is_one_at_a_time:
            self.want_nothing()
        if self.asked and not self.bench.spring.is_pushing:
            self.asked -= 1
            self.push(1)

    def push(self, count: int) -> None:
        if self.bench.spring.has_subscribers and self.bench.spring.gate is not None and self.bench.spring.gate.is_open:
            self.bench.push(count)

    def want_nothing(self) -> None:
        if self.bench.demand.is_open:
            self.unwanted = 0
            self.bench.want_nothing()

    @rule(steps=st.lists(STEPS, min_size=1, max_size=4))
    def happen(self, steps: list[str]) -> None:
        self.run(self.do(steps))

    async def do(self, steps: list[str]) -> None:
        bench = self.bench
        for step in steps:
            match step:
                case "push" | "push chunk":
                    self.push(CHUNK if step == "push chunk" else 1)
                case "ask for more":
                    self.asked = 2
                case "want":
                    bench.want()
                case "want nothing":
                    self.want_nothing()
                case "turn":
                    await asyncio.sleep(0)
                case _:
                    self.is_one_at_a_time = step == "one at a time"

    @rule(milliseconds=st.integers(1, 30))
    def time_passes(self, milliseconds: int) -> None:
        self.run(asyncio.sleep(milliseconds / 1_000))

    @rule()
    def everything_that_is_wanted_comes(self) -> None:
        self.is_one_at_a_time = False
        self.bench.want()
        self.settle()
        assert not self.held()
        if self.bench.spring.has_subscribers:
            assert self.bench.spring.gate is not None
            assert self.bench.spring.gate.is_open

    @precondition(lambda self: not self.ending)
    @rule(
        ending=st.sampled_from(["dispose", "complete", "fail"]),
        wants=st.booleans(),
        steps=st.lists(STEPS, max_size=3),
        turns_after=st.integers(0, 3),
    )
    def end(self, ending: str, wants: bool, steps: list[str], turns_after: int) -> None:
        async def end() -> None:
            await self.do([*([] if wants else ["want nothing"]), *steps])
            self.ending = ending
            getattr(self.bench, ending)()
            await turns(turns_after + 2 * (ending == "dispose"))  # a task that is cancelled ends a turn later

        self.run(end())

    @invariant()
    def what_comes_is_in_order_and_nothing_twice(self) -> None:
        given = self.bench.given
        if self.stage.drops:
            assert given == sorted(set(given))
        elif self.stage.items.read is sorted:
            assert len(given) == len(set(given))
        else:
            assert given == self.pushed()[: len(given)]

    @invariant()
    def what_came_in_is_out_dropped_or_held(self) -> None:
        if self.stage.items.are_counted:
            of_an_error = self.bench.watch.error is not None  # it has what was on the stack
            assert 0 <= self.bench.alive - self.held() <= self.stage.under_way + of_an_error

    @invariant()
    def no_more_is_held_than_may_be(self) -> None:
        if self.stage.ahead is None:
            assert self.stage.most is not None
            assert self.held() <= self.stage.most
        elif self.stage.ahead:
            weight = len(self.stage.items.read([self.noted(99)]))
            assert self.held() <= self.stage.ahead + self.stage.under_way - 1 + CHUNK * weight

    @invariant()
    def nothing_comes_unwanted_or_after_the_end(self) -> None:
        assert not self.bench.watch.after_the_end
        assert not self.bench.watch.overlaps
        if self.stage.ahead != 0 and self.bench.watch.error is None:  # an error waits for no demand
            assert self.unwanted <= self.stage.under_way

    def noted(self, number: int) -> Any:
        return self.stage.items.note(self.stage.items.make(number))

    def pushed(self) -> list[Any]:
        return self.stage.items.read([self.noted(number) for number in range(self.bench.pushed)])

    def held(self) -> int:
        """How much should be inside, in whatever is counted; nothing after a dispose or an error of the stage's own."""
        if self.ending == "dispose" or self.bench.watch.error is not None:
            return 0
        return len(self.pushed()) - len(self.bench.given) - len(self.bench.dropped)

    def finish(self) -> None:
        bench = self.bench
        self.is_one_at_a_time = False
        if not self.ending:
            self.end("complete", wants=True, steps=[], turns_after=0)
        self.run(turns())
        if self.ending == "dispose" and not isinstance(bench.watch.error, BufferOverflowError):
            assert not bench.watch.is_ended
        else:
            bench.want()
            self.settle()
            assert bench.watch.is_ended
            if not self.stage.drops and (bench.watch.is_completed or isinstance(bench.watch.error, BoomError)):
                assert bench.given == self.pushed()
        assert not bench.spring.has_subscribers
        assert bench.spring.gate is not None
        assert bench.spring.gate is bench.demand or bench.spring.gate.is_open
        bench.watch.error = None  # it has what was on the stack
        assert not self.stage.items.are_counted or not bench.alive


@pytest.mark.parametrize("stage", HOLDING.values(), ids=list(HOLDING))
def test_a_stage_keeps_its_promises_whatever_happens_when(stage: Stage) -> None:
    run_state_machine_as_test(type("WithStage", (Interleaving,), {"stage": stage}), settings=some)


@pytest.mark.parametrize(
    "broken", [Clinging, Forgetful, Hasty, LastOneFirst, Leaky, LeftItems, Overlapping, Pushy, Sleepy, Unbounded]
)
def test_a_broken_stage_does_not_get_through(broken: type[Queueing]) -> None:
    machine = type("WithBroken", (Interleaving,), {"stage": stage_of(broken)})

    with pytest.raises(Exception):  # noqa: B017, PT011  # whatever shows the fault first
        run_state_machine_as_test(machine, settings=settings(some, max_examples=1_000, phases=[Phase.generate]))


class Sharing(OnLoop):
    """Consumers of one `fan_out` that come and go; the source goes at the pace of the slowest."""

    CAPACITY = 4

    def __init__(self) -> None:
        super().__init__()
        self.spring = Spring()
        self.stream = self.spring.stream.pipe(fan_out(self.CAPACITY))
        self.supply = Supply(THINGS, self.spring)
        self.consumers: list[Bench] = []
        self.came_at: dict[Bench, int] = {}
        """How much had been brought when each of them came."""
        self.runs = 0

    @property
    def listening(self) -> list[Bench]:
        """Those that are still there and have not heard of an end."""
        return [consumer for consumer in self.consumers if not consumer.watch.is_stopped]

    @precondition(lambda self: len(self.listening) < 4)
    @rule(wants=st.booleans())
    def one_comes(self, wants: bool) -> None:
        self.run(self._one_comes(wants))

    async def _one_comes(self, wants: bool) -> None:
        self.runs += not self.spring.has_subscribers
        stage = Stage(fan_out, THINGS)
        consumer = Bench(stage, spring=self.spring, stream=self.stream, wants=wants)
        self.came_at[consumer] = self.supply.pushed
        self.consumers.append(consumer.subscribe())

    @precondition(lambda self: self.listening)
    @rule(data=st.data())
    def one_leaves(self, data: st.DataObject) -> None:
        self.run(_do(data.draw(st.sampled_from(self.listening)).dispose))

    @precondition(lambda self: self.listening)
    @rule(data=st.data(), wants=st.booleans(), one_at_a_time=st.booleans())
    def one_wants(self, data: st.DataObject, wants: bool, one_at_a_time: bool) -> None:
        consumer = data.draw(st.sampled_from(self.listening))
        consumer.watch.react = consumer.want_nothing if one_at_a_time else _nothing
        self.run(_do(consumer.want if wants else consumer.want_nothing))

    @rule(count=st.integers(1, CHUNK), turns_after=st.integers(0, 3))
    def source_brings(self, count: int, turns_after: int) -> None:
        async def bring() -> None:
            if self.spring.has_subscribers and self.spring.gate is not None and self.spring.gate.is_open:
                self.supply.push(count)
            await turns(turns_after)

        self.run(bring())

    @rule(ending=st.sampled_from(["complete", "fail"]))
    @precondition(lambda self: self.supply.pushed > 10)
    def source_ends(self, ending: str) -> None:
        self.run(_do(getattr(self.supply, ending)))

    @rule()
    def loop_goes_round(self) -> None:
        self.run(turns())

    @invariant()
    def each_hears_all_from_when_it_came_in_order(self) -> None:
        for consumer, came_at in self.came_at.items():
            assert consumer.given == [*range(came_at, came_at + len(consumer.given))]
            assert not consumer.watch.after_the_end
            assert not consumer.watch.overlaps

    @invariant()
    def nobody_is_too_far_behind(self) -> None:
        for consumer in self.listening:
            behind = self.supply.pushed - self.came_at[consumer] - len(consumer.given)
            assert self.spring.has_subscribers is False or behind <= self.CAPACITY + CHUNK - 1

    @invariant()
    def there_is_one_subscription_while_anybody_listens(self) -> None:
        assert len(self.spring.schedulers) == self.runs
        assert self.spring.disposed == self.runs - self.spring.has_subscribers

    def finish(self) -> None:
        self.run(_do(self.supply.complete))
        for consumer in self.listening:
            consumer.watch.react = _nothing
            self.run(_do(consumer.want))
        self.settle()
        assert not self.listening
        assert not self.spring.has_subscribers
        assert not self.supply.alive


class Iterating(OnLoop):
    """An `async for` over `iterate`, one step at a time, and a source that waits at the gate."""

    CAPACITY = 4

    def __init__(self) -> None:
        super().__init__()
        self.supply = Supply(THINGS, Spring())
        self.taken: list[int] = []
        self.step: asyncio.Task[None] | None = None
        self.ending = ""
        self.is_left = False
        self.ended_in: list[str] = []
        self.block: AbstractAsyncContextManager[AsyncIterator[Thing]] = iterate(
            self.supply.spring.stream, capacity=self.CAPACITY
        )
        self.items = self.run(self.block.__aenter__())

    @property
    def is_waiting(self) -> bool:
        """Whether the loop waits for an item."""
        return self.step is not None and not self.step.done()

    async def take(self) -> None:
        try:
            thing = await anext(self.items)
        except (StopAsyncIteration, BoomError) as end:
            self.ended_in.append(type(end).__name__)
        else:
            self.taken.append(thing.number)

    @precondition(lambda self: not self.is_waiting and not self.is_left)
    @rule(turns_after=st.integers(0, 3))
    def next_is_wanted(self, turns_after: int) -> None:
        async def take() -> None:
            self.step = asyncio.ensure_future(self.take())
            await turns(turns_after)

        self.run(take())

    @precondition(lambda self: self.is_waiting)
    @rule()
    def wait_is_called_off(self) -> None:
        async def call_off() -> None:
            assert self.step is not None
            self.step.cancel()
            await turns()

        self.run(call_off())

    @rule(count=st.integers(1, CHUNK), turns_after=st.integers(0, 3))
    def source_brings(self, count: int, turns_after: int) -> None:
        async def bring() -> None:
            spring = self.supply.spring
            if spring.has_subscribers and spring.gate is not None and spring.gate.is_open:
                self.supply.push(count)
            await turns(turns_after)

        self.run(bring())

    @precondition(lambda self: not self.ending and self.supply.pushed > 5)
    @rule(ending=st.sampled_from(["complete", "fail"]))
    def source_ends(self, ending: str) -> None:
        self.ending = ending
        self.run(_do(getattr(self.supply, ending)))

    @precondition(lambda self: not self.is_left and self.supply.pushed > 5)
    @rule()
    def block_is_left(self) -> None:
        self.is_left = True
        self.run(self.block.__aexit__(None, None, None))

    @invariant()
    def what_comes_is_in_order(self) -> None:
        assert self.taken == [*range(len(self.taken))]

    @invariant()
    def nobody_waits_for_what_is_there(self) -> None:
        self.run(turns())
        if self.is_waiting:
            assert len(self.taken) == self.supply.pushed
            assert not self.ending
            assert not self.is_left

    @invariant()
    def no_more_waits_than_may(self) -> None:
        waiting = self.supply.pushed - len(self.taken)
        assert self.is_left or waiting <= self.CAPACITY + CHUNK - 1
        assert self.supply.alive in ({0} if self.is_left else {waiting, waiting + 1})

    @invariant()
    def the_source_is_let_go_when_it_is_over(self) -> None:
        assert self.supply.spring.has_subscribers is not bool(self.ending or self.is_left)

    def finish(self) -> None:
        if not self.ending:
            self.source_ends("complete")
        self.run(turns())
        while not self.is_left and not self.ended_in:
            self.run(self.take())
        if self.ended_in and not self.is_left:
            assert self.ended_in[0] == ("StopAsyncIteration" if self.ending == "complete" else "BoomError")
            assert {*self.ended_in[1:]} <= {"StopAsyncIteration"}
            assert len(self.taken) == self.supply.pushed
        if not self.is_left:
            self.run(self.block.__aexit__(None, None, None))


@pytest.mark.parametrize("machine", [Sharing, Iterating])
def test_consumers_get_what_is_theirs_whatever_happens_when(machine: type[OnLoop]) -> None:
    run_state_machine_as_test(machine, settings=some)


async def _do(action: Callable[[], object]) -> None:
    action()


def _nothing() -> None:
    """What a subscriber does that takes everything."""
