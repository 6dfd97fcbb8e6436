"""Where a queue meets its gate."""

import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, cast

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxstream.errors import BufferOverflowError, ConfigurationError
from rxstream.flow import BoundedQueue, Gate, GatedQueue, Overflow, StreamBackpressureController, StreamShare
from rxstream.flow.gated_queue import held_bytes
from rxstream.tokens import StreamToken, TextDelta, ToolCallDelta, UsageReport, merge_deltas
from tests.demand import quick_switches


def gated(capacity: int = 4, *, is_honoured: bool = True, tolerance: int = 0, overflow: Overflow = Overflow.PAUSE):
    gate = Gate()
    if is_honoured:
        gate.honour()
    queue = BoundedQueue[int](capacity, overflow=overflow, join=lambda items: items)
    return GatedQueue(queue, gate, tolerance=tolerance)


def test_the_gate_closes_at_the_capacity_and_opens_at_the_low_mark() -> None:
    queue = gated()

    filling = [queue.put(item) or queue.gate.is_open for item in range(5)]
    emptying = [(queue.take(), queue.gate.is_open)[1] for _ in range(5)]

    assert filling == [True, True, True, False, False]
    assert emptying == [False, True, True, True, True]
    assert queue.gate.times_closed == 1


def test_taking_several_opens_the_gate_as_well() -> None:
    queue = gated()
    for item in range(5):
        queue.put(item)

    assert queue.take_some(3) == [0, 1, 2]
    assert queue.gate.is_open
    assert queue.take_some(9) == [3, 4]
    assert queue.take_some(9) == []


def test_a_closed_queue_lets_go_of_everything_and_takes_nothing() -> None:
    queue = gated()
    for item in range(5):
        queue.put(item)

    queue.close()
    queue.put(9)

    assert queue.gate.is_open
    assert not queue.waiting


@pytest.mark.parametrize("overflow", [overflow for overflow in Overflow if not overflow.pauses])
def test_strategies_that_do_not_slow_the_source_leave_the_gate_alone(overflow: Overflow) -> None:
    queue = gated(2, overflow=overflow)

    queue.put(1)
    queue.put(2)

    assert queue.gate.is_open


def test_a_source_that_cannot_wait_may_fill_the_queue_but_no_more() -> None:
    queue = gated(is_honoured=False)
    for item in range(4):
        queue.put(item)

    with pytest.raises(ConfigurationError, match="cannot: let it come from"):
        queue.put(4)


def test_a_source_that_cannot_wait_may_leave_what_is_tolerated() -> None:
    queue = gated(1, is_honoured=False, tolerance=3)
    for item in range(3):
        queue.put(item)

    with pytest.raises(ConfigurationError):
        queue.put(3)


def test_what_cannot_be_joined_overflows_when_its_source_cannot_wait() -> None:
    queue = gated(2, is_honoured=False, overflow=Overflow.CONFLATE)
    queue.put(1)
    queue.put(2)

    with pytest.raises(BufferOverflowError, match="cannot be joined"):
        queue.put(3)


def test_what_is_dropped_is_told() -> None:
    dropped: list[int] = []
    queue = GatedQueue(BoundedQueue[int](1, overflow=Overflow.LATEST), Gate(), on_drop=dropped.append)

    for item in range(3):
        queue.put(item)

    assert dropped == [0, 1]


def held(share: StreamShare | StreamBackpressureController) -> tuple[int, int]:
    """Items and bytes that are counted there now."""
    figures = share.snapshot()
    return figures.depth, figures.bytes_held


def counted(**options: Any) -> tuple[GatedQueue[Any], StreamShare]:
    """A queue whose source has a controller."""
    share = StreamBackpressureController().stream()
    gate = Gate()
    gate.honour(share)
    return GatedQueue(BoundedQueue(4, **options), gate), share


items = st.sampled_from(["a", "bcd", "efghijkl"]).map(TextDelta) | st.just(UsageReport())
acts = st.lists(items | st.integers(0, 3), max_size=30)
"""Items are put in. A number takes as many out at once; 0 takes out one by itself."""


def play(queue: GatedQueue[Any], act: Any) -> None:
    """Do one thing to the queue."""
    match act:
        case 0:
            if queue.waiting:
                queue.take()
        case int(limit):
            queue.take_some(limit)
        case item:
            with suppress(BufferOverflowError):
                queue.put(item)


def weight_of(item: object) -> int:
    """A weight, by which a large item may weigh little."""
    return len(getattr(item, "text", "")) % 5


def waiting_in(queue: GatedQueue[Any]) -> tuple[int, int]:
    """Items that wait, and the bytes they hold; what is to be joined counts as one, and holds what its pieces do."""
    runs: list[list[Any]] = [cast(list[Any], each) if isinstance(each, list) else [each] for each in queue.waiting]
    return len(runs), sum(held_bytes(piece) for run in runs for piece in run)


@given(acts=acts, overflow=st.sampled_from(Overflow), weighs=st.booleans())
@example(acts=[*[TextDelta("a")] * 4, TextDelta("efghijkl")], overflow=Overflow.DROP_OLDEST, weighs=True)
def test_after_every_step_what_waits_is_what_is_counted(acts: list[Any], overflow: Overflow, weighs: bool) -> None:
    queue, share = counted(overflow=overflow, weigh=weight_of if weighs else None, join=merge_deltas)

    for act in acts:
        play(queue, act)

        assert held(share) == waiting_in(queue)
        assert queue.gate.is_open == (not (overflow.pauses and queue.queue.marks.paused))
    queue.close()
    assert held(share) == (0, 0)
    assert queue.gate.is_open


@given(before=acts, after=acts, overflow=st.sampled_from(Overflow))
def test_what_came_before_the_controller_is_never_counted_as_more_than_it_holds(
    before: list[Any], after: list[Any], overflow: Overflow
) -> None:
    gate = Gate()
    gate.honour()
    queue = GatedQueue[Any](BoundedQueue(4, overflow=overflow, join=merge_deltas), gate)
    share = StreamBackpressureController().stream()
    for act in before:
        play(queue, act)
    gate.honour(share)

    for act in after:
        play(queue, act)

        count, size = waiting_in(queue)
        assert held(share)[0] in {0, count}
        assert held(share)[1] <= size
    play(queue, 0)
    queue.put(UsageReport())
    assert held(share)[0] == waiting_in(queue)[0]
    queue.take_some(100)
    assert held(share) == (0, 0)


EMPTYING: dict[str, Callable[[GatedQueue[int]], object]] = {
    "take": lambda queue: [queue.take() for _ in range(2)],
    "take_some": lambda queue: queue.take_some(2),
    "close": GatedQueue[int].close,
}


@pytest.mark.parametrize("empty", EMPTYING.values(), ids=EMPTYING)
def test_who_waits_at_the_gate_is_told_that_it_opens(empty: Callable[[GatedQueue[int]], object]) -> None:
    queue = gated()
    for item in range(5):
        queue.put(item)
    told: list[str] = []
    queue.gate.when_open(lambda: told.append("open"))
    queue.take_some(1)
    assert told == []

    empty(queue)

    assert told == ["open"]


def test_what_waits_is_counted_with_the_sources_controller() -> None:
    queue, share = counted()

    seen = [(queue.put("ab"), held(share))[1] for _ in range(3)]
    queue.take()
    seen.append(held(share))
    queue.take_some(9)
    seen.append(held(share))

    assert seen == [(1, 2), (2, 4), (3, 6), (2, 4), (0, 0)]


def test_what_waits_when_the_queue_is_closed_is_counted_no_more() -> None:
    queue, share = counted()
    queue.put("ab")
    queue.put("cd")

    queue.close()

    assert held(share) == (0, 0)


def test_what_is_dropped_is_counted_no_more() -> None:
    queue, share = counted(overflow=Overflow.LATEST)

    for item in ("a", "bb", "ccc"):
        queue.put(item)

    assert held(share) == (1, 3)


def test_what_was_there_before_the_controller_goes_out_without_a_fuss() -> None:
    gate = Gate()
    queue = GatedQueue(BoundedQueue[str](4), gate)
    queue.put("long before")
    share = StreamBackpressureController().stream()
    gate.honour(share)

    queue.put("a")
    seen = [held(share)]
    for _ in range(2):
        queue.take()
        seen.append(held(share))

    assert seen == [(2, 1), (1, 0), (0, 0)]


def test_what_waits_goes_over_to_the_source_that_comes_next() -> None:
    queue, first = counted()
    queue.put("ab")
    controller = StreamBackpressureController()
    second = controller.stream()
    queue.gate.honour(second)

    queue.put("c")
    assert (held(first), held(second)) == ((0, 0), (2, 3))
    queue.take_some(2)

    assert (held(first), held(second)) == ((0, 0), (0, 0))


def test_joining_leaves_nothing_counted_behind() -> None:
    pieces = [TextDelta(""), TextDelta("ab"), TextDelta("")]  # what has no text counts as something else does
    queue, share = counted(overflow=Overflow.CONFLATE, join=merge_deltas)

    for piece in pieces:
        queue.put(piece)
    assert queue.take() == TextDelta("ab")

    assert held(share) == (0, 0)


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (b"abc", 3),
        ("abcd", 4),
        (TextDelta("abc"), 3),
        (ToolCallDelta("0", "{}"), 2),
        (UsageReport(), 100),
        ([TextDelta("abc"), UsageReport()], 303),
    ],
    ids=repr,
)
def test_what_an_item_holds_is_mostly_its_text(item: StreamToken | bytes | str, expected: int) -> None:
    assert held_bytes(item) == expected


def test_two_threads_lose_nothing_and_never_leave_the_gate_closed() -> None:
    queue = gated(8)
    taken: list[int] = []

    def produce() -> None:
        for item in range(5_000):
            is_open = threading.Event()
            queue.gate.when_open(is_open.set)
            assert is_open.wait(10)
            queue.put(item)

    producer = threading.Thread(target=produce)
    with quick_switches():
        producer.start()
        while producer.is_alive() or queue.waiting:
            taken += queue.take_some(3)
        producer.join()

    assert taken == list(range(5_000))
    assert queue.gate.is_open
    assert queue.queue.peak <= 8
