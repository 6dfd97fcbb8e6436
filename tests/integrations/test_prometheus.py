"""Figures to be scraped: the conventions' and those of demand."""

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import Observable
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream import AiProvider, buffered, collect
from rxstream.errors import RateLimitedError
from rxstream.flow import Gate, Overflow, StreamBackpressureController
from rxstream.schedulers.gated_scheduler import GatedScheduler
from rxstream.simulator import FAST, Settings, Simulator
from rxstream.tokens import FinishReason, StreamEnd, StreamStart, StreamToken, TextDelta, UsageReport
from tests.demand import Consumer, Faucet
from tests.strategies import token_lists

pytest.importorskip("prometheus_client", reason="the extra `prometheus` is not installed")

from prometheus_client import CollectorRegistry, generate_latest

from rxstream.integrations.prometheus import GAPS, PrometheusMetrics

on_next, on_completed = ReactiveTest.on_next, ReactiveTest.on_completed
ANSWER: list[StreamToken] = [
    StreamStart("1", "gpt-5-2026", "openai.chat"),
    *(TextDelta(word) for word in "abcd"),
    UsageReport(12, 34),
    StreamEnd(FinishReason.STOP, "stop"),
]
LABELS = {
    "gen_ai_operation_name": "chat",
    "gen_ai_provider_name": "openai",
    "gen_ai_request_model": "gpt-5",
    "gen_ai_response_model": "gpt-5-2026",
}
DURATION = "gen_ai_client_operation_duration_seconds"
FIRST_CHUNK = "gen_ai_client_operation_time_to_first_chunk_seconds"
PER_CHUNK = "gen_ai_client_operation_time_per_output_chunk_seconds"
USAGE = "gen_ai_client_token_usage"


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@given(token_lists)
def test_a_tap_changes_nothing(tokens: list[StreamToken]) -> None:
    heard: list[StreamToken] = []

    reactivex.from_iterable(tokens).pipe(PrometheusMetrics(CollectorRegistry()).tap()).subscribe(heard.append)

    assert len(heard) == len(tokens)
    assert all(ours is theirs for ours, theirs in zip(heard, tokens, strict=True))


def played(registry: CollectorRegistry, times: tuple[int, ...] = (230, 232, 234, 240, 270, 280, 281)) -> None:
    """Let an answer pass a tap, with a token at each of `times` and the end at 300, subscribed to at 200."""
    clock = TestScheduler()
    hot = [on_next(at, token) for at, token in zip(times, ANSWER, strict=True)]
    source: Observable[StreamToken] = clock.create_hot_observable(*hot, on_completed(300))
    tap = PrometheusMetrics(registry).tap(model="gpt-5", now=lambda: clock.now.timestamp())  # noqa: PLW0108  # anew
    clock.start(lambda: source.pipe(tap))


def test_the_figures_of_a_stream_have_the_names_that_opentelemetry_would_give_them(registry: CollectorRegistry) -> None:
    played(registry)

    value = registry.get_sample_value
    assert value(f"{DURATION}_sum", {**LABELS, "error_type": ""}) == 100
    assert value(f"{FIRST_CHUNK}_sum", LABELS) == 30
    assert value(f"{USAGE}_sum", {**LABELS, "gen_ai_token_type": "input"}) == 12
    assert value(f"{USAGE}_sum", {**LABELS, "gen_ai_token_type": "output"}) == 34
    assert value("rxstream_streams_total", {"outcome": "completed"}) == 1
    assert value("rxstream_streams_active") == 0


def test_every_gap_is_in_its_bucket(registry: CollectorRegistry) -> None:
    played(registry)

    value = registry.get_sample_value
    assert value(f"{PER_CHUNK}_count", LABELS) == 3
    assert value(f"{PER_CHUNK}_sum", LABELS) == pytest.approx(38)
    within = {
        end: value(f"{PER_CHUNK}_bucket", {**LABELS, "le": end})
        for end in ("1.28", "2.56", "5.12", "10.24", "40.96", "+Inf")
    }
    assert within == {"1.28": 0, "2.56": 1, "5.12": 1, "10.24": 2, "40.96": 3, "+Inf": 3}


@given(st.lists(st.floats(0.000_01, 200), min_size=1, max_size=30))
def test_buckets_count_as_a_stock_histogram_would_but_near_their_ends(gaps: list[float]) -> None:
    registry, now = CollectorRegistry(), 0.0
    faucet = Faucet[StreamToken]()
    faucet.stream.pipe(PrometheusMetrics(registry).tap(now=lambda: now)).subscribe()
    faucet.push(TextDelta("a"))
    for gap in gaps:
        now += gap
        faucet.push(TextDelta("a"))
    faucet.complete()

    samples = [sample for metric in registry.collect() if metric.name == PER_CHUNK for sample in metric.samples]
    counts = {sample.labels["le"]: sample.value for sample in samples if sample.name.endswith("_bucket")}

    for end in GAPS:
        surely = sum(gap <= end * 0.95 for gap in gaps)
        at_most = sum(gap <= end * 1.05 for gap in gaps)
        assert surely <= counts[str(end)] <= at_most
    assert counts["+Inf"] == len(gaps)
    assert list(counts.values()) == sorted(counts.values())


def test_a_failure_is_counted_under_its_class(registry: CollectorRegistry) -> None:
    tap = PrometheusMetrics(registry).tap(model="gpt-5", provider="openai.chat")

    reactivex.throw(RateLimitedError("too fast")).pipe(tap).subscribe(on_error=lambda _: None)

    labels = {**LABELS, "gen_ai_response_model": "", "error_type": "RateLimitedError"}
    assert registry.get_sample_value(f"{DURATION}_count", labels) == 1
    assert registry.get_sample_value("rxstream_streams_total", {"outcome": "failed"}) == 1


def test_running_streams_count_until_they_are_let_go(registry: CollectorRegistry) -> None:
    faucet, tap = Faucet[StreamToken](), PrometheusMetrics(registry).tap()
    subscriptions = [faucet.stream.pipe(tap).subscribe() for _ in range(3)]
    assert registry.get_sample_value("rxstream_streams_active") == 3

    for subscription in subscriptions:
        subscription.dispose()

    assert registry.get_sample_value("rxstream_streams_active") == 0
    assert registry.get_sample_value("rxstream_streams_total", {"outcome": "cancelled"}) == 3


def test_a_pause_shows_while_it_lasts(registry: CollectorRegistry) -> None:
    faucet, seconds = Faucet[StreamToken](), 0.0
    gate = Gate(now=lambda: seconds)
    scheduler = GatedScheduler(TestScheduler(), gate)
    subscription = faucet.stream.pipe(PrometheusMetrics(registry).tap()).subscribe(scheduler=scheduler)

    gate.close("consumer")
    seconds = 7.0
    assert registry.get_sample_value("rxstream_pauses_total") == 1
    assert registry.get_sample_value("rxstream_paused_seconds_total") == 7

    gate.open("consumer")
    subscription.dispose()
    seconds = 20.0
    assert registry.get_sample_value("rxstream_pauses_total") == 1
    assert registry.get_sample_value("rxstream_paused_seconds_total") == 7


def test_what_was_dropped_is_counted(registry: CollectorRegistry) -> None:
    figures, faucet = PrometheusMetrics(registry), Faucet[int]()
    dropping = buffered(2, overflow=Overflow.DROP_OLDEST, on_drop=figures.count_drop)
    Consumer(faucet.stream.pipe(dropping), wants=False)

    faucet.push(*range(5))

    assert registry.get_sample_value("rxstream_dropped_items_total") == 3


async def test_all_streams_of_a_provider_are_counted_and_scraped(registry: CollectorRegistry) -> None:
    async with (
        Simulator(Settings(speed=FAST)) as simulator,
        AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key="k") as provider,
    ):
        openai = PrometheusMetrics(registry).instrumented(provider)
        for _ in range(2):
            await collect(openai.stream("Why?", model="gpt-5"))

    labels = {**LABELS, "gen_ai_response_model": "gpt-5"}
    assert registry.get_sample_value(f"{FIRST_CHUNK}_count", labels) == 2
    page = generate_latest(registry).decode()
    assert f"# TYPE {PER_CHUNK} histogram" in page
    assert "# TYPE rxstream_queue_depth gauge" in page


def test_one_registry_has_the_figures_once(registry: CollectorRegistry) -> None:
    PrometheusMetrics(registry)

    with pytest.raises(ValueError, match="Duplicated"):
        PrometheusMetrics(registry)


def test_what_waits_where_a_controller_counts_it_is_the_depth(registry: CollectorRegistry) -> None:
    share, faucet = StreamBackpressureController().stream(), Faucet[StreamToken]()
    consumer = Consumer(faucet.stream.pipe(PrometheusMetrics(registry).tap()))
    consumer.gate.honour(share)

    share.add(3)

    assert registry.get_sample_value("rxstream_queue_depth") == 3
    consumer.subscription.dispose()
    assert registry.get_sample_value("rxstream_queue_depth") == 0
