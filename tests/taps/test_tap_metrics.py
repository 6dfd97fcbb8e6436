"""`tap_metrics`: where a stream is looked at, and what it may cost."""

import gc
import threading
import weakref
from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable, abc
from reactivex import operators as ops
from reactivex.disposable import Disposable
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.errors import ConfigurationError
from rxstream.flow import BackpressureConfig, Gate, StreamBackpressureController
from rxstream.framing import SseParser
from rxstream.operators import buffered, decode_frames, parse_sse
from rxstream.rx import lift
from rxstream.schedulers.gated_scheduler import GatedScheduler
from rxstream.taps import NO_METRICS, MetricsRegistry, Outcome, StreamMetrics, tap_metrics
from rxstream.tokens import StreamToken, TextDelta
from tests.demand import Consumer, Faucet, Item
from tests.strategies import token_lists

on_next, on_completed, on_error = ReactiveTest.on_next, ReactiveTest.on_completed, ReactiveTest.on_error
BOOM = OSError("boom")


def seconds_of(clock: TestScheduler) -> Any:
    return lambda: clock.now.timestamp()  # noqa: PLW0108  # `now` is to be read anew each time


@given(token_lists, st.booleans())
def test_a_tap_changes_nothing(tokens: list[StreamToken], fails: bool) -> None:
    metrics, given, ends = StreamMetrics(), list[StreamToken](), list[Any]()
    source = reactivex.concat(reactivex.from_iterable(tokens), reactivex.throw(BOOM) if fails else reactivex.empty())

    source.pipe(tap_metrics(metrics)).subscribe(given.append, ends.append, lambda: ends.append(None))

    assert len(given) == len(tokens)
    assert all(ours is theirs for ours, theirs in zip(given, tokens, strict=True))
    assert ends == [BOOM if fails else None]
    assert metrics.tokens == len(tokens)
    assert metrics.outcome is (Outcome.FAILED if fails else Outcome.COMPLETED)


@pytest.mark.parametrize(
    ("end", "outcome"),
    [(on_completed(260), Outcome.COMPLETED), (on_error(260, BOOM), Outcome.FAILED), (None, Outcome.CANCELLED)],
)
def test_every_signal_is_timed_and_every_ending_seen(end: Any, outcome: Outcome) -> None:
    clock, metrics = TestScheduler(), StreamMetrics()
    signals: list[Any] = [on_next(210, b"xx"), on_next(230, TextDelta("a")), on_next(250, TextDelta("b"))]
    source: Observable[Any] = clock.create_hot_observable(*signals, *([end] if end else []))

    clock.start(lambda: source.pipe(tap_metrics(metrics, seconds_of(clock))), disposed=260.5)

    summary = metrics.summary()
    assert (summary.time_to_first_byte, summary.time_to_first_content, summary.gap_mean) == (10, 30, 20)
    assert (summary.outcome, summary.seconds) == (outcome, 60.5 if end is None else 60)


def test_one_stream_is_tapped_at_every_level_of_its_pipe() -> None:
    body = (
        b"".join(b'data: {"choices":[{"index":0,"delta":{"content":"%d"}}]}\n\n' % number for number in range(3))
        + b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    )
    metrics = StreamMetrics()
    tap: Any = tap_metrics(metrics)

    reactivex.of(body[:100], body[100:]).pipe(tap, parse_sse(), tap, decode_frames("openai.chat"), tap).subscribe()

    summary = metrics.summary()
    assert (summary.bytes, summary.chunks) == (len(body), 2)
    assert summary.frames == len(SseParser().feed(body))
    assert summary.content_tokens == 3
    assert (summary.outcome, summary.finish_reason, summary.provider) == (Outcome.COMPLETED, "stop", "openai.chat")


def test_frames_that_are_bytes_are_counted_as_frames_where_that_is_said() -> None:
    metrics = StreamMetrics()

    reactivex.of(b"{}", b"{}").pipe(tap_metrics(metrics, bytes_are="frames")).subscribe()

    assert (metrics.frames, metrics.chunks, metrics.bytes) == (2, 0, 0)


def test_a_stream_that_is_cut_short_completed_and_let_go_of_its_source() -> None:
    metrics, faucet = StreamMetrics(), Faucet[int]()
    tap: Any = tap_metrics(metrics)
    faucet.stream.pipe(tap, ops.take(1), tap).subscribe()

    faucet.push(1)

    assert (metrics.outcome, faucet.disposed) == (Outcome.COMPLETED, 1)


def test_a_retry_is_one_stream_with_an_error() -> None:
    metrics, attempts = StreamMetrics(), iter([reactivex.throw(BOOM), reactivex.of(TextDelta("a"))])

    reactivex.defer(lambda _: next(attempts)).pipe(tap_metrics(metrics), ops.retry(2)).subscribe()

    assert (metrics.outcome, metrics.errors, metrics.tokens) == (Outcome.COMPLETED, 1, 1)


def test_a_source_that_refuses_at_subscribe_has_failed() -> None:
    metrics = StreamMetrics()
    stream = Faucet[int](waits=False).stream.pipe(buffered(1), tap_metrics(metrics))

    consumer = Consumer(stream)

    assert isinstance(consumer.error, ConfigurationError)
    assert metrics.summary().error_type == "ConfigurationError"


def test_without_metrics_the_source_is_given_back_itself() -> None:
    source = reactivex.of(1)

    assert tap_metrics(NO_METRICS)(source) is source


def test_what_goes_wrong_in_the_metrics_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    class Broken(StreamMetrics):
        def record(self, item: object, at: float) -> None:
            raise ZeroDivisionError(item)

        def stop(self, *_: Any, **__: Any) -> None:
            raise ZeroDivisionError

    given: list[str] = []

    reactivex.of("secret", "text").pipe(tap_metrics(Broken())).subscribe(given.append)

    assert given == ["secret", "text"]
    log = capsys.readouterr().out
    assert log.count("tap.failed") == 2  # of the items once only
    assert "secret" not in log


def test_a_tap_that_cannot_even_begin_harms_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    def broken() -> float:
        raise ZeroDivisionError

    given: list[int] = []

    reactivex.of(1, 2).pipe(tap_metrics(StreamMetrics(), broken)).subscribe(given.append)

    assert given == [1, 2]
    assert "test_tap_metrics.py:" in capsys.readouterr().out


def test_an_ending_is_seen_once_although_it_comes_from_two_sides_at_once() -> None:
    class Counting(StreamMetrics):
        stops = 0

        def stop(self, *arguments: Any, **options: Any) -> None:
            self.stops += 1
            super().stop(*arguments, **options)

    for _ in range(20):
        metrics, faucet = Counting(), Faucet[int]()
        subscription = faucet.stream.pipe(tap_metrics(metrics)).subscribe()
        other = threading.Thread(target=subscription.dispose)
        other.start()
        faucet.complete()
        other.join()

        assert metrics.stops == 1
        assert metrics.outcome in {Outcome.COMPLETED, Outcome.CANCELLED}


def test_nothing_of_the_stream_is_kept_by_its_metrics() -> None:
    metrics = StreamMetrics()
    seen: list[weakref.ref[Any]] = []

    def subscribe(observer: abc.ObserverBase[Any], scheduler: abc.SchedulerBase | None = None) -> abc.DisposableBase:
        item = Item()
        seen.extend([weakref.ref(observer), weakref.ref(item)])
        observer.on_next(item)
        observer.on_completed()
        return Disposable()

    Observable[Any](subscribe).pipe(tap_metrics(metrics)).subscribe(scheduler=GatedScheduler(TestScheduler(), Gate()))
    gc.collect()

    assert [ref() for ref in seen] == [None, None]


# What a tap hears of demand


def test_pauses_are_those_of_the_gate_since_the_stream_began() -> None:
    clock, faucet, metrics = TestScheduler(), Faucet[int](), StreamMetrics()
    gate = Gate(now=seconds_of(clock))
    for _ in range(2):
        gate.close("before")
        clock.advance_by(5)
        gate.open("before")
    subscription = faucet.stream.pipe(tap_metrics(metrics, seconds_of(clock))).subscribe(
        scheduler=GatedScheduler(clock, gate)
    )

    gate.close("test")
    clock.advance_by(3)
    running = metrics.summary()
    gate.open("test")
    subscription.dispose()
    gate.close("after")

    ended = metrics.summary()
    assert (running.pauses, running.seconds_paused) == (1, 3)
    assert (ended.pauses, ended.seconds_paused) == (1, 3)


def test_the_queue_is_what_the_sources_controller_counts() -> None:
    controller = StreamBackpressureController(BackpressureConfig(maximum_items=4))
    share, faucet, metrics = controller.stream(), Faucet[int](), StreamMetrics()
    consumer = Consumer(faucet.stream.pipe(tap_metrics(metrics)))
    consumer.gate.honour(share)

    share.add(3)
    running = metrics.summary()
    share.release(3)
    faucet.complete()

    ended = metrics.summary()
    assert (running.queue_depth, running.queue_peak, running.pauses) == (3, 3, 1)
    assert (ended.queue_depth, ended.queue_peak, ended.pauses) == (0, 3, 1)


def test_what_a_controller_counted_for_an_earlier_subscription_is_not_counted_again() -> None:
    controller = StreamBackpressureController(BackpressureConfig(maximum_items=4))
    earlier, gate, faucet, metrics = controller.stream(), Gate(), Faucet[int](), StreamMetrics()
    earlier.add(3)
    gate.honour(earlier)

    faucet.stream.pipe(tap_metrics(metrics)).subscribe(scheduler=GatedScheduler(TestScheduler(), gate))
    faucet.complete()

    assert (metrics.pressure.pauses, metrics.pressure.queue_peak) == (0, 0)


# Many subscriptions


def test_each_subscription_is_a_stream_of_the_registry() -> None:
    registry = MetricsRegistry()
    stream = reactivex.of(TextDelta("a"), TextDelta("b")).pipe(tap_metrics(registry))

    for _ in range(3):
        stream.subscribe()

    summary = registry.summary()
    assert (summary.streams, summary.active, summary.completed, summary.tokens) == (3, 0, 3, 6)


def test_a_machine_that_fails_between_two_taps_fails_the_stream_once() -> None:
    class Fails:
        def feed(self, item: int) -> list[int]:
            raise BOOM

        def flush(self) -> list[int]:
            return []

    metrics, errors = StreamMetrics(), list[Exception]()
    tap: Any = tap_metrics(metrics)

    reactivex.of(1).pipe(tap, lift(Fails), tap).subscribe(on_error=errors.append)

    assert errors == [BOOM]
    assert (metrics.outcome, metrics.errors, metrics.frames) == (Outcome.FAILED, 1, 1)
