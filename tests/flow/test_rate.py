"""Rate: so many permits a second, and a burst."""

from fractions import Fraction
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.flow import Rate

RATES = st.floats(1e-3, 1e6)
BURSTS = st.floats(1e-3, 1e4)
REQUESTS = st.lists(st.tuples(st.floats(0, 100), st.floats(0, 2e4)), max_size=40)
ROUNDING = 1e-9  # of what is compared; a float is good for 1e-16, and a clock is read as a difference of two


def granted(rate: Rate, requests: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """When and how many permits somebody gets who asks, waits as told, and asks again."""
    now, grants = 0.0, list[tuple[float, float]]()
    for pause, permits in requests:
        now += pause
        wait = rate.take(permits, now)
        now += wait
        assert wait == 0 or rate.take(permits, now) == 0
        grants.append((now, permits))
    return [(when, permits) for when, permits in grants if permits]  # none is granted even in debt


def keeps_the_pace(grants: list[tuple[float, float]], per_second: float, burst: float) -> bool:
    """Whether no window of time saw more than the burst and its share, and what the last request was too large by."""
    for first, (start, _) in enumerate(grants):
        total = 0.0
        for end, permits in grants[first:]:
            total += permits
            allowed = burst + per_second * (end - start) + max(0.0, permits - burst)
            if total > allowed + ROUNDING * (1 + total + per_second * end):
                return False
    return True


@given(per_second=RATES, burst=BURSTS, requests=REQUESTS)
def test_no_window_sees_more_than_the_burst_and_its_share(
    per_second: float, burst: float, requests: list[tuple[float, float]]
) -> None:
    grants = granted(Rate(per_second, burst=burst), requests)

    assert keeps_the_pace(grants, per_second, burst)


@given(per_second=RATES, burst=BURSTS, requests=REQUESTS)
def test_what_is_reserved_keeps_the_pace_too_and_goes_in_turn(
    per_second: float, burst: float, requests: list[tuple[float, float]]
) -> None:
    rate = Rate(per_second, burst=burst)
    times = accumulate(pause for pause, _ in requests)
    wanted = [(now, permits) for now, (_, permits) in zip(times, requests, strict=True) if permits > 0]

    used = [(now + rate.reserve(permits, now), permits) for now, permits in wanted]

    assert keeps_the_pace(used, per_second, burst)
    for (earlier, _), (later, _) in pairwise(used):
        assert earlier <= later + ROUNDING * later


@given(per_second=RATES, permits=st.integers(1, 50), burst=st.integers(50, 100), requests=st.integers(3, 300))
def test_whoever_always_wants_more_gets_exactly_the_rate(
    per_second: float, permits: int, burst: int, requests: int
) -> None:
    grants = granted(Rate(per_second, burst=burst), [(0.0, permits)] * requests)

    for count, (when, _) in enumerate(grants, start=1):
        assert when == pytest.approx(max(0, count * permits - burst) / per_second, rel=1e-15, abs=0)


@given(
    exponent=st.integers(-4, 4),
    burst=st.integers(1, 20),
    requests=st.lists(st.tuples(st.integers(0, 200), st.integers(0, 40)), max_size=40),
)
def test_it_agrees_with_a_bucket_that_is_counted_in_fractions(
    exponent: int, burst: int, requests: list[tuple[int, int]]
) -> None:
    """With powers of two nothing is rounded at all, so not a permit may be lost or made up."""
    rate, per_second = Rate(2.0**exponent, burst=burst), Fraction(2) ** exponent
    level, now = Fraction(burst), Fraction(0)

    for pause, permits in requests:
        passed = Fraction(pause, 64)
        now += passed
        level = min(Fraction(burst), level + passed * per_second)
        assert rate.available(float(now)) == level

        missing = min(permits, burst) - level if permits else Fraction(0)
        wait = rate.take(permits, float(now))

        assert wait == max(Fraction(0), missing / per_second)
        if wait == 0:
            level -= permits


def test_a_burst_goes_at_once_and_the_rest_at_the_rate() -> None:
    rate = Rate(10, burst=3)

    waits = [rate.take(1, 5.0) for _ in range(4)]

    assert waits == [0, 0, 0, pytest.approx(0.1)]
    assert rate.take(1, 5.1) == 0


def test_refused_permits_are_not_taken() -> None:
    rate = Rate(1, burst=2)
    rate.take(2, 0.0)

    assert rate.take(2, 1.0) == 1.0
    assert rate.take(1, 1.0) == 0


def test_looking_takes_nothing() -> None:
    rate = Rate(1, burst=2)

    assert [rate.wait_for(2, 0.0), rate.wait_for(2, 0.0), rate.available(0.0)] == [0, 0, 2]


def test_a_request_larger_than_the_burst_goes_into_debt() -> None:
    rate = Rate(10, burst=5)

    assert rate.take(25, 0.0) == 0
    assert rate.available(0.0) == -20
    assert rate.take(1, 0.0) == pytest.approx(2.1)
    assert rate.take(25, 2.1) == pytest.approx(0.4)  # not before the bucket is full
    assert rate.take(25, 2.5) == 0


def test_those_who_reserve_wait_one_behind_the_other() -> None:
    rate = Rate(2, burst=1)

    assert [rate.reserve(1, 0.0) for _ in range(4)] == [0, 0.5, 1.0, 1.5]
    assert rate.take(1, 1.5) == 0.5


def test_no_permits_are_granted_at_once_even_in_debt() -> None:
    rate = Rate(1)
    rate.take(100, 0.0)

    assert rate.take(0, 0.0) == 0


def test_no_more_is_saved_up_than_the_burst() -> None:
    rate = Rate(100, burst=5)
    rate.take(5, 0.0)

    assert rate.available(3_600.0) == 5
    assert rate.take(5, 3_600.0) == 0
    assert rate.take(1, 3_600.0) > 0


def test_the_burst_is_that_of_a_second_and_at_least_one() -> None:
    assert (Rate(20).burst, Rate(0.5).burst) == (20, 1)


def test_a_clock_that_started_long_ago_is_as_good_as_any() -> None:
    rate = Rate(1_000, burst=1)
    start = 1_700_000_000.0

    grants = granted(rate, [(start, 1), *[(0.0, 1)] * 1_000])

    assert grants[-1][0] == pytest.approx(start + 1.0, abs=1e-6)


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_rates_and_bursts_that_are_none_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=f"permits per second must be more than 0, not {value}"):
        Rate(value)
    with pytest.raises(ValueError, match=f"burst must be more than 0, not {value}"):
        Rate(1, burst=value)


@pytest.mark.parametrize("permits", [-1, float("nan"), float("inf")])
def test_permits_that_cannot_be_taken_are_refused(permits: float) -> None:
    rate = Rate(1)

    for ask in (rate.take, rate.reserve, rate.wait_for):
        with pytest.raises(ValueError, match=str(permits)):
            ask(permits, 0.0)

    assert rate.available(0.0) == 1
