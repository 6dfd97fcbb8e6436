"""What Ollama is asked: written down by us from its documentation, and as its own SDK sends it."""

import json
from pathlib import Path
from typing import Any

import pytest

from rxstream.dialects.ollama_native import NAME, OLLAMA_NATIVE, build_request
from rxstream.errors import ConfigurationError
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
    ToolResultPart,
)
from rxstream.tokens import Json
from tests.dialects.reading import FIXTURES, read
from tests.dialects.sent import sent_by, written

SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
TEXT = Path(FIXTURES, NAME, "text.ndjson").read_bytes()


def asked(*messages: Message, **options: Any) -> dict[str, Json]:
    """The body of a request."""
    return written(build_request(ChatRequest(model="m", messages=list(messages), **options)))


def lines(*messages: Message) -> Json:
    return asked(*messages)["messages"]


def test_the_smallest_request() -> None:
    request = build_request(ChatRequest.of("Hello", model="m"))

    assert (request.method, request.path) == ("POST", "/api/chat")
    assert request.headers == {"content-type": "application/json", "accept": "application/x-ndjson"}
    assert json.loads(request.body) == {
        "model": "m",
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }


EVERYTHING = ChatRequest(
    model="m",
    messages=[
        Message("system", "Be brief."),
        Message("user", [TextPart("What is this?"), ImagePart(data=b"\x89PNG", media_type="image/png")]),
        Message("assistant", [ReasoningPart("Hm."), TextPart("Let me add."), ToolCallPart(None, "add", '{"a": 1}')]),
        Message.tool_result(None, "2", name="add"),
    ],
    tools=[Tool("add", "Adds.", SCHEMA), Tool("now")],
    response_format=JsonSchema("sum", SCHEMA),
    max_tokens=99,
    temperature=0.0,
    top_p=0.5,
    top_k=3,
    stop=["###"],
    seed=7,
    presence_penalty=0.25,
    frequency_penalty=-0.5,
    logprobs=4,
    reasoning=Reasoning(effort="low"),
)
WRITTEN: dict[str, Json] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is this?", "images": ["iVBORw=="]},
        {
            "role": "assistant",
            "content": "Let me add.",
            "thinking": "Hm.",
            "tool_calls": [{"function": {"name": "add", "arguments": {"a": 1}}}],
        },
        {"role": "tool", "content": "2", "tool_name": "add"},
    ],
    "tools": [
        {"type": "function", "function": {"name": "add", "description": "Adds.", "parameters": SCHEMA}},
        {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
    ],
    "format": SCHEMA,
    "options": {
        "num_predict": 99,
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": 3,
        "stop": ["###"],
        "seed": 7,
        "presence_penalty": 0.25,
        "frequency_penalty": -0.5,
    },
    "think": "low",
    "logprobs": True,
    "top_logprobs": 4,
    "stream": True,
}


def test_a_request_with_everything() -> None:
    assert written(build_request(EVERYTHING)) == WRITTEN


async def test_the_client_sends_the_same_body_for_the_same_conversation() -> None:
    ollama: Any = pytest.importorskip("ollama")

    async def ask(address: str) -> object:
        client = ollama.AsyncClient(address)
        stream = await client.chat(**{**WRITTEN, "think": "low"})
        heard = [chunk async for chunk in stream]
        await client.close()
        return heard

    sent = await sent_by(ask, TEXT, "application/x-ndjson")

    assert sent.path == build_request(EVERYTHING).path
    assert sent.body == WRITTEN


def test_an_answer_goes_back_as_it_came() -> None:
    answer = read(OLLAMA_NATIVE, [Path(FIXTURES, NAME, "everything.ndjson").read_bytes()])

    [line] = lines(answer.message.as_message())

    assert line == {
        "role": "assistant",
        "content": "Look: now",
        "thinking": "Let me think.",
        "tool_calls": [
            {"id": "call_1", "function": {"name": "look", "arguments": {"at": "the sky", "n": [1, 2.5, None]}}},
            {"function": {"name": "wait", "arguments": {}}},
            {"function": {"name": "go", "arguments": {"to": "München"}}},
        ],
    }


def test_a_result_names_its_tool_by_itself_or_by_the_call() -> None:
    call = Message("assistant", [ToolCallPart("c", "look", "{}")])

    assert lines(call, Message.tool_result("c", "sky"), Message.tool_result("d", "no", is_error=True))[1:] == [
        {"role": "tool", "content": "sky", "tool_name": "look", "tool_call_id": "c"},
        {"role": "tool", "content": "Error: no", "tool_call_id": "d"},
    ]


def test_each_result_is_a_message_of_its_own_before_the_rest() -> None:
    held = Message("user", [ToolResultPart("a", "1", name="f"), TextPart("Go "), TextPart("on.")])

    assert lines(held) == [
        {"role": "tool", "content": "1", "tool_name": "f", "tool_call_id": "a"},
        {"role": "user", "content": "Go on."},
    ]


def test_the_developer_is_the_system() -> None:
    assert lines(Message("developer", "Be brief.")) == [{"role": "system", "content": "Be brief."}]


@pytest.mark.parametrize(
    ("effort", "think"), [(None, True), ("none", False), ("low", "low"), ("high", "high"), ("max", "max")]
)
def test_how_much_to_think(effort: str | None, think: Json) -> None:
    assert asked(reasoning=Reasoning(effort=effort))["think"] == think


def test_json_without_a_schema() -> None:
    assert asked(response_format="json")["format"] == "json"
    assert "format" not in asked(response_format="text")


def test_extra_is_laid_over_what_it_has_in_common_with_the_body() -> None:
    body = asked(temperature=0.5, extra={"keep_alive": "5m", "options": {"num_ctx": 8_192}})

    assert body["options"] == {"temperature": 0.5, "num_ctx": 8_192}
    assert body["keep_alive"] == "5m"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": ToolNamed("f")}, "tool_choice"),
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"reasoning": Reasoning(budget_tokens=5)}, "budget_tokens"),
        ({"n": 2}, "no n"),
        ({"tools": [Tool("f", takes_free_text=True)]}, "free_text"),
        ({"messages": [Message("user", "Hi", name="Ada")]}, "name"),
        ({"messages": [Message("user", [ImagePart(url="https://example.org/a.png")])]}, "bytes"),
        ({"messages": [Message("assistant", [ToolCallPart("a", "f", "[1]")])]}, "no JSON object"),
        ({"extra": {"x": object}}, "can't be written as JSON"),
    ],
    ids=str,
)
def test_what_the_api_can_not_be_asked_is_refused_before_it_is_sent(options: dict[str, Any], complaint: str) -> None:
    request: dict[str, Any] = {"model": "m", "messages": [Message("user", "Hi")], **options}

    with pytest.raises(ConfigurationError, match=complaint) as raised:
        build_request(ChatRequest(**request))

    assert raised.value.provider == NAME


@pytest.mark.parametrize(("option", "value"), [("n", 1), ("tool_choice", "auto"), ("parallel_tool_calls", True)])
def test_asking_for_what_there_is_anyway_is_no_fault(option: str, value: Json) -> None:
    assert asked(**{option: value}) == asked()
