"""Cohere: both versions of its chat API."""

import json
from typing import Any

import pytest

from rxstream.dialect import Dialect
from rxstream.dialects.cohere_v1 import COHERE_V1
from rxstream.dialects.cohere_v2 import COHERE_V2
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    ProtocolError,
    ProviderError,
    RateLimitedError,
)
from rxstream.messages import (
    ChatRequest,
    ImagePart,
    JsonSchema,
    Message,
    Reasoning,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolNamed,
)
from rxstream.tokens import FinishReason, LogProbs, RawEvent, StreamEnd, StreamStart, ToolCall, ToolCallTruncated
from tests.dialects.reading import Outcome, fixtures_of, read
from tests.dialects.sent import sent_by, written

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"at": {"type": "string", "description": "Where."}, "times": {"type": "integer"}},
    "required": ["at"],
}
LOOK = Tool("look", "Look at something.", SCHEMA)
CONVERSATION = [
    Message("system", "Be brief."),
    Message("user", "What is this?"),
    Message(
        "assistant",
        [
            ReasoningPart("Better look."),
            TextPart("Let me look."),
            ToolCallPart("look_1", "look", '{"at":"the sky"}'),
        ],
    ),
    Message.tool_result("look_1", "blue"),
]
OPTIONS: dict[str, Any] = {
    "max_tokens": 50,
    "temperature": 0.5,
    "p": 0.9,
    "k": 40,
    "stop_sequences": ["END"],
    "seed": 7,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
}
"""The same in both versions."""
REQUEST = ChatRequest(
    model="command-x",
    messages=CONVERSATION,
    tools=[LOOK],
    response_format=JsonSchema("answer", SCHEMA),
    max_tokens=50,
    temperature=0.5,
    top_p=0.9,
    top_k=40,
    stop=["END"],
    seed=7,
    presence_penalty=0.1,
    frequency_penalty=0.2,
)


def fixture(dialect: Dialect[Any], name: str, *, raw_events: bool = False) -> Outcome:
    [path] = [path for path in fixtures_of(dialect) if path.stem == name]
    return read(dialect, [path.read_bytes()], raw_events=raw_events)


each_version = pytest.mark.parametrize("dialect", [COHERE_V1, COHERE_V2], ids=lambda dialect: dialect.name)


@each_version
def test_text_comes_with_its_citations_and_usage(dialect: Dialect[Any]) -> None:
    message = fixture(dialect, "everything").message

    assert (message.text, message.id, message.provider) == ("Grün is the sky.", "3f0c", dialect.name)
    first = message.citations[0]
    assert (first.start, first.end, first.url, first.title, first.text) == (
        *(0, 4),
        "https://example.com/sky",
        "Skies",
        "green",
    )
    assert message.usage is not None
    assert (message.usage.input_tokens, message.usage.output_tokens) == (30, 9)
    assert (message.finish_reason, message.reason) == ("COMPLETE", FinishReason.STOP)


def test_thinking_and_probabilities_are_kept_apart() -> None:
    outcome = fixture(COHERE_V2, "everything")

    assert outcome.message.reasoning == "Hm …"
    assert outcome.message.usage is not None
    assert (outcome.message.usage.reasoning_tokens, outcome.message.usage.cached_input_tokens) == (2, 16)
    [logprobs] = [token for token in outcome.tokens if isinstance(token, LogProbs)]
    assert [(each.token, each.logprob) for each in logprobs.content] == [("Grün", -0.75)]


@each_version
def test_calls_come_after_a_plan_that_is_no_text(dialect: Dialect[Any]) -> None:
    outcome = fixture(dialect, "tools")

    assert outcome.message.text == outcome.message.reasoning == ""
    assert [(call.name, call.arguments) for call in outcome.message.tool_calls] == [
        ("look", {"at": "sky"}),
        ("wait", {}),
    ]
    assert outcome.message.reason is FinishReason.TOOL_CALLS
    [end] = [token for token in outcome.tokens if isinstance(token, StreamEnd)]
    assert end.details == {"tool_plan": "I will look."}


def test_the_text_of_arguments_is_kept_where_there_is_one() -> None:
    calls = {dialect.name: fixture(dialect, "tools").message.tool_calls for dialect in (COHERE_V1, COHERE_V2)}

    assert [(call.id, call.arguments_raw) for call in calls["cohere.v2"]] == [
        ("look_1", '{\n  "at": "sky"\n}'),
        ("wait_2", ""),
    ]
    assert [(call.id, call.arguments_raw) for call in calls["cohere.v1"]] == [(None, None), (None, None)]


@each_version
def test_arguments_that_a_limit_cut_are_no_call(dialect: Dialect[Any]) -> None:
    outcome = fixture(dialect, "cut-in-arguments")

    assert [type(token) for token in outcome.tokens if isinstance(token, ToolCall | ToolCallTruncated)] == [
        ToolCallTruncated
    ]
    assert outcome.message.reason is FinishReason.LENGTH


@each_version
def test_an_end_that_says_error_is_an_error_after_the_end(dialect: Dialect[Any]) -> None:
    outcome = fixture(dialect, "error-finish")

    assert isinstance(outcome.error, ProviderError)
    assert outcome.error.provider == dialect.name
    assert isinstance(outcome.tokens[-1], StreamEnd)
    assert (outcome.message.finish_reason, outcome.message.reason) == ("ERROR", FinishReason.ERROR)
    assert outcome.message.complete
    assert outcome.message.error is not None


def test_the_error_of_an_end_is_named() -> None:
    error = fixture(COHERE_V2, "error-finish").error

    assert isinstance(error, InvalidRequestError)
    assert (error.kind, error.message) == ("INVALID_TOOL_GENERATION", "no tools could be made")


@each_version
def test_a_complaint_in_place_of_an_event_is_an_error(dialect: Dialect[Any]) -> None:
    outcome = fixture(dialect, "error-line")

    assert isinstance(outcome.error, ProviderError)
    assert (outcome.error.message, outcome.error.request_id) == ("internal trouble", "req-7")
    assert outcome.message.text == "A"


@each_version
def test_what_is_new_is_skipped_and_given_as_it_is_if_asked_for(dialect: Dialect[Any]) -> None:
    quiet, raw = fixture(dialect, "odd"), fixture(dialect, "odd", raw_events=True)

    assert not [token for token in quiet.tokens if isinstance(token, RawEvent)]
    assert [token.event for token in raw.tokens if isinstance(token, RawEvent)]
    assert (quiet.message.finish_reason, quiet.message.reason) == ("BORED", FinishReason.OTHER)


def test_a_stream_without_a_beginning_has_its_text() -> None:
    outcome = fixture(COHERE_V2, "odd")

    assert [token for token in outcome.tokens if isinstance(token, StreamStart)] == [
        StreamStart(None, None, "cohere.v2")
    ]
    assert outcome.message.text == "AB"


def read_events(*events: dict[str, Any]) -> Outcome:
    """What a stream of version 2 comes to."""
    return read(COHERE_V2, [b"data: %b\n\n" % json.dumps(event).encode() for event in events])


def call_start(index: int, name: str) -> dict[str, Any]:
    call = {"id": name, "type": "function", "function": {"name": name, "arguments": ""}}
    return {"type": "tool-call-start", "index": index, "delta": {"message": {"tool_calls": call}}}


def message_end(word: str, **more: Any) -> dict[str, Any]:
    return {"type": "message-end", "delta": {"finish_reason": word, **more}}


def test_a_call_that_begins_in_the_place_of_another_ends_it() -> None:
    outcome = read_events(call_start(0, "look"), call_start(0, "wait"), message_end("TOOL_CALL"))

    assert [(call.id, call.name) for call in outcome.message.tool_calls] == [("look", "look"), ("wait", "wait")]


def test_a_call_that_a_limit_cut_before_its_arguments_is_none() -> None:
    outcome = read_events(call_start(0, "look"), message_end("MAX_TOKENS"))

    assert [type(token) for token in outcome.tokens if isinstance(token, ToolCall | ToolCallTruncated)] == [
        ToolCallTruncated
    ]


@pytest.mark.parametrize("end", [message_end("COMPLETE", error="it broke"), message_end("TIMEOUT")])
def test_an_end_with_an_error_or_a_word_for_one_is_an_error(end: dict[str, Any]) -> None:
    outcome = read_events(end)

    assert isinstance(outcome.error, ProviderError)
    assert outcome.message.reason is FinishReason.ERROR


def test_a_request_of_version_2_says_all_that_it_can() -> None:
    request = COHERE_V2.build_request(REQUEST)

    assert request.path == "/v2/chat"
    assert written(request) == {"model": "command-x", "stream": True, "messages": MESSAGES_2, **OPTIONS_2}


def test_a_request_of_version_1_says_all_that_it_can() -> None:
    request = COHERE_V1.build_request(REQUEST)

    assert request.path == "/v1/chat"
    assert written(request) == {"model": "command-x", "stream": True, "message": "", **HISTORY_1, **OPTIONS_1}


MESSAGES_2: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is this?"},
    {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "Better look."}, {"type": "text", "text": "Let me look."}],
        "tool_calls": [
            {"id": "look_1", "type": "function", "function": {"name": "look", "arguments": '{"at":"the sky"}'}}
        ],
    },
    {"role": "tool", "tool_call_id": "look_1", "content": "blue"},
]
OPTIONS_2: dict[str, Any] = {
    "tools": [
        {"type": "function", "function": {"name": "look", "description": "Look at something.", "parameters": SCHEMA}}
    ],
    "response_format": {"type": "json_object", "json_schema": SCHEMA},
    **OPTIONS,
}
CALL_1 = {"name": "look", "parameters": {"at": "the sky"}}
HISTORY_1: dict[str, Any] = {
    "chat_history": [
        {"role": "SYSTEM", "message": "Be brief."},
        {"role": "USER", "message": "What is this?"},
        {"role": "CHATBOT", "message": "Let me look.", "tool_calls": [CALL_1]},
    ],
    "tool_results": [{"call": CALL_1, "outputs": [{"result": "blue"}]}],
}
OPTIONS_1: dict[str, Any] = {
    "tools": [
        {
            "name": "look",
            "description": "Look at something.",
            "parameter_definitions": {
                "at": {"description": "Where.", "type": "str", "required": True},
                "times": {"type": "int", "required": False},
            },
        }
    ],
    "response_format": {"type": "json_object", "schema": SCHEMA},
    **OPTIONS,
}


async def test_the_vendors_sdk_sends_the_same_to_version_2() -> None:
    cohere = pytest.importorskip("cohere")
    types = pytest.importorskip("cohere.types")
    more: dict[str, Any] = {
        "tool_choice": "REQUIRED",
        "strict_tools": True,
        "logprobs": True,
        "thinking": types.Thinking(type="enabled", token_budget=100),
    }

    async def ask(address: str) -> None:
        client = cohere.AsyncClientV2(api_key="any", base_url=address)
        async for _ in client.chat_stream(model="command-x", messages=MESSAGES_2, **OPTIONS_2, **more):
            pass

    sent = await sent_by(ask, b"data: [DONE]\n\n", "text/event-stream")

    strict = Tool("look", "Look at something.", SCHEMA, strict=True)
    asked = ChatRequest.of(
        REQUEST, tools=[strict], tool_choice="required", logprobs=0, reasoning=Reasoning(budget_tokens=100)
    )
    assert sent.path == COHERE_V2.build_request(asked).path
    assert b"authorization: bearer any" in sent.head
    assert sent.body == written(COHERE_V2.build_request(asked))


async def test_the_vendors_sdk_sends_the_same_to_version_1() -> None:
    cohere = pytest.importorskip("cohere")

    async def ask(address: str) -> None:
        client = cohere.AsyncClient(api_key="any", base_url=address)
        async for _ in client.chat_stream(model="command-x", message="", **HISTORY_1, **OPTIONS_1):
            pass

    sent = await sent_by(ask, b"", "application/stream+json")

    assert sent.path == COHERE_V1.build_request(REQUEST).path
    assert sent.body == written(COHERE_V1.build_request(REQUEST))


def test_images_go_to_version_2() -> None:
    image = ImagePart(data=b"x", media_type="image/png", detail="low")

    [message] = written(COHERE_V2.build_request(ChatRequest(model="m", messages=[Message("user", [image])])))[
        "messages"
    ]

    assert message["content"] == [
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,eA==", "detail": "low"}}
    ]


@pytest.mark.parametrize(
    ("reasoning", "thinking"),
    [
        (Reasoning(), {"type": "enabled"}),
        (Reasoning(effort="none"), {"type": "disabled"}),
        (Reasoning(budget_tokens=9), {"type": "enabled", "token_budget": 9}),
    ],
)
def test_thinking_may_have_a_budget_or_be_switched_off(reasoning: Reasoning, thinking: dict[str, Any]) -> None:
    request = ChatRequest.of("Hi", model="m", reasoning=reasoning)

    assert written(COHERE_V2.build_request(request))["thinking"] == thinking


def test_the_last_words_of_the_user_go_apart_from_the_history() -> None:
    messages = [Message("user", "Hi"), Message("assistant", "Hello."), Message("user", "Bye")]

    body = written(COHERE_V1.build_request(ChatRequest(model="m", messages=messages)))

    assert body["message"] == "Bye"
    assert body["chat_history"] == [{"role": "USER", "message": "Hi"}, {"role": "CHATBOT", "message": "Hello."}]


def test_a_result_without_an_id_goes_by_the_name_of_its_tool() -> None:
    calls = [
        ToolCallPart(None, "look", "{}"),
        ToolCallPart(None, "wait", ""),
        ToolCallPart(None, "look", '{"at":"me"}'),
    ]
    messages = [
        Message("user", "Hi"),
        Message("assistant", [*calls]),
        Message.tool_result(None, "over", is_error=True, name="wait"),
        Message.tool_result(None, "blue", name="look"),
        Message.tool_result(None, "you", name="look"),
    ]

    body = written(COHERE_V1.build_request(ChatRequest(model="m", messages=messages)))

    assert body["tool_results"] == [
        {"call": {"name": "wait", "parameters": {}}, "outputs": [{"error": "over"}]},
        {"call": {"name": "look", "parameters": {}}, "outputs": [{"result": "blue"}]},
        {"call": {"name": "look", "parameters": {"at": "me"}}, "outputs": [{"result": "you"}]},
    ]


@pytest.mark.parametrize(
    ("dialect", "options", "complaint"),
    [
        (COHERE_V2, {"tool_choice": ToolNamed("look")}, "no tool_choice of a tool by name"),
        (COHERE_V2, {"tools": [LOOK], "parallel_tool_calls": False}, "no parallel_tool_calls=False"),
        (COHERE_V2, {"reasoning": Reasoning(effort="high")}, r"no reasoning\.effort"),
        (COHERE_V2, {"logprobs": 3}, "no number of log probabilities"),
        (COHERE_V2, {"messages": [Message("user", "Hi", name="Ada")]}, r"no messages\[\]\.name"),
        (COHERE_V1, {"messages": [Message("user", "Hi", name="Ada")]}, r"no messages\[\]\.name"),
        (COHERE_V1, {"tool_choice": "required"}, "no tool_choice"),
        (COHERE_V1, {"tools": [Tool("look", strict=True)]}, "no strict tools"),
        (COHERE_V1, {"messages": []}, "needs a message"),
        (COHERE_V1, {"messages": [Message("assistant", "Hi")]}, "last message must be"),
        (COHERE_V1, {"messages": [Message.tool_result("a", "b")]}, "names neither"),
        (COHERE_V1, {"messages": [Message("user", [ToolCallPart("a", "look", "{}")])]}, "can't hold tool calls"),
    ],
)
def test_what_the_api_cannot_be_asked_is_named(dialect: Dialect[Any], options: dict[str, Any], complaint: str) -> None:
    asked: dict[str, Any] = {"messages": [Message("user", "Hi")], **options}

    with pytest.raises(ConfigurationError, match=complaint) as caught:
        dialect.build_request(ChatRequest(model="m", **asked))

    assert caught.value.provider == dialect.name


@pytest.mark.parametrize(
    "options",
    [
        {"messages": [Message("user", [ImagePart(url="https://example.com/sky.png")])]},
        {"reasoning": Reasoning()},
        {"logprobs": 0},
        {"n": 2},
    ],
)
def test_what_version_1_lacks_is_known_before(options: dict[str, Any]) -> None:
    asked: dict[str, Any] = {"messages": [Message("user", "Hi")], **options}

    with pytest.raises(ConfigurationError, match="this API can't do"):
        COHERE_V1.check(ChatRequest(model="m", **asked))


@each_version
@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (400, {"error_type": "TOO_MANY_TOKENS", "id": "req-7", "message": "too long"}, InvalidRequestError),
        (401, {"id": "req-7", "message": "no such key"}, AuthenticationError),
        (429, {"id": "req-7", "message": "slow down"}, RateLimitedError),
    ],
)
def test_refusals_are_of_the_right_class(
    dialect: Dialect[Any], status: int, body: dict[str, Any], kind: type[ProviderError]
) -> None:
    error = dialect.read_error(status, {}, json.dumps(body).encode())

    assert type(error) is kind
    assert (error.message, error.provider, error.request_id) == (body["message"], dialect.name, "req-7")
    assert error.kind == body.get("error_type")


@each_version
def test_models_come_in_pages(dialect: Dialect[Any]) -> None:
    assert dialect.read_models is not None
    assert dialect.models_path is not None

    page = dialect.read_models(b'{"models":[{"name":"command-x","endpoints":["chat"]}],"next_page_token":"a/b="}')
    last = dialect.read_models(b'{"models":[]}')

    assert (page.models, page.next_path) == (["command-x"], f"{dialect.models_path}&page_token=a%2Fb%3D")
    assert last.next_path is None
    with pytest.raises(ProtocolError):
        dialect.read_models(b"<html>")


@each_version
def test_limits_are_those_of_trial_keys(dialect: Dialect[Any]) -> None:
    stated = {"x-trial-endpoint-call-limit": "40", "x-trial-endpoint-call-remaining": "39"}

    limits = dialect.read_limits({**stated, "x-endpoint-monthly-call-limit": "1000", "date": "now"})

    assert (limits.limit_requests, limits.remaining_requests) == (40, 39)
    assert limits.details == {**stated, "x-endpoint-monthly-call-limit": "1000"}
