"""Pipelines that ask a server: an answer, a slow consumer, a consumer that goes away, many at once."""

import asyncio

import pytest
from reactivex import operators as ops

from rxstream import (
    AiProvider,
    MetricsRegistry,
    StreamPipelineBuilder,
    StreamToken,
    TextDelta,
    TransportError,
    collect,
    iterate,
    text,
)
from rxstream.flow.gated_queue import held_bytes
from rxstream.pipeline import PRESETS
from rxstream.schedulers import FlowScheduler
from rxstream.simulator import FAST, Script, Settings, Simulator, simulator_in_background
from rxstream.taps import Outcome
from tests.end_to_end.flood import asking, flooding, numbered
from tests.loopback import MovableLoop, run_movable, turns

NEW = StreamPipelineBuilder()
WORDS = "one two three four"
APIS = ["openai.chat", "anthropic.messages"]


def louder(token: StreamToken) -> StreamToken:
    return TextDelta(token.text.upper(), token.index) if isinstance(token, TextDelta) else token


def asked(simulator: Simulator, api: str = "openai.chat") -> StreamPipelineBuilder:
    """A builder for the simulator."""
    return NEW.with_provider(api, base_url=simulator.base_url(api), api_key=None).with_model("simulated-fast")


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("name", PRESETS)
async def test_a_request_is_answered_through_every_stage(name: str, api: str) -> None:
    async with (
        Simulator(Settings(script=Script(text=WORDS), speed=FAST, obeys_requests=False)) as simulator,
        getattr(asked(simulator, api), name)().enable_metrics().add_transformer(louder).build() as pipeline,
    ):
        message = await collect(pipeline.run("Count!"))

        assert message.text == WORDS.upper()
        assert message.complete
        assert pipeline.metrics.summary().completed == 1
        assert simulator.requests[0].body["model"] == "simulated-fast"


async def test_one_pipeline_serves_many_streams_at_once() -> None:
    scripts = [Script(text=f"{number} {WORDS}") for number in range(20)]
    async with (
        Simulator(Settings(speed=FAST)) as simulator,
        asked(simulator).low_memory().enable_metrics().build() as pipeline,
    ):
        simulator.expect(*scripts)

        messages = await asyncio.gather(*(collect(pipeline.run("Count!")) for _ in scripts))

        assert sorted(message.text for message in messages) == sorted(str(script.text) for script in scripts)
        assert isinstance(pipeline.metrics, MetricsRegistry)
        assert pipeline.metrics.summary().completed == len(scripts)


def test_the_simple_way_answers_a_prompt_without_a_loop() -> None:
    with simulator_in_background(Settings(script=Script(text=WORDS), speed=FAST, obeys_requests=False)) as simulator:
        said = asked(simulator).build().process_simple("Count!").pipe(ops.to_list()).run()

    assert "".join(said) == WORDS


async def test_a_consumer_that_goes_away_closes_the_connection() -> None:
    ends: list[Outcome | None] = []
    registry = MetricsRegistry(on_end=lambda summary: ends.append(summary.outcome))
    async with (
        Simulator(Settings(script=Script(length=10_000), speed=FAST, obeys_requests=False)) as simulator,
        asked(simulator).balanced().enable_metrics(registry).build() as pipeline,
    ):
        async with iterate(pipeline.run("Go on!").pipe(text())) as pieces:
            await anext(pieces)

        await simulator.requests[0].ended.wait()
        assert simulator.requests[0].outcome != "completed"
        assert ends == [Outcome.CANCELLED]


PACED = [
    NEW.low_latency(),
    NEW.balanced(),
    NEW.low_memory(),
    # As it is it holds the text of the whole answer, which is no more than half a megabyte.
    NEW.high_throughput().with_backpressure(capacity=20_000, weigh=held_bytes),
]


@pytest.mark.parametrize("builder", PACED, ids=lambda builder: builder.config.presets[0].name)
def test_a_consumer_that_waits_stops_the_server_and_loses_nothing(builder: StreamPipelineBuilder) -> None:
    async def run(loop: MovableLoop) -> None:
        taken: list[str] = []
        async with flooding(100_000, 1_000) as flood, asking(flood) as provider:
            pipeline = builder.with_provider(provider).with_model("flood").build()
            flow = FlowScheduler(loop)
            subscription = pipeline.run("How many?").pipe(text()).subscribe(taken.append, scheduler=flow)
            answer = await flood.answer()
            for _ in range(3):
                flow.gate.close("test")
                accepted = await answer.stopped()
                had = len(taken)
                loop.move(60)
                await turns(50)
                assert len(taken) == had

                flow.gate.open("test")
                await answer.flowed(accepted)

            subscription.dispose()
            await answer.closed.wait()
            assert not answer.is_whole
            assert taken
            assert "".join(taken) == "".join(numbered("".join(taken).count(" ")))

    run_movable(run)


async def test_a_provider_of_its_own_is_closed_with_the_pipeline_and_one_that_was_given_is_not() -> None:
    async with Simulator(Settings(script=Script(text=WORDS), speed=FAST, obeys_requests=False)) as simulator:
        address = simulator.base_url("openai.chat")
        async with AiProvider("openai.chat", base_url=address, api_key=None) as given:
            async with NEW.with_provider(given).with_model("m").build() as pipeline:
                await collect(pipeline.run("Count!"))
            await collect(pipeline.run("Count!"))
            assert simulator.connections_made == 1

            own = NEW.with_provider("openai", base_url=address, api_key=None).with_model("m").build()
            async with own, iterate(own.run("Count!")) as tokens:
                await anext(tokens)
                await own.aclose()
                with pytest.raises(TransportError):
                    _ = [token async for token in tokens]
