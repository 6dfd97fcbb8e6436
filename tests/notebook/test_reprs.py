"""What objects show of themselves in a notebook."""

from collections.abc import Callable
from typing import Any

import pytest

from rxstream import (
    AiProvider,
    AssembledMessage,
    AssembledToolCall,
    ErrorInfo,
    MetricsRegistry,
    MetricsSummary,
    StreamMetrics,
    StreamPipelineBuilder,
    TextDelta,
    Usage,
)

EVIL = "<script>alert(1)</script>"
KEY = "sk-very-secret"


def shown(thing: Any) -> str:
    return thing._repr_html_()


def provider() -> AiProvider:
    return AiProvider("openai.chat", api_key=KEY, base_url="https://user:word@example.invalid/v1?sig=hidden")


def message() -> AssembledMessage:
    calls = [AssembledToolCall("1", EVIL, {"x": EVIL}, None), AssembledToolCall("2", "f", None, EVIL)]
    return AssembledMessage(EVIL, EVIL, "", calls, EVIL, Usage(3, 4), ErrorInfo(EVIL, None, EVIL), model=EVIL)


@pytest.mark.parametrize(
    "make",
    [
        message,
        lambda: MetricsSummary(model=EVIL, raw_finish_reason=EVIL),
        lambda: StreamPipelineBuilder().with_provider(provider()).with_model(EVIL).build(),
    ],
    ids=["message", "metrics", "pipeline"],
)
def test_what_others_wrote_is_escaped(make: Callable[[], object]) -> None:
    html = shown(make())

    assert "<script" not in html
    assert "&lt;script&gt;" in html


def test_a_provider_shows_its_dialect_and_address_and_no_secret() -> None:
    html = shown(provider())

    assert "openai.chat" in html
    assert "https://example.invalid/v1<" in html
    assert "structured output" in html
    assert not any(secret in html for secret in (KEY, "word", "hidden"))


def test_a_pipeline_is_drawn_as_its_stages() -> None:
    pipeline = StreamPipelineBuilder().add_transformer(lambda token: token, name="mine").low_latency().build()

    html = shown(pipeline)

    assert html.index("tokens") < html.index("mine") < html.index("buffered")
    assert html.count("→") == len(pipeline.stages)


def test_metrics_are_a_table_of_what_is_known() -> None:
    metrics = StreamMetrics()
    metrics.start(0.0)
    metrics.record(TextDelta("x"), 0.5)

    html = shown(metrics)

    assert ">time to first content</th>" in html
    assert "input tokens" not in html
    assert repr(metrics).startswith("<StreamMetrics running after 0.50 s")


def test_the_totals_of_many_streams_are_a_table_too() -> None:
    registry = MetricsRegistry()
    registry.begin()

    assert 'streams</th><td style="text-align:left">1<' in shown(registry.summary())


def test_a_message_shows_thinking_text_calls_error_and_facts() -> None:
    html = shown(AssembledMessage("Blue.", "Hm.", usage=Usage(3, 4), finish_reason="stop", complete=True))

    assert "<details><summary>thinking</summary>" in html
    assert "Blue." in html
    assert "stop · 3 in · 4 out" in html
    assert "not complete" in shown(AssembledMessage("Half"))
