"""Mistral: what is its own, beside what it shares with `openai.chat`."""

import gc
import json
from typing import Any

import pytest

from rxstream.dialects.mistral_chat import MISTRAL_CHAT
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    ProviderError,
    RateLimitedError,
)
from rxstream.messages import (
    ChatRequest,
    ImagePart,
    JsonSchema,
    Message,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolNamed,
)
from rxstream.tokens import FinishReason, ReasoningDelta, StreamStart
from tests.dialects.reading import Outcome, fixtures_of, read
from tests.dialects.sent import sent_by, written
from tests.loopback import turns

SCHEMA = {"type": "object", "properties": {"at": {"type": "string"}}, "required": ["at"]}
LOOK = Tool("look", "Look at something.", SCHEMA)
CONVERSATION = [
    Message("developer", "Be brief."),
    Message("user", [TextPart("What is this?"), ImagePart(url="https://example.com/sky.png")]),
    Message(
        "assistant",
        [
            ReasoningPart("Better look.", signature="c2ln"),
            TextPart("Let me look."),
            ToolCallPart("a1b2c3d4e", "look", '{"at":"the sky"}'),
        ],
    ),
    Message.tool_result("a1b2c3d4e", "blue"),
]
MESSAGES: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "What is this?"},
            {"type": "image_url", "image_url": {"url": "https://example.com/sky.png"}},
        ],
    },
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "Better look."}], "signature": "c2ln"},
            {"type": "text", "text": "Let me look."},
        ],
        "tool_calls": [
            {"id": "a1b2c3d4e", "type": "function", "function": {"name": "look", "arguments": '{"at":"the sky"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "a1b2c3d4e", "content": "blue"},
]
REQUEST = ChatRequest(
    model="mistral-tiny",
    messages=CONVERSATION,
    tools=[LOOK],
    tool_choice=ToolNamed("look"),
    parallel_tool_calls=False,
    response_format=JsonSchema("answer", SCHEMA),
    max_tokens=50,
    temperature=0.5,
    top_p=0.9,
    top_k=40,
    stop=["END"],
    seed=7,
    presence_penalty=0.1,
    frequency_penalty=0.2,
    n=2,
    logprobs=3,
)
OPTIONS: dict[str, Any] = {
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "Look at something.", "parameters": SCHEMA}}
    ],
    "tool_choice": {"type": "function", "function": {"name": "look"}},
    "parallel_tool_calls": False,
    "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}},
    "max_tokens": 50,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "stop": ["END"],
    "random_seed": 7,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "n": 2,
    "logprobs": True,
    "top_logprobs": 3,
}


def fixture(name: str) -> Outcome:
    [path] = [path for path in fixtures_of(MISTRAL_CHAT) if path.stem == name]
    return read(MISTRAL_CHAT, [path.read_bytes()])


def test_thinking_and_text_may_share_a_list() -> None:
    outcome = fixture("everything")

    assert (outcome.message.reasoning, outcome.message.text) == ("Sum it up.", "44 für dich")
    assert [token.signature for token in outcome.tokens if isinstance(token, ReasoningDelta)] == [None, None, "c2ln"]
    assert outcome.tokens[0] == StreamStart("0f1e2d3c", "mistral-tiny", "mistral.chat")


def test_calls_come_whole_and_usage_beside_them() -> None:
    message = fixture("everything").message

    assert [(call.name, call.arguments) for call in message.tool_calls] == [("look", {"at": "日本"}), ("wait", {})]
    assert message.reason is FinishReason.TOOL_CALLS
    assert message.usage is not None
    assert (message.usage.input_tokens, message.usage.output_tokens, message.usage.cached_input_tokens) == (9, 12, 4)


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    assert [call.arguments for call in fixture("no-index").message.tool_calls] == [{"at": 1}, {"at": 2}]


def test_a_limit_of_the_model_is_a_limit() -> None:
    message = fixture("model-length").message

    assert (message.finish_reason, message.reason) == ("model_length", FinishReason.LENGTH)


def test_an_error_in_the_stream_is_named_as_the_service_names_it() -> None:
    error = fixture("error").error

    assert isinstance(error, ProviderError)
    assert (error.provider, error.code) == ("mistral.chat", "3505")
    assert error.partial is not None
    assert error.partial.text == "Once"


def test_a_request_says_all_that_it_can() -> None:
    request = MISTRAL_CHAT.build_request(REQUEST)

    assert request.path == "/chat/completions"
    assert written(request) == {"model": "mistral-tiny", "messages": MESSAGES, "stream": True, **OPTIONS}


async def test_the_vendors_sdk_sends_the_same() -> None:
    client = pytest.importorskip("mistralai.client")

    async def ask(address: str) -> None:
        mistral = client.Mistral(api_key="any", server_url=address)
        stream = await mistral.chat.stream_async(model="mistral-tiny", messages=MESSAGES, **OPTIONS)
        async with stream:
            async for _ in stream:
                pass

    sent = await sent_by(ask, b"data: [DONE]\n\n", "text/event-stream")
    gc.collect()  # the client closes its connections in a task, on whichever loop runs when it is collected
    await turns()

    ours = written(MISTRAL_CHAT.build_request(REQUEST))
    assert sent.path == "/v1" + MISTRAL_CHAT.build_request(REQUEST).path
    assert b"authorization: bearer any" in sent.head
    assert without_defaults(sent.body) == ours


def without_defaults(body: dict[str, Any]) -> dict[str, Any]:
    """The body without what the SDK says of its own accord: its own defaults, which are the service's."""
    for message in body["messages"]:
        message.pop("prefix", None)
    for tool in body.get("tools", []):
        tool["function"].pop("strict", None)
    for message in body["messages"]:
        for call in message.get("tool_calls", []):
            call.pop("index", None)
    return body


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"messages": [Message("user", "Hi", name="Ada")]}, r"no messages\[\]\.name"),
        ({"messages": [Message("user", [ToolCallPart("a", "look", "{}")])]}, "can't hold tool calls"),
    ],
)
def test_what_the_api_cannot_be_asked_is_named(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint) as caught:
        MISTRAL_CHAT.build_request(ChatRequest(model="m", **options))

    assert caught.value.provider == "mistral.chat"


@pytest.mark.parametrize(
    ("status", "body", "kind", "message"),
    [
        (401, {"detail": "Invalid API Key"}, AuthenticationError, "Invalid API Key"),
        (
            422,
            {"detail": [{"loc": ["body", "seed"], "msg": "Extra inputs are not permitted", "type": "extra_forbidden"}]},
            InvalidRequestError,
            "body.seed: Extra inputs are not permitted",
        ),
        (
            400,
            {"object": "error", "message": "Invalid model: x", "type": "invalid_model", "code": "1500"},
            NotFoundError,
            "Invalid model: x",
        ),
        (429, {"object": "error", "message": "slow", "type": "rate_limited", "code": "1300"}, RateLimitedError, "slow"),
        (
            429,
            {"object": "error", "message": "full", "type": "service_tier_capacity_exceeded", "code": "3505"},
            OverloadedError,
            "full",
        ),
    ],
)
def test_refusals_are_of_the_right_class(
    status: int, body: dict[str, Any], kind: type[ProviderError], message: str
) -> None:
    error = MISTRAL_CHAT.read_error(status, {"x-kong-request-id": "req-7"}, json.dumps(body).encode())

    assert type(error) is kind
    assert (error.message, error.provider, error.request_id) == (message, "mistral.chat", "req-7")


def test_limits_go_by_the_size_of_requests() -> None:
    limits = MISTRAL_CHAT.read_limits(
        {
            "ratelimitbysize-limit": "500000",
            "ratelimitbysize-remaining": "499986",
            "ratelimitbysize-reset": "43",
            "ratelimitbysize-query-cost": "14",
            "x-ratelimit-limit-req-minute": "60",
            "x-ratelimit-remaining-req-minute": "59",
        }
    )

    assert (limits.limit_tokens, limits.remaining_tokens, limits.reset_tokens_s) == (500_000, 499_986, 43)
    assert (limits.limit_requests, limits.remaining_requests) == (60, 59)
    assert len(limits.details) == 6


def test_models_are_listed_by_id() -> None:
    assert MISTRAL_CHAT.read_models is not None

    page = MISTRAL_CHAT.read_models(b'{"object":"list","data":[{"id":"mistral-tiny"},{"id":"codestral"}]}')

    assert (page.models, page.next_path) == (["mistral-tiny", "codestral"], None)
