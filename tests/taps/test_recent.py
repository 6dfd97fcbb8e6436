"""The rate of late: exactly what the slots say, however irregularly anything comes."""

import math
from itertools import accumulate
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.taps._recent import SLOT, SLOTS, RecentRate

pauses = st.floats(0, 12) | st.sampled_from([0.0, 0.01, 0.5, 5.0])


def told(times: list[float]) -> RecentRate:
    rate = RecentRate()
    for count, at in enumerate(times):
        if at >= rate.due:
            rate.mark(count, at)
    return rate


@given(st.lists(pauses, min_size=1, max_size=60).map(lambda gaps: list(accumulate(gaps))), pauses)
def test_the_rate_is_that_of_the_last_slots(times: list[float], idle: float) -> None:
    now = times[-1] + idle
    first = (math.floor(now / SLOT) - SLOTS + 1) * SLOT
    since = max(first, times[0])

    found = told(times).per_second(len(times), now)

    if now <= since:
        assert found is None
    else:
        assert found == pytest.approx(sum(at >= first for at in times) / (now - since))


@given(st.floats(5, 1_000), st.floats(1, 200))
def test_what_comes_evenly_has_its_rate(began: float, per_second: float) -> None:
    times = [began + number / per_second for number in range(math.ceil(per_second * 20))]

    found = told(times).per_second(len(times), times[-1])

    assert found == pytest.approx(per_second, abs=2 / (SLOT * (SLOTS - 1)))


def test_long_after_the_last_the_rate_is_nothing() -> None:
    assert told([0.0, 0.1, 0.2]).per_second(3, 60.0) == 0


def test_before_anything_came_there_is_no_rate() -> None:
    assert RecentRate().per_second(0, 1.0) is None
    assert told([1.0]).per_second(1, 1.0) is None


def test_memory_does_not_grow_with_time() -> None:
    rate = told([number * 0.1 for number in range(10_000)])

    assert len(cast(Any, rate)._marks) == SLOTS
