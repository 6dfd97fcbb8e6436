"""What is for other systems keeps the contract of operators and sinks, as far as it is one."""

from contextlib import aclosing
from typing import Any

import pytest
from reactivex import Observable

from rxstream.errors import StreamError
from rxstream.integrations.serving import to_ndjson, to_sse
from tests.contract.lawbook import Law
from tests.contract.sink_laws import SINK_LAWS
from tests.contract.stage_laws import STAGE_LAWS
from tests.contract.subjects import TOKENS, Hear, Items, Sink, Stage, Thing, number_of

NUMBERS = Items(Thing, note=lambda item: item if isinstance(item, int) else number_of(item), are_counted=True)
"""Things, which come out as their numbers."""


def number(thing: Thing) -> str:
    """What is written of a thing."""
    return str(thing.number)


async def events(source: Observable[Any], hear: Hear) -> None:
    """Read `to_sse` as a client does."""
    async with aclosing(to_sse(source, encode=number, capacity=4)) as body:
        async for event in body:
            if event.startswith(b"event: error") and b"InternalError" not in event:
                raise StreamError(event.decode())
            if event.startswith(b"data: ") and event != b"data: [DONE]\n\n":
                await hear(int(event.removeprefix(b"data: ")))


async def lines(source: Observable[Any], hear: Hear) -> None:
    """Read `to_ndjson` as a client does."""
    async with aclosing(to_ndjson(source, encode=number, capacity=4)) as body:
        async for line in body:
            if line.startswith(b'{"error"') and b"InternalError" not in line:
                raise StreamError(line.decode())
            if not line.startswith(b"{"):
                await hear(int(line))


@pytest.mark.parametrize("drain", [events, lines])
@pytest.mark.parametrize("law", SINK_LAWS.laws, ids=lambda law: law.__name__)
def test_a_body_keeps_the_laws_of_sinks(law: Law[Sink], drain: Any) -> None:
    law(Sink(drain, NUMBERS, ahead=4))


@pytest.mark.parametrize("law", STAGE_LAWS.laws, ids=lambda law: law.__name__)
def test_a_span_keeps_the_laws_of_operators(law: Law[Stage]) -> None:
    pytest.importorskip("opentelemetry.sdk")
    from opentelemetry.sdk.trace import TracerProvider  # where it is installed

    from rxstream.integrations.opentelemetry import otel_span

    provider = TracerProvider(shutdown_on_exit=False)
    law(Stage(lambda: otel_span(tracer_provider=provider, content=True), TOKENS))


@pytest.mark.parametrize("law", STAGE_LAWS.laws, ids=lambda law: law.__name__)
def test_a_tap_for_prometheus_keeps_the_laws_of_operators(law: Law[Stage]) -> None:
    prometheus_client = pytest.importorskip("prometheus_client")
    from rxstream.integrations.prometheus import PrometheusMetrics  # where it is installed

    law(Stage(PrometheusMetrics(prometheus_client.CollectorRegistry()).tap, TOKENS))
