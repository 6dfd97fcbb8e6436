"""`MetricsRegistry`: totals are the sums of the streams, running ones included, from any thread."""

import gc
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.taps import MetricsRegistry, MetricsSummary, Outcome, RegistrySummary, StreamMetrics
from rxstream.taps._quantiles import Quantiles
from rxstream.tokens import TextDelta, UsageReport

BOOM = OSError("boom")
SUMMED = ["errors", "bytes", "chunks", "frames", "tokens", "content_tokens", "output_tokens"]
streams = st.lists(
    st.tuples(
        st.lists(st.sampled_from([b"abc", TextDelta("a"), UsageReport(output_tokens=7), object()]), max_size=6),
        st.floats(0.01, 9),
        st.none() | st.sampled_from(Outcome),
    ),
    max_size=12,
)


def play(metrics: StreamMetrics, heard: list[Any], pause: float, outcome: Outcome | None) -> None:
    metrics.start(1.0)
    for number, item in enumerate(heard, 1):
        metrics.record(item, 1.0 + number * pause)
    if outcome is not None:
        metrics.stop(outcome, 1.0 + (len(heard) + 1) * pause, BOOM if outcome is Outcome.FAILED else None)


@given(streams)
def test_totals_are_the_sums_of_the_streams(plays: list[tuple[list[Any], float, Outcome | None]]) -> None:
    registry, alone, gaps = MetricsRegistry(), list[MetricsSummary](), Quantiles()
    running: list[StreamMetrics] = []
    for heard, pause, outcome in plays:
        for metrics in (registry.begin(), StreamMetrics()):
            play(metrics, heard, pause, outcome)
            running.append(metrics)
        alone.append(running[-1].summary())
        gaps.merge(running[-1].gaps)
        if outcome is not None:
            registry.finish(running[-2])

    total = registry.summary()

    for name in SUMMED:
        assert getattr(total, name) == sum(getattr(each, name) or 0 for each in alone)
    assert (total.streams, total.active) == (len(plays), sum(each.outcome is None for each in alone))
    for outcome in Outcome:
        assert getattr(total, outcome) == sum(each.outcome is outcome for each in alone)
    assert total.error_types == ({"OSError": total.failed} if total.failed else {})
    assert (total.gap_p50, total.gap_p99) == (gaps.at(0.5), gaps.at(0.99))
    assert msgspec.json.decode(msgspec.json.encode(total), type=RegistrySummary) == total
    assert "None" not in str(total)


def test_what_has_ended_is_kept_as_numbers_only() -> None:
    registry = MetricsRegistry()
    for _ in range(1_000):
        metrics = registry.begin()
        play(metrics, [TextDelta("a")] * 2, 0.1, Outcome.COMPLETED)
        registry.finish(metrics)
        del metrics

    assert len(cast(Any, registry)._active) == 0
    assert registry.summary().content_tokens == 2_000


def test_finishing_twice_is_finishing_once() -> None:
    registry = MetricsRegistry()
    metrics = registry.begin()
    play(metrics, [TextDelta("a")], 1, Outcome.COMPLETED)

    registry.finish(metrics)
    registry.finish(metrics)

    assert (registry.summary().completed, registry.summary().tokens) == (1, 1)


def test_a_stream_that_was_forgotten_does_not_stay() -> None:
    registry = MetricsRegistry()

    registry.begin()
    gc.collect()

    assert (registry.summary().streams, registry.summary().active) == (1, 0)


def test_each_stream_that_ends_is_told_of() -> None:
    told: list[MetricsSummary] = []
    registry = MetricsRegistry(told.append)
    metrics = registry.begin()

    play(metrics, [b"abc"], 1, Outcome.CANCELLED)
    registry.finish(metrics)

    assert [(summary.outcome, summary.bytes) for summary in told] == [(Outcome.CANCELLED, 3)]


def test_who_is_told_may_raise_and_is_told_again(capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: MetricsSummary) -> None:
        raise ZeroDivisionError

    registry = MetricsRegistry(broken)
    for _ in range(2):
        registry.finish(registry.begin())

    assert registry.summary().streams == 2
    assert capsys.readouterr().out.count("tap.failed") == 2


def test_streams_may_end_in_many_threads_at_once() -> None:
    registry = MetricsRegistry()

    def one(_: int) -> None:
        metrics = registry.begin()
        play(metrics, [TextDelta("a"), b"abc"], 0.1, Outcome.COMPLETED)
        registry.summary()
        registry.finish(metrics)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(one, range(200)))

    summary = registry.summary()
    assert (summary.completed, summary.tokens, summary.bytes, summary.active) == (200, 200, 600, 0)


def test_totals_read_well() -> None:
    registry = MetricsRegistry()
    done, running = registry.begin(), registry.begin()
    play(done, [b"abc", TextDelta("a"), TextDelta("b")], 0.5, Outcome.COMPLETED)
    registry.finish(done)
    play(running, [TextDelta("a")], 1, None)

    assert str(registry.summary()) == (
        "2 streams · 1 active, 1 completed · 3 tokens · 3 bytes · first content 1020 ms (p50) · gap 496 ms (p50)"
    )
