"""Percentiles: as near to the exact ones as promised, whatever was counted and however it was put together."""

import math
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.taps._quantiles import LONGEST, RELATIVE_ERROR, SHORTEST, Quantiles

lengths = st.floats(SHORTEST, LONGEST) | st.floats(-6, 3.5).map(lambda power: 10**power)
parts = st.floats(0, 1) | st.sampled_from([0.5, 0.9, 0.99])


def counted(seconds: list[float]) -> Quantiles:
    quantiles = Quantiles()
    for each in seconds:
        quantiles.add(each)
    return quantiles


@given(st.lists(lengths, min_size=1, max_size=200), parts)
def test_a_percentile_is_within_the_stated_error_of_the_exact_one(seconds: list[float], part: float) -> None:
    exact = sorted(seconds)[math.floor(part * (len(seconds) - 1))]

    assert counted(seconds).at(part) == pytest.approx(exact, rel=RELATIVE_ERROR * 1.000_001)


@given(st.lists(lengths, min_size=1, max_size=50), st.floats(0.9, 1.1))
def test_what_is_no_longer_than_a_length_is_counted_within_the_same_error(seconds: list[float], part: float) -> None:
    end = min(max(seconds[0] * part, SHORTEST), LONGEST)

    counted_up_to = counted(seconds).up_to(end)

    margin = 1 + RELATIVE_ERROR * 1.000_001
    shorter = sum(each * margin <= end for each in seconds)
    not_longer = sum(each <= end * margin for each in seconds)
    assert shorter <= counted_up_to <= not_longer
    assert counted(seconds).up_to(LONGEST) == len(seconds)


@given(st.lists(lengths, min_size=1, max_size=50), st.lists(parts, min_size=2).map(sorted))
def test_a_higher_percentile_is_never_shorter(seconds: list[float], rising: list[float]) -> None:
    quantiles = counted(seconds)

    found = [quantiles.at(part) or 0 for part in rising]

    assert found == sorted(found)


@given(st.lists(lengths, max_size=50), st.lists(lengths, max_size=50), parts)
def test_merged_counts_are_those_of_all_together(some: list[float], others: list[float], part: float) -> None:
    merged = counted(some)

    merged.merge(counted(others))

    assert merged.count == len(some) + len(others)
    assert merged.at(part) == counted(some + others).at(part)


def test_of_nothing_there_is_no_percentile() -> None:
    assert Quantiles().at(0.5) is None


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0.0, SHORTEST), (-1.0, SHORTEST), (SHORTEST / 7, SHORTEST), (1e9, LONGEST), (math.inf, LONGEST)],
)
def test_what_is_out_of_range_counts_as_the_nearest_that_is_not(seconds: float, shown: float) -> None:
    assert counted([seconds]).at(0.5) == pytest.approx(shown, rel=RELATIVE_ERROR)


def test_memory_does_not_grow_with_what_is_counted() -> None:
    quantiles = Quantiles()
    counts = cast(Any, quantiles)._counts

    for number in range(10_000):
        quantiles.add(1e-7 * 1.01**number if number < 3_000 else number)

    assert len(counts) == 551
    assert sum(counts) == quantiles.count == 10_000
