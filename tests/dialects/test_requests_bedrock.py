"""What Bedrock is asked: to the letter, and the same as AWS's own client sends."""

import json
from base64 import b64decode
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from typing import Any

import msgspec
import pytest

from rxstream.dialects import dialect
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
)
from rxstream.simulator import FAST, Settings, Simulator, simulator_in_background
from rxstream.tokens import Json
from tests.dialects.reading import fixtures_of, read

CLAUDE, NOVA, TITAN = "us.anthropic.claude-sonnet-4-20250514-v1:0", "amazon.nova-lite-v1:0", "amazon.titan-text-lite-v1"
LLAMA, LLAMA_4 = "us.meta.llama3-3-70b-instruct-v1:0", "us.meta.llama4-scout-17b-instruct-v1:0"
GPT_OSS = "openai.gpt-oss-20b-1:0"
HI = [Message("user", "Hi")]
PARAMETERS: dict[str, Json] = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
SCHEMA: dict[str, Json] = {"type": "object", "properties": {"a": {"type": "integer"}}}
CONVERSATION = [
    Message("system", "Be brief."),
    Message("user", [TextPart("What is this?"), ImagePart(data=b"\x89PNG", media_type="image/png")]),
    Message(
        "assistant",
        [
            ReasoningPart("Let me look.", signature="c2ln"),
            ReasoningPart("", redacted="c2VjcmV0"),
            ReasoningPart("of another service"),
            TextPart("I look."),
            ToolCallPart("t_1", "look", '{"city": "Oslo"}'),
            ToolCallPart("t_2", "wait", ""),
        ],
    ),
    Message.tool_result("t_1", "Rain"),
    Message.tool_result("t_2", "No time", is_error=True),
    Message("user", "So?"),
    Message("developer", "Be kind."),
]
TOOLS = [Tool("look", "Look.", PARAMETERS, strict=True), Tool("wait")]
EVERYTHING = ChatRequest(
    model=CLAUDE,
    messages=CONVERSATION,
    tools=TOOLS,
    tool_choice=ToolNamed("look"),
    response_format=JsonSchema("answer", SCHEMA),
    max_tokens=100,
    temperature=0.5,
    top_p=0.9,
    top_k=7,
    stop=["END"],
    reasoning=Reasoning(effort="low", budget_tokens=1_024),
)
IN_CONVERSE: dict[str, Any] = {
    "system": [{"text": "Be brief."}, {"text": "Be kind."}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"text": "What is this?"},
                {"image": {"format": "png", "source": {"bytes": "iVBORw=="}}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"reasoningContent": {"reasoningText": {"text": "Let me look.", "signature": "c2ln"}}},
                {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
                {"text": "I look."},
                {"toolUse": {"toolUseId": "t_1", "name": "look", "input": {"city": "Oslo"}}},
                {"toolUse": {"toolUseId": "t_2", "name": "wait", "input": {}}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"toolResult": {"toolUseId": "t_1", "content": [{"text": "Rain"}]}},
                {"toolResult": {"toolUseId": "t_2", "content": [{"text": "No time"}], "status": "error"}},
                {"text": "So?"},
            ],
        },
    ],
    "toolConfig": {
        "tools": [
            {
                "toolSpec": {
                    "name": "look",
                    "description": "Look.",
                    "inputSchema": {"json": PARAMETERS},
                    "strict": True,
                }
            },
            {"toolSpec": {"name": "wait", "inputSchema": {"json": {"type": "object", "properties": {}}}}},
        ],
        "toolChoice": {"tool": {"name": "look"}},
    },
    "inferenceConfig": {"maxTokens": 100, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
    "additionalModelRequestFields": {"top_k": 7, "thinking": {"type": "enabled", "budget_tokens": 1_024}},
    "outputConfig": {
        "effort": "low",
        "textFormat": {
            "type": "json_schema",
            "structure": {"jsonSchema": {"schema": json.dumps(SCHEMA, separators=(",", ":")), "name": "answer"}},
        },
    },
}


def converse(request: ChatRequest) -> dict[str, Any]:
    return json.loads(dialect("bedrock.converse").build_request(request).body)


def invoke(request: ChatRequest) -> dict[str, Any]:
    return json.loads(dialect("bedrock.invoke").build_request(request).body)


def asking(model: str = CLAUDE, **options: Any) -> ChatRequest:
    fields: dict[str, Any] = {"messages": HI, **options}
    return ChatRequest(model=model, **fields)


# --- Converse ---


def test_the_smallest_request() -> None:
    request = dialect("bedrock.converse").build_request(asking("us.amazon.nova-micro-v1:0"))

    assert request.path == "/model/us.amazon.nova-micro-v1%3A0/converse-stream"
    assert request.method == "POST"
    assert request.headers == {"content-type": "application/json", "accept": "application/vnd.amazon.eventstream"}
    assert json.loads(request.body) == {"messages": [{"role": "user", "content": [{"text": "Hi"}]}]}


def test_a_request_with_everything() -> None:
    assert converse(EVERYTHING) == IN_CONVERSE


@pytest.mark.parametrize(
    ("model", "reasoning", "fields", "effort"),
    [
        (CLAUDE, Reasoning(effort="none"), {"thinking": {"type": "disabled"}}, None),
        (CLAUDE, Reasoning(effort="high"), {"thinking": {"type": "adaptive"}}, "high"),
        (CLAUDE, Reasoning(), {"thinking": {"type": "adaptive"}}, None),
        (NOVA, Reasoning(effort="low"), {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": "low"}}, None),
        (NOVA, Reasoning(effort="none"), {"reasoningConfig": {"type": "disabled"}}, None),
        (GPT_OSS, Reasoning(effort="high"), {"reasoning_effort": "high"}, None),
    ],
)
def test_reasoning_is_asked_for_in_the_words_of_the_maker(
    model: str, reasoning: Reasoning, fields: Json, effort: str | None
) -> None:
    body = converse(asking(model, reasoning=reasoning))

    assert body["additionalModelRequestFields"] == fields
    assert body.get("outputConfig", {}).get("effort") == effort


def test_top_k_has_another_name_for_nova() -> None:
    body = converse(asking(NOVA, top_k=3, max_tokens=9))

    assert body["additionalModelRequestFields"] == {"inferenceConfig": {"topK": 3}}
    assert body["inferenceConfig"] == {"maxTokens": 9}


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (LLAMA, {"top_k": 3}),
        (LLAMA, {"reasoning": Reasoning(effort="low")}),
        (NOVA, {"reasoning": Reasoning(budget_tokens=1)}),
        (NOVA, {"reasoning": Reasoning()}),
        (GPT_OSS, {"reasoning": Reasoning(budget_tokens=1, effort="low")}),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", {"top_k": 3}),
    ],
)
def test_what_has_no_known_words_for_a_model_is_refused_with_the_way_around(
    model: str, options: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match="additionalModelRequestFields"):
        converse(asking(model, **options))


@pytest.mark.parametrize(
    ("choice", "written"),
    [
        (None, None),
        ("auto", {"auto": {}}),
        ("required", {"any": {}}),
        (ToolNamed("look"), {"tool": {"name": "look"}}),
    ],
)
def test_tool_choice(choice: Any, written: Json) -> None:
    assert converse(asking(tools=TOOLS, tool_choice=choice))["toolConfig"].get("toolChoice") == written


@pytest.mark.parametrize(
    ("image", "written"),
    [
        (ImagePart(data=b"a", media_type="image/jpeg"), {"format": "jpeg", "source": {"bytes": "YQ=="}}),
        (
            ImagePart(url="s3://bucket/a.webp"),
            {"format": "webp", "source": {"s3Location": {"uri": "s3://bucket/a.webp"}}},
        ),
    ],
)
def test_an_image_is_data_or_lies_in_s3(image: ImagePart, written: Json) -> None:
    body = converse(asking(messages=[Message("user", [image])]))

    assert body["messages"][0]["content"] == [{"image": written}]


@pytest.mark.parametrize(
    "image",
    [
        ImagePart(url="https://example.com/a.png"),
        ImagePart(url="s3://bucket/a"),
        ImagePart(data=b"a", media_type="image/tiff"),
    ],
)
def test_another_image_is_refused(image: ImagePart) -> None:
    with pytest.raises(ConfigurationError, match="image"):
        converse(asking(messages=[Message("user", [image])]))


def test_turns_of_one_role_become_one_and_empty_ones_none() -> None:
    messages = [
        Message("user", "a"),
        Message("user", "b"),
        Message("assistant", ""),
        Message("user", [TextPart(""), TextPart("c")]),
        Message("assistant", [ReasoningPart("of another service")]),
    ]

    assert converse(asking(messages=messages))["messages"] == [
        {"role": "user", "content": [{"text": "a"}, {"text": "b"}]},
        {"role": "user", "content": [{"text": "c"}]},
    ]


def test_extra_goes_over_what_would_have_been_there() -> None:
    extra: dict[str, Json] = {"inferenceConfig": {"maxTokens": 5}, "guardrailConfig": {"guardrailIdentifier": "g"}}

    body = converse(asking(max_tokens=9, extra=extra))

    assert {name: body[name] for name in extra} == extra


def test_an_answer_goes_back_as_it_came() -> None:
    spoken = dialect("bedrock.converse")
    [path] = [path for path in fixtures_of(spoken) if path.stem == "everything"]
    said = read(spoken, [path.read_bytes()]).message.as_message()

    [_, answer] = converse(asking(messages=[*HI, said]))["messages"]

    assert answer["content"] == [
        {"reasoningContent": {"redactedContent": "c2VjcmV0"}},
        {"reasoningContent": {"reasoningText": {"text": "Let me look.", "signature": "c2ln"}}},
        {"text": "It rains"},
        {"toolUse": {"toolUseId": "t_1", "name": "look", "input": {"at": "the sky"}}},
        {"toolUse": {"toolUseId": "t_2", "name": "wait", "input": {}}},
    ]


LACKING: list[tuple[str, Any]] = [
    ("seed", 1),
    ("n", 2),
    ("logprobs", 0),
    ("presence_penalty", 0.5),
    ("frequency_penalty", 0.5),
    ("parallel_tool_calls", False),
    ("tool_choice", "none"),
    ("response_format", "json"),
]


@pytest.mark.parametrize(("option", "value"), LACKING)
@pytest.mark.parametrize("model", [CLAUDE, NOVA])
def test_what_converse_lacks_is_refused_by_name(model: str, option: str, value: Any) -> None:
    with pytest.raises(ConfigurationError, match=f"the API has no {option}") as caught:
        converse(asking(model, **{option: value}))

    assert caught.value.provider == "bedrock.converse"
    if model == NOVA:
        with pytest.raises(ConfigurationError, match=f"the API has no {option}"):
            invoke(asking(model, **{option: value}))


@pytest.mark.parametrize(
    "message",
    [
        Message("user", "Hi", name="Ann"),
        Message("system", [ImagePart(data=b"a", media_type="image/png")]),
        Message("assistant", [ToolCallPart("1", "look", "[1]")]),
        Message("assistant", [ToolCallPart("1", "look", "{")]),
    ],
)
def test_messages_that_can_not_be_written_are_refused(message: Message) -> None:
    with pytest.raises(ConfigurationError):
        converse(asking(messages=[message]))


def test_counting_takes_what_is_input_and_nothing_else() -> None:
    counting = dialect("bedrock.converse").count_request
    assert counting is not None

    request = counting(EVERYTHING)

    names = ("messages", "system", "toolConfig", "additionalModelRequestFields")
    assert request.path == "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/count-tokens"
    assert json.loads(request.body) == {"input": {"converse": {name: IN_CONVERSE[name] for name in names}}}


# --- InvokeModel ---


def test_anthropic_is_asked_as_by_its_own_service_but_for_the_model() -> None:
    whole = json.loads(dialect("anthropic.messages").build_request(EVERYTHING).body)
    request = dialect("bedrock.invoke").build_request(EVERYTHING)

    assert request.path == "/model/us.anthropic.claude-sonnet-4-20250514-v1%3A0/invoke-with-response-stream"
    del whole["model"], whole["stream"]
    assert json.loads(request.body) == {"anthropic_version": "bedrock-2023-05-31", **whole}


def test_nova_is_asked_nearly_as_by_converse() -> None:
    request = msgspec.structs.replace(EVERYTHING, model=NOVA, reasoning=None, response_format=None)

    assert invoke(request) == {
        "schemaVersion": "messages-v1",
        **{name: IN_CONVERSE[name] for name in ("system", "messages", "toolConfig")},
        "inferenceConfig": {**IN_CONVERSE["inferenceConfig"], "topK": 7},
    }
    assert "inferenceConfig" not in invoke(asking(NOVA))


def test_titan_takes_one_text_or_lines_of_a_conversation() -> None:
    messages = [Message("system", "Be brief."), *HI, Message("assistant", "Hello"), Message("user", "So?")]
    options: dict[str, Any] = {"max_tokens": 9, "temperature": 0.5, "top_p": 0.9, "stop": ["END"]}

    assert invoke(asking(TITAN)) == {"inputText": "Hi"}
    assert invoke(asking(TITAN, messages=messages, **options)) == {
        "inputText": "Be brief.\nUser: Hi\nBot: Hello\nUser: So?\nBot:",
        "textGenerationConfig": {"maxTokenCount": 9, "temperature": 0.5, "topP": 0.9, "stopSequences": ["END"]},
    }


@pytest.mark.parametrize(
    ("model", "prompt"),
    [
        (
            LLAMA,
            (
                "<|begin_of_text|><|start_header_id|>system<|end_header_id|>\n\nBe brief.<|eot_id|>"
                "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|><|start_header_id|>assistant<|end_header_id|>\n\n"
            ),
        ),
        (
            LLAMA_4,
            (
                "<|begin_of_text|><|header_start|>system<|header_end|>\n\nBe brief.<|eot|>"
                "<|header_start|>user<|header_end|>\n\nHi<|eot|><|header_start|>assistant<|header_end|>\n\n"
            ),
        ),
    ],
)
def test_llama_takes_a_prompt_in_its_template(model: str, prompt: str) -> None:
    messages = [Message("developer", "Be brief."), *HI]

    assert invoke(asking(model, messages=messages, max_tokens=9, temperature=0.5, top_p=0.9)) == {
        "prompt": prompt,
        "max_gen_len": 9,
        "temperature": 0.5,
        "top_p": 0.9,
    }


@pytest.mark.parametrize("model", [TITAN, LLAMA])
@pytest.mark.parametrize(
    "options",
    [
        {"tools": TOOLS},
        {"reasoning": Reasoning(effort="low")},
        {"response_format": JsonSchema("a", SCHEMA)},
        {"top_k": 3},
        {"seed": 1},
        {"messages": [Message("user", [ImagePart(data=b"a", media_type="image/png")])]},
        {"messages": [Message("user", "Hi", name="Ann")]},
        {"messages": [Message.tool_result("1", "x")]},
    ],
    ids=str,
)
def test_models_that_take_text_alone_are_asked_for_nothing_else(model: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        invoke(asking(model, **options))

    assert caught.value.provider == "bedrock.invoke"


@pytest.mark.parametrize(
    ("model", "options"),
    [
        (LLAMA, {"stop": ["END"]}),
        (NOVA, {"reasoning": Reasoning(effort="low")}),
        (NOVA, {"response_format": JsonSchema("a", SCHEMA)}),
        (CLAUDE, {"seed": 1}),
        (CLAUDE, {"messages": [Message("user", [ImagePart(url="https://example.com/a.png")])]}),
        ("mistral.mistral-large-2402-v1:0", {}),
        ("arn:aws:bedrock:us-east-1:1:application-inference-profile/x", {}),
    ],
)
def test_what_a_family_lacks_is_refused_by_this_api(model: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        invoke(asking(model, **options))

    assert caught.value.provider == "bedrock.invoke"


def test_counting_holds_the_body_that_would_be_sent() -> None:
    counting = dialect("bedrock.invoke").count_request
    assert counting is not None

    asked = json.loads(counting(EVERYTHING).body)

    assert json.loads(b64decode(asked["input"]["invokeModel"]["body"])) == invoke(EVERYTHING)


@pytest.mark.parametrize("api", ["bedrock.converse", "bedrock.invoke"])
def test_what_can_not_be_written_as_json_is_refused_before_it_is_sent(api: str) -> None:
    with pytest.raises(ConfigurationError, match="JSON"):
        dialect(api).build_request(asking(extra={"x": object()}))


@pytest.mark.parametrize("api", ["bedrock.converse", "bedrock.invoke"])
def test_the_count_is_read(api: str) -> None:
    read_count = dialect(api).read_count
    assert read_count is not None

    assert read_count(b'{"inputTokens": 12}') == 12


# --- The same as AWS's own client sends ---


@pytest.fixture(scope="module")
def recorder() -> Iterator[Simulator]:
    with simulator_in_background(Settings(speed=FAST)) as simulator:
        yield simulator


@contextmanager
def client(simulator: Simulator) -> Generator[Any]:
    boto3: Any = pytest.importorskip("boto3")
    made = boto3.client(
        "bedrock-runtime",
        endpoint_url=simulator.url,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
    )
    with closing(made):
        yield made


def test_boto3_sends_the_same_to_converse(recorder: Simulator) -> None:
    asked: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(IN_CONVERSE))
    asked["messages"][0]["content"][1]["image"]["source"]["bytes"] = b"\x89PNG"
    asked["messages"][1]["content"][1]["reasoningContent"]["redactedContent"] = b"secret"

    with client(recorder) as runtime:
        assert list(runtime.converse_stream(modelId=CLAUDE, **asked)["stream"])

    request, ours = recorder.requests[-1], dialect("bedrock.converse").build_request(EVERYTHING)
    assert request.body == json.loads(ours.body)
    assert request.path == "/model/us.anthropic.claude-sonnet-4-20250514-v1:0/converse-stream"
    assert request.headers["content-type"] == ours.headers["content-type"]


def test_boto3_sends_the_same_to_invoke(recorder: Simulator) -> None:
    ours = dialect("bedrock.invoke").build_request(EVERYTHING)

    with client(recorder) as runtime:
        answer = runtime.invoke_model_with_response_stream(modelId=CLAUDE, body=ours.body)
        assert list(answer["body"])

    assert recorder.requests[-1].raw_body == ours.body
    assert recorder.requests[-1].api == "bedrock.invoke"


def test_the_anthropic_client_for_bedrock_sends_the_same(recorder: Simulator) -> None:
    anthropic: Any = pytest.importorskip("anthropic")
    pytest.importorskip("boto3")
    whole = msgspec.structs.replace(EVERYTHING, temperature=None, top_p=None, top_k=None)  # it knows none of them
    asked = json.loads(dialect("anthropic.messages").build_request(whole).body)
    bedrock = anthropic.AnthropicBedrock(
        aws_access_key="AKIDEXAMPLE", aws_secret_key="secret", aws_region="us-east-1", base_url=recorder.url
    )

    with bedrock:
        assert list(bedrock.messages.create(**{**asked, "model": CLAUDE}))

    request, ours = recorder.requests[-1], dialect("bedrock.invoke").build_request(whole)
    version = {"anthropic_version": "bedrock-2023-05-31"}  # as AWS documents it; the client says another by now
    assert {**request.body, **version} == json.loads(ours.body)
    assert request.path == f"/model/{CLAUDE}/invoke-with-response-stream"
