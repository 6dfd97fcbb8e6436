"""When a request is made again, and how long after."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.flow import RetryPolicy

delays = st.floats(0, 1e3)
policies = st.builds(
    RetryPolicy, retries=st.integers(0, 20), first_delay=delays, max_delay=delays, max_retry_after=delays
)
numbers = st.integers(0, 25)
chances = st.floats(0, 1)


def half() -> float:
    """The middle of what a random number may be."""
    return 0.5


@given(policies, numbers, chances)
def test_delays_double_up_to_the_longest_and_up_to_a_quarter_is_taken_off(
    policy: RetryPolicy, retry: int, chance: float
) -> None:
    delay = policy.delay(retry, None, lambda: chance)

    if retry >= policy.retries:
        assert delay is None
        return
    doubled = policy.first_delay
    for _ in range(retry):
        doubled += doubled
    longest = min(doubled, policy.max_delay)
    assert delay == pytest.approx(longest - longest / 4 * chance)


@given(policies, numbers, delays)
def test_what_the_service_asks_for_is_kept_to_the_second_or_it_is_not_asked_again(
    policy: RetryPolicy, retry: int, retry_after: float
) -> None:
    expected = retry_after if retry < policy.retries and retry_after <= policy.max_retry_after else None

    assert policy.delay(retry, retry_after, half) == expected


def test_a_wait_as_long_as_the_longest_is_no_longer_than_that() -> None:
    policy = RetryPolicy(max_retry_after=60)

    assert policy.delay(0, 60, half) == 60
    assert policy.delay(0, 60.5, half) is None


def test_the_defaults_are_those_of_the_vendors() -> None:
    policy = RetryPolicy()

    assert [policy.delay(retry, None, lambda: 0.0) for retry in range(3)] == [0.5, 1.0, None]
    assert RetryPolicy(retries=9).delay(8, None, lambda: 0.0) == 8.0
    assert policy.max_retry_after == 60


@pytest.mark.parametrize("retry", [1_023, 1_024, 10**9])
def test_whoever_asks_for_ever_waits_as_long_as_before(retry: int) -> None:
    assert RetryPolicy(retries=10**9 + 1).delay(retry, None, lambda: 0.0) == 8.0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"retries": -1}, "retries must not be negative, not -1"),
        ({"first_delay": -0.1}, "delays must not be negative"),
        ({"max_delay": -0.1}, "delays must not be negative"),
        ({"max_retry_after": -0.1}, "delays must not be negative"),
    ],
)
def test_what_cannot_be_is_refused_and_nothing_is_not(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        RetryPolicy(**fields)
    assert RetryPolicy(**dict.fromkeys(fields, 0))
