"""`StreamMetrics`: what is counted and timed, fed with times by hand."""

import gc
import math
import weakref
from itertools import pairwise
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.framing import SseEvent
from rxstream.taps import NO_METRICS, MetricsSummary, Outcome, Pressure, StreamMetrics
from rxstream.tokens import (
    CONTENT,
    FinishReason,
    ReasoningDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCallDelta,
    UsageReport,
)
from tests.strategies import tokens

BOOM = OSError("boom")
items = st.binary(max_size=9) | st.just(SseEvent("", b"{}")) | st.just(TextDelta("a")) | tokens
timed = st.lists(st.tuples(st.floats(0, 2), items), max_size=30)


def run(arrivals: list[tuple[float, Any]], outcome: Outcome = Outcome.COMPLETED) -> tuple[StreamMetrics, list[float]]:
    """Metrics that began at 1.0 and heard each item so many seconds after the one before; and when."""
    metrics, at, times = StreamMetrics(), 1.0, list[float]()
    metrics.start(at)
    for pause, item in arrivals:
        at += pause
        times.append(at)
        metrics.record(item, at)
    metrics.stop(outcome, at)
    return metrics, times


@given(timed)
def test_everything_is_counted_once_as_what_it_is(arrivals: list[tuple[float, Any]]) -> None:
    heard = [item for _, item in arrivals]
    chunks = [item for item in heard if isinstance(item, bytes)]

    summary = run(arrivals)[0].summary()

    assert summary.chunks + summary.frames + summary.tokens == len(heard)
    assert (summary.chunks, summary.bytes) == (len(chunks), sum(map(len, chunks)))
    assert summary.frames == sum(isinstance(item, SseEvent) for item in heard)
    assert summary.content_tokens == sum(isinstance(item, CONTENT) for item in heard)


@given(timed)
def test_the_first_of_each_kind_is_timed_from_the_start(arrivals: list[tuple[float, Any]]) -> None:
    metrics, times = run(arrivals)
    heard = list(zip(times, (item for _, item in arrivals), strict=True))

    def first(kinds: Any) -> float | None:
        return next((at - 1.0 for at, item in heard if isinstance(item, kinds)), None)

    summary = metrics.summary()

    assert summary.time_to_first_byte == first(bytes)
    assert summary.time_to_first_token == first(StreamToken)
    assert summary.time_to_first_content == first(CONTENT)


@given(timed)
def test_gaps_and_rates_are_those_of_the_content(arrivals: list[tuple[float, Any]]) -> None:
    metrics, times = run(arrivals)
    content = [at for at, (_, item) in zip(times, arrivals, strict=True) if isinstance(item, CONTENT)]
    gaps = sorted(later - sooner for sooner, later in pairwise(content))

    summary = metrics.summary()

    assert metrics.gaps.count == len(gaps)
    for part, found in ((0.5, summary.gap_p50), (0.9, summary.gap_p90), (0.99, summary.gap_p99)):
        assert found == (pytest.approx(gaps[math.floor(part * (len(gaps) - 1))], rel=0.021, abs=2e-6) if gaps else None)
    if gaps and sum(gaps) > 1e-6:
        assert summary.gap_mean == pytest.approx(sum(gaps) / len(gaps))
        assert summary.tokens_per_second == pytest.approx(len(gaps) / sum(gaps))


@given(timed, st.sampled_from(Outcome))
def test_a_summary_goes_to_json_and_back_and_is_one_line(arrivals: list[tuple[float, Any]], outcome: Outcome) -> None:
    summary = run(arrivals, outcome)[0].summary()

    assert msgspec.json.decode(msgspec.json.encode(summary), type=MetricsSummary) == summary
    assert str(summary).startswith(f"{outcome} ")
    assert "\n" not in str(summary)
    assert "None" not in str(summary)


@given(timed)
def test_looking_on_the_way_changes_nothing(arrivals: list[tuple[float, Any]]) -> None:
    metrics = StreamMetrics()
    metrics.start(1.0)
    at = 1.0
    for pause, item in arrivals:
        at += pause
        metrics.record(item, at)
        assert metrics.summary().seconds == at - 1.0
        metrics.summary(at + 100)
    metrics.stop(Outcome.COMPLETED, at)

    assert metrics.summary() == run(arrivals)[0].summary()


def test_a_whole_answer() -> None:
    metrics = StreamMetrics()
    metrics.start(10.0)
    arrivals: list[tuple[float, object]] = [
        (10.1, b"x" * 100),
        (10.1, SseEvent("", b"{}")),
        (10.1, StreamStart("id", "model-1", "toy")),
        (10.2, ReasoningDelta("hm")),
        (10.3, b"x" * 300),
        (10.3, TextDelta("a")),
        (10.5, [TextDelta("b"), ToolCallDelta("k", "{}")]),
        (10.6, UsageReport(input_tokens=7, output_tokens=30)),
        (10.6, StreamEnd(FinishReason.LENGTH, "max_tokens")),
    ]
    for at, item in arrivals:
        metrics.record(item, at)
    metrics.stop(Outcome.COMPLETED, 11.0)

    summary = metrics.summary()

    rounded = {
        name: round(value, 3) if isinstance(value, float) else value
        for name, value in msgspec.structs.asdict(summary).items()
        if value not in (None, 0) and not name.startswith(("gap_p", "recent"))
    }
    assert rounded == {
        "outcome": Outcome.COMPLETED,
        "provider": "toy",
        "model": "model-1",
        "finish_reason": FinishReason.LENGTH,
        "raw_finish_reason": "max_tokens",
        "seconds": 1.0,
        "bytes": 400,
        "chunks": 2,
        "frames": 1,
        "tokens": 7,
        "content_tokens": 4,
        "input_tokens": 7,
        "output_tokens": 30,
        "time_to_first_byte": 0.1,
        "time_to_first_token": 0.1,
        "time_to_first_content": 0.2,
        "gap_mean": 0.1,
        "tokens_per_second": 10.0,
        "output_tokens_per_second": 100.0,
        "bytes_per_second": 400.0,
        "bytes_per_chunk": 200.0,
        "tokens_per_chunk": 3.5,
    }
    assert str(summary) == (
        "completed (max_tokens) after 1.00 s · first content 200 ms · 7 tokens at 10/s · "
        "gaps 100/100/100 ms (p50/p90/p99) · 1 frame · 400 bytes in 2 chunks · 7 in, 30 out"
    )


def test_recent_rates_forget_what_was_long_ago() -> None:
    metrics = StreamMetrics()
    metrics.start(0.0)
    for number in range(1_000):
        metrics.record(TextDelta("a"), number / 100)
        metrics.record(b"1234", number / 100)

    busy, idle = metrics.summary(10.0), metrics.summary(60.0)

    assert busy.recent_tokens_per_second == pytest.approx(100, rel=0.02)
    assert busy.recent_bytes_per_second == pytest.approx(400, rel=0.02)
    assert (idle.recent_tokens_per_second, idle.recent_bytes_per_second) == (0, 0)
    assert idle.tokens_per_second == pytest.approx(100, rel=0.02)


@pytest.mark.parametrize("chunk", [b"1234", bytearray(b"1234"), memoryview(b"1234"), memoryview(b"1234").cast("I")])
def test_any_kind_of_bytes_is_a_chunk_of_so_many_bytes(chunk: object) -> None:
    summary = run([(0, chunk)])[0].summary()

    assert (summary.chunks, summary.bytes) == (1, 4)


def test_bytes_may_be_frames() -> None:
    metrics = StreamMetrics()
    metrics.start(0)

    metrics.record_frame(b"{}", 1)

    assert (metrics.frames, metrics.bytes) == (1, 0)


def test_metrics_that_never_began_are_all_nothing() -> None:
    assert StreamMetrics().summary() == MetricsSummary()


# Several places, several subscriptions


def test_the_place_furthest_downstream_says_how_it_ended() -> None:
    metrics = StreamMetrics()
    below, above = metrics.start(0), metrics.start(0)

    metrics.stop(Outcome.FAILED, 1, BOOM, place=above)  # made good by something between the two
    metrics.stop(Outcome.COMPLETED, 2, place=below)

    summary = metrics.summary()
    assert (summary.outcome, summary.errors, summary.error_type, summary.seconds) == (Outcome.COMPLETED, 1, None, 2)


def test_an_error_heard_at_two_places_is_one() -> None:
    metrics = StreamMetrics()
    below, above = metrics.start(0), metrics.start(0)

    metrics.stop(Outcome.FAILED, 1, BOOM, place=above)
    metrics.stop(Outcome.FAILED, 1, BOOM, place=below)

    summary = metrics.summary()
    assert (summary.outcome, summary.errors, summary.error_type) == (Outcome.FAILED, 1, "OSError")


def test_a_stream_cut_short_in_the_middle_completed() -> None:
    metrics = StreamMetrics()
    below, above = metrics.start(0), metrics.start(0)

    metrics.stop(Outcome.COMPLETED, 1, place=below)
    metrics.stop(Outcome.CANCELLED, 1, place=above)

    assert metrics.outcome is Outcome.COMPLETED


def test_a_retry_goes_on_counting_and_its_wait_is_no_gap() -> None:
    metrics = StreamMetrics()
    for began, outcome, error in ((0.0, Outcome.FAILED, BOOM), (100.0, Outcome.COMPLETED, None)):
        place = metrics.start(began)
        assert metrics.outcome is None
        metrics.record(TextDelta("a"), began + 1)
        metrics.record(TextDelta("b"), began + 3)
        metrics.stop(outcome, began + 4, error, place=place)

    summary = metrics.summary()

    assert (summary.outcome, summary.errors, summary.error_type) == (Outcome.COMPLETED, 1, None)
    assert (summary.content_tokens, summary.time_to_first_content, summary.seconds) == (4, 1, 104)
    assert (summary.gap_mean, metrics.gaps.count) == (2, 2)
    assert summary.gap_p99 == pytest.approx(2, rel=0.02)


# Pressure


def test_pressure_is_read_while_it_runs_and_kept_at_the_end() -> None:
    now = Pressure(pauses=1, seconds_paused=0.5, queue_depth=3, queue_peak=4)
    metrics = StreamMetrics()
    place = metrics.start(0, lambda: now)
    assert metrics.summary().queue_depth == 3

    now = Pressure(pauses=2, seconds_paused=1.5, queue_peak=6)
    metrics.stop(Outcome.COMPLETED, 1, place=place)
    now = Pressure(pauses=100)

    summary = metrics.summary()
    assert (summary.pauses, summary.seconds_paused, summary.queue_depth, summary.queue_peak) == (2, 1.5, 0, 6)
    assert "paused 2 times for 1.50 s" in str(summary)


def test_pressure_is_that_on_the_source_and_adds_up_over_retries() -> None:
    metrics = StreamMetrics()
    below = metrics.start(0, lambda: Pressure(pauses=10))

    for _ in range(2):
        above = metrics.start(0, lambda: Pressure(pauses=1, queue_peak=5))
        metrics.stop(Outcome.FAILED, 1, place=above)
    metrics.stop(Outcome.COMPLETED, 2, place=below)

    assert metrics.pressure == Pressure(pauses=2, queue_peak=5)


def test_nothing_of_a_stream_is_kept_after_its_end() -> None:
    class KnownError(Exception):
        pass

    def read() -> Pressure:
        return Pressure()

    metrics, error = StreamMetrics(), KnownError()
    seen = [weakref.ref(error), weakref.ref(read)]
    metrics.start(0, read)
    metrics.stop(Outcome.FAILED, 1, error)

    del error, read
    gc.collect()

    assert [ref() for ref in seen] == [None, None]


# None at all


def test_no_metrics_take_no_note() -> None:
    NO_METRICS.start(1.0)
    NO_METRICS.record(TextDelta("a"), 2.0)
    NO_METRICS.record_frame(b"{}", 2.0)
    NO_METRICS.stop(Outcome.FAILED, 3.0, BOOM)

    assert NO_METRICS.summary() == MetricsSummary()
