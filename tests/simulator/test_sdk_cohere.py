"""Cohere's own Python client reads the simulator without complaint, and gets what ours gets."""

from itertools import groupby
from typing import Any

import pytest

from rxstream.errors import InvalidRequestError, ProviderError
from rxstream.messages import AssembledMessage, Usage
from rxstream.providers import AiProvider
from rxstream.simulator import FAST, At, ErrorEvent, HttpError, Script, ScriptedCall, Settings, Simulator, Writes
from rxstream.sinks import collect

cohere: Any = pytest.importorskip("cohere")

QUICK = Settings(speed=FAST)
QUESTION = "Why is the sky blue?"
TEXT = "Because of Rayleigh scattering, voilà. 日本 🙂"
CALLS = (ScriptedCall("look", {"at": "the sky"}), ScriptedCall("wait", {}))
USAGE = Usage(input_tokens=11, output_tokens=22, reasoning_tokens=5, cached_input_tokens=3)

each_writing = pytest.mark.parametrize("writes", [Writes(), Writes(every=1), Writes(every=11, seed=2)], ids=repr)
each_version = pytest.mark.parametrize("version", [1, 2])


def client(simulator: Simulator, version: int) -> Any:
    kind = cohere.AsyncClientV2 if version == 2 else cohere.AsyncClient
    return kind(api_key="any", base_url=simulator.base_url(f"cohere.v{version}"))


async def theirs(simulator: Simulator, version: int) -> list[Any]:
    """The events that the client makes of a stream."""
    asked: dict[str, Any] = (
        {"messages": [{"role": "user", "content": QUESTION}]} if version == 2 else {"message": QUESTION}
    )
    options: dict[str, Any] = {"request_options": {"max_retries": 0}}
    async with client(simulator, version) as service:
        return [event async for event in service.chat_stream(model="any", **asked, **options)]


async def ours(simulator: Simulator, version: int) -> AssembledMessage:
    api = f"cohere.v{version}"
    async with AiProvider(api, base_url=simulator.base_url(api), api_key="any") as provider:
        return await collect(provider.stream(QUESTION, model="any"))


@each_writing
async def test_both_get_text_thinking_and_usage_of_version_2(writes: Writes) -> None:
    script = Script(text=TEXT, reasoning="Let me think.", usage=USAGE, writes=writes)
    async with Simulator(Settings(speed=FAST, script=script)) as simulator:
        events, message = await theirs(simulator, 2), await ours(simulator, 2)

    contents = [event.delta.message.content for event in events if event.type == "content-delta"]
    assert "".join(content.text or "" for content in contents) == message.text == TEXT
    assert "".join(content.thinking or "" for content in contents) == message.reasoning == "Let me think."
    tokens = events[-1].delta.usage.tokens
    assert message.usage is not None
    assert (tokens.input_tokens, tokens.output_tokens) == (11, 22)
    assert (message.usage.input_tokens, message.usage.output_tokens) == (11, 22)
    assert (message.usage.reasoning_tokens, message.usage.cached_input_tokens) == (5, 3)


async def test_every_block_begins_and_ends() -> None:
    script = Script(text="It is. It was.", reasoning="Hm. Yes.", tool_calls=CALLS[:1])
    async with Simulator(Settings(speed=FAST, script=script)) as simulator:
        events = await theirs(simulator, 2)

    block = ["content-start", "content-delta", "content-end"]
    call = ["tool-call-start", "tool-call-delta", "tool-call-end"]
    assert [kind for kind, _ in groupby(event.type for event in events)] == [
        "message-start",
        *block,
        *block,
        *call,
        "message-end",
    ]
    assert [event.index for event in events if event.type in {"content-start", "tool-call-start"}] == [0, 1, 0]


@each_writing
async def test_both_get_text_and_usage_of_version_1(writes: Writes) -> None:
    async with Simulator(Settings(speed=FAST, script=Script(text=TEXT, usage=USAGE, writes=writes))) as simulator:
        events, message = await theirs(simulator, 1), await ours(simulator, 1)

    said = [event.text for event in events if event.event_type == "text-generation"]
    assert "".join(said) == events[-1].response.text == message.text == TEXT
    assert events[0].generation_id == events[-1].response.generation_id
    tokens = events[-1].response.meta.tokens
    assert message.usage is not None
    assert (tokens.input_tokens, tokens.output_tokens) == (11, 22)
    assert (message.usage.input_tokens, message.usage.output_tokens) == (11, 22)


@pytest.mark.parametrize("interleaved", [False, True])
async def test_both_get_tool_calls_of_version_2(interleaved: bool) -> None:
    script = Script(text="Let me look.", tool_calls=CALLS, interleaved=interleaved)
    async with Simulator(Settings(speed=FAST, script=script)) as simulator:
        events, message = await theirs(simulator, 2), await ours(simulator, 2)

    starts = [event.delta.message.tool_calls for event in events if event.type == "tool-call-start"]
    assert [start.function.name for start in starts] == [call.name for call in message.tool_calls] == ["look", "wait"]
    arguments = ["", ""]
    for event in events:
        if event.type == "tool-call-delta":
            arguments[event.index] += event.delta.message.tool_calls.function.arguments
    assert arguments == [call.arguments_raw for call in message.tool_calls] == ['{"at":"the sky"}', "{}"]
    assert events[-1].delta.finish_reason == message.finish_reason == "TOOL_CALL"


async def test_both_get_tool_calls_of_version_1() -> None:
    async with Simulator(Settings(speed=FAST, script=Script(tool_calls=CALLS))) as simulator:
        events, message = await theirs(simulator, 1), await ours(simulator, 1)

    [given] = [event.tool_calls for event in events if event.event_type == "tool-calls-generation"]
    wanted: list[Any] = [("look", {"at": "the sky"}), ("wait", {})]
    assert [(call.name, call.parameters) for call in given] == wanted
    assert [(call.name, call.arguments) for call in message.tool_calls] == wanted


async def test_the_client_gets_whole_answers() -> None:
    async with Simulator(Settings(speed=FAST, script=Script(text=TEXT, tool_calls=CALLS))) as simulator:
        messages = [{"role": "user", "content": QUESTION}]
        async with client(simulator, 2) as service:
            second = await service.chat(model="any", messages=messages)
        async with client(simulator, 1) as service:
            first = await service.chat(model="any", message=QUESTION)

    assert second.message.content[0].text == first.text == TEXT
    assert [call.function.name for call in second.message.tool_calls] == ["look", "wait"]
    assert [call.name for call in first.tool_calls] == ["look", "wait"]


@each_version
async def test_the_client_gets_the_models(version: int) -> None:
    async with Simulator(QUICK) as simulator, client(simulator, version) as service:
        listed = await service.models.list()

    assert "simulated" in [model.name for model in listed.models]


@each_version
@pytest.mark.parametrize(
    ("status", "name"),
    [
        (400, "BadRequestError"),
        (401, "UnauthorizedError"),
        (404, "NotFoundError"),
        (429, "TooManyRequestsError"),
        (500, "InternalServerError"),
    ],
)
async def test_the_client_raises_what_it_should(version: int, status: int, name: str) -> None:
    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(faults=(HttpError(status=status),)))
        with pytest.raises(getattr(cohere, name)) as raised:
            await theirs(simulator, version)

    assert raised.value.status_code == status


@each_version
async def test_an_error_in_the_end_is_one_for_us_even_where_the_client_says_nothing(version: int) -> None:
    fault = ErrorEvent(at=At(tokens=3), message="out of ink", kind="TOO_MANY_TOKENS")
    async with Simulator(Settings(speed=FAST, script=Script(text=TEXT, faults=(fault,)))) as simulator:
        events = await theirs(simulator, version)
        with pytest.raises(ProviderError, match="out of ink") as raised:
            await ours(simulator, version)

    end = events[-1].delta if version == 2 else events[-1]
    assert end.finish_reason == "ERROR"
    assert isinstance(raised.value, InvalidRequestError) == (version == 2)
    assert raised.value.partial is not None
    assert TEXT.startswith(raised.value.partial.text)
