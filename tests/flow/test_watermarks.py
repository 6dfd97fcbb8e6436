"""Watermarks: pause at the high mark, go on at the low one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.flow import Watermarks

MARKS = st.integers(1, 50).flatmap(lambda high: st.tuples(st.just(high), st.integers(0, high - 1)))
STEPS = st.lists(st.integers(-30, 30))


@given(marks=MARKS, steps=STEPS)
def test_every_crossing_is_told_once_and_what_went_in_is_held_or_went_out(
    marks: tuple[int, int], steps: list[int]
) -> None:
    high, low = marks
    watermarks = Watermarks(high=high, low=low)
    depths, paused = [0], False

    for step in steps:
        weight = min(abs(step), depths[-1]) if step < 0 else step
        crossed = watermarks.remove(weight) if step < 0 else watermarks.add(weight)
        depths.append(depths[-1] - weight if step < 0 else depths[-1] + weight)
        expected = depths[-1] > low if paused else depths[-1] >= high

        assert crossed == (expected != paused)
        paused = expected
        assert (watermarks.depth, watermarks.paused, watermarks.peak) == (depths[-1], paused, max(depths))


def test_it_pauses_at_the_high_mark_and_resumes_at_the_low_one() -> None:
    watermarks = Watermarks(high=3, low=1)

    told = [watermarks.add(), watermarks.add(), watermarks.add(), watermarks.add()]
    told += [watermarks.remove(), watermarks.remove(), watermarks.remove(), watermarks.remove()]

    assert told == [False, False, True, False, False, False, True, False]


def test_a_mark_is_a_line_that_one_weight_may_go_far_beyond() -> None:
    watermarks = Watermarks(high=10, low=5)

    assert watermarks.add(1_000)

    assert watermarks.depth == watermarks.peak == 1_000


def test_what_weighs_nothing_crosses_nothing() -> None:
    watermarks = Watermarks(high=1, low=0)

    assert not watermarks.add(0)
    assert not watermarks.remove(0)


@pytest.mark.parametrize(("high", "low"), [(4, 9), (7, 7), (5, -1), (0, 0)])
def test_marks_that_cannot_be_are_refused_by_name(high: int, low: int) -> None:
    with pytest.raises(ValueError, match=rf"low mark \({low}\).*high mark \({high}\)"):
        Watermarks(high=high, low=low)


def test_more_than_is_held_cannot_be_removed() -> None:
    watermarks = Watermarks(high=8, low=4)
    watermarks.add(5)

    with pytest.raises(ValueError, match="weight of 6 from a depth of 5"):
        watermarks.remove(6)

    assert watermarks.depth == 5


def test_negative_weights_are_refused() -> None:
    watermarks = Watermarks(high=8, low=4)
    watermarks.add(5)

    with pytest.raises(ValueError, match=r"weight \(-2\).*depth of 5"):
        watermarks.add(-2)
    with pytest.raises(ValueError, match="weight of -2 from a depth of 5"):
        watermarks.remove(-2)

    assert watermarks.depth == 5
