"""AdaptiveReadSize: the size of the next read, found from how the last one went."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.flow import AdaptiveReadSize

TARGET = 0.001
FRACTIONS = st.floats(0, 4)
READS = st.lists(st.tuples(st.integers(0, 100_000), FRACTIONS, FRACTIONS))


@given(minimum=st.integers(1, 70_000), more=st.integers(0, 70_000), reads=READS)
def test_it_stays_within_its_bounds_and_moves_the_way_its_rule_says(
    minimum: int, more: int, reads: list[tuple[int, float, float]]
) -> None:
    sizes = AdaptiveReadSize(minimum=minimum, maximum=minimum + more, target_seconds=TARGET)

    for bytes_read, seconds_by_target, depth in reads:
        before = sizes.size
        after = sizes.note(bytes_read, seconds_by_target * TARGET, depth)

        assert after == sizes.size
        assert minimum <= after <= minimum + more
        if seconds_by_target > 1.001 or depth > 0.5:
            assert after == max(minimum, before // 2)
        if after > before:
            assert bytes_read >= before
            assert after <= 2 * before
            assert seconds_by_target < 0.501
            assert depth <= 0.25


@given(reads=READS)
def test_the_same_numbers_give_the_same_sizes(reads: list[tuple[int, float, float]]) -> None:
    one, other = AdaptiveReadSize(), AdaptiveReadSize()

    assert [one.note(*read) for read in reads] == [other.note(*read) for read in reads]


@given(seconds_a_byte=st.floats(1e-9, 1e-3))
def test_under_a_flood_it_settles_where_a_chunk_takes_its_target_or_half_of_it(seconds_a_byte: float) -> None:
    sizes = AdaptiveReadSize(target_seconds=TARGET)

    history = [sizes.note(sizes.size, sizes.size * seconds_a_byte) for _ in range(20)]

    assert len(set(history[6:])) == 1
    settled = history[-1]
    assert settled == sizes.minimum or settled * seconds_a_byte <= TARGET
    assert settled == sizes.maximum or settled * seconds_a_byte > TARGET / 2


def test_full_and_quick_reads_lead_from_the_smallest_to_the_largest() -> None:
    sizes = AdaptiveReadSize()

    history = [sizes.size, *(sizes.note(sizes.size, 0.0) for _ in range(7))]

    assert history == [1_024, 2_048, 4_096, 8_192, 16_384, 32_768, 65_536, 65_536]


def test_a_trickle_changes_nothing() -> None:
    sizes = AdaptiveReadSize()
    sizes.note(1_024, 0.0)

    assert sizes.note(100, 0.0) == 2_048


def test_a_slow_chunk_halves_it() -> None:
    sizes = AdaptiveReadSize(minimum=1_024, maximum=8_192)
    sizes.note(1_024, 0.0)
    sizes.note(2_048, 0.0)

    assert sizes.note(4_096, TARGET * 1.1) == 2_048
    assert sizes.note(10, TARGET * 1.1) == 1_024
    assert sizes.note(10, TARGET * 1.1) == 1_024


def test_a_deep_queue_halves_it_however_quick_the_reads_are() -> None:
    sizes = AdaptiveReadSize()
    sizes.note(1_024, 0.0)

    assert sizes.note(2_048, 0.0, depth=0.6) == 1_024


def test_between_the_two_it_stays() -> None:
    sizes = AdaptiveReadSize()
    sizes.note(1_024, 0.0)

    assert sizes.note(2_048, TARGET * 0.9) == 2_048
    assert sizes.note(2_048, 0.0, depth=0.4) == 2_048


def test_what_reaches_a_bound_has_not_passed_it() -> None:
    sizes = AdaptiveReadSize(minimum=1_024, maximum=8_192, target_seconds=TARGET)
    sizes.note(1_024, 0.0)

    assert sizes.note(2_048, TARGET) == 2_048
    assert sizes.note(2_048, 0.0, depth=0.5) == 2_048
    assert sizes.note(2_048, TARGET / 2, depth=0.25) == 4_096


def test_half_of_an_odd_size_is_whole() -> None:
    sizes = AdaptiveReadSize(minimum=1, maximum=5, target_seconds=TARGET)

    sizes_of_full_reads = [sizes.note(sizes.size, 0.0) for _ in range(3)]

    assert sizes_of_full_reads == [2, 4, 5]
    assert sizes.note(5, 2 * TARGET) == 2


@pytest.mark.parametrize(("minimum", "maximum"), [(0, 10), (-1, 10), (11, 10)])
def test_bounds_that_cannot_be_are_refused_by_name(minimum: int, maximum: int) -> None:
    with pytest.raises(ValueError, match=rf"minimum \({minimum}\).*maximum \({maximum}\)"):
        AdaptiveReadSize(minimum=minimum, maximum=maximum)


@pytest.mark.parametrize("target", [0.0, -1.0, float("nan")])
def test_a_target_has_to_be_a_length_of_time(target: float) -> None:
    with pytest.raises(ValueError, match="target"):
        AdaptiveReadSize(target_seconds=target)
