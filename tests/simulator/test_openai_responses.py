"""The Responses API of the simulator: recordings, OpenAI's own client and rxstream agree about it."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, cast

import aiohttp
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops

from rxstream.errors import NotFoundError, ProviderError, StreamError, TransportError
from rxstream.flow import RetryPolicy
from rxstream.messages import AssembledMessage, ChatRequest, Message, Reasoning, Tool, Usage
from rxstream.providers import AiProvider
from rxstream.simulator import (
    FAST,
    At,
    Disconnect,
    ErrorEvent,
    HttpError,
    OfferedTool,
    Script,
    ScriptedCall,
    Settings,
    Simulator,
    Turn,
    Writes,
    body,
)
from rxstream.sinks import collect
from rxstream.tokens import FinishReason, Json, StreamToken, TextDelta
from tests.shared import SHARED, needs_shared
from tests.simulator.clients import ask, read_message
from tests.simulator.test_apis import shapes

if TYPE_CHECKING:
    import openai
    from openai.types.responses import Response

NAME = "openai.responses"
QUICK = Settings(speed=FAST)
TEXT = "Because of Rayleigh scattering, voilà. 日本 🙂"
CALLS = (ScriptedCall("look", {"at": "the sky"}), ScriptedCall("wait", {}))
USAGE = Usage(input_tokens=11, output_tokens=22, reasoning_tokens=5, cached_input_tokens=3, total_tokens=33)
SQL = Tool("write_sql", takes_free_text=True)


@asynccontextmanager
async def client_of(simulator: Simulator) -> "AsyncGenerator[openai.AsyncOpenAI]":
    openai = pytest.importorskip("openai")
    async with openai.AsyncOpenAI(base_url=simulator.base_url(NAME), api_key="sk-any", max_retries=0) as client:
        yield client


async def response_of(simulator: Simulator, **options: Any) -> "Response":
    """What the openai client makes of a stream."""
    async with client_of(simulator) as client, client.responses.stream(model="m", input="Why?", **options) as stream:
        async for _ in stream:
            pass
        return await stream.get_final_response()


async def message_of(simulator: Simulator, **options: Any) -> AssembledMessage:
    """What rxstream makes of a stream."""
    async with provider_of(simulator) as provider:
        return await collect(provider.stream("Why?", model="m", **options))


def provider_of(simulator: Simulator) -> AiProvider:
    return AiProvider(NAME, base_url=simulator.base_url(NAME), api_key=None, retry=RetryPolicy(retries=0))


SCRIPTS = {
    "responses-cjk": (Script(text="日本"), Turn()),
    "responses-refusal": (Script(refusal="I'm sorry."), Turn()),
    "responses-parallel-tools": (Script(tool_calls=(ScriptedCall("f", {"a": "b"}),) * 2), Turn()),
    "responses-incomplete": (Script(text="In the", finish=FinishReason.LENGTH), Turn()),
    "responses-reasoning-summary": (Script(text="Yes.", reasoning="Let me see."), Turn()),
}
VARYING = {
    *("tools", "billing", "max_tool_calls", "prompt_cache_key", "prompt_cache_retention", "safety_identifier"),
    *("background", "completed_at", "frequency_penalty", "presence_penalty", "moderation", "tool_usage"),
    *("max_output_tokens", "reasoning", "text", "top_logprobs", "temperature", "top_p", "obfuscation", "verbosity"),
    *("content", "input_tokens_details"),
}
"""What later versions of the service added, or what depends on the request."""


@needs_shared
@pytest.mark.parametrize("recording", SCRIPTS)
def test_events_have_the_shapes_that_were_recorded(recording: str) -> None:
    script, turn = SCRIPTS[recording]
    recorded = shapes((SHARED / "captures" / "openai" / f"{recording}.sse").read_bytes())

    made = shapes(body(NAME, script, turn))

    assert without(made) == without(recorded)


def without(value: Json) -> Json:
    """Shapes without what varies, each once."""
    if isinstance(value, dict):
        members = cast("dict[str, Json]", value)
        return {name: without(member) for name, member in members.items() if name not in VARYING}
    if isinstance(value, list):
        found: list[Json] = []
        for item in map(without, cast("list[Json]", value)):
            found += [] if item in found else [item]
        return found
    return value


@given(st.builds(Script, text=st.text(st.characters(codec="utf-8"), max_size=40)))
def test_padding_fills_every_delta_up_to_sixteen_bytes(script: Script) -> None:
    for event in body(NAME, script).split(b"\n\n"):
        if b".delta" in event:
            said = msgspec.json.decode(event.partition(b"data: ")[2])
            assert (len(said["delta"].encode()) + len(said["obfuscation"])) % 16 == 0

    assert b"obfuscation" not in body(NAME, script, Turn(wants_padding=False))


@given(st.integers(-1, 40), st.sampled_from([Script(text=TEXT), Script(tool_calls=CALLS), Script(reasoning="Hm.")]))
def test_a_stream_that_is_asked_for_again_is_what_comes_after_an_event(after: int, script: Script) -> None:
    events = body(NAME, script).split(b"\n\n")

    again = body(NAME, script, Turn(starting_after=after)).split(b"\n\n")

    assert again == events[after + 1 :] or again == [b""] == events[-1:]


def test_a_tool_that_takes_free_text_gets_it() -> None:
    turn = Turn(tools=(OfferedTool("write_sql", takes_free_text=True),))

    message = read_message(NAME, body(NAME, Script(tool_calls=(ScriptedCall("write_sql", "SELECT 1"),)), turn))

    [call] = message.tool_calls
    assert (call.arguments, call.arguments_raw) == (None, "SELECT 1")


def test_a_filter_and_a_failure_end_an_answer() -> None:
    filtered = read_message(NAME, body(NAME, Script(text="Hi", finish=FinishReason.CONTENT_FILTER)))

    assert (filtered.finish_reason, filtered.reason) == ("incomplete", FinishReason.CONTENT_FILTER)
    with pytest.raises(ProviderError, match="server had an error"):
        read_message(NAME, body(NAME, Script(text="Hi", finish=FinishReason.ERROR)))


@pytest.mark.parametrize("writes", [Writes(), Writes(every=1), Writes(every=11, seed=2)], ids=repr)
async def test_both_clients_get_text_thinking_and_usage(writes: Writes) -> None:
    script = Script(text=TEXT, reasoning="Let me think.", signature="c2ln", usage=USAGE, writes=writes)
    async with Simulator(QUICK) as simulator:
        simulator.expect(script, script)
        theirs, ours = await response_of(simulator), await message_of(simulator)

    thinking: Any = theirs.output[0]
    assert theirs.output_text == ours.text == TEXT
    assert thinking.summary[0].text == ours.reasoning == "Let me think."
    assert thinking.encrypted_content == getattr(ours.parts[0], "signature", None) == "c2ln"
    assert theirs.status == ours.finish_reason == "completed"
    assert theirs.usage is not None
    assert ours.usage is not None
    assert (theirs.usage.input_tokens, theirs.usage.output_tokens) == (11, 22)
    assert (ours.usage.input_tokens, ours.usage.output_tokens, ours.usage.reasoning_tokens) == (11, 22, 5)


@pytest.mark.parametrize("interleaved", [False, True])
async def test_both_clients_get_tool_calls(interleaved: bool) -> None:
    script = Script(text="Let me look.", tool_calls=CALLS, interleaved=interleaved)
    async with Simulator(QUICK) as simulator:
        simulator.expect(script, script)
        theirs, ours = await response_of(simulator), await message_of(simulator)

    calls: list[Any] = [item for item in theirs.output if item.type == "function_call"]
    assert [(call.name, call.arguments) for call in calls] == [
        ("look", '{"at":"the sky"}'),
        ("wait", "{}"),
    ]
    assert [(call.name, call.arguments_raw) for call in ours.tool_calls] == [
        (call.name, call.arguments) for call in calls
    ]
    assert all(call.call_id.startswith("call_") for call in calls)
    assert ours.reason is FinishReason.TOOL_CALLS


async def test_both_clients_get_free_text_and_refusals() -> None:
    called = Script(tool_calls=(ScriptedCall("write_sql", 'SELECT "1"'),))
    refused = Script(refusal="I would rather not.")
    custom: Any = [{"type": "custom", "name": "write_sql"}]
    async with Simulator(QUICK) as simulator:
        simulator.expect(called, called, refused, refused)
        their_call, our_call = await response_of(simulator, tools=custom), await message_of(simulator, tools=[SQL])
        theirs, ours = await response_of(simulator), await message_of(simulator)

    item: Any = their_call.output[0]
    assert item.input == our_call.tool_calls[0].arguments_raw == 'SELECT "1"'
    said: Any = theirs.output[0]
    assert said.content[0].refusal == ours.refusal == "I would rather not."
    assert ours.reason is FinishReason.REFUSAL


async def test_the_openai_client_gets_whole_answers_counts_and_log_probabilities() -> None:
    async with Simulator(QUICK) as simulator, client_of(simulator) as client:
        simulator.expect(Script(text=TEXT, tool_calls=CALLS), Script(text=TEXT))
        whole = await client.responses.create(model="m", input="Why?")
        likely = await message_of(simulator, logprobs=0)
        again = await client.responses.retrieve(whole.id)
        count = await client.responses.input_tokens.count(model="m", input="Why is the sky blue?")
        async with provider_of(simulator) as provider:
            counted = await provider.count_tokens("Why is the sky blue?", model="m")
            models = await provider.list_models()

    assert whole.output_text == again.output_text == TEXT
    assert len(whole.output) == 3
    assert "".join(each.token for each in likely.logprobs) == TEXT
    assert count.input_tokens == counted > 0
    assert "simulated" in models


async def test_both_clients_raise_what_they_should() -> None:
    openai = pytest.importorskip("openai")
    broken = Script(text=TEXT, faults=(ErrorEvent(at=At(tokens=3), message="out of ink"),))
    limited = Script(faults=(HttpError(status=429),))
    async with Simulator(QUICK) as simulator:
        simulator.expect(limited, broken, broken)
        with pytest.raises(openai.RateLimitError):
            await response_of(simulator)
        with pytest.raises(openai.APIError, match="out of ink"):
            await response_of(simulator)
        with pytest.raises(ProviderError, match="out of ink") as raised:
            await message_of(simulator)

    assert raised.value.partial is not None
    assert TEXT.startswith(raised.value.partial.text)


async def test_a_conversation_goes_on_with_what_the_tools_gave() -> None:
    async with Simulator(Settings(speed=FAST, script=Script(call_tools=True))) as simulator:
        async with provider_of(simulator) as provider:
            asked = [Message("user", "Oslo")]
            schema = {"type": "object", "properties": {"city": {"type": "string"}}}
            request = ChatRequest(
                model="m", messages=asked, tools=[Tool("weather", None, schema)], reasoning=Reasoning("low")
            )
            called = await collect(provider.stream(request))
            results = [Message.tool_result(call.id or "", "18 °C") for call in called.tool_calls]
            told = await collect(provider.stream(request, messages=[*asked, called.as_message(), *results]))

        last: Any = (await simulator.received(2)).body

    assert [call.arguments for call in called.tool_calls] == [{"city": "Oslo"}]
    assert "18 °C" in told.text
    assert [item.get("type") for item in last["input"]] == [None, "reasoning", "function_call", "function_call_output"]


@pytest.mark.parametrize("after", ["the user", "another call"])
async def test_results_of_an_earlier_turn_are_not_told_again(after: str) -> None:
    said: dict[str, list[Any]] = {
        "the user": [{"role": "user", "content": "Thanks, and Rome?"}],
        "another call": [
            {"type": "function_call", "call_id": "c2", "name": "weather", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c2", "output": "30 °C"},
        ],
    }
    turns = [
        {"role": "user", "content": "Oslo"},
        {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": "18 °C"},
        *said[after],
    ]
    tools: list[Any] = [{"type": "function", "name": "weather", "parameters": {}}]
    async with Simulator(Settings(speed=FAST, script=Script(call_tools=True))) as simulator:
        got = await ask(simulator, NAME, input=turns, tools=tools)

    message = read_message(NAME, got.body)
    assert "18 °C" not in message.text
    assert bool(message.tool_calls) is (after == "the user")


@pytest.mark.parametrize(("wanted", "is_padded"), [(False, False), (True, True), (None, True)])
async def test_padding_is_left_out_where_nobody_wants_it(wanted: bool | None, is_padded: bool) -> None:
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, NAME, Script(text="Hi"), stream_options={"include_obfuscation": wanted})

    assert (b"obfuscation" in got.body) is is_padded


@pytest.mark.parametrize("tokens", [0, 1, 5, 17])
async def test_a_stream_that_broke_goes_on_where_it_did(tokens: int) -> None:
    heard: list[StreamToken] = []
    script = Script(text=TEXT * 3, faults=(Disconnect(at=At(tokens=tokens)),))
    async with Simulator(QUICK) as simulator, provider_of(simulator) as provider:
        simulator.expect(script)
        with pytest.raises(TransportError) as broken:
            await collect(provider.stream("Why?", model="m").pipe(ops.do_action(heard.append)))
        partial = broken.value.partial
        assert partial is not None
        if partial.id is None:  # nothing came that could go on
            assert tokens == 0
            return
        assert broken.value.resume_after is not None
        rest = await collect(
            provider.resume(partial.id, after=broken.value.resume_after).pipe(ops.do_action(heard.append))
        )

    assert partial.text + rest.text == TEXT * 3
    assert "".join(token.text for token in heard if isinstance(token, TextDelta)) == TEXT * 3
    assert rest.complete
    assert rest.usage is not None


async def test_a_call_that_broke_off_is_whole_when_it_is_resumed() -> None:
    calls = (ScriptedCall("look", {"at": "one two three four five six"}, "call_1"),)
    script = Script(tool_calls=calls, faults=(Disconnect(at=At(tokens=4)),))
    async with Simulator(QUICK) as simulator, provider_of(simulator) as provider:
        simulator.expect(script)
        with pytest.raises(TransportError) as broken:
            await collect(provider.stream("Why?", model="m"))
        partial, after = broken.value.partial, broken.value.resume_after
        assert partial is not None
        assert partial.id is not None
        assert after is not None
        rest = await collect(provider.resume(partial.id, after=after))

    assert [call.arguments for call in partial.tool_calls] == [None]
    assert [(call.id, call.arguments) for call in rest.tool_calls] == [("call_1", calls[0].arguments)]
    assert rest.reason is FinishReason.TOOL_CALLS


async def test_an_answer_that_nobody_gave_cannot_be_resumed() -> None:
    async with Simulator(QUICK) as simulator, provider_of(simulator) as provider:
        with pytest.raises(NotFoundError, match="resp_x"):
            await collect(provider.resume("resp_x", after=3))


@pytest.mark.parametrize("query", ["starting_after=x", "starting_after=-7", "starting_after=99999999999"])
async def test_a_place_that_is_none_is_no_address(query: str) -> None:
    async with Simulator(QUICK) as simulator, aiohttp.ClientSession() as session:
        url = f"{simulator.base_url(NAME)}/responses/resp_x?stream=true&{query}"
        async with session.get(url) as response:
            assert response.status == 404


async def test_a_limit_that_the_service_refuses_is_refused() -> None:
    async with Simulator(QUICK) as simulator:
        with pytest.raises(StreamError, match="max_output_tokens") as raised:
            await message_of(simulator, max_tokens=3)

    assert raised.value.code == "integer_below_min_value"
