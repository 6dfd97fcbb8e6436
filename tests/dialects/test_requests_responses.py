import json
from typing import Any

import pytest

from rxstream.dialects.openai_responses import OPENAI_RESPONSES, build_request, count_request
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
from tests.dialects.sent import sent_by, written
from tests.loopback import Exchange, serving

SCHEMA = {"type": "object", "properties": {"q": {"type": "string"}}, "required": ["q"], "additionalProperties": False}
CONVERSATION = [
    Message("system", "Be brief."),
    Message("developer", [TextPart("Very "), TextPart("brief.")]),
    Message(
        "user",
        [
            TextPart("What is this?"),
            ImagePart(url="https://example.org/a.png", detail="low"),
            ImagePart(data=b"\x89PNG", media_type="image/png"),
        ],
    ),
    Message(
        "assistant",
        [
            ReasoningPart("Hm", signature="gAAAA", item_id="rs_1"),
            ReasoningPart("From elsewhere"),
            TextPart("Let me "),
            TextPart("look."),
            ToolCallPart("call_1", "find", '{"q": "x"}', "fc_1"),
            ToolCallPart("call_2", "write_sql", '"SELECT 1"', "ctc_1", is_free_text=True),
            ToolCallPart("call_3", "now", ""),
        ],
    ),
    Message.tool_result("call_1", "found"),
    Message("tool", [ToolResultPart("call_2", "1"), ToolResultPart("call_3", "no clock", is_error=True)]),
    Message("assistant", [ReasoningPart("", signature="gBBBB"), TextPart("It is x.")]),
    Message("user", "Thanks."),
]
INPUT: list[Any] = [
    {"role": "system", "content": "Be brief."},
    {
        "role": "developer",
        "content": [{"type": "input_text", "text": "Very "}, {"type": "input_text", "text": "brief."}],
    },
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "What is this?"},
            {"type": "input_image", "image_url": "https://example.org/a.png", "detail": "low"},
            {"type": "input_image", "image_url": "data:image/png;base64,iVBORw==", "detail": "auto"},
        ],
    },
    {
        "id": "rs_1",
        "type": "reasoning",
        "summary": [{"type": "summary_text", "text": "Hm"}],
        "encrypted_content": "gAAAA",
    },
    {"role": "assistant", "content": "Let me look."},
    {"id": "fc_1", "type": "function_call", "call_id": "call_1", "name": "find", "arguments": '{"q": "x"}'},
    {"id": "ctc_1", "type": "custom_tool_call", "call_id": "call_2", "name": "write_sql", "input": "SELECT 1"},
    {"type": "function_call", "call_id": "call_3", "name": "now", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "call_1", "output": "found"},
    {"type": "custom_tool_call_output", "call_id": "call_2", "output": "1"},
    {"type": "function_call_output", "call_id": "call_3", "output": "Error: no clock"},
    {"type": "reasoning", "summary": [], "encrypted_content": "gBBBB"},
    {"role": "assistant", "content": "It is x."},
    {"role": "user", "content": "Thanks."},
]
REQUEST = ChatRequest(
    model="gpt-5",
    messages=CONVERSATION,
    tools=[Tool("find", "Find it.", SCHEMA, strict=True), Tool("now"), Tool("write_sql", "SQL.", takes_free_text=True)],
    tool_choice=ToolNamed("find"),
    parallel_tool_calls=False,
    response_format=JsonSchema("answer", SCHEMA),
    max_tokens=50,
    temperature=0.0,
    top_p=0.5,
    logprobs=3,
    reasoning=Reasoning(effort="low"),
    extra={"store": False},
)
OPTIONS: dict[str, Any] = {
    "tools": [
        {"type": "function", "name": "find", "description": "Find it.", "parameters": SCHEMA, "strict": True},
        {"type": "function", "name": "now", "parameters": {"type": "object", "properties": {}}, "strict": False},
        {"type": "custom", "name": "write_sql", "description": "SQL."},
    ],
    "tool_choice": {"type": "function", "name": "find"},
    "parallel_tool_calls": False,
    "text": {"format": {"type": "json_schema", "name": "answer", "schema": SCHEMA, "strict": True}},
    "max_output_tokens": 50,
    "temperature": 0.0,
    "top_p": 0.5,
    "top_logprobs": 3,
    "reasoning": {"effort": "low"},
    "include": ["reasoning.encrypted_content", "message.output_text.logprobs"],
    "store": False,
}
COUNTED = {"tools", "tool_choice", "parallel_tool_calls", "text", "reasoning"}
END = b'event: response.completed\ndata: {"type":"response.completed","sequence_number":0,"response":{"output":[]}}\n\n'


def asked(**options: Any) -> dict[str, Any]:
    """The body of a request with these options, without what every body has."""
    body = written(build_request(ChatRequest.of(options.pop("messages", "Hi"), model="m", **options)))
    always = {"model": "m", "input": [{"role": "user", "content": "Hi"}], "stream": True}
    return {name: value for name, value in body.items() if name not in always or value != always[name]}


def test_the_least_request() -> None:
    request = build_request(ChatRequest.of("Hi", model="gpt-5"))

    assert (request.method, request.path) == ("POST", "/responses")
    assert request.headers == {"content-type": "application/json", "accept": "text/event-stream"}
    assert request.body == b'{"model":"gpt-5","input":[{"role":"user","content":"Hi"}],"stream":true}'


def test_a_conversation_and_every_option_have_their_place() -> None:
    assert written(build_request(REQUEST)) == {"model": "gpt-5", "input": INPUT, "stream": True, **OPTIONS}


async def test_the_vendors_sdk_sends_the_same() -> None:
    openai = pytest.importorskip("openai")
    conversation = INPUT

    async def ask(address: str) -> None:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client:
            stream = await client.responses.create(model="gpt-5", input=conversation, stream=True, **OPTIONS)
            async for _ in stream:
                pass

    sent = await sent_by(ask, END, "text/event-stream")

    ours = build_request(REQUEST)
    assert sent.path == "/v1" + ours.path
    assert b"authorization: bearer any" in sent.head
    assert sent.body == written(ours)


async def test_the_vendors_sdk_counts_the_same() -> None:
    openai = pytest.importorskip("openai")
    conversation = INPUT
    options: Any = {name: value for name, value in OPTIONS.items() if name in COUNTED}
    counts: list[int] = []

    async def ask(address: str) -> None:
        async with openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client:
            answer = await client.responses.input_tokens.count(model="gpt-5", input=conversation, **options)
            counts.append(answer.input_tokens)

    answer = b'{"object": "response.input_tokens", "input_tokens": 11}'
    sent = await sent_by(ask, answer, "application/json")

    ours = count_request(REQUEST)
    assert sent.path == "/v1" + ours.path
    assert sent.body == written(ours)
    assert OPENAI_RESPONSES.read_count is not None
    assert [OPENAI_RESPONSES.read_count(answer)] == counts == [11]


async def test_the_vendors_sdk_resumes_the_same() -> None:
    openai = pytest.importorskip("openai")
    heads: list[bytes] = []

    async def handle(exchange: Exchange) -> None:
        assert await exchange.read_request()
        heads.append(exchange.head)
        await exchange.send(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n" + END)

    async with (
        serving(handle) as address,
        openai.AsyncOpenAI(base_url=f"{address}/v1", api_key="any", max_retries=0) as client,
    ):
        async for _ in await client.responses.retrieve("resp_1", stream=True, starting_after=7):
            pass

    assert OPENAI_RESPONSES.resume_request is not None
    ours = OPENAI_RESPONSES.resume_request("resp_1", 7)
    method, path, _ = heads[0].decode().split(" ", 2)
    assert (method.upper(), parameters(path)) == (ours.method, parameters("/v1" + ours.path))


def parameters(path: str) -> tuple[str, set[str]]:
    """A path, and what its query says in whichever order."""
    place, _, query = path.partition("?")
    return place, set(query.split("&"))


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    assert OPENAI_RESPONSES.resume_request is not None

    assert OPENAI_RESPONSES.resume_request("../x?y", 0).path.startswith("/responses/..%2Fx%3Fy?stream=true&")


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        (
            {"tools": [Tool("f", takes_free_text=True)], "tool_choice": ToolNamed("f")},
            {"tools": [{"type": "custom", "name": "f"}], "tool_choice": {"type": "custom", "name": "f"}},
        ),
        ({"response_format": "json"}, {"text": {"format": {"type": "json_object"}}}),
        ({"response_format": "text"}, {"text": {"format": {"type": "text"}}}),
        ({"logprobs": 0}, {"include": ["message.output_text.logprobs"]}),
        ({"reasoning": Reasoning()}, {"include": ["reasoning.encrypted_content"]}),
        ({"reasoning": Reasoning(effort="none")}, {"reasoning": {"effort": "none"}}),
        ({"n": 1}, {}),
        ({"extra": {"tools": [{"type": "web_search"}]}}, {"tools": [{"type": "web_search"}]}),
        ({"extra": {"stream": None}}, {"stream": None}),
        ({"messages": [Message("assistant", "")]}, {"input": [{"role": "assistant", "content": ""}]}),
        ({"messages": [Message("user", [TextPart("One.")])]}, {"input": [{"role": "user", "content": "One."}]}),
        ({"messages": [Message("assistant", [ReasoningPart("Hm")])]}, {"input": []}),
    ],
)
def test_options_are_written_as_the_api_wants_them(options: dict[str, Any], body: dict[str, Any]) -> None:
    assert asked(**options) == body


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"top_k": 3}, "no top_k; if this server takes one, put it into extra"),
        ({"stop": ["END"]}, "no stop"),
        ({"seed": 0}, "no seed"),
        ({"n": 2}, "no n;"),
        ({"presence_penalty": 0.1}, "no presence_penalty"),
        ({"frequency_penalty": 0.1}, "no frequency_penalty"),
        ({"reasoning": Reasoning(budget_tokens=9)}, "no reasoning.budget_tokens"),
        ({"messages": [Message("user", "Hi", name="ann")]}, "no name"),
        ({"messages": [Message("tool", "3")]}, "Message.tool_result"),
        ({"messages": [Message("tool", [TextPart("3"), ToolResultPart("a", "3")])]}, "Message.tool_result"),
        ({"messages": [Message("user", [ToolCallPart("a", "f", "{}")])]}, "only the assistant"),
        ({"messages": [Message("assistant", [ToolCallPart(None, "f", "{}")])]}, "call of f has no id"),
        ({"messages": [Message("assistant", [ToolCallPart("a", "f", "{}", None, True)])]}, "no JSON string"),
        ({"messages": [Message("assistant", [ToolCallPart("a", "f", "SEL", None, True)])]}, "no JSON string"),
        ({"messages": [Message("assistant", [ImagePart(url="u")])]}, "can't hold images"),
        ({"extra": {"x": object}}, "can't be written as JSON"),
        ({"messages": [Message("user", "\ud83d")]}, "can't be written as JSON"),
    ],
)
def test_what_the_api_cannot_be_asked_is_named(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        asked(**options)


def test_an_answer_goes_back_as_it_came() -> None:
    reader = OPENAI_RESPONSES.read_body()
    thought = {"type": "reasoning", "id": "rs", "summary": [{"type": "summary_text", "text": "Hm"}]}
    items = [
        {**thought, "encrypted_content": "gA"},
        {"type": "message", "id": "msg", "content": [{"type": "output_text", "text": "Hi"}]},
        {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "f", "input": "x"},
    ]
    for index, item in enumerate(items):
        done = {"type": "response.output_item.done", "output_index": index, "item": item}
        reader.feed(f"data: {json.dumps(done)}\n\n".encode())
    reader.feed(END)
    reader.flush()

    messages = [reader.message.as_message(), Message.tool_result("c", "1")]
    body = written(build_request(ChatRequest(model="m", messages=messages)))

    assert body["input"] == [
        {**thought, "encrypted_content": "gA"},
        {"role": "assistant", "content": "Hi"},
        {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "f", "input": "x"},
        {"type": "custom_tool_call_output", "call_id": "c", "output": "1"},
    ]
