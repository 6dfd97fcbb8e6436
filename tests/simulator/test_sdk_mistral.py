"""Mistral's own Python client reads the simulator without complaint, and gets what ours gets."""

import gc
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from rxstream.messages import AssembledMessage, Usage
from rxstream.providers import AiProvider
from rxstream.simulator import FAST, HttpError, Script, ScriptedCall, Settings, Simulator, Writes
from rxstream.sinks import collect
from tests.loopback import turns

client: Any = pytest.importorskip("mistralai.client")

QUICK = Settings(speed=FAST)
ASKED: list[Any] = [{"role": "user", "content": "Why is the sky blue?"}]
TEXT = "Because of Rayleigh scattering, voilà. 日本 🙂"
CALLS = (ScriptedCall("look", {"at": "the sky"}), ScriptedCall("wait", {}))
USAGE = Usage(input_tokens=11, output_tokens=22, cached_input_tokens=3, total_tokens=33)


@pytest.fixture(autouse=True)
async def each_client_closes_its_connections() -> AsyncGenerator[None]:
    """It does so in a task, on whichever loop runs when it is collected: let that be this one."""
    yield
    gc.collect()
    await turns()


def mistral(simulator: Simulator) -> Any:
    address = simulator.base_url("mistral.chat").removesuffix("/v1")
    return client.Mistral(api_key="any", server_url=address, retry_config=None)


class Theirs:
    """What the client makes of a stream."""

    def __init__(self) -> None:
        self.text = self.reasoning = ""
        self.calls: list[tuple[str, str, str]] = []
        self.finish_reason: str | None = None
        self.usage: Any = None
        self.id: str | None = None

    def add(self, chunk: Any) -> None:
        self.id = chunk.id
        self.usage = chunk.usage or self.usage
        [choice] = chunk.choices
        self.finish_reason = choice.finish_reason or self.finish_reason
        content: Any = choice.delta.content or ""
        parts: list[Any] = [] if isinstance(content, str) else list(content)
        self.text += content if isinstance(content, str) else ""
        self.text += "".join(part.text for part in parts if part.type == "text")
        self.reasoning += "".join(each.text for part in parts if part.type == "thinking" for each in part.thinking)
        calls: list[Any] = choice.delta.tool_calls or []
        self.calls += [(call.id, call.function.name, call.function.arguments) for call in calls]


async def theirs(simulator: Simulator) -> Theirs:
    read = Theirs()
    async with mistral(simulator) as service:
        stream = await service.chat.stream_async(model="any", messages=ASKED)
        async with stream:
            async for event in stream:
                read.add(event.data)
    return read


async def ours(simulator: Simulator) -> AssembledMessage:
    async with AiProvider("mistral.chat", base_url=simulator.base_url("mistral.chat"), api_key="any") as provider:
        return await collect(provider.stream("Why is the sky blue?", model="any"))


@pytest.mark.parametrize("writes", [Writes(), Writes(every=1), Writes(every=11, seed=2)], ids=repr)
async def test_both_get_text_thinking_and_usage(writes: Writes) -> None:
    script = Script(text=TEXT, reasoning="Let me think.", usage=USAGE, writes=writes)
    async with Simulator(Settings(speed=FAST, script=script)) as simulator:
        read, message = await theirs(simulator), await ours(simulator)

    assert (read.text, read.reasoning, read.finish_reason) == (TEXT, "Let me think.", "stop")
    assert (message.text, message.reasoning, message.finish_reason) == (TEXT, "Let me think.", "stop")
    assert (read.usage.prompt_tokens, read.usage.completion_tokens) == (11, 22)
    assert message.usage is not None
    assert (message.usage.input_tokens, message.usage.output_tokens, message.usage.cached_input_tokens) == (11, 22, 3)


async def test_both_get_tool_calls() -> None:
    async with Simulator(Settings(speed=FAST, script=Script(tool_calls=CALLS))) as simulator:
        read, message = await theirs(simulator), await ours(simulator)

    wanted = [("look", '{"at":"the sky"}'), ("wait", "{}")]
    assert [(name, arguments) for _, name, arguments in read.calls] == wanted
    assert [(call.name, call.arguments_raw) for call in message.tool_calls] == wanted
    assert all(len(id) == 9 for id, _, _ in read.calls)
    assert read.finish_reason == message.finish_reason == "tool_calls"


async def test_the_client_gets_whole_answers_and_models() -> None:
    async with Simulator(QUICK) as simulator, mistral(simulator) as service:
        simulator.expect(Script(text=TEXT, tool_calls=CALLS))
        answer = await service.chat.complete_async(model="any", messages=ASKED)
        models = await service.models.list_async()

    assert answer.choices[0].message.content == TEXT
    assert [call.function.name for call in answer.choices[0].message.tool_calls] == ["look", "wait"]
    assert "simulated" in [model.id for model in models.data]


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
async def test_the_client_raises_what_it_should(status: int) -> None:
    errors: Any = pytest.importorskip("mistralai.client.errors")
    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(faults=(HttpError(status=status),)))
        with pytest.raises(errors.SDKError) as raised:
            await theirs(simulator)

    assert raised.value.status_code == status
