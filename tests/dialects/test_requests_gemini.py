"""What Gemini is asked: written down by us from its documentation, and as Google's own SDK sends it."""

import asyncio
import base64
import json
import re
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest

from rxstream.dialects import dialect
from rxstream.dialects.gemini_generate import GEMINI_GENERATE, NAME
from rxstream.errors import ConfigurationError
from rxstream.messages import (
    ChatRequest,
    ImagePart,
    JsonSchema,
    Message,
    Part,
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

VERTEX: Any = dialect("vertex")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
SIGNATURE = base64.b64encode(b"signed?>").decode()


def asked(*messages: Message, **options: Any) -> dict[str, Json]:
    """The body of a request."""
    return written(GEMINI_GENERATE.build_request(ChatRequest(model="gemini", messages=list(messages), **options)))


def contents(*messages: Message) -> Json:
    return asked(*messages)["contents"]


def parts(*held: Part) -> Json:
    """The parts of a turn of the model."""
    [content] = contents(Message("assistant", list(held)))
    return content["parts"]


def test_the_smallest_request() -> None:
    request = GEMINI_GENERATE.build_request(ChatRequest.of("Hello", model="gemini"))

    assert (request.method, request.path) == ("POST", "/models/gemini:streamGenerateContent?alt=sse")
    assert request.headers == {"content-type": "application/json"}
    assert json.loads(request.body) == {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}]}


EVERYTHING = ChatRequest(
    model="gemini-3-pro",
    messages=[
        Message("system", "Be brief."),
        Message(
            "user",
            [
                TextPart("What is this?"),
                ImagePart(data=b"\x89PNG", media_type="image/png", detail="low"),
                ImagePart(url="https://example.org/a.png", media_type="image/png"),
            ],
        ),
        Message(
            "assistant",
            [
                ReasoningPart("Hm."),
                ReasoningPart("", signature=SIGNATURE),
                ToolCallPart("c1", "add", '{"a": 1}'),
                ToolCallPart("c2", "now", ""),
            ],
        ),
        Message.tool_result("c1", "2"),
        Message.tool_result("c2", "no clock", is_error=True),
        Message("user", "Thanks."),
    ],
    tools=[Tool("add", "Adds.", SCHEMA), Tool("now")],
    tool_choice=ToolNamed("add"),
    response_format=JsonSchema("sum", SCHEMA),
    max_tokens=99,
    temperature=0.0,
    top_p=0.5,
    top_k=3,
    stop=["###"],
    seed=7,
    presence_penalty=0.25,
    frequency_penalty=-0.5,
    n=2,
    logprobs=4,
    reasoning=Reasoning(effort="low"),
)
WRITTEN: dict[str, Json] = {
    "systemInstruction": {"parts": [{"text": "Be brief."}]},
    "contents": [
        {
            "role": "user",
            "parts": [
                {"text": "What is this?"},
                {"inlineData": {"mimeType": "image/png", "data": "iVBORw=="}},
                {"fileData": {"mimeType": "image/png", "fileUri": "https://example.org/a.png"}},
            ],
        },
        {
            "role": "model",
            "parts": [
                {"text": "Hm.", "thought": True},
                {"functionCall": {"id": "c1", "name": "add", "args": {"a": 1}}, "thoughtSignature": SIGNATURE},
                {"functionCall": {"id": "c2", "name": "now", "args": {}}},
            ],
        },
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "c1", "name": "add", "response": {"output": "2"}}},
                {"functionResponse": {"id": "c2", "name": "now", "response": {"error": "no clock"}}},
            ],
        },
        {"role": "user", "parts": [{"text": "Thanks."}]},
    ],
    "tools": [
        {
            "functionDeclarations": [
                {"name": "add", "description": "Adds.", "parametersJsonSchema": SCHEMA},
                {"name": "now", "parametersJsonSchema": {"type": "object", "properties": {}}},
            ]
        }
    ],
    "toolConfig": {"functionCallingConfig": {"mode": "ANY", "allowedFunctionNames": ["add"]}},
    "generationConfig": {
        "maxOutputTokens": 99,
        "temperature": 0.0,
        "topP": 0.5,
        "topK": 3,
        "stopSequences": ["###"],
        "seed": 7,
        "presencePenalty": 0.25,
        "frequencyPenalty": -0.5,
        "candidateCount": 2,
        "responseLogprobs": True,
        "logprobs": 4,
        "responseMimeType": "application/json",
        "responseJsonSchema": SCHEMA,
        "thinkingConfig": {"includeThoughts": True, "thinkingLevel": "LOW"},
    },
}


@pytest.mark.parametrize("service", [GEMINI_GENERATE, VERTEX], ids=["gemini", "vertex"])
def test_a_request_with_everything(service: Any) -> None:
    request = service.build_request(EVERYTHING)

    assert request.path == "/models/gemini-3-pro:streamGenerateContent?alt=sse"
    assert written(request) == WRITTEN


# --- As Google's own client sends it ---


def answer_of(fixture: str) -> bytes:
    return Path(FIXTURES, NAME, f"{fixture}.sse").read_bytes()


@contextmanager
def client(address: str, *, vertex: bool = False) -> Generator[Any]:
    """Google's client, in front of a server on loopback; not the one for asyncio, which aiohttp warns of."""
    genai = pytest.importorskip("google.genai")
    facts: dict[str, Any] = {"api_key": "key"}
    if vertex:
        credentials: Any = pytest.importorskip("google.oauth2.credentials").Credentials("ya29")
        facts = {"vertexai": True, "project": "p", "location": "europe-west4", "credentials": credentials}
    options = {"base_url": address, "api_version": "v1" if vertex else "v1beta"}
    made = genai.Client(**facts, http_options=options)
    yield made
    made.close()


def streamed(model: str, spoken: Json, config: Json, *, vertex: bool = False) -> Callable[[str], Awaitable[object]]:
    def ask(address: str) -> object:
        with client(address, vertex=vertex) as google:
            return list(google.models.generate_content_stream(model=model, contents=spoken, config=config))

    return lambda address: asyncio.to_thread(ask, address)


def as_google_writes(value: Json) -> Json:
    """Our request in the client's spelling: it writes the URL-safe alphabet of base 64."""
    if isinstance(value, dict):
        members = cast("dict[str, Json]", value)
        return {
            name: member.replace("+", "-").replace("/", "_")
            if name in {"thoughtSignature", "data"}
            else as_google_writes(member)
            for name, member in members.items()
        }
    return [as_google_writes(item) for item in cast("list[Json]", value)] if isinstance(value, list) else value


def in_our_spelling(value: Json) -> Json:
    """What the client sent: it writes some names with underlines, which the service takes as well."""
    if isinstance(value, dict):
        members = cast("dict[str, Json]", value)
        return {re.sub("_(.)", lambda found: found[1].upper(), name): in_our_spelling(m) for name, m in members.items()}
    return [in_our_spelling(item) for item in cast("list[Json]", value)] if isinstance(value, list) else value


def without_role_of_system(body: dict[str, Any]) -> Json:
    """The client gives the system prompt the role of the user, which says nothing there."""
    body.get("systemInstruction", {}).pop("role", None)
    return in_our_spelling(body)


def sdk_config() -> dict[str, Json]:
    options = {name: value for name, value in WRITTEN["generationConfig"].items() if name != "thinkingConfig"}
    return {
        **options,
        "system_instruction": "Be brief.",
        "tools": WRITTEN["tools"],
        "tool_config": WRITTEN["toolConfig"],
        "thinking_config": {"include_thoughts": True, "thinking_level": "LOW"},
    }


@pytest.mark.parametrize("vertex", [False, True], ids=["gemini", "vertex"])
async def test_the_client_sends_the_same_body_for_the_same_conversation(vertex: bool) -> None:
    ask = streamed("gemini-3-pro", WRITTEN["contents"], sdk_config(), vertex=vertex)

    sent = await sent_by(ask, answer_of("text"), "text/event-stream")

    assert without_role_of_system(sent.body) == as_google_writes(WRITTEN)


@pytest.mark.parametrize(
    ("service", "home", "key"),
    [
        (GEMINI_GENERATE, "/v1beta", "key"),
        (VERTEX, "/v1/projects/p/locations/europe-west4/publishers/google", "ya29"),
    ],
    ids=["gemini", "vertex"],
)
async def test_a_request_goes_where_the_client_sends_it(service: Any, home: str, key: str) -> None:
    ask = streamed("gemini-3-pro", "Hello", None, vertex=service is VERTEX)

    sent = await sent_by(ask, answer_of("text"), "text/event-stream")

    ours = service.build_request(ChatRequest.of("Hello", model="gemini-3-pro")).path
    [(name, value)] = service.authorize(key).items()
    assert sent.path == f"{home}{ours}".lower()
    assert f"{name}: {value}".lower().encode() in sent.head


async def test_the_client_asks_for_the_tokens_of_vertex_as_we_do() -> None:
    config = {"system_instruction": "Be brief.", "tools": WRITTEN["tools"]}

    def ask(address: str) -> object:
        with client(address, vertex=True) as google:
            return google.models.count_tokens(model="gemini-3-pro", contents=WRITTEN["contents"], config=config)

    sent = await sent_by(partial(asyncio.to_thread, ask), b'{"totalTokens": 3}', "application/json")

    ours = VERTEX.count_request(EVERYTHING)
    assert sent.path.endswith(ours.path.lower())
    assert without_role_of_system(sent.body) | {"toolConfig": WRITTEN["toolConfig"]} == as_google_writes(written(ours))


# --- Case by case ---


def test_tokens_are_counted_of_the_whole_input() -> None:
    request = GEMINI_GENERATE.count_request and GEMINI_GENERATE.count_request(EVERYTHING)

    assert request is not None
    assert request.path == "/models/gemini-3-pro:countTokens"
    assert written(request) == {
        "generateContentRequest": {
            "model": "models/gemini-3-pro",
            **{name: value for name, value in WRITTEN.items() if name != "generationConfig"},
        }
    }


@pytest.mark.parametrize(
    ("model", "path"),
    [
        ("gemini-2.5-pro", "/models/gemini-2.5-pro"),
        ("models/gemini-2.5-pro", "/models/gemini-2.5-pro"),
        ("tunedModels/mine", "/tunedModels/mine"),
        ("gemini-1.5-pro@001", "/models/gemini-1.5-pro@001"),
        ("a?b#c", "/models/a%3Fb%23c"),
    ],
)
def test_a_model_is_part_of_the_path(model: str, path: str) -> None:
    request = GEMINI_GENERATE.build_request(ChatRequest.of("Hi", model=model))

    assert request.path == f"{path}:streamGenerateContent?alt=sse"


def test_an_answer_goes_back_as_it_came() -> None:
    message = read(GEMINI_GENERATE, [answer_of("everything")]).message.as_message()

    [content] = contents(message)

    assert content == {
        "role": "model",
        "parts": [
            {"text": "**Thinking** about it.\n\nMore of it.", "thought": True},
            {"text": "Signed. ", "thoughtSignature": "c2lnbmVkLTE="},
            {"text": "Plain. "},
            {
                "functionCall": {"id": "c1", "name": "look", "args": {"at": "the sky", "n": [1, 2.5, None]}},
                "thoughtSignature": "c2lnbmVkLTI=",
            },
            {"functionCall": {"name": "wait", "args": {}}},
            {"text": "After the calls."},
            {"text": "", "thoughtSignature": "c2lnbmVkLTM="},
        ],
    }


@pytest.mark.parametrize(
    ("held", "expected"),
    [
        ([ReasoningPart("Hm.", "s")], [{"text": "Hm.", "thought": True, "thoughtSignature": "s"}]),
        (
            [ReasoningPart("", "s"), ReasoningPart("", "t"), TextPart("a")],
            [{"text": "", "thoughtSignature": "s"}, {"text": "a", "thoughtSignature": "t"}],
        ),
        (
            [ReasoningPart("", "s"), ReasoningPart("Hm."), TextPart("a")],
            [{"text": "", "thoughtSignature": "s"}, {"text": "Hm.", "thought": True}, {"text": "a"}],
        ),
        ([ReasoningPart("", redacted="x"), TextPart("a")], [{"text": "a"}]),
    ],
    ids=["signed thought", "two proofs", "a thought between", "hidden by another service"],
)
def test_each_signature_goes_onto_what_it_signs(held: list[Part], expected: Json) -> None:
    assert parts(*held) == expected


def test_a_result_names_its_tool_by_itself_or_by_the_call() -> None:
    call = Message("assistant", [ToolCallPart(None, "look", "{}")])
    result = Message.tool_result(None, "sky", name="look")

    assert contents(call, result)[1] == {
        "role": "user",
        "parts": [{"functionResponse": {"name": "look", "response": {"output": "sky"}}}],
    }
    with pytest.raises(ConfigurationError, match="names its tool"):
        contents(Message.tool_result("unknown", "sky"))


def test_a_tool_result_may_stand_in_a_turn_of_the_user() -> None:
    held: list[Part] = [ToolResultPart("a", "1", name="f"), TextPart("Go on.")]

    assert contents(Message("user", held)) == [
        {
            "role": "user",
            "parts": [
                {"functionResponse": {"id": "a", "name": "f", "response": {"output": "1"}}},
                {"text": "Go on."},
            ],
        }
    ]


def test_system_messages_leave_the_conversation_wherever_they_stand() -> None:
    body = asked(Message("system", "One."), Message("user", "Hi"), Message("developer", "Two."), Message("user", ""))

    assert body == {
        "systemInstruction": {"parts": [{"text": "One."}, {"text": "Two."}]},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
    }


@pytest.mark.parametrize(
    ("choice", "strict", "config"),
    [
        (None, None, None),
        (None, True, {"mode": "VALIDATED"}),
        ("auto", None, {"mode": "AUTO"}),
        ("auto", True, {"mode": "VALIDATED"}),
        ("required", True, {"mode": "ANY"}),
        ("none", None, {"mode": "NONE"}),
        (ToolNamed("add"), None, {"mode": "ANY", "allowedFunctionNames": ["add"]}),
    ],
)
def test_tool_choice(choice: Any, strict: bool | None, config: Json) -> None:
    body = asked(Message("user", "Hi"), tools=[Tool("add", strict=strict)], tool_choice=choice)

    assert body.get("toolConfig") == (config and {"functionCallingConfig": config})


@pytest.mark.parametrize(
    ("model", "reasoning", "config"),
    [
        ("gemini-3-pro", Reasoning(), {"includeThoughts": True}),
        ("gemini-3-pro", Reasoning(effort="high"), {"includeThoughts": True, "thinkingLevel": "HIGH"}),
        ("gemini-3-pro", Reasoning(budget_tokens=512), {"includeThoughts": True, "thinkingBudget": 512}),
        ("gemini-2.5-pro", Reasoning(effort="high"), {"includeThoughts": True, "thinkingBudget": 24_576}),
        ("models/gemini-2.5-flash", Reasoning(effort="low"), {"includeThoughts": True, "thinkingBudget": 1_024}),
        ("gemini-2.5-flash", Reasoning(effort="none"), {"thinkingBudget": 0}),
    ],
)
def test_how_much_to_think(model: str, reasoning: Reasoning, config: Json) -> None:
    body = written(GEMINI_GENERATE.build_request(ChatRequest(model=model, messages=[], reasoning=reasoning)))

    assert body["generationConfig"] == {"thinkingConfig": config}


def test_json_without_a_schema() -> None:
    assert asked(response_format="json")["generationConfig"] == {"responseMimeType": "application/json"}
    assert "generationConfig" not in asked(response_format="text")


def test_extra_is_laid_over_what_it_has_in_common_with_the_body() -> None:
    body = asked(
        Message("user", "Hi"),
        tools=[Tool("add")],
        tool_choice="auto",
        temperature=0.5,
        max_tokens=5,
        extra={
            "generationConfig": {"temperature": 1.0, "responseModalities": ["TEXT", "IMAGE"]},
            "toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}},
            "tools": [{"googleSearch": {}}],
            "safetySettings": [],
        },
    )

    assert body["generationConfig"] == {
        "temperature": 1.0,
        "maxOutputTokens": 5,
        "responseModalities": ["TEXT", "IMAGE"],
    }
    assert body["toolConfig"] == {"functionCallingConfig": {"mode": "AUTO", "streamFunctionCallArguments": True}}
    assert (body["tools"], body["safetySettings"]) == ([{"googleSearch": {}}], [])


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"parallel_tool_calls": False}, "parallel_tool_calls"),
        ({"tools": [Tool("f", takes_free_text=True)]}, "free_text"),
        ({"reasoning": Reasoning(effort="low", budget_tokens=5)}, "effort or a budget"),
        ({"reasoning": Reasoning(effort="xhigh"), "model": "gemini-2.5-pro"}, "minimal, low, medium, high"),
        ({"messages": [Message("user", "Hi", name="Ada")]}, "no name"),
        ({"messages": [Message("system", [ImagePart(url="https://example.org/a.png")])]}, "text only"),
        ({"messages": [Message("assistant", [ToolCallPart("a", "f", "[1]")])]}, "no JSON object"),
        ({"extra": {"x": object}}, "can't be written as JSON"),
    ],
    ids=str,
)
def test_what_the_api_can_not_be_asked_is_refused_before_it_is_sent(options: dict[str, Any], complaint: str) -> None:
    request: dict[str, Any] = {"model": "gemini", "messages": [Message("user", "Hi")], **options}

    with pytest.raises(ConfigurationError, match=complaint) as raised:
        GEMINI_GENERATE.build_request(ChatRequest(**request))

    assert raised.value.provider == NAME
