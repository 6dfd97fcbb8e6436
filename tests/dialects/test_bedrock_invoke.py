"""InvokeModel: whose words an answer is in, and what becomes of them."""

import json
from typing import Any

import pytest

from rxstream.dialects.bedrock_invoke import BEDROCK_INVOKE
from rxstream.errors import OverloadedError, ProtocolError, ServerError, TruncatedStreamError
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    Json,
    RawEvent,
    ReasoningDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
    UsageReport,
)
from tests.dialects.event_streams import chunk, event, invoke, message
from tests.dialects.reading import Outcome, fixtures_of, read

NAME = "bedrock.invoke"


def outcome(*events: Json, raw_events: bool = False) -> Outcome:
    return read(BEDROCK_INVOKE, [invoke(*events)], raw_events=raw_events)


def fixture(stem: str) -> Outcome:
    [path] = [path for path in fixtures_of(BEDROCK_INVOKE) if path.stem == stem]
    return read(BEDROCK_INVOKE, [path.read_bytes()])


def without_usage(result: Outcome) -> list[StreamToken]:
    return [token for token in result.tokens if not isinstance(token, UsageReport)]


def test_anthropic_is_read_as_its_own_service_is() -> None:
    result = fixture("anthropic")

    assert result.error is None
    assert result.tokens[0] == StreamStart("msg_own_1", "claude-own-1", NAME)
    assert result.message.reasoning == "Hm."
    assert ReasoningDelta("", 0, signature="c2ln") in result.tokens
    assert result.message.text == "日本 too."
    assert [(call.name, call.arguments) for call in result.message.tool_calls] == [("look", {"at": 1})]
    assert result.message.usage is not None
    assert (result.message.usage.input_tokens, result.message.usage.output_tokens) == (12, 30)  # not Bedrock's 22
    assert result.tokens[-1] == StreamEnd(FinishReason.TOOL_CALLS, "tool_use")


def test_an_error_in_anthropics_words_is_of_this_api() -> None:
    result = fixture("anthropic-error")

    assert isinstance(result.error, OverloadedError)
    assert (result.error.provider, result.error.kind) == (NAME, "overloaded_error")
    assert result.message.text == "Hel"


def test_nova() -> None:
    result = fixture("nova")

    assert without_usage(result)[:2] == [StreamStart(None, None, NAME), TextDelta("<thinking>")]
    assert [token for token in result.tokens if isinstance(token, ToolCall)] == [
        ToolCall("call-0", "n_1", FunctionCall("look", '{"at":"sky"}'), '{"at":"sky"}'),
        ToolCall("call-1", "n_2", FunctionCall("wait", "{}"), ""),
    ]
    assert result.message.usage is not None
    assert (result.message.usage.input_tokens, result.message.usage.cached_input_tokens) == (12, 4)
    assert isinstance(result.tokens[-1], StreamEnd)
    assert result.tokens[-1].reason is FinishReason.TOOL_CALLS


def test_titan() -> None:
    counts = {"inputTextTokenCount": 12.0, "totalOutputTextTokenCount": 7.0}

    assert fixture("titan").tokens == [
        StreamStart(None, None, NAME),
        TextDelta("It "),
        TextDelta("rains."),
        UsageReport(12, 7, raw=counts),
        StreamEnd(FinishReason.LENGTH, "LENGTH"),
    ]


def test_titan_with_a_guardrail_may_end_without_a_reason() -> None:
    result = fixture("titan-guardrail")

    assert result.error is None
    assert result.message.text == "Sorry."
    assert result.tokens[-1] == StreamEnd(FinishReason.CONTENT_FILTER, None, details={"guardrail_action": "INTERVENED"})


def test_a_reason_goes_before_what_a_guardrail_did() -> None:
    result = outcome({"outputText": "Hi", "completionReason": "FINISH", "amazon-bedrock-guardrailAction": "INTERVENED"})

    assert result.tokens[-1] == StreamEnd(FinishReason.STOP, "FINISH", details={"guardrail_action": "INTERVENED"})


def test_llama() -> None:
    assert fixture("llama").tokens == [
        StreamStart(None, None, NAME),
        TextDelta("It rains."),
        UsageReport(12, 7, raw={"prompt_token_count": 12, "generation_token_count": 7}),
        StreamEnd(FinishReason.STOP, "stop"),
    ]


@pytest.mark.parametrize(
    ("piece", "reason"),
    [
        ({"outputText": "", "completionReason": "FINISH"}, FinishReason.STOP),
        ({"outputText": "", "completionReason": "CONTENT_FILTERED"}, FinishReason.CONTENT_FILTER),
        ({"outputText": "", "completionReason": "SOMETHING_NEW"}, FinishReason.OTHER),
        ({"generation": "", "stop_reason": "length"}, FinishReason.LENGTH),
    ],
)
def test_the_reason_alone_makes_an_answer_whole(piece: dict[str, Json], reason: FinishReason) -> None:
    result = outcome(piece)

    assert result.error is None
    assert result.message.reason is reason


@pytest.mark.parametrize("piece", [{"outputText": "Hi"}, {"generation": "Hi"}])
def test_an_answer_without_a_reason_was_cut(piece: dict[str, Json]) -> None:
    result = outcome(piece)

    assert isinstance(result.error, TruncatedStreamError)
    assert result.message.text == "Hi"


def test_an_exception_ends_the_stream_with_what_had_come() -> None:
    result = fixture("exception")

    assert isinstance(result.error, ServerError)
    assert result.error.kind == "modelTimeoutException"
    assert result.message.text == "Hel"


def test_a_server_may_leave_the_wrapper_out() -> None:
    assert fixture("unwrapped").message.text == "Hi"
    assert fixture("unwrapped").error is None


def test_what_is_in_nobody_s_words_comes_only_when_asked_for() -> None:
    events: list[Json] = [{"text": "Hi"}, {"is_finished": True}]

    assert outcome(*events).tokens == []
    assert outcome(*events, raw_events=True).tokens == [RawEvent("chunk", json.dumps(each)) for each in events]
    assert isinstance(outcome(*events).error, TruncatedStreamError)


def test_what_a_family_does_not_know_comes_only_when_asked_for() -> None:
    nova: list[Json] = [
        {"messageStart": {"role": "assistant"}},
        {"new": 1},
        {"messageStop": {"stopReason": "end_turn"}},
    ]

    assert [token for token in outcome(*nova, raw_events=True).tokens if isinstance(token, RawEvent)] == [
        RawEvent("chunk", '{"new": 1}')
    ]
    assert not [token for token in outcome(*nova).tokens if isinstance(token, RawEvent)]


@pytest.mark.parametrize("noise", [message({}, b""), message({":message-type": "event"}, b"?"), event("ping", {})])
def test_what_says_nothing_is_skipped(noise: bytes) -> None:
    wire = noise + invoke({"generation": "Hi"}) + noise + invoke({"generation": "", "stop_reason": "stop"}) + noise

    assert read(BEDROCK_INVOKE, [wire]).message.text == "Hi"


@pytest.mark.parametrize(
    "wire",
    [
        event("chunk", {"bytes": "no base64!"}),
        event("chunk", {"bytes": 7}),
        chunk(b'{"generation": secret'),
        chunk(b""),
        invoke({"generation": 7}),
        invoke({"type": 7}),
        invoke({"outputText": "Hi"}, {"outputText": []}),
    ],
)
def test_nonsense_in_an_event_is_an_error_that_does_not_quote_it(wire: bytes) -> None:
    result = read(BEDROCK_INVOKE, [wire])

    assert isinstance(result.error, ProtocolError)
    assert result.error.provider == NAME
    assert "secret" not in str(result.error)


def test_nothing_after_the_end_is_looked_at() -> None:
    metrics: dict[str, Any] = {"amazon-bedrock-invocationMetrics": {"inputTokenCount": 1}}

    reader = BEDROCK_INVOKE.read_body()
    made = reader.feed(invoke({"generation": "Hi", "stop_reason": "stop", **metrics}, {"generation": " more"}))

    assert reader.ended
    assert reader.message.text == "Hi"
    assert made[-1] == StreamEnd(FinishReason.STOP, "stop")
    assert reader.flush() == []
