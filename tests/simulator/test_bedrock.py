"""Bedrock, imitated: AWS's own client reads it without complaint, and what rxstream reads is the same."""

import json
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, cast

import aiohttp
import pytest

from rxstream.dialects import dialect
from rxstream.errors import (
    AuthenticationError,
    FramingError,
    ProtocolError,
    ProviderError,
    RateLimitedError,
    TruncatedStreamError,
)
from rxstream.flow import RetryPolicy
from rxstream.framing import AwsEventStreamParser
from rxstream.messages import Usage
from rxstream.providers import AiProvider
from rxstream.simulator import (
    FAST,
    MODELS,
    At,
    Disconnect,
    EarlyEnd,
    ErrorEvent,
    Fault,
    Garbage,
    HttpError,
    KeepAlives,
    NoEndMark,
    Script,
    ScriptedCall,
    Settings,
    Simulator,
    Turn,
    Writes,
    body,
    chunks,
    simulator_in_background,
)
from rxstream.sinks import collect
from rxstream.tokens import FinishReason, Json
from tests.dialects.event_streams import inner_of, parts
from tests.shared import SHARED, needs_shared
from tests.simulator.clients import read_message

CONVERSE, INVOKE = "bedrock.converse", "bedrock.invoke"
FAMILIES = ["anthropic.claude-x", "amazon.nova-x", "amazon.titan-x", "meta.llama3-x"]
CASES = [(CONVERSE, "any"), *((INVOKE, model) for model in FAMILIES)]
each_case = pytest.mark.parametrize(("api", "model"), CASES)
TEXT = "Because of Rayleigh scattering, voilà. 日本 🙂"
CALLS = (ScriptedCall("look", {"at": "the sky"}), ScriptedCall("wait", ""))
USAGE = Usage(input_tokens=11, output_tokens=22, cached_input_tokens=3, total_tokens=33)
QUICK = Settings(speed=FAST)
HI: list[Any] = [{"role": "user", "content": [{"text": "Why is the sky blue?"}]}]


# --- AWS's own client ---


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    with simulator_in_background(QUICK) as running:
        yield running


@contextmanager
def client(simulator: Simulator, service: str = "bedrock-runtime") -> Generator[Any]:
    boto3: Any = pytest.importorskip("boto3")
    config: Any = pytest.importorskip("botocore.config")
    made = boto3.client(
        service,
        endpoint_url=simulator.url,
        region_name="us-east-1",
        aws_access_key_id="AKIDEXAMPLE",
        aws_secret_access_key="secret",
        config=config.Config(retries={"max_attempts": 0}),
    )
    with closing(made):
        yield made


def conversed(simulator: Simulator, script: Script, **options: Any) -> list[dict[str, Any]]:
    """The events that boto3 makes of a stream."""
    simulator.expect(script)
    with client(simulator) as runtime:
        answer = runtime.converse_stream(modelId="us.amazon.nova-micro-v1:0", messages=HI, **options)
        return list(answer["stream"])


@pytest.mark.parametrize("writes", [Writes(), Writes(every=1), Writes(every=11, seed=2)], ids=repr)
def test_boto3_gets_the_same_message_as_rxstream(simulator: Simulator, writes: Writes) -> None:
    script = Script(
        text=TEXT,
        reasoning="Let me think.",
        signature="c2ln",
        redacted="x",
        tool_calls=CALLS,
        usage=USAGE,
        writes=writes,
    )

    events = conversed(simulator, script)
    ours = read_message(CONVERSE, body(CONVERSE, script))

    deltas = [each["contentBlockDelta"]["delta"] for each in events if "contentBlockDelta" in each]
    thoughts = [delta["reasoningContent"] for delta in deltas if "reasoningContent" in delta]
    calls = [each["contentBlockStart"]["start"]["toolUse"] for each in events if "contentBlockStart" in each]
    assert "".join(delta.get("text", "") for delta in deltas) == ours.text == TEXT
    assert "".join(thought.get("text", "") for thought in thoughts) == ours.reasoning == "Let me think."
    assert [thought["signature"] for thought in thoughts if "signature" in thought] == ["c2ln"]
    assert [thought["redactedContent"] for thought in thoughts if "redactedContent" in thought] == [b"x"]
    assert [call["name"] for call in calls] == [call.name for call in ours.tool_calls] == ["look", "wait"]
    assert all(call["toolUseId"].startswith("tooluse_") for call in calls)
    assert "".join(delta["toolUse"]["input"] for delta in deltas if "toolUse" in delta) == '{"at":"the sky"}'
    assert [call.arguments for call in ours.tool_calls] == [{"at": "the sky"}, {}]
    assert [each["messageStop"]["stopReason"] for each in events if "messageStop" in each] == ["tool_use"]
    assert events[-1]["metadata"]["usage"] == {
        "inputTokens": 11,
        "outputTokens": 22,
        "totalTokens": 33,
        "cacheReadInputTokens": 3,
    }
    assert ours.usage_raw == events[-1]["metadata"]["usage"]


def test_boto3_takes_no_notice_of_keep_alives_and_raises_exceptions(simulator: Simulator) -> None:
    exceptions: Any = pytest.importorskip("botocore.exceptions")
    script = Script(
        deltas=("a", "b", "c"),
        faults=(KeepAlives(at=At(tokens=1), every=0, count=3), ErrorEvent(at=At(tokens=2), message="out of ink")),
    )

    simulator.expect(script)
    with client(simulator) as runtime:
        stream = runtime.converse_stream(modelId="any", messages=HI)["stream"]
        with closing(stream), pytest.raises(exceptions.EventStreamError, match=r"StreamErrorException.*out of ink"):
            list(stream)

    with pytest.raises(ProviderError, match="out of ink") as ours:
        read_message(CONVERSE, body(CONVERSE, script))
    assert ours.value.kind == "modelStreamErrorException"
    assert ours.value.partial is not None
    assert ours.value.partial.text == "ab"


def test_boto3_asks_what_the_simulator_understands(simulator: Simulator) -> None:
    tools = [{"toolSpec": {"name": "weather", "inputSchema": {"json": {"properties": {"city": {"type": "string"}}}}}}]
    asked = {"inferenceConfig": {"maxTokens": 400}, "toolConfig": {"tools": tools}, "system": [{"text": "Be brief."}]}

    events = conversed(simulator, Script(call_tools=True), **asked)

    started = [each["contentBlockStart"]["start"]["toolUse"]["name"] for each in events if "contentBlockStart" in each]
    assert started == ["weather"]


@pytest.mark.parametrize(("status", "kind"), [(400, "ValidationException"), (403, "AccessDeniedException")])
def test_boto3_raises_what_it_should(simulator: Simulator, status: int, kind: str) -> None:
    simulator.expect(Script(faults=(HttpError(status=status),)))

    with client(simulator) as runtime, pytest.raises(getattr(runtime.exceptions, kind)) as raised:
        runtime.converse_stream(modelId="any", messages=HI)

    assert raised.value.response["ResponseMetadata"]["HTTPStatusCode"] == status


def test_boto3_gets_whole_answers_models_and_counts(simulator: Simulator) -> None:
    titan = {"invokeModel": {"body": b'{"inputText": "Hi"}'}}
    simulator.expect(Script(text=TEXT, tool_calls=CALLS))

    with client(simulator) as runtime, client(simulator, "bedrock") as control:
        whole = runtime.converse(modelId="any", messages=HI)
        models = control.list_foundation_models()["modelSummaries"]
        counted = runtime.count_tokens(modelId="any", input={"converse": {"messages": HI}})
        invoked = runtime.count_tokens(modelId="amazon.titan-x", input=titan)

    content = whole["output"]["message"]["content"]
    assert [*map(list, content)] == [["text"], ["toolUse"], ["toolUse"]]
    assert (content[0]["text"], content[1]["toolUse"]["input"]) == (TEXT, {"at": "the sky"})
    assert [model["modelId"] for model in models] == list(MODELS)
    assert counted["inputTokens"] > invoked["inputTokens"] > 0


@pytest.mark.parametrize("model", FAMILIES)
def test_boto3_unwraps_what_the_maker_of_each_model_says(simulator: Simulator, model: str) -> None:
    bodies: dict[str, Any] = {
        "anthropic.claude-x": {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 9, "messages": []},
        "amazon.nova-x": {"messages": HI},
        "amazon.titan-x": {"inputText": "User: Why?\nBot:"},
        "meta.llama3-x": {"prompt": "<|start_header_id|>user<|end_header_id|>\n\nWhy?<|eot_id|>"},
    }
    script = Script(text=TEXT)
    simulator.expect(script)

    with client(simulator) as runtime:
        answer = runtime.invoke_model_with_response_stream(modelId=model, body=json.dumps(bodies[model]))
        inner = [json.loads(each["chunk"]["bytes"]) for each in answer["body"]]

    assert "amazon-bedrock-invocationMetrics" in inner[-1]
    assert [each for each in inner[:-1] if "amazon-bedrock-invocationMetrics" in each] == []
    assert read_message(INVOKE, body(INVOKE, script, Turn(model=model))).text == TEXT


# --- rxstream's own provider ---


@each_case
async def test_a_provider_is_answered(api: str, model: str) -> None:
    async with (
        Simulator(QUICK) as simulator,
        AiProvider(api, base_url=simulator.base_url(api), api_key="any") as provider,
    ):
        message = await collect(provider.stream("Why is the sky blue?", model=model))
        counted = await provider.count_tokens("Why is the sky blue?", model=model if api == INVOKE else "any")

        assert message.complete
        assert "sky" in message.text
        assert message.provider == api
        assert counted > 0
        assert simulator.requests[0].api == api
        assert await provider.list_models() == list(MODELS)
        assert (await provider.check_health()).is_healthy


@pytest.mark.parametrize("api", [CONVERSE, INVOKE])
async def test_the_name_of_a_model_chooses_behind_its_maker_s(api: str) -> None:
    async with (
        Simulator(QUICK) as simulator,
        AiProvider(api, base_url=simulator.base_url(api), api_key="any", retry=RetryPolicy(retries=0)) as provider,
    ):
        message = await collect(provider.stream("Hi", model="anthropic.simulated-thinking"))
        with pytest.raises(RateLimitedError) as limited:
            await collect(provider.stream("Hi", model="amazon.nova.simulated-limited"))

    assert message.reasoning
    assert (limited.value.kind, limited.value.retry_after) == ("ThrottlingException", 2)


async def test_requests_that_are_signed_are_let_in_by_the_id_of_their_key(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("botocore")
    monkeypatch.delenv("AWS_BEARER_TOKEN_BEDROCK", raising=False)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    async with Simulator(Settings(speed=FAST, key="AKIDEXAMPLE")) as simulator:
        async with AiProvider(CONVERSE, base_url=simulator.url) as provider:
            message = await collect(provider.stream("Hi", model="us.amazon.nova-micro-v1:0"))
        async with AiProvider(CONVERSE, base_url=simulator.url, api_key="wrong") as provider:
            with pytest.raises(AuthenticationError) as refused:
                await collect(provider.stream("Hi", model="us.amazon.nova-micro-v1:0"))

        assert simulator.requests[0].headers["authorization"] == "(redacted)"
    assert message.complete
    assert refused.value.kind == "UnrecognizedClientException"


async def test_a_request_that_the_service_would_refuse_is_refused() -> None:
    wrong: list[tuple[str, dict[str, Json], str]] = [
        ("converse-stream", {"messages": HI, "inferenceConfig": {"maxTokens": 0}}, "maxTokens"),
        ("converse-stream", {}, "messages"),
        ("invoke-with-response-stream", {"max_tokens": 9, "messages": []}, "anthropic_version"),
        ("invoke-with-response-stream", {"anthropic_version": "x", "model": "m"}, "model"),
    ]
    read_error = dialect(CONVERSE).read_error
    async with Simulator(QUICK) as simulator, aiohttp.ClientSession() as session:
        for action, asked, complaint in wrong:
            url = f"{simulator.url}/model/anthropic.x/{action}"
            async with session.post(url, json=asked) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                refusal = read_error(response.status, headers, await response.read())

            assert (refusal.status, refusal.kind) == (400, "ValidationException")
            assert complaint in refusal.message


# --- Faults, in binary ---


@each_case
def test_what_is_written_is_framed_well(api: str, model: str) -> None:
    wire = body(api, Script(text=TEXT), Turn(model=model))

    frames = AwsEventStreamParser().feed(wire)

    assert {frame.headers[":message-type"] for frame in frames} == {"event"}
    assert all(1 <= len(json.loads(frame.payload)["p"]) <= 62 for frame in frames)
    assert not any(b'"p"' in each.payload for each in AwsEventStreamParser().feed(unpadded(api, model)))


def unpadded(api: str, model: str) -> bytes:
    return body(api, Script(text=TEXT), Turn(model=model, wants_padding=False))


@each_case
def test_without_its_end_mark_the_rest_of_the_body_is_whole(api: str, model: str) -> None:
    script, turn = Script(text=TEXT, faults=(NoEndMark(),)), Turn(model=model)

    with pytest.raises(TruncatedStreamError) as raised:
        read_message(api, body(api, script, turn))

    assert body(api, Script(text=TEXT), turn).startswith(body(api, script, turn))
    assert raised.value.partial is not None
    assert raised.value.partial.text == TEXT


@each_case
def test_garbage_of_the_service_can_be_framed_but_not_read(api: str, model: str) -> None:
    with pytest.raises(ProtocolError) as raised:
        read_message(api, body(api, Script(deltas=("a", "b"), faults=(Garbage(at=At(tokens=1)),)), Turn(model=model)))

    assert raised.value.partial is not None
    assert raised.value.partial.text == "a"


@each_case
def test_other_garbage_can_not_even_be_framed(api: str, model: str) -> None:
    script = Script(deltas=("a", "b"), faults=(Garbage(at=At(tokens=1), data=b"\0" * 20),))

    with pytest.raises(FramingError) as raised:
        read_message(api, body(api, script, Turn(model=model)))

    assert raised.value.partial is not None
    assert raised.value.partial.text == "a"


@each_case
def test_keep_alives_change_nothing_that_is_said(api: str, model: str) -> None:
    script = Script(text=TEXT, faults=(KeepAlives(at=At(tokens=1), count=3),))

    spoilt = body(api, script, Turn(model=model))

    assert len(spoilt) == len(body(api, Script(text=TEXT), Turn(model=model))) + 3 * 16
    assert read_message(api, spoilt).text == TEXT
    assert len(set(islice(chunks(api, Script(faults=(KeepAlives(),))), 100))) == 1


@each_case
@pytest.mark.parametrize(
    "fault",
    [EarlyEnd(at=At(tokens=2)), Disconnect(at=At(tokens=2, inside="event")), Disconnect(at=At(tokens=2, bytes=1))],
)
def test_a_body_that_breaks_off_leaves_what_had_come(api: str, model: str, fault: Fault) -> None:
    with pytest.raises(TruncatedStreamError) as raised:
        read_message(api, body(api, Script(deltas=("a", "b", "c"), faults=(fault,)), Turn(model=model)))

    assert raised.value.partial is not None
    assert raised.value.partial.text == "ab"


@each_case
def test_an_error_event_says_what_it_is_told(api: str, model: str) -> None:
    fault = ErrorEvent(at=At(tokens=2), message="slow down", kind="throttlingException")

    with pytest.raises(RateLimitedError, match="slow down") as raised:
        read_message(api, body(api, Script(deltas=("a", "b", "c"), faults=(fault,)), Turn(model=model)))

    assert raised.value.partial is not None
    assert raised.value.partial.text == "ab"


@each_case
def test_an_answer_is_cut_at_the_limit_of_the_request(api: str, model: str) -> None:
    message = read_message(api, body(api, turn=Turn(model=model, max_tokens=7)))

    assert message.reason is FinishReason.LENGTH
    assert message.usage is not None
    assert message.usage.output_tokens == 7


@each_case
def test_a_whole_answer_says_the_text(api: str, model: str) -> None:
    (whole,) = chunks(api, Script(text="Hi there"), Turn(model=model, stream=False))

    assert b'"Hi there"' in whole


# --- The shapes that were recorded ---

RECORDED = {
    "converse-text-nova": Script(text="The capital of France is Paris."),
    "converse-thinking-claude": Script(text="Hello! It's nice.", reasoning="The user has greeted me."),
    "converse-parallel-tools-nova": Script(
        text="<thinking>", tool_calls=(CALLS[0], ScriptedCall("look", {"at": "it"}))
    ),
    "converse-redacted-thinking": Script(text="I notice.", redacted="EqkE"),
    "invoke-nova-tools": Script(text="<thinking>", tool_calls=(CALLS[0], ScriptedCall("look", {"at": "it"}))),
}
VARYING = {
    "serverToolUsage",
    "trace",
    "cacheReadInputTokenCount",
    "cacheWriteInputTokenCount",
    "latencyMs",
    "totalTokens",
}
"""What some models send, and others do not."""


@needs_shared
@pytest.mark.parametrize("stem", RECORDED)
def test_events_have_the_shapes_that_were_recorded(stem: str) -> None:
    path: Path = SHARED / "captures" / "bedrock" / f"{stem}.eventstream"
    api, model = (CONVERSE, "any") if stem.startswith("converse") else (INVOKE, "amazon.nova-x")

    assert shapes(body(api, RECORDED[stem], Turn(model=model))) == shapes(path.read_bytes())


def shapes(wire: bytes) -> list[Json]:
    """Every shape that events have, with their headers."""
    found: list[Json] = []
    for _, read in parts(wire):
        assert read is not None
        made: Json = [dict(read.headers), shape(json.loads(inner_of(read)))]
        found += [] if made in found else [made]
    return sorted(found, key=repr)


def shape(value: Json) -> Json:
    """Names and kinds, without what is said."""
    if isinstance(value, dict):
        members = cast("dict[str, Json]", value)
        return {name: shape(members[name]) for name in sorted(members.keys() - VARYING)}
    return type(value).__name__
