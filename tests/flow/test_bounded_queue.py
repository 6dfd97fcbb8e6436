"""What a bounded queue keeps, counts and gives up."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import BufferOverflowError
from rxstream.flow import BoundedQueue, Overflow

steps = st.lists(st.integers(0, 9) | st.none(), max_size=60)
"""Numbers are offered; `None` takes one out."""
strategies = st.sampled_from(Overflow)
capacities = st.integers(1, 8)


def join_neighbours(items: Sequence[int]) -> list[int]:
    """Neighbours that are both below 5, or both not, are joined to their sum."""
    made: list[list[int]] = []
    for item in items:
        if made and made[-1][-1] // 5 == item // 5:
            made[-1].append(item)
        else:
            made.append([item])
    return [sum(run) for run in made]


@given(steps, strategies, capacities, st.booleans())
def test_everything_is_somewhere_after_every_step(
    steps: list[int | None], overflow: Overflow, capacity: int, weighed: bool
) -> None:
    queue = BoundedQueue[int](
        capacity, overflow=overflow, weigh=(lambda item: item) if weighed else None, join=join_neighbours
    )
    offered = taken = refused = 0

    for step in steps:
        if step is None:
            if queue:
                queue.take()
                taken += 1
        else:
            offered += 1
            try:
                queue.offer(step)
            except BufferOverflowError:
                refused += 1

        assert offered == taken + refused + queue.dropped + queue.joined + len(queue)
        assert queue.peak >= queue.depth


@given(steps, strategies, capacities)
def test_what_comes_out_is_what_went_in_less_what_was_dropped(
    steps: list[int | None], overflow: Overflow, capacity: int
) -> None:
    queue = BoundedQueue[tuple[int, int]](capacity, overflow=overflow)
    kept: list[tuple[int, int]] = []
    out: list[tuple[int, int]] = []

    for number, step in enumerate(steps):
        if step is None:
            if queue:
                out.append(queue.take())
            continue
        item = (number, step)
        try:
            dropped = queue.offer(item)
        except BufferOverflowError:
            continue
        kept = [other for other in [*kept, item] if other not in dropped]
    while queue:
        out.append(queue.take())

    assert out == kept
    assert queue.depth == 0


@given(steps, capacities, st.sampled_from([Overflow.ERROR, Overflow.DROP_OLDEST, Overflow.DROP_NEWEST]))
def test_a_wall_is_never_passed(steps: list[int | None], capacity: int, overflow: Overflow) -> None:
    queue = BoundedQueue[int](capacity, overflow=overflow, weigh=lambda item: item)

    for step in steps:
        if step is None:
            if queue:
                queue.take()
            continue
        try:
            queue.offer(step)
        except BufferOverflowError:
            assert queue

        assert queue.depth <= capacity or len([weight for weight in queue.waiting if weight]) == 1


@given(st.lists(st.integers(0, 9)))
def test_joining_loses_nothing(items: list[int]) -> None:
    queue = BoundedQueue[int](4, overflow=Overflow.CONFLATE, join=join_neighbours)

    for item in items:
        queue.offer(item)
    out = [queue.take() for _ in range(len(queue))]

    assert out == join_neighbours(items)
    assert queue.joined == len(items) - len(out)


@given(steps, capacities)
def test_without_a_way_to_join_them_items_stay_as_they_are(steps: list[int | None], capacity: int) -> None:
    """As with `PAUSE`."""
    queue = BoundedQueue[int](capacity, overflow=Overflow.CONFLATE, weigh=lambda item: item)
    plain = BoundedQueue[int](capacity, weigh=lambda item: item)

    for step in steps:
        if step is not None:
            queue.offer(step)
            plain.offer(step)
        elif queue:
            assert queue.take() == plain.take()

        assert list(queue.waiting) == list(plain.waiting)
        assert (queue.depth, queue.marks.paused) == (plain.depth, plain.marks.paused)


def test_joined_items_weigh_what_they_weighed_apart() -> None:
    queue = BoundedQueue[int](10, overflow=Overflow.CONFLATE, join=join_neighbours, weigh=lambda item: item)

    for item in (3, 4, 4):
        queue.offer(item)

    assert (len(queue), queue.depth, queue.marks.paused) == (1, 11, True)
    assert queue.take() == 11
    assert (queue.depth, queue.marks.paused) == (0, False)


def test_pausing_refuses_nothing_and_says_when_to_wait_and_when_to_go_on() -> None:
    queue = BoundedQueue[int](4)

    waits = [(queue.offer(item), queue.marks.paused) for item in range(6)]
    goes_on = [(queue.take(), queue.marks.paused) for _ in range(4)]

    assert [paused for _, paused in waits] == [False, False, False, True, True, True]
    assert [paused for _, paused in goes_on] == [True, True, False, False]  # 3, 75 % of 4, is low


@pytest.mark.parametrize(
    ("overflow", "kept", "dropped"),
    [
        (Overflow.DROP_OLDEST, [2, 3, 4], [0, 1]),
        (Overflow.DROP_NEWEST, [0, 1, 2], [3, 4]),
        (Overflow.LATEST, [4], [0, 1, 2, 3]),
    ],
)
def test_what_a_strategy_keeps(overflow: Overflow, kept: list[int], dropped: list[int]) -> None:
    queue = BoundedQueue[int](3, overflow=overflow)

    gone = [item for number in range(5) for item in queue.offer(number)]

    assert gone == dropped
    assert queue.dropped == len(dropped)
    assert [queue.take() for _ in range(len(queue))] == kept


def test_room_for_a_heavy_item_may_cost_several() -> None:
    queue = BoundedQueue[int](10, overflow=Overflow.DROP_OLDEST, weigh=lambda item: item)
    for item in (3, 3, 3):
        queue.offer(item)

    assert list(queue.offer(5)) == [3, 3]


@pytest.mark.parametrize("overflow", Overflow)
def test_one_item_larger_than_everything_still_comes_through(overflow: Overflow) -> None:
    queue = BoundedQueue[int](10, overflow=overflow, weigh=lambda item: item, join=join_neighbours)

    assert not queue.offer(50)
    assert queue.take() == 50


def test_a_full_queue_that_is_to_fail_fails_and_keeps_what_it_has() -> None:
    queue = BoundedQueue[int](2, overflow=Overflow.ERROR)
    queue.offer(1)
    queue.offer(2)

    with pytest.raises(BufferOverflowError, match="2 of 2"):
        queue.offer(3)
    assert [queue.take(), queue.take()] == [1, 2]


def test_a_cleared_queue_is_empty_and_asks_nobody_to_wait() -> None:
    queue = BoundedQueue[int](2, weigh=lambda item: item)
    queue.offer(5)

    queue.clear()

    assert (len(queue), queue.depth, queue.marks.paused) == (0, 0, False)
    queue.offer(1)
    assert queue.take() == 1


def test_joining_many_pieces_is_linear_in_their_text() -> None:
    compared = 0

    def join(items: Sequence[str]) -> list[str]:
        nonlocal compared
        compared += sum(map(len, items))
        return ["".join(items)]

    queue = BoundedQueue[str](4, overflow=Overflow.CONFLATE, join=join)
    for _ in range(20_000):
        queue.offer("word ")

    assert queue.take() == "word " * 20_000
    assert compared <= 3 * 20_000 * len("word ")


@pytest.mark.parametrize(("capacity", "low"), [(0, None), (-1, None), (4, 4), (4, 5), (4, -1)])
def test_marks_that_make_no_sense_are_refused(capacity: int, low: int | None) -> None:
    with pytest.raises(ValueError, match=r"capacity|mark"):
        BoundedQueue[int](capacity, low=low)


def test_taking_from_nothing_is_an_error() -> None:
    with pytest.raises(IndexError):
        BoundedQueue[int](1).take()
