"""Converse: every event and every oddity of it."""

import base64
import json
from typing import Any

import pytest

from rxstream.dialects.bedrock_converse import BEDROCK_CONVERSE
from rxstream.errors import (
    FramingError,
    ProtocolError,
    ProviderError,
    RateLimitedError,
    ServerError,
    TruncatedStreamError,
)
from rxstream.messages import AssembledToolCall, ErrorInfo, ReasoningPart
from rxstream.tokens import (
    Citation,
    FinishReason,
    FunctionCall,
    Json,
    Media,
    RawEvent,
    ReasoningDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
)
from tests.dialects.event_streams import converse, event, exception, message
from tests.dialects.reading import Outcome, fixtures_of, read
from tests.shared import SHARED, needs_shared

NAME = "bedrock.converse"
START: dict[str, Json] = {"messageStart": {"role": "assistant"}}


def outcome(*events: dict[str, Json], raw_events: bool = False) -> Outcome:
    return read(BEDROCK_CONVERSE, [converse(*events)], raw_events=raw_events)


def tokens(*events: dict[str, Json], raw_events: bool = False) -> list[StreamToken]:
    return outcome(*events, raw_events=raw_events).tokens


def fixture(stem: str, *, raw_events: bool = False) -> Outcome:
    [path] = [path for path in fixtures_of(BEDROCK_CONVERSE) if path.stem == stem]
    return read(BEDROCK_CONVERSE, [path.read_bytes()], raw_events=raw_events)


def delta(index: int, **what: Json) -> dict[str, Json]:
    return {"contentBlockDelta": {"contentBlockIndex": index, "delta": what}}


def tool_start(index: int, id: str = "t_1", name: str = "look", **more: Json) -> dict[str, Json]:
    return {
        "contentBlockStart": {
            "contentBlockIndex": index,
            "start": {"toolUse": {"toolUseId": id, "name": name, **more}},
        }
    }


def block_stop(index: int) -> dict[str, Json]:
    return {"contentBlockStop": {"contentBlockIndex": index}}


def message_stop(reason: str | None = "end_turn") -> dict[str, Json]:
    return {"messageStop": {"stopReason": reason}}


def metadata(**usage: Json) -> dict[str, Json]:
    return {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}


def test_text() -> None:
    result = fixture("text")

    assert result.error is None
    assert result.tokens == [
        StreamStart(None, None, NAME),
        TextDelta("Rain "),
        TextDelta("falls, "),
        TextDelta("日本語 too."),
        UsageReport(12, 7, total_tokens=19, raw={"inputTokens": 12, "outputTokens": 7, "totalTokens": 19}),
        StreamEnd(FinishReason.STOP, "end_turn"),
    ]


def test_everything_that_there_is() -> None:
    result = fixture("everything")

    cited = result.message.citations[0].raw
    usage: dict[str, Json] = {"inputTokens": 12, "outputTokens": 7, "totalTokens": 19}
    usage |= {"cacheReadInputTokens": 5, "cacheWriteInputTokens": 0, "serverToolUsage": {"search": 1}}
    details = {
        "additionalModelResponseFields": {"stop_sequence": None},
        "trace": {"guardrail": {"actionReason": "No action."}},
    }
    assert result.tokens == [
        StreamStart(None, None, NAME),
        ReasoningDelta("", 0, redacted="c2VjcmV0"),
        ReasoningDelta("Let me ", 1),
        ReasoningDelta("look.", 1),
        ReasoningDelta("", 1, signature="c2ln"),
        TextDelta("It rains", 3),
        Citation("https://example.com/w", "Weather", "rain all day", index=3, raw=cited),
        Media("image/png", b"\x89PNG", 6),
        ToolCallStart("call-0", "t_1", "look"),
        ToolCallDelta("call-0", '{"at": "'),
        ToolCallDelta("call-0", 'the sky"}'),
        ToolCall("call-0", "t_1", FunctionCall("look", '{"at": "the sky"}'), '{"at": "the sky"}'),
        ToolCallStart("call-1", "t_2", "wait"),
        ToolCall("call-1", "t_2", FunctionCall("wait", "{}"), ""),
        UsageReport(12, 7, None, 5, 0, 19, raw=usage),
        StreamEnd(FinishReason.TOOL_CALLS, "tool_use", details=details),
    ]
    assert result.message.parts[:2] == [
        ReasoningPart("", redacted="c2VjcmV0"),
        ReasoningPart("Let me look.", signature="c2ln"),
    ]


def test_what_has_no_rule_comes_only_when_asked_for() -> None:
    raw = [token for token in fixture("everything", raw_events=True).tokens if isinstance(token, RawEvent)]

    assert [(token.event, json.loads(token.data)["contentBlockIndex"]) for token in raw] == [
        ("contentBlockStart", 4),
        ("contentBlockDelta", 4),
        ("contentBlockStart", 5),
        ("contentBlockDelta", 5),
    ]
    assert tokens({"somethingNew": {"a": 1}}, raw_events=True) == [RawEvent("somethingNew", '{"a": 1}')]


def test_a_body_that_ends_before_the_usage_is_whole() -> None:
    result = fixture("no-metadata")

    assert result.error is None
    assert result.message.complete
    assert result.message.usage is None
    assert result.tokens[-1] == StreamEnd(
        FinishReason.STOP, "stop_sequence", details={"additionalModelResponseFields": {"stop_sequence": "END"}}
    )


def test_usage_without_an_end_is_no_end() -> None:
    result = outcome(START, delta(0, text="Hi"), metadata(inputTokens=1))

    assert isinstance(result.error, TruncatedStreamError)
    assert result.message.usage is not None
    assert result.message.text == "Hi"


def test_nothing_after_the_usage_is_looked_at() -> None:
    reader = BEDROCK_CONVERSE.read_body()
    made = reader.feed(converse(START, message_stop(), metadata(), delta(0, text="more")) + b"".join([event("x", 7)]))

    assert reader.ended
    assert made[-1] == StreamEnd(FinishReason.STOP, "end_turn")
    assert reader.flush() == []


def test_the_stop_reason_is_known_as_soon_as_it_is_heard() -> None:
    reader = BEDROCK_CONVERSE.read_body()
    reader.feed(converse(START, message_stop("max_tokens")))

    assert reader.message.finish_reason == "max_tokens"
    assert not reader.ended


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("guardrail_intervened", FinishReason.CONTENT_FILTER),
        ("content_filtered", FinishReason.CONTENT_FILTER),
        ("malformed_model_output", FinishReason.ERROR),
        ("malformed_tool_use", FinishReason.ERROR),
        ("something_new", FinishReason.OTHER),
        (None, FinishReason.OTHER),
    ],
)
def test_stop_reasons(word: str | None, reason: FinishReason) -> None:
    assert tokens(START, message_stop(word), metadata())[-1] == StreamEnd(reason, word)


@pytest.mark.parametrize("pieces", [[], [""], [None]])
@pytest.mark.parametrize("after", [[delta(2, text="And so.")], [tool_start(2, "t_2")], []])
def test_a_call_without_arguments_is_whole_when_the_answer_went_on(
    pieces: list[Json], after: list[dict[str, Json]]
) -> None:
    reason = "max_tokens" if after else "tool_use"
    inputs = [delta(1, toolUse={"input": piece}) for piece in pieces]

    made = tokens(START, tool_start(1), *inputs, block_stop(1), *after, message_stop(reason), metadata())

    assert [token for token in made if isinstance(token, ToolCall)] == [
        ToolCall("call-0", "t_1", FunctionCall("look", "{}"), "")
    ]


def test_a_call_cut_before_its_arguments_is_not_to_be_run() -> None:
    assert [token for token in fixture("cut-before-arguments").tokens if isinstance(token, ToolCallTruncated)] == [
        ToolCallTruncated("call-0", "t_1", "look", "")
    ]


def test_a_call_cut_inside_its_arguments_is_not_to_be_run() -> None:
    result = fixture("cut-in-arguments")

    assert ToolCallTruncated("call-0", "t_1", "look", '{"at": "the s') in result.tokens
    assert result.message.tool_calls == [AssembledToolCall("t_1", "look", None, '{"at": "the s')]
    assert result.message.complete


def test_a_call_whose_block_was_never_closed_is_finished_at_the_end() -> None:
    made = tokens(START, tool_start(1), delta(1, toolUse={"input": '{"a":1}'}), message_stop("tool_use"), metadata())

    assert ToolCall("call-0", "t_1", FunctionCall("look", '{"a":1}'), '{"a":1}') in made


def test_arguments_may_come_as_a_value() -> None:
    made = tokens(START, tool_start(1), delta(1, toolUse={"input": {"a": 1}}), block_stop(1), message_stop("tool_use"))

    assert ToolCall("call-0", "t_1", FunctionCall("look", '{"a":1}'), None) in made


def test_a_second_call_in_the_place_of_an_open_one_is_another_call() -> None:
    made = tokens(
        START,
        tool_start(1),
        delta(1, toolUse={"input": "{}"}),
        tool_start(1, "t_2", "wait"),
        block_stop(1),
        message_stop("tool_use"),
    )

    assert [(token.id, token.function.name) for token in made if isinstance(token, ToolCall)] == [
        ("t_1", "look"),
        ("t_2", "wait"),
    ]


def test_the_count_of_novas_cache_is_read_where_it_says_something() -> None:
    cached = tokens(START, message_stop(), metadata(cacheReadInputTokenCount=4, cacheWriteInputTokenCount=0))

    [report] = [token for token in cached if isinstance(token, UsageReport)]
    assert (report.cached_input_tokens, report.cache_write_tokens) == (4, None)
    assert (report.input_tokens, report.total_tokens) == (None, None)


@pytest.mark.parametrize("data", ["!", "é", "iVBORw", 7, None])
def test_an_image_that_is_none_is_no_media(data: Json) -> None:
    made = tokens(START, delta(0, image={"source": {"bytes": data}}), message_stop(), metadata())

    assert not [token for token in made if isinstance(token, Media)]


def test_an_exception_ends_the_stream_with_what_had_come() -> None:
    result = fixture("exception")

    assert isinstance(result.error, RateLimitedError)
    assert result.error.is_retryable
    assert result.error.info == ErrorInfo("throttlingException", None, "Too many requests, wait.")
    assert result.message.text == "Hel"
    assert result.tokens[-1] == ToolCallTruncated("call-0", "t_1", "look", '{"a')


def test_an_error_that_nobody_foresaw_ends_the_stream() -> None:
    result = fixture("error")

    assert type(result.error) is ProviderError
    assert str(result.error) == "bedrock.converse: Something broke (InternalError)"
    assert result.message.text == "Hel"


@pytest.mark.parametrize("payload", [b"", b"[]", b"\xff", b'{"message": null}'])
def test_an_exception_without_words_is_still_an_error(payload: bytes) -> None:
    wire = message({":message-type": "exception", ":exception-type": "internalServerException"}, payload)

    result = read(BEDROCK_CONVERSE, [wire])

    assert isinstance(result.error, ServerError)
    assert result.error.message


@pytest.mark.parametrize("noise", [message({}, b""), message({":message-type": "event"}, b"?"), event("ping", {})])
def test_what_says_nothing_is_skipped(noise: bytes) -> None:
    wire = noise + converse(START) + noise + converse(delta(0, text="Hi"), message_stop(), metadata()) + noise

    assert read(BEDROCK_CONVERSE, [wire]).message.text == "Hi"


@pytest.mark.parametrize("payload", [b'{"delta": secret', b"\xff\xfe", b"", b"7", b'{"delta": 7}'])
def test_nonsense_in_an_event_is_an_error_that_does_not_quote_it(payload: bytes) -> None:
    wire = message({":event-type": "contentBlockDelta", ":message-type": "event"}, payload)

    result = read(BEDROCK_CONVERSE, [wire])

    assert isinstance(result.error, ProtocolError)
    assert "secret" not in str(result.error)


def test_odd_but_harmless_values_end_no_stream() -> None:
    result = outcome(
        {"messageStart": {}},
        {"contentBlockDelta": {"contentBlockIndex": 0.0, "delta": {"text": "a"}}},
        {"contentBlockDelta": {"contentBlockIndex": None, "delta": {"text": "b"}}},
        {"contentBlockDelta": {"delta": {"text": "c", "new": [1]}}},
        {"contentBlockDelta": {"contentBlockIndex": 2**70, "delta": {"text": "d"}}},
        {"contentBlockStart": {"contentBlockIndex": 1, "start": {}}},
        {"messageStop": {"stopReason": "end_turn", "new": None}},
        {"metadata": {"usage": {"inputTokens": 3.0, "outputTokens": "4", "totalTokens": True}}},
    )

    assert result.error is None
    assert result.message.text == "abcd"
    assert result.message.usage is not None
    assert (result.message.usage.input_tokens, result.message.usage.output_tokens) == (3, None)


def test_spoilt_bytes_after_good_messages_leave_what_those_said_once() -> None:
    wire = bytearray(converse(START, delta(0, text="Hel"), delta(0, text="lo")))
    wire[-1] ^= 1

    result = read(BEDROCK_CONVERSE, [bytes(wire)])

    assert isinstance(result.error, FramingError)
    assert result.tokens == [StreamStart(None, None, NAME), TextDelta("Hel")]
    assert result.message.text == "Hel"


# --- The vectors of others ---


def vector(name: str) -> dict[str, Any]:
    path = SHARED / "captures" / "bedrock" / "vectors.json"
    [found] = [each for each in json.loads(path.read_bytes())["eventstream_frames"] if each["name"] == name]
    return found


@needs_shared
@pytest.mark.parametrize("name", ["converse_then_throttling_exception", "converse_then_unmodelled_error"])
@pytest.mark.parametrize("size", [1, 1_000])
def test_vectors_of_whole_streams_end_in_the_error_that_they_state(name: str, size: int) -> None:
    stated = vector(name)
    wire = base64.b64decode(stated["bytes_base64"])

    result = read(BEDROCK_CONVERSE, [wire[at : at + size] for at in range(0, len(wire), size)])

    assert isinstance(result.error, ProviderError)
    assert result.message.text == stated["expect"]["text"]
    assert result.message.error is not None
    assert (result.message.error.type, result.message.error.message) == (
        stated["expect"]["error"]["type"],
        stated["expect"]["error"]["message"],
    )
    assert not result.message.complete


@needs_shared
def test_a_vector_cut_inside_a_message_is_a_cut_stream() -> None:
    wire = base64.b64decode(vector("cut_inside_second_frame")["bytes_base64"])

    result = read(BEDROCK_CONVERSE, [wire])

    assert isinstance(result.error, TruncatedStreamError)
    assert result.tokens == [StreamStart(None, None, NAME)]


def test_an_exception_of_a_stream_that_had_ended_is_not_looked_at() -> None:
    wire = converse(START, message_stop(), metadata()) + exception("internalServerException", "late")

    assert read(BEDROCK_CONVERSE, [wire]).error is None


def test_a_piece_of_thinking_that_says_nothing_is_none() -> None:
    made = tokens(START, delta(0, reasoningContent={"text": ""}), delta(0, reasoningContent={}), message_stop())

    assert made == [StreamStart(None, None, NAME), StreamEnd(FinishReason.STOP, "end_turn")]


def test_text_that_was_cut_inside_a_character_is_joined() -> None:
    result = fixture("lone-surrogate")

    assert result.message.text == "a 😀 b"
    assert [call.arguments for call in result.message.tool_calls] == [{"x": "😀"}]
