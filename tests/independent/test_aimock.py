"""Against a server that nobody on this project wrote: aimock, started from ../shared where Node is there."""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import suppress
from pathlib import Path

import pytest
from reactivex import operators as ops

from rxstream import (
    AiProvider,
    AssembledMessage,
    RateLimitedError,
    RetryPolicy,
    StreamToken,
    TextDelta,
    Tool,
    TransportError,
    collect,
    decode,
)
from rxstream.messages import ChatRequest, Message
from rxstream.tokens import FinishReason, Json
from tests.shared import SHARED, needs_shared

SCRIPT = SHARED / "servers" / "aimock.sh"
MODELS = {
    "bedrock.converse": "anthropic.claude-sonnet-4-5",
    "bedrock.invoke": "anthropic.claude-sonnet-4-5",
    "cohere.v2": "command-r",
    "openai.chat": "gpt-5",
    "openai.responses": "gpt-5",
    "anthropic.messages": "claude-sonnet-4-5",
    "gemini.generate": "gemini-2.5-pro",
    "ollama.native": "deepseek-reasoner",
}
PATIENCE = 30.0
WEATHER = Tool("get_weather", "Tell the weather.", {"type": "object", "properties": {"city": {"type": "string"}}})

pytestmark = [
    needs_shared,
    pytest.mark.skipif(shutil.which("node") is None or shutil.which("npm") is None, reason="Node is not there"),
    pytest.mark.parametrize("api", sorted(MODELS)),
]


@pytest.fixture(scope="module")
def aimock(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a running server."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    folder = tmp_path_factory.mktemp("aimock")
    environment = os.environ | {"DIR": str(folder), "PORT": str(port), "LATENCY": "2"}
    installed = subprocess.run(
        ["bash", str(SCRIPT), "install"], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    if installed.returncode or not Path(folder, "node_modules").is_dir():
        pytest.skip("aimock cannot be installed here")
    with subprocess.Popen(["bash", str(SCRIPT), "start"], env=environment) as process:
        try:
            _wait_until_listening(port)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait_until_listening(port: int) -> None:
    """Connect until somebody answers: a refused connection says at once that nobody listens yet."""
    end = time.monotonic() + PATIENCE
    while time.monotonic() < end:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=PATIENCE):
            return
    raise TimeoutError("aimock does not listen")


def provider(api: str, address: str) -> AiProvider:
    version = "/v1" if api.startswith("openai.") else "/v1beta" if api == "gemini.generate" else ""
    base_url = f"{address}{version}"
    return AiProvider(api, base_url=base_url, api_key="mock", retry=RetryPolicy(retries=0))


async def asked(api: str, address: str, prompt: str, **options: Json) -> AssembledMessage:
    async with provider(api, address) as service:
        return await collect(service.stream(prompt, model=MODELS[api], **options))


async def test_text_comes_whole_with_characters_cut_between_deltas_joined(api: str, aimock: str) -> None:
    message = await asked(api, aimock, "short")

    assert message.text == "The quick brown fox jumps over the lazy dog. Füße 日本語 👩‍👩‍👧 end."
    assert message.complete


async def test_a_tool_call_comes_whole(api: str, aimock: str) -> None:
    message = await asked(api, aimock, "weather", tools=[WEATHER])

    (call,) = message.tool_calls
    assert call.name == "get_weather"
    assert call.arguments == {"city": "Zürich", "unit": "c"}
    assert message.reason is FinishReason.TOOL_CALLS


async def test_thinking_is_kept_apart(api: str, aimock: str) -> None:
    if api in {"cohere.v2", "ollama.native"}:
        pytest.skip("aimock tells no thinking in this API")
    message = await asked(api, aimock, "think")

    assert message.reasoning == "First I weigh the options. Then I choose."
    assert message.text == "The answer is 42."


async def test_a_rate_limit_is_called_that(api: str, aimock: str) -> None:
    with pytest.raises(RateLimitedError) as caught:
        await asked(api, aimock, "limit")

    assert caught.value.status == 429
    assert caught.value.is_retryable


async def test_a_dropped_connection_keeps_what_came(api: str, aimock: str) -> None:
    heard: list[StreamToken] = []

    async with provider(api, aimock) as service:
        stream = service.stream("cut", model=MODELS[api]).pipe(ops.do_action(heard.append))
        with pytest.raises(TransportError) as caught:
            await collect(stream)

    text = "".join(token.text for token in heard if isinstance(token, TextDelta))
    assert text
    assert "This answer is cut off in the middle by a dropped connection".startswith(text)
    assert caught.value.partial is not None
    assert caught.value.partial.text == text


async def test_the_bytes_alone_give_the_same_through_the_operator(api: str, aimock: str) -> None:
    request = ChatRequest(model=MODELS[api], messages=[Message("user", "short")])
    async with provider(api, aimock) as service:
        through_operator = await collect(service.chunks(request).pipe(decode(api)))
        through_provider = await collect(service.stream(request))

    assert through_operator.text == through_provider.text
