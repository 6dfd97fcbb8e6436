"""What was billed, for every service and every ending: its own word, or an estimate that says that it is one.

An estimate is never taken for the service's word, and what nobody knows is `None`.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from reactivex import operators as ops

from rxstream.dialects import dialect, dialects
from rxstream.errors import StreamError
from rxstream.flow import RetryPolicy
from rxstream.messages import AssembledMessage, AssembledToolCall, Usage
from rxstream.operators import count_tokens
from rxstream.providers import AiProvider
from rxstream.simulator import (
    FAST,
    At,
    Disconnect,
    EarlyEnd,
    HttpError,
    NoEndMark,
    Script,
    ScriptedCall,
    Settings,
    Simulator,
    Stall,
    apis,
)
from rxstream.sinks import collect, iterate
from rxstream.taps import MetricsRegistry, Outcome, StreamMetrics, tap_message, tap_metrics
from rxstream.tokens import UsageReport

SERVICES = sorted(set(dialects()) & set(apis()))
MODELS = {"bedrock.invoke": "anthropic.some-model"}
WORDS = ("Because ", "of ", "Rayleigh ", "scattering, ", "voilà.")
BILLED = Usage(input_tokens=11, output_tokens=2200)
"""Far from any estimate of `WORDS`."""
CUTS = [Disconnect(at=At(tokens=3)), Disconnect(at=At(tokens=3), how="close"), EarlyEnd(at=At(tokens=3))]

COUNTS_ALONG = {"gemini.generate"}
"""Services that say with each piece how much there is by now."""

each_service = pytest.mark.parametrize("api", SERVICES)
Ended = list[tuple[AssembledMessage, Outcome]]


async def asked(api: str, script: Script, hear: Callable[[Any, StreamMetrics], Awaitable[object]]) -> Ended:
    """Ask a simulator of `api` for `script`, and return what `tap_message` told."""
    told: Ended = []
    metrics = StreamMetrics()
    async with (
        Simulator(Settings(speed=FAST, script=script)) as simulator,
        AiProvider(api, base_url=simulator.base_url(api), api_key="any-key", retry=RetryPolicy(retries=0)) as provider,
    ):
        stream = provider.stream("Why?", model=MODELS.get(api, "some-model"))
        tap = tap_message(lambda message, outcome: told.append((message, outcome)))
        await hear(stream.pipe(tap, tap_metrics(metrics)), metrics)
    assert len(told) == 1
    return told


def estimate(text: str) -> int:
    return -(-len(text.encode()) // 4)


def known_by_then(api: str, message: AssembledMessage) -> tuple[int, str]:
    """What is known of an answer of which three pieces came."""
    return (3, "provider") if api in COUNTS_ALONG else (estimate(message.text), "estimated")


@each_service
async def test_a_whole_answer_is_billed_as_the_service_says(api: str) -> None:
    async def hear(stream: Any, metrics: StreamMetrics) -> None:
        message = await collect(stream)

        assert (message.used.output_tokens, message.used.source) == (2200, "provider")
        assert metrics.summary().output_tokens == 2200
        assert not metrics.summary().usage_is_estimated

    [(message, outcome)] = await asked(api, Script(deltas=WORDS, usage=BILLED), hear)

    assert (message.used.output_tokens, message.used.source, outcome) == (2200, "provider", Outcome.COMPLETED)
    assert message.used.raw == message.usage_raw


@each_service
@pytest.mark.parametrize("cut", CUTS, ids=["reset", "closed", "ended early"])
async def test_a_failed_answer_has_what_came_and_an_estimate_that_says_so(api: str, cut: Any) -> None:
    errors: list[StreamError] = []

    async def hear(stream: Any, metrics: StreamMetrics) -> None:
        with pytest.raises(StreamError) as caught:
            await collect(stream)
        errors.append(caught.value)
        assert not metrics.summary().usage_is_estimated  # figures have the service's word, or none

    [(message, outcome)] = await asked(api, Script(deltas=WORDS, usage=BILLED, faults=(cut,)), hear)

    partial = errors[0].partial
    assert partial is not None
    assert (partial.text, outcome) == ("".join(WORDS[:3]), Outcome.FAILED)
    assert message.used == partial.used
    assert (partial.used.output_tokens, partial.used.source) == known_by_then(api, partial)
    if api not in COUNTS_ALONG:
        assert partial.used.total_tokens is None
        assert partial.usage is None or partial.usage.output_tokens in {None, 0, 1}  # the service's word stays apart


@each_service
async def test_an_answer_that_is_let_go_of_is_told_with_an_estimate(api: str) -> None:
    async def hear(stream: Any, metrics: StreamMetrics) -> None:
        async with iterate(stream) as tokens:
            async for token in tokens:
                if getattr(token, "text", "") == WORDS[2]:
                    break

    [(message, outcome)] = await asked(api, Script(deltas=WORDS, usage=BILLED, faults=(Stall(at=At(tokens=3)),)), hear)

    assert (message.text, outcome, message.complete) == ("".join(WORDS[:3]), Outcome.CANCELLED, False)
    assert (message.used.output_tokens, message.used.source) == known_by_then(api, message)


@each_service
async def test_an_answer_whose_reader_is_cancelled_is_told_with_an_estimate(api: str) -> None:
    async def hear(stream: Any, metrics: StreamMetrics) -> None:
        third = asyncio.Event()
        noticing = stream.pipe(ops.do_action(lambda _: third.set() if metrics.content_tokens == 3 else None))
        whole = asyncio.ensure_future(collect(noticing))
        await third.wait()
        whole.cancel()
        await asyncio.gather(whole, return_exceptions=True)
        assert whole.cancelled()

    [(message, outcome)] = await asked(api, Script(deltas=WORDS, usage=BILLED, faults=(Stall(at=At(tokens=3)),)), hear)

    assert outcome is Outcome.CANCELLED
    assert (message.used.output_tokens, message.used.source) == known_by_then(api, message)


@each_service
async def test_what_the_service_had_counted_to_the_end_stays_its_word(api: str) -> None:
    """The answer is whole and counted, and only its end mark is missing: no estimate takes the place of that."""

    async def hear(stream: Any, metrics: StreamMetrics) -> None:
        with suppress(StreamError):  # some APIs have no other end mark than the one that is missing
            await collect(stream)

    [(message, _)] = await asked(api, Script(deltas=WORDS, usage=BILLED, faults=(NoEndMark(),)), hear)

    if message.usage is not None and message.usage.output_tokens == 2200:
        assert (message.used.output_tokens, message.used.source) == (2200, "provider")
    else:
        assert message.used.source == ("provider" if api in COUNTS_ALONG else "estimated")


@each_service
async def test_a_refusal_bills_nothing_that_is_known(api: str) -> None:
    async def hear(stream: Any, metrics: StreamMetrics) -> None:
        with pytest.raises(StreamError) as caught:
            await collect(stream)
        assert caught.value.partial is not None
        assert caught.value.partial.used == UsageReport(source="unknown")

    [(message, outcome)] = await asked(api, Script(faults=(HttpError(status=500),)), hear)

    assert (message.used, outcome) == (UsageReport(source="unknown"), Outcome.FAILED)


@pytest.mark.parametrize("api", [api for api in SERVICES if dialect(api).capabilities.tools])
async def test_calls_and_thinking_are_in_the_estimate(api: str) -> None:
    async def hear(stream: Any, metrics: StreamMetrics) -> None:
        with pytest.raises(StreamError) as caught:
            await collect(stream)
        message = caught.value.partial
        assert message is not None
        if message.used.source == "estimated":
            assert (message.used.output_tokens or 0) >= estimate(message.text + said_in_calls(message))

    script = Script(
        deltas=WORDS,
        tool_calls=(ScriptedCall("look", {"at": "x" * 400}),),
        usage=BILLED,
        faults=(Disconnect(at=At(tokens=6)),),
    )
    await asked(api, script, hear)


def said_in_calls(message: AssembledMessage) -> str:
    return "".join(call.name + (call.arguments_raw or "") for call in message.tool_calls)


# Labels


async def test_a_count_that_is_not_the_services_is_labelled_wherever_it_goes() -> None:
    registry, metrics = MetricsRegistry(), StreamMetrics()
    async with (
        Simulator(Settings(speed=FAST, script=Script(deltas=WORDS, usage=Usage(input_tokens=11)))) as simulator,
        AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key="any-key") as provider,
    ):
        stream = provider.stream("Why?", model="some-model")
        message = await collect(stream.pipe(count_tokens(), tap_metrics(metrics), tap_metrics(registry)))

    count = estimate("".join(WORDS))
    assert message.usage is not None
    assert (message.usage.input_tokens, message.usage.output_tokens) == (11, count)
    assert (message.usage_source, message.used.source) == ("estimated", "estimated")
    assert metrics.summary().usage_is_estimated
    assert f"11 in, ≈ {count} out" in str(metrics.summary())
    assert f"≈ {count} out" in message._repr_html_()  # pyright: ignore[reportPrivateUsage]  # what a notebook asks for
    assert (registry.summary().input_tokens, registry.summary().output_tokens) == (11, 0)


def test_an_estimate_is_never_below_what_the_service_had_counted() -> None:
    so_far = AssembledMessage(text="word" * 10, usage=Usage(output_tokens=50), usage_source="provider")

    assert (so_far.used.output_tokens, so_far.used.source) == (50, "provider")


def test_calls_of_services_that_send_objects_are_counted_by_their_json() -> None:
    message = AssembledMessage(tool_calls=[AssembledToolCall("1", "look", {"at": "sky"}, None)])

    assert message.used.output_tokens == estimate('look{"at":"sky"}')
