"""The services' own Python clients read the simulator without complaint: that keeps it honest."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from msgspec import structs

from rxstream.messages import Usage
from rxstream.simulator import FAST, At, ErrorEvent, HttpError, Script, ScriptedCall, Settings, Simulator, Writes

if TYPE_CHECKING:
    import anthropic
    import openai
    from anthropic.types import Message
    from openai.types.chat import ChatCompletion

QUICK = Settings(speed=FAST)
ASKED: list[Any] = [{"role": "user", "content": "Why is the sky blue?"}]
TEXT = "Because of Rayleigh scattering, voilà. 日本 🙂"
CALLS = (ScriptedCall("look", {"at": "the sky"}), ScriptedCall("wait", {}))
USAGE = Usage(input_tokens=11, output_tokens=22, reasoning_tokens=5, cached_input_tokens=3, total_tokens=33)


@asynccontextmanager
async def openai_client(simulator: Simulator, retries: int = 0) -> "AsyncGenerator[openai.AsyncOpenAI]":
    openai = pytest.importorskip("openai")
    base_url = simulator.base_url("openai.chat")
    async with openai.AsyncOpenAI(base_url=base_url, api_key="sk-any", max_retries=retries) as client:
        yield client


@asynccontextmanager
async def anthropic_client(simulator: Simulator, retries: int = 0) -> "AsyncGenerator[anthropic.AsyncAnthropic]":
    anthropic = pytest.importorskip("anthropic")
    base_url = simulator.base_url("anthropic.messages")
    async with anthropic.AsyncAnthropic(base_url=base_url, api_key="sk-any", max_retries=retries) as client:
        yield client


async def openai_completion(simulator: Simulator, **options: Any) -> "ChatCompletion":
    """What the openai client makes of a stream."""
    async with openai_client(simulator) as client:
        usage: Any = {"include_usage": True}
        asked = client.chat.completions.stream(model="gpt-5", messages=ASKED, stream_options=usage, **options)
        async with asked as stream:
            return await stream.get_final_completion()


async def anthropic_message(simulator: Simulator, **options: Any) -> "Message":
    """What the anthropic client makes of a stream."""
    async with (
        anthropic_client(simulator) as client,
        client.messages.stream(model="claude-x", max_tokens=1_000, messages=ASKED, **options) as stream,
    ):
        return await stream.get_final_message()


@pytest.mark.parametrize("writes", [Writes(), Writes(every=1), Writes(every=11, seed=2)], ids=repr)
async def test_the_openai_client_gets_text_and_usage(writes: Writes) -> None:
    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(text=TEXT, usage=USAGE, writes=writes))
        completion = await openai_completion(simulator)

    assert completion.choices[0].message.content == TEXT
    assert completion.choices[0].finish_reason == "stop"
    assert completion.usage is not None
    assert (completion.usage.prompt_tokens, completion.usage.completion_tokens) == (11, 22)
    assert completion.usage.completion_tokens_details is not None
    assert completion.usage.completion_tokens_details.reasoning_tokens == 5


@pytest.mark.parametrize("interleaved", [False, True])
@pytest.mark.parametrize("calls", [CALLS, CALLS[:1]], ids=["parallel", "single"])
async def test_the_openai_client_gets_tool_calls(calls: tuple[ScriptedCall, ...], interleaved: bool) -> None:
    async with Simulator(QUICK) as simulator:
        script = Script(tool_calls=calls, interleaved=interleaved)
        simulator.expect(script, structs.replace(script, text="Let me look."))
        answers = [await openai_completion(simulator) for _ in range(2)]

    for completion in answers:
        made: Any = completion.choices[0].message.tool_calls
        assert [(call.function.name, call.function.arguments) for call in made] == [
            ("look", '{"at":"the sky"}'),
            ("wait", "{}"),
        ][: len(calls)]
        assert all(call.id.startswith("call_") for call in made)
        assert completion.choices[0].finish_reason == "tool_calls"


async def test_the_openai_client_gets_a_refusal_and_choices_and_log_probabilities() -> None:
    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(refusal="I would rather not."), Script(text=TEXT))
        refused = await openai_completion(simulator)
        several = await openai_completion(simulator, n=3, logprobs=True)

    assert refused.choices[0].message.refusal == "I would rather not."
    assert [choice.message.content for choice in several.choices] == [TEXT] * 3
    assert several.choices[2].logprobs is not None
    assert "".join(each.token for each in several.choices[2].logprobs.content or []) == TEXT


async def test_the_openai_client_gets_whole_answers_and_models() -> None:
    async with Simulator(QUICK) as simulator, openai_client(simulator) as client:
        simulator.expect(Script(text=TEXT, tool_calls=CALLS), Script(refusal="I would rather not."))
        completion = await client.chat.completions.create(model="gpt-5", messages=ASKED)
        refused = await client.chat.completions.create(model="gpt-5", messages=ASKED)
        models = [model.id async for model in client.models.list()]

    assert completion.choices[0].message.content == TEXT
    assert len(completion.choices[0].message.tool_calls or []) == 2
    assert refused.choices[0].message.refusal == "I would rather not."
    assert "simulated" in models


async def test_the_openai_client_raises_what_it_should() -> None:
    openai = pytest.importorskip("openai")
    statuses = {
        400: openai.BadRequestError,
        401: openai.AuthenticationError,
        404: openai.NotFoundError,
        429: openai.RateLimitError,
        500: openai.InternalServerError,
    }
    async with Simulator(QUICK) as simulator:
        for status, expected in statuses.items():
            simulator.expect(Script(faults=(HttpError(status=status),)))
            with pytest.raises(expected) as raised:
                await openai_completion(simulator)
            assert raised.value.request_id.startswith("req_")
        simulator.expect(Script(text=TEXT, faults=(ErrorEvent(at=At(tokens=3), message="out of ink"),)))
        with pytest.raises(openai.APIError, match="out of ink"):
            await openai_completion(simulator)


async def test_the_openai_client_tries_again_as_the_headers_say() -> None:
    limited = HttpError(status=429, headers={"retry-after-ms": "1"}, times=2)
    async with Simulator(Settings(speed=FAST, script=Script(text="Hi", faults=(limited,)))) as simulator:
        async with openai_client(simulator, retries=2) as client:
            completion = await client.chat.completions.create(model="gpt-5", messages=ASKED)

        assert completion.choices[0].message.content == "Hi"
        assert simulator.requests_made == 3


@pytest.mark.parametrize("writes", [Writes(), Writes(every=1), Writes(every=11, seed=2)], ids=repr)
async def test_the_anthropic_client_gets_text_thinking_and_usage(writes: Writes) -> None:
    script = Script(text=TEXT, reasoning="Let me think.", signature="c2ln", redacted="x", usage=USAGE, writes=writes)
    async with Simulator(QUICK) as simulator:
        simulator.expect(script)
        message = await anthropic_message(simulator)

    blocks: list[Any] = list(message.content)
    redacted, thinking, text = blocks
    assert (redacted.type, thinking.type, text.type) == ("redacted_thinking", "thinking", "text")
    assert (thinking.thinking, thinking.signature, text.text) == ("Let me think.", "c2ln", TEXT)
    assert (message.usage.input_tokens, message.usage.output_tokens, message.stop_reason) == (11, 22, "end_turn")


@pytest.mark.parametrize("interleaved", [False, True])
async def test_the_anthropic_client_gets_tool_calls(interleaved: bool) -> None:
    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(text="Let me look.", tool_calls=CALLS, interleaved=interleaved))
        message = await anthropic_message(simulator)

    calls = [block for block in message.content if block.type == "tool_use"]
    assert [(call.name, call.input) for call in calls] == [("look", {"at": "the sky"}), ("wait", {})]
    assert all(call.id.startswith("toolu_01") for call in calls)
    assert message.stop_reason == "tool_use"


async def test_the_anthropic_client_gets_refusals_and_stop_sequences() -> None:
    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(refusal="I would rather not."), Script(text="Hi", stop_sequence="END"))
        refused = await anthropic_message(simulator)
        stopped = await anthropic_message(simulator, stop_sequences=["END"])

    assert refused.stop_reason == "refusal"
    assert refused.stop_details is not None
    assert refused.stop_details.explanation == "I would rather not."
    assert (stopped.stop_reason, stopped.stop_sequence) == ("stop_sequence", "END")


async def test_the_anthropic_client_gets_whole_answers_and_models() -> None:
    async with Simulator(QUICK) as simulator, anthropic_client(simulator) as client:
        simulator.expect(Script(text=TEXT, reasoning="Hm.", tool_calls=CALLS))
        message = await client.messages.create(model="claude-x", max_tokens=1_000, messages=ASKED)
        models = [model.id async for model in client.models.list()]

    assert [block.type for block in message.content] == ["thinking", "text", "tool_use", "tool_use"]
    assert "simulated" in models


async def test_the_anthropic_client_raises_what_it_should() -> None:
    anthropic = pytest.importorskip("anthropic")
    statuses = {
        400: anthropic.BadRequestError,
        401: anthropic.AuthenticationError,
        404: anthropic.NotFoundError,
        429: anthropic.RateLimitError,
        500: anthropic.InternalServerError,
        529: anthropic.InternalServerError,
    }
    async with Simulator(QUICK) as simulator:
        for status, expected in statuses.items():
            simulator.expect(Script(faults=(HttpError(status=status),)))
            with pytest.raises((expected, anthropic.APIStatusError)) as raised:
                await anthropic_message(simulator)
            assert raised.value.status_code == status
            assert raised.value.request_id.startswith("req_")
        simulator.expect(Script(text=TEXT, faults=(ErrorEvent(at=At(tokens=3), message="Overloaded now"),)))
        with pytest.raises(anthropic.APIStatusError, match="Overloaded now"):
            await anthropic_message(simulator)


def gemini_response(simulator: Simulator, *, vertex: bool = False, **config: Any) -> Any:
    """What Google's client makes of a stream: the parts of all events, and the last one of them."""
    genai = pytest.importorskip("google.genai")
    facts: dict[str, Any] = {"api_key": "any"}
    if vertex:
        credentials: Any = pytest.importorskip("google.oauth2.credentials").Credentials("ya29")
        facts = {"vertexai": True, "project": "p", "location": "l", "credentials": credentials}
    with genai.Client(**facts, http_options={"base_url": simulator.url}) as client:
        chunks = list(client.models.generate_content_stream(model="gemini-x", contents="Why?", config=config))
    parts = [part for chunk in chunks for part in chunk.candidates[0].content.parts]
    return parts, chunks[-1]


@pytest.mark.parametrize("writes", [Writes(), Writes(every=1), Writes(every=11, seed=2)], ids=repr)
async def test_the_gemini_client_gets_text_thinking_and_usage(writes: Writes) -> None:
    script = Script(text=TEXT, reasoning="Let me think.", signature="c2ln", usage=USAGE, writes=writes)
    async with Simulator(QUICK) as simulator:
        simulator.expect(script)
        parts, last = await asyncio.to_thread(gemini_response, simulator)

    assert "".join(part.text for part in parts if part.thought) == "Let me think."
    assert "".join(part.text for part in parts if not part.thought) == TEXT
    assert [part.thought_signature for part in parts if part.thought_signature] == [b"sig"]
    usage = last.usage_metadata
    assert (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count) == (11, 22, 5)
    assert last.candidates[0].finish_reason == "STOP"


async def test_the_gemini_client_gets_tool_calls() -> None:
    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(text="Let me look.", tool_calls=CALLS))
        parts, last = await asyncio.to_thread(gemini_response, simulator)

    calls = [part.function_call for part in parts if part.function_call]
    assert [(call.name, call.args) for call in calls] == [("look", {"at": "the sky"}), ("wait", {})]
    assert all(call.id for call in calls)
    assert last.candidates[0].finish_reason == "STOP"


async def test_the_gemini_client_gets_the_arguments_in_pieces_that_it_asks_vertex_for() -> None:
    calling = {"mode": "ANY", "streamFunctionCallArguments": True}
    config: dict[str, Any] = {
        "tool_config": {"functionCallingConfig": calling},
        "automatic_function_calling": {"disable": True},
    }
    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(tool_calls=CALLS[:1]))
        parts, _ = await asyncio.to_thread(gemini_response, simulator, vertex=True, **config)

    calls = [part.function_call for part in parts if part.function_call]
    leaves = [leaf for call in calls for leaf in call.partial_args or ()]
    assert [(call.name, call.will_continue) for call in calls[:1]] == [("look", True)]
    assert {leaf.json_path for leaf in leaves} == {"$.at"}
    assert "".join(leaf.string_value or "" for leaf in leaves) == "the sky"
    assert not calls[-1].will_continue


async def test_the_gemini_client_gets_refusals_whole_answers_models_and_counts() -> None:
    genai: Any = pytest.importorskip("google.genai")

    def ask(simulator: Simulator) -> Any:
        with genai.Client(api_key="any", http_options={"base_url": simulator.url}) as client:
            whole = client.models.generate_content(model="gemini-x", contents="Why?")
            names = [model.name for model in client.models.list()]
            return whole, names, client.models.count_tokens(model="gemini-x", contents="Why is the sky blue?")

    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(text=TEXT, reasoning="Hm.", tool_calls=CALLS), Script(refusal="I would rather not."))
        whole, names, count = await asyncio.to_thread(ask, simulator)
        _, refused = await asyncio.to_thread(gemini_response, simulator)

    candidate = whole.candidates[0]
    assert [part.text for part in candidate.content.parts if part.text] == ["Hm.", TEXT]
    assert [part.function_call.name for part in candidate.content.parts if part.function_call] == ["look", "wait"]
    assert "models/simulated" in names
    assert count.total_tokens > 3
    assert refused.candidates[0].finish_reason == "SAFETY"


async def test_the_gemini_client_raises_what_it_should() -> None:
    errors: Any = pytest.importorskip("google.genai.errors")
    async with Simulator(QUICK) as simulator:
        for status, expected in {400: errors.ClientError, 429: errors.ClientError, 503: errors.ServerError}.items():
            simulator.expect(Script(faults=(HttpError(status=status),)))
            with pytest.raises(expected) as raised:
                await asyncio.to_thread(gemini_response, simulator)
            assert raised.value.code == status
        simulator.expect(Script(text=TEXT, faults=(ErrorEvent(at=At(tokens=3), message="out of ink"),)))
        with pytest.raises(errors.APIError, match="out of ink"):
            await asyncio.to_thread(gemini_response, simulator)


async def ollama_chunks(simulator: Simulator, **options: Any) -> list[Any]:
    ollama: Any = pytest.importorskip("ollama")
    client = ollama.AsyncClient(simulator.base_url("ollama.native"))
    try:
        stream = await client.chat(model="llama-x", messages=ASKED, stream=True, **options)
        return [chunk async for chunk in stream]
    finally:
        await client.close()


@pytest.mark.parametrize("writes", [Writes(), Writes(every=1), Writes(every=11, seed=2)], ids=repr)
async def test_the_ollama_client_gets_text_thinking_tools_and_usage(writes: Writes) -> None:
    script = Script(text=TEXT, reasoning="Let me think.", tool_calls=CALLS, usage=USAGE, writes=writes)
    async with Simulator(QUICK) as simulator:
        simulator.expect(script)
        chunks = await ollama_chunks(simulator)

    assert "".join(chunk.message.thinking or "" for chunk in chunks) == "Let me think."
    assert "".join(chunk.message.content or "" for chunk in chunks) == TEXT
    calls = [call.function for chunk in chunks for call in chunk.message.tool_calls or ()]
    assert [(call.name, call.arguments) for call in calls] == [("look", {"at": "the sky"}), ("wait", {})]
    last = chunks[-1]
    assert (last.done, last.done_reason, last.prompt_eval_count, last.eval_count) == (True, "stop", 11, 22)


async def test_the_ollama_client_gets_whole_answers_and_models_and_raises_what_it_should() -> None:
    ollama: Any = pytest.importorskip("ollama")
    async with Simulator(QUICK) as simulator:
        client = ollama.AsyncClient(simulator.base_url("ollama.native"))
        simulator.expect(
            Script(text=TEXT, reasoning="Hm.", tool_calls=CALLS),
            Script(faults=(HttpError(status=404),)),
            Script(text=TEXT, faults=(ErrorEvent(at=At(tokens=3), message="out of ink"),)),
        )
        whole = await client.chat(model="llama-x", messages=ASKED)
        models = [model.model for model in (await client.list()).models]
        with pytest.raises(ollama.ResponseError, match="'llama-x' not found"):
            await client.chat(model="llama-x", messages=ASKED)
        with pytest.raises(ollama.ResponseError, match="out of ink"):
            await ollama_chunks(simulator)
        await client.close()

    assert (whole.message.content, whole.message.thinking) == (TEXT, "Hm.")
    assert len(whole.message.tool_calls) == 2
    assert "simulated" in models
