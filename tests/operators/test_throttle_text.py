"""`throttle_text`: the same text, evenly."""

import asyncio
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.operators import TextThrottle, throttle_text
from rxstream.tokens import (
    FinishReason,
    ReasoningDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCallStart,
    merge_deltas,
)
from tests.demand import Consumer, Faucet
from tests.strategies import token_lists
from tests.virtual_loop import VirtualTimeLoop, virtual_time

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
BOOM = OSError("boom")
CALL = ToolCallStart("call-0", "1", "add")
END = StreamEnd(FinishReason.STOP)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def marbles(*messages: Any, rate: float = 1, max_lag: float = 1_000) -> list[Any]:
    """Time in whole seconds, a tick every second."""
    clock = TestScheduler()
    source = clock.create_hot_observable(*messages)
    throttle = throttle_text(rate, max_lag=seconds(max_lag), period=seconds(1))
    return clock.start(lambda: source.pipe(throttle), disposed=10_000).messages


def test_text_comes_at_its_rate() -> None:
    assert marbles(on_next(210, TextDelta("abcde")), on_completed(300), rate=2) == [
        on_next(210, TextDelta("ab")),
        on_next(211, TextDelta("cd")),
        on_next(212, TextDelta("e")),
        on_completed(300),
    ]


def test_a_rate_of_less_than_one_in_a_period_still_moves() -> None:
    messages = marbles(on_next(210, TextDelta("abc")), on_completed(300), rate=0.1)

    assert [message.value.value.text for message in messages[:-1]] == ["a", "b", "c"]


def test_text_that_comes_slowly_passes_untouched() -> None:
    messages = [on_next(210 + 10 * number, TextDelta("ab")) for number in range(5)]

    assert marbles(*messages, on_completed(300), rate=2) == [*messages, on_completed(300)]


def test_a_burst_is_spread_over_the_lag_and_no_longer() -> None:
    messages = marbles(on_next(210, TextDelta("x" * 110)), on_completed(300), max_lag=10)

    assert [(message.time, len(message.value.value.text)) for message in messages[:-1]] == [
        (210 + tick, 10) for tick in range(11)
    ]


def test_other_tokens_keep_their_place_and_need_no_tick() -> None:
    thought = ReasoningDelta("hm")
    messages = marbles(
        on_next(210, thought),
        on_next(210, TextDelta("ab")),
        on_next(210, CALL),
        on_next(210, thought),
        on_next(210, TextDelta("c")),
        on_next(210, END),
        on_completed(300),
    )

    assert [(message.time, message.value.value) for message in messages[:-1]] == [
        (210, thought),
        (210, TextDelta("a")),
        (211, TextDelta("b")),
        (211, CALL),
        (211, thought),
        (212, TextDelta("c")),
        (212, END),
    ]


@pytest.mark.parametrize("terminal", [on_completed(213), on_error(213, BOOM)])
def test_all_that_is_left_comes_at_the_end(terminal: Any) -> None:
    assert marbles(on_next(210, TextDelta("abcdefg")), on_next(211, CALL), terminal) == [
        on_next(210, TextDelta("a")),
        on_next(211, TextDelta("b")),
        on_next(212, TextDelta("c")),
        on_next(213, TextDelta("defg")),
        on_next(213, CALL),
        terminal,
    ]


def test_blocks_are_not_mixed() -> None:
    messages = marbles(
        on_next(210, TextDelta("abcd", index=0)), on_next(210, TextDelta("ef", index=1)), on_completed(300), rate=3
    )

    assert [message.value.value for message in messages[:-1]] == [
        TextDelta("abc", 0),
        TextDelta("d", 0),
        TextDelta("ef", 1),
    ]


@pytest.mark.parametrize("whole", ["e\u0301", "👍🏽", "👩\u200d🚀", "❤\ufe0f", "🇳🇴", "\u1112\u1161\u11ab", "\r\n"])
def test_what_is_one_character_to_a_reader_is_not_taken_apart(whole: str) -> None:
    messages = marbles(on_next(210, TextDelta(f"{whole}a")), on_completed(300))

    assert [message.value.value.text for message in messages[:-1]] == [whole, "a"]


@given(
    st.lists(st.tuples(st.integers(0, 8), st.text("abc", min_size=1, max_size=40)), max_size=20),
    st.floats(0.5, 20),
    st.integers(1, 10),
)
def test_text_is_never_late_changed_or_crowded(pieces: list[tuple[int, str]], rate: float, max_lag: int) -> None:
    at = 210
    arrivals: list[tuple[int, str]] = []
    for pause, text in pieces:
        at += pause
        arrivals.append((at, text))

    *shown, last = marbles(
        *(on_next(time, TextDelta(text)) for time, text in arrivals), on_completed(5_000), rate=rate, max_lag=max_lag
    )

    assert last == on_completed(5_000)
    came_at = [time for time, text in arrivals for _ in text]
    shown_at = [message.time for message in shown for _ in message.value.value.text]
    assert "".join(message.value.value.text for message in shown) == "".join(text for _, text in arrivals)
    assert all(0 <= later - sooner <= max_lag + 1 for sooner, later in zip(came_at, shown_at, strict=True))
    assert all(later.time - sooner.time >= 1 for sooner, later in pairwise(shown))


@given(token_lists)
def test_the_tokens_are_the_same_but_for_where_the_text_is_cut(tokens: list[StreamToken]) -> None:
    faucet = Faucet[StreamToken]()
    consumer = Consumer(faucet.stream.pipe(throttle_text(1, max_lag=seconds(2), period=seconds(1))))

    for token in tokens:
        faucet.push(token)
        consumer.clock.advance_by(0.3)
    faucet.complete()

    assert merge_deltas(consumer.heard) == merge_deltas(tokens)


def test_the_source_is_never_slowed() -> None:
    faucet = Faucet[StreamToken]()
    consumer = Consumer(faucet.stream.pipe(throttle_text()))

    faucet.push(*[TextDelta("many words ")] * 1_000)

    assert faucet.gate is consumer.gate
    assert faucet.is_wanted


@virtual_time
async def test_no_timer_runs_while_nothing_waits_or_after_a_dispose() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    faucet = Faucet[StreamToken]()
    subscription = faucet.stream.pipe(throttle_text(30)).subscribe()

    faucet.push(TextDelta("a"))
    timers = [loop.pending_timers]
    faucet.push(TextDelta("b"))
    timers.append(loop.pending_timers)
    await asyncio.sleep(1)
    timers.append(loop.pending_timers)
    faucet.push(TextDelta("c"), TextDelta("d"))
    subscription.dispose()
    timers.append(loop.pending_timers)

    assert timers == [0, 1, 0, 0]


def test_a_long_burst_in_small_pieces_is_shown_in_linear_time() -> None:
    throttle = TextThrottle(1_000, max_lag=seconds(1), period=seconds(0.1))

    for _ in range(100_000):
        throttle.feed(TextDelta("word "), 0)

    assert len(throttle.waiting) == 1
    assert sum(len(token.text) for token in throttle.flush() if isinstance(token, TextDelta)) == 500_000


@pytest.mark.parametrize("options", [{"characters_per_second": 0}, {"max_lag": seconds(0)}, {"period": seconds(-1)}])
def test_what_is_not_positive_is_refused_at_once(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        throttle_text(**options)
