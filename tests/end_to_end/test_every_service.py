"""One program for every service: the same lines, and another name.

Each API that is both a dialect and spoken by the simulator is asked in the same way.
"""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rxstream.dialects import dialect, dialects
from rxstream.messages import AssembledMessage, Message, Tool
from rxstream.operators import text
from rxstream.providers import AiProvider
from rxstream.simulator import FAST, Script, Settings, Simulator, apis
from rxstream.sinks import collect, iterate
from rxstream.tokens import FinishReason, Json

SERVICES = sorted(set(dialects()) & set(apis()))
CALLERS = [api for api in SERVICES if dialect(api).capabilities.tools]
WEATHER = Tool(
    "get_weather",
    "The weather in a city, right now.",
    {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
)

MODELS = {"bedrock.invoke": "anthropic.some-model"}
"""Where the name of the model says in whose words it is asked."""

each_service = pytest.mark.parametrize("api", SERVICES)


def get_weather(arguments: Json) -> str:
    """What the tool says."""
    assert isinstance(arguments, dict)
    return f"Sunny, 21 °C in {arguments['city']}"


async def talk(provider: AiProvider, model: str, question: str) -> tuple[AssembledMessage, list[Message]]:
    """Ask `question`, run the tool as often as the model wants, and return the answer and all that was said."""
    messages = [Message("user", question)]
    while True:
        answer = await collect(provider.stream(messages, model=model, tools=[WEATHER]))
        messages.append(answer.as_message())
        if not answer.tool_calls:
            return answer, messages
        messages += [
            Message.tool_result(call.id, get_weather(call.arguments), name=call.name) for call in answer.tool_calls
        ]


def with_provider(api: str, test: Callable[[AiProvider, Simulator], Awaitable[None]], **options: Any) -> Any:
    """Run `test` with a provider of `api` in front of a simulator of its own."""

    async def run() -> None:
        async with (
            Simulator(Settings(speed=FAST, **options)) as simulator,
            AiProvider(api, base_url=simulator.base_url(api), api_key="any-key") as provider,
        ):
            await test(provider, simulator)

    return run()


@each_service
async def test_the_same_question_gets_the_same_answer(api: str) -> None:
    async def test(provider: AiProvider, _: Simulator) -> None:
        async with iterate(provider.stream("Why?", model=MODELS.get(api, "some-model")).pipe(text())) as pieces:
            assert [piece async for piece in pieces] == list(said)
        answer = await collect(provider.stream("Why?", model=MODELS.get(api, "some-model")))
        assert (answer.text, answer.complete, answer.reason) == ("".join(said), True, FinishReason.STOP)
        assert answer.usage is not None
        assert answer.usage.output_tokens

    said = ("Because ", "of ", "Rayleigh ", "scattering, ", "voilà. 日本 🙂")
    await with_provider(api, test, script=Script(deltas=said))


@pytest.mark.parametrize("api", CALLERS)
async def test_a_conversation_with_a_tool_is_the_same_ten_lines_for_each(api: str) -> None:
    async def test(provider: AiProvider, simulator: Simulator) -> None:
        answer, messages = await talk(provider, MODELS.get(api, "some-model"), "What is the weather in Paris?")

        assert [message.role for message in messages] == ["user", "assistant", "tool", "assistant"]
        assert "Sunny, 21 °C" in answer.text
        assert simulator.requests_made == 2

    await with_provider(api, test, script=Script(call_tools=True))


@each_service
async def test_a_provider_is_healthy_and_tells_its_models(api: str) -> None:
    async def test(provider: AiProvider, _: Simulator) -> None:
        assert (await provider.check_health()).is_healthy
        if provider.dialect.read_models is not None:
            assert "simulated-thinking" in await provider.list_models()
            assert (await provider.check_health("simulated")).is_healthy
            assert (await provider.check_health("real")).problem == "model"

    await with_provider(api, test)


@pytest.mark.parametrize("api", [api for api in SERVICES if dialect(api).capabilities.token_counting])
async def test_a_provider_counts_tokens_where_its_service_does(api: str) -> None:
    async def test(provider: AiProvider, _: Simulator) -> None:
        few = await provider.count_tokens("Why is the sky blue?", model=MODELS.get(api, "some-model"))
        many = await provider.count_tokens("Why is the sky blue? " * 10, model=MODELS.get(api, "some-model"))

        assert 0 < few < many

    await with_provider(api, test)


@each_service
async def test_a_wrong_key_is_what_is_wrong(api: str) -> None:
    async def test(provider: AiProvider, _: Simulator) -> None:
        assert (await provider.check_health()).problem == "key"

    if dialect(api).key_variable is None:
        pytest.skip("the service takes no key")
    await with_provider(api, test, key="another-key")
