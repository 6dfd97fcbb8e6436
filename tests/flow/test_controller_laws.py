"""The laws of the controller, against a model that is written as plainly as can be.

What came in went out, was thrown away or is held; the figures add up; gates are
closed exactly when they should be; nobody is served out of turn, and nobody who
could go on waits.
"""

import asyncio
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from rxstream.flow import BackpressureConfig, StreamBackpressureController, StreamShare
from rxstream.flow.controller import BackpressureSnapshot
from tests.flow.helpers import turns

ITEMS = st.integers(0, 6)
SIZES = st.integers(0, 60)


class Plain:
    """What the model knows of one stream."""

    def __init__(self, share: StreamShare | StreamBackpressureController) -> None:
        self.share = share
        self.items = self.size = self.items_in = self.size_in = 0
        self.items_out = self.size_out = self.dropped = self.size_dropped = 0
        self.peak_items = self.peak_size = 0
        self.is_closed = False
        self.is_ending = False

    @property
    def holds(self) -> bool:
        return bool(self.items or self.size)

    @property
    def is_over(self) -> bool:
        return self.is_closed or (self.is_ending and not self.holds)


class Line:
    """Somebody who waits, or waited, for a permit."""

    def __init__(self, plain: Plain, items: int, size: int, task: asyncio.Task[None]) -> None:
        self.plain, self.items, self.size, self.task = plain, items, size, task


class ControllerLaws(RuleBasedStateMachine):
    """Streams that come and go under one controller, in any order of events."""

    shares = Bundle[Plain]("shares")
    tasks = Bundle[Line]("tasks")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.now = 0.0
        self.is_paused = False
        self.times_paused, self.paused_for = 0, 0.0
        self.peak_items = self.peak_size = 0
        self.plains = list[Plain]()
        self.line = list[Line]()
        self.at_gates = dict[asyncio.Task[None], Plain]()

    @initialize(
        items=st.integers(1, 20),
        size=st.integers(1, 200),
        marks=st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True),
    )
    def start(self, items: int, size: int, marks: list[float]) -> None:
        self.config = BackpressureConfig(
            maximum_items=items, maximum_bytes=size, low_mark=min(marks), high_mark=max(marks)
        )
        self.controller = StreamBackpressureController(self.config, now=lambda: self.now)
        self.high_items, self.low_items = self.config.marks(items)
        self.high_size, self.low_size = self.config.marks(size)
        self.own = Plain(self.controller)
        self.plains.append(self.own)

    def total(self, name: str) -> int:
        return sum(getattr(plain, name) for plain in self.plains)

    # The model

    def count_in(self, plain: Plain, items: int, size: int) -> None:
        if plain.is_closed:
            return
        plain.items += items
        plain.size += size
        plain.items_in += items
        plain.size_in += size
        plain.peak_items, plain.peak_size = max(plain.peak_items, plain.items), max(plain.peak_size, plain.size)
        self.peak_items = max(self.peak_items, self.total("items"))
        self.peak_size = max(self.peak_size, self.total("size"))
        if not self.is_paused and (self.total("items") >= self.high_items or self.total("size") >= self.high_size):
            self.is_paused = True
            self.times_paused += 1

    def went_out(self) -> None:
        if self.total("items") <= self.low_items and self.total("size") <= self.low_size:
            self.is_paused = False
        self.serve()

    def serve(self) -> None:
        while self.line and self.has_room(self.line[0].items, self.line[0].size):
            first = self.line.pop(0)
            self.count_in(first.plain, first.items, first.size)

    def has_room(self, items: int, size: int) -> bool:
        held_items, held_size = self.total("items"), self.total("size")
        return (held_items + items <= self.config.maximum_items or held_items == 0) and (
            held_size + size <= self.config.maximum_bytes or held_size == 0
        )

    # What may happen

    @rule(target=shares)
    def open_stream(self) -> Plain:
        self.plains.append(Plain(self.controller.stream()))
        return self.plains[-1]

    @rule(target=shares)
    def use_the_controller_itself(self) -> Plain:
        return self.own

    @rule(plain=shares, items=ITEMS, size=SIZES)
    def add(self, plain: Plain, items: int, size: int) -> None:
        plain.share.add(items, size)
        self.count_in(plain, items, size)

    @rule(plain=shares, part=st.fractions(0, 1), dropped=st.booleans())
    def release(self, plain: Plain, part: Any, dropped: bool) -> None:
        items, size = round(plain.items * part), round(plain.size * part)
        (plain.share.drop if dropped else plain.share.release)(items, size)
        if plain.is_closed:
            return
        plain.items -= items
        plain.size -= size
        if dropped:
            plain.dropped += items
            plain.size_dropped += size
        else:
            plain.items_out += items
            plain.size_out += size
        self.went_out()

    @rule(plain=shares)
    def release_all(self, plain: Plain) -> None:
        self.release(plain, 1, dropped=False)

    @rule(plain=shares, more=st.integers(1, 9))
    def release_too_much(self, plain: Plain, more: int) -> None:
        if not plain.is_closed:
            with pytest.raises(ValueError, match="cannot release"):
                plain.share.release(plain.items + more, plain.size)
            with pytest.raises(ValueError, match="cannot release"):
                plain.share.drop(plain.items, plain.size + more)

    @rule(plain=shares, items=ITEMS, size=SIZES)
    def try_acquire(self, plain: Plain, items: int, size: int) -> None:
        expected = plain.is_closed or (not self.line and self.has_room(items, size))

        assert plain.share.try_acquire(items, size) == expected
        if expected:
            self.count_in(plain, items, size)

    @rule(target=tasks, plain=shares, items=ITEMS, size=SIZES)
    def acquire(self, plain: Plain, items: int, size: int) -> Line:
        task = self.loop.create_task(plain.share.acquire(items, size))
        self.settle()
        waiter = Line(plain, items, size, task)
        if not plain.is_closed:
            self.line.append(waiter)
            self.serve()
        return waiter

    @rule(waiter=consumes(tasks))
    def cancel(self, waiter: Line) -> None:
        waiter.task.cancel()
        self.settle()
        if waiter in self.line:
            self.line.remove(waiter)
            self.serve()
            assert waiter.task.cancelled()

    @rule(waiter=consumes(tasks), part=st.fractions(0, 1))
    def cancel_as_its_turn_may_come(self, waiter: Line, part: Any) -> None:
        """The task is cancelled before it has run again, so a permit that came to it just then goes back."""
        was_waiting = waiter in self.line
        self.release(self.own, part, dropped=False)
        waiter.task.cancel()
        self.settle()
        if waiter in self.line:
            self.line.remove(waiter)
            self.serve()
        elif was_waiting and not waiter.plain.is_closed:
            waiter.plain.items -= waiter.items
            waiter.plain.size -= waiter.size
            waiter.plain.items_out += waiter.items
            waiter.plain.size_out += waiter.size
            self.went_out()

    @rule(plain=shares)
    def wait_at_the_gate(self, plain: Plain) -> None:
        self.at_gates[self.loop.create_task(plain.share.gate.wait())] = plain
        self.settle()

    @rule(plain=shares)
    def close(self, plain: Plain) -> None:
        if not isinstance(plain.share, StreamShare):
            return
        plain.share.close()
        if plain.is_closed:
            return
        plain.is_closed = True
        plain.items_out += plain.items
        plain.size_out += plain.size
        plain.items = plain.size = 0
        self.line = [waiter for waiter in self.line if waiter.plain is not plain]
        self.went_out()

    @rule(plain=shares)
    def close_when_empty(self, plain: Plain) -> None:
        if isinstance(plain.share, StreamShare):
            plain.share.close_when_empty()
            plain.is_ending = True

    @rule(seconds=st.integers(0, 100))
    def let_time_pass(self, seconds: int) -> None:
        self.now += seconds
        if self.is_paused:
            self.paused_for += seconds

    # What always holds

    def settle(self) -> None:
        self.loop.run_until_complete(turns(3))

    def is_held_back(self, plain: Plain) -> bool:
        return self.is_paused and (plain.holds or plain is self.own)

    @invariant()
    def the_figures_are_those_of_the_model_and_add_up(self) -> None:
        whole = self.controller.snapshot()
        assert figures(whole) == [
            self.total(name)
            for name in ("items", "size", "items_in", "size_in", "items_out", "size_out", "dropped", "size_dropped")
        ]
        assert (whole.peak_items, whole.peak_bytes) == (self.peak_items, self.peak_size)
        assert (whole.times_paused, whole.seconds_paused) == (self.times_paused, self.paused_for)
        assert whole.streams == sum(not plain.is_over for plain in self.plains) - 1
        for plain in self.plains:
            if isinstance(plain.share, StreamShare):
                part = plain.share.snapshot()
                assert plain.share.is_closed == plain.is_over == (not part.streams)
                assert figures(part) == [
                    plain.items,
                    plain.size,
                    plain.items_in,
                    plain.size_in,
                    plain.items_out,
                    plain.size_out,
                    plain.dropped,
                    plain.size_dropped,
                ]
                assert (part.peak_items, part.peak_bytes) == (plain.peak_items, plain.peak_size)

    @invariant()
    def gates_are_closed_exactly_when_all_are_over_the_mark_and_the_stream_holds_something(self) -> None:
        for plain in self.plains:
            assert plain.share.gate.is_open == (not self.is_held_back(plain))
            assert plain.share.snapshot().is_paused == self.is_held_back(plain)

    @invariant()
    def nobody_waits_who_could_go_on_and_nobody_goes_on_who_should_wait(self) -> None:
        self.settle()
        for task, plain in list(self.at_gates.items()):
            assert task.done() == (not self.is_held_back(plain))
            if task.done():
                del self.at_gates[task]
        assert all(not waiter.task.done() for waiter in self.line)
        assert self.controller.snapshot().waiting == len(self.line)
        assert asyncio.all_tasks(self.loop) == {waiter.task for waiter in self.line} | set(self.at_gates)

    def teardown(self) -> None:
        for task in asyncio.all_tasks(self.loop):
            task.cancel()
        self.settle()
        assert not asyncio.all_tasks(self.loop)
        self.loop.close()


def figures(snapshot: BackpressureSnapshot) -> list[int]:
    """The counts, in the model's order."""
    return [
        snapshot.depth,
        snapshot.bytes_held,
        snapshot.items_in,
        snapshot.bytes_in,
        snapshot.items_out,
        snapshot.bytes_out,
        snapshot.dropped,
        snapshot.bytes_dropped,
    ]


TestControllerLaws = ControllerLaws.TestCase
TestControllerLaws.settings = settings(stateful_step_count=30)
