"""The Messages API: every event and every oddity of it, and requests to the letter."""

import json
from typing import Any

import pytest

from rxstream.dialects.anthropic_messages import ANTHROPIC_MESSAGES, build_request, read_error
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    TruncatedStreamError,
)
from rxstream.messages import (
    AssembledToolCall,
    ChatRequest,
    ErrorInfo,
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
from rxstream.tokens import (
    Citation,
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
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
)
from tests.dialects.reading import Outcome, fixtures_of, read

NAME = "anthropic.messages"
MESSAGE_STOP: dict[str, Json] = {"type": "message_stop"}


def wire(*events: dict[str, Json]) -> bytes:
    """The events as the service frames them."""
    return b"".join(b"event: %b\ndata: %b\n\n" % (str(e["type"]).encode(), json.dumps(e).encode()) for e in events)


def outcome(*events: dict[str, Json], raw_events: bool = False) -> Outcome:
    return read(ANTHROPIC_MESSAGES, [wire(*events)], raw_events=raw_events)


def tokens(*events: dict[str, Json], raw_events: bool = False) -> list[StreamToken]:
    return outcome(*events, raw_events=raw_events).tokens


def fixture(stem: str, *, raw_events: bool = False) -> Outcome:
    [path] = [path for path in fixtures_of(ANTHROPIC_MESSAGES) if path.stem == stem]
    return read(ANTHROPIC_MESSAGES, [path.read_bytes()], raw_events=raw_events)


def message_start(id: str | None = "msg_1", **members: Json) -> dict[str, Json]:
    return {"type": "message_start", "message": {"id": id, "model": "claude", "content": [], **members}}


def block_start(index: int, kind: str, **members: Json) -> dict[str, Json]:
    return {"type": "content_block_start", "index": index, "content_block": {"type": kind, **members}}


def delta(index: int, kind: str, **members: Json) -> dict[str, Json]:
    return {"type": "content_block_delta", "index": index, "delta": {"type": kind, **members}}


def block_stop(index: int) -> dict[str, Json]:
    return {"type": "content_block_stop", "index": index}


def message_delta(stop_reason: str | None, usage: Json = None, **members: Json) -> dict[str, Json]:
    return {"type": "message_delta", "delta": {"stop_reason": stop_reason, **members}, "usage": usage}


# --- What the stream becomes ---


def test_text() -> None:
    result = fixture("text")

    usage = {
        "input_tokens": 12,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_creation": {"ephemeral_5m_input_tokens": 0},
        "service_tier": "standard",
    }
    assert result.error is None
    assert result.tokens == [
        StreamStart("msg_own_1", "claude-own-1", NAME),
        UsageReport(12, 1, None, 0, 0, raw={**usage, "output_tokens": 1}),
        TextDelta("Rain "),
        TextDelta("falls, "),
        TextDelta("日本語 too."),
        UsageReport(12, 7, None, 0, 0, raw={**usage, "output_tokens": 7}),
        StreamEnd(FinishReason.STOP, "end_turn"),
    ]


def test_thinking_keeps_its_last_signature() -> None:
    made = tokens(
        block_start(0, "thinking", thinking="", signature=""),
        delta(0, "thinking_delta", thinking="Hm", estimated_tokens=2),
        delta(0, "thinking_delta", thinking=""),
        delta(0, "signature_delta", signature="first"),
        delta(0, "signature_delta", signature="second"),
        block_stop(0),
        MESSAGE_STOP,
    )

    assert made[:-1] == [
        ReasoningDelta("Hm"),
        ReasoningDelta("", signature="first"),
        ReasoningDelta("", signature="second"),
    ]


def test_redacted_thinking_comes_whole_in_the_start() -> None:
    assert tokens(block_start(3, "redacted_thinking", data="b3BhcXVl"), block_stop(3), MESSAGE_STOP)[:-1] == [
        ReasoningDelta("", 3, redacted="b3BhcXVl")
    ]


def test_a_block_may_already_hold_something_when_it_starts() -> None:
    citation = {"type": "web_search_result_location", "url": "https://example.org/"}

    made = tokens(
        block_start(0, "thinking", thinking="Hm", signature="c2ln"),
        block_start(1, "text", text="Hi", citations=[citation]),
        MESSAGE_STOP,
    )

    assert made[:-1] == [
        ReasoningDelta("Hm", 0, signature="c2ln"),
        TextDelta("Hi", 1),
        Citation(url="https://example.org/", index=1, raw=citation),
    ]


def test_thinking_stands_in_its_block() -> None:
    made = tokens(delta(3, "thinking_delta", thinking="Hm"), delta(3, "signature_delta", signature="c2ln"))

    assert made == [ReasoningDelta("Hm", 3), ReasoningDelta("", 3, signature="c2ln")]


def test_a_block_may_start_with_a_part_of_its_thinking() -> None:
    made = tokens(
        block_start(1, "thinking", thinking="Hm", signature=""),
        block_start(2, "thinking", thinking="", signature="c2ln"),
        MESSAGE_STOP,
    )

    assert made[:-1] == [ReasoningDelta("Hm", 1), ReasoningDelta("", 2, signature="c2ln")]


def test_thinking_goes_back_as_it_came() -> None:
    message = fixture("everything").message

    assert message.parts[:3] == [
        ReasoningPart("First look.", signature="c2lnbmF0dXJl"),
        ReasoningPart("", redacted="b3BhcXVl"),
        TextPart("Held at the start."),
    ]


def test_citations_of_every_kind() -> None:
    citations = fixture("everything").message.citations

    assert [(each.url, each.title, each.text, each.index) for each in citations] == [
        ("https://example.org/own", "Own page", "own words", 5),
        (None, "Own document", "page one", 5),
        ("https://example.org/found", None, "found", 5),
    ]
    assert [each.start for each in citations] == [None] * 3  # they say where in the source, not where in the answer
    assert citations[1].raw is not None
    assert citations[1].raw["start_char_index"] == 3


def test_parallel_calls_are_told_apart_by_their_block() -> None:
    calls = [token for token in fixture("everything").tokens if isinstance(token, ToolCall)]

    assert [(call.id, call.function.name, call.parsed, call.arguments_raw) for call in calls] == [
        ("toolu_b", "look_up", {"name": "ü"}, '{"name": "ü"}'),
        ("toolu_a", "add", {"a": [1, 2.5]}, '{"a": [1, 2.5]}'),
        ("toolu_c", "now", {}, ""),
        ("toolu_d", "given", {"whole": True}, None),
        ("toolu_e", "last", {}, ""),
    ]


def test_a_call_streams_its_arguments_as_text() -> None:
    made = tokens(
        block_start(1, "tool_use", id="toolu_1", name="add", input={}),
        delta(1, "input_json_delta", partial_json=""),
        delta(1, "input_json_delta", partial_json='{"a"'),
        delta(1, "input_json_delta", partial_json=": 1}"),
        block_stop(1),
        message_delta("tool_use"),
        MESSAGE_STOP,
    )

    assert made == [
        ToolCallStart("call-0", "toolu_1", "add"),
        ToolCallDelta("call-0", '{"a"'),
        ToolCallDelta("call-0", ": 1}"),
        ToolCall("call-0", "toolu_1", FunctionCall("add", '{"a": 1}'), '{"a": 1}'),
        StreamEnd(FinishReason.TOOL_CALLS, "tool_use"),
    ]


@pytest.mark.parametrize("pieces", [[], [""], ["", ""]], ids=["no delta", "an empty delta", "two empty deltas"])
@pytest.mark.parametrize("stop_reason", ["tool_use", "end_turn", "pause_turn", None])
def test_a_call_without_arguments_is_whole_when_the_answer_went_on(pieces: list[str], stop_reason: str | None) -> None:
    made = tokens(
        block_start(0, "tool_use", id="toolu_1", name="now", input={}),
        *(delta(0, "input_json_delta", partial_json=piece) for piece in pieces),
        block_stop(0),
        message_delta(stop_reason),
        MESSAGE_STOP,
    )

    assert made[1] == ToolCall("call-0", "toolu_1", FunctionCall("now", "{}"), "")


def test_a_call_without_arguments_is_whole_when_another_block_follows() -> None:
    made = tokens(
        block_start(0, "tool_use", id="toolu_1", name="now", input={}),
        block_stop(0),
        block_start(1, "text", text="and"),
        message_delta("max_tokens"),
        MESSAGE_STOP,
    )

    assert [type(token) for token in made] == [ToolCallStart, ToolCall, TextDelta, StreamEnd]


@pytest.mark.parametrize("stop_reason", ["max_tokens", "model_context_window_exceeded", "refusal"])
@pytest.mark.parametrize("is_closed", [True, False], ids=["closed", "open"])
def test_a_call_cut_before_its_arguments_is_not_to_be_run(stop_reason: str, is_closed: bool) -> None:
    made = tokens(
        block_start(0, "tool_use", id="toolu_1", name="delete_all", input={}),
        *([block_stop(0)] if is_closed else []),
        message_delta(stop_reason),
        MESSAGE_STOP,
    )

    assert made[1] == ToolCallTruncated("call-0", "toolu_1", "delete_all", "")


def test_a_call_cut_inside_its_arguments_is_not_to_be_run() -> None:
    result = fixture("cut-in-arguments")

    assert result.message.tool_calls == [AssembledToolCall("toolu_w", "write", None, '{"lines": ["one", "tw')]
    assert result.message.complete
    assert result.tokens[-1] == StreamEnd(FinishReason.LENGTH, "max_tokens")


def test_a_call_cut_at_the_very_end_of_its_arguments_is_whole() -> None:
    made = tokens(
        block_start(0, "tool_use", id="toolu_1", name="f", input={}),
        delta(0, "input_json_delta", partial_json='{"a": 1}'),
        message_delta("max_tokens"),
        MESSAGE_STOP,
    )

    assert made[2] == ToolCall("call-0", "toolu_1", FunctionCall("f", '{"a": 1}'), '{"a": 1}')


def test_a_call_cut_where_its_arguments_might_have_gone_on_is_not_to_be_run() -> None:
    made = tokens(
        block_start(0, "tool_use", id="toolu_1", name="f", input={}),
        delta(0, "input_json_delta", partial_json="12"),
        message_delta("max_tokens"),
        MESSAGE_STOP,
    )

    assert made[2] == ToolCallTruncated("call-0", "toolu_1", "f", "12")


def test_a_call_whose_block_was_never_closed_is_finished_at_the_end() -> None:
    made = tokens(
        block_start(0, "tool_use", id="toolu_1", name="f", input={"a": 1}),
        block_start(1, "tool_use", id="toolu_2", name="g", input="{}"),
        message_delta("tool_use"),
        MESSAGE_STOP,
    )

    assert [token for token in made if isinstance(token, ToolCall)] == [
        ToolCall("call-0", "toolu_1", FunctionCall("f", '{"a":1}'), None),
        ToolCall("call-1", "toolu_2", FunctionCall("g", "{}"), "{}"),
    ]


@pytest.mark.parametrize("arguments", ['{"a":1}', {"a": 1}], ids=["text", "value"])
def test_a_call_whose_arguments_came_with_its_start_is_whole_when_its_block_closes(arguments: Json) -> None:
    made = tokens(block_start(0, "tool_use", id="toolu_1", name="f", input=arguments), block_stop(0))

    assert [token.function for token in made if isinstance(token, ToolCall)] == [FunctionCall("f", '{"a":1}')]


def test_argument_text_goes_over_what_the_start_held() -> None:
    made = tokens(
        block_start(0, "tool_use", id="toolu_1", name="f", input={"a": 1}),
        delta(0, "input_json_delta", partial_json='{"a": 2}'),
        block_stop(0),
        MESSAGE_STOP,
    )

    assert made[2] == ToolCall("call-0", "toolu_1", FunctionCall("f", '{"a": 2}'), '{"a": 2}')


def test_a_second_call_in_the_place_of_an_open_one_is_another_call() -> None:
    made = tokens(
        block_start(0, "tool_use", id="toolu_1", name="f", input={}),
        block_start(0, "tool_use", id="toolu_2", name="g", input={}),
        delta(0, "input_json_delta", partial_json="{}"),
        block_stop(0),
        MESSAGE_STOP,
    )

    assert [(token.id, token.function.name) for token in made if isinstance(token, ToolCall)] == [
        ("toolu_1", "f"),
        ("toolu_2", "g"),
    ]


@pytest.mark.parametrize("kind", ["server_tool_use", "mcp_tool_use"])
def test_a_tool_that_the_server_runs_is_no_call(kind: str) -> None:
    events = (
        block_start(0, kind, id="srvtoolu_1", name="web_search", input={}),
        delta(0, "input_json_delta", partial_json='{"query": "x"}'),
        block_stop(0),
        MESSAGE_STOP,
    )

    assert tokens(*events) == [StreamEnd(FinishReason.OTHER)]
    assert tokens(*events, raw_events=True) == [
        RawEvent("content_block_start", json.dumps(events[0])),
        RawEvent("content_block_delta", json.dumps(events[1])),
        StreamEnd(FinishReason.OTHER),
    ]


def test_what_has_no_rule_comes_only_when_asked_for() -> None:
    kept = [token for token in fixture("everything", raw_events=True).tokens if isinstance(token, RawEvent)]

    assert not any(isinstance(token, RawEvent) for token in fixture("everything").tokens)
    kinds = {json.loads(each.data)["type"] for each in kept}
    assert kinds == {"content_block_start", "content_block_delta", "event_of_tomorrow"}
    inside = [json.loads(each.data) for each in kept]
    assert {(each.get("content_block") or each.get("delta") or each)["type"] for each in inside} == {
        *("server_tool_use", "web_search_tool_result", "mcp_tool_use", "mcp_tool_result"),
        *("input_json_delta", "compaction", "compaction_delta"),
        *("block_of_tomorrow", "delta_of_tomorrow", "event_of_tomorrow"),
    }


def test_what_has_no_rule_keeps_its_name() -> None:
    later: dict[str, Json] = {"type": "event_of_tomorrow", "x": 1}
    known, unknown = message_start(content=[{"type": "text", "text": "a"}]), message_start(content=[{"type": "later"}])

    assert tokens(later, raw_events=True) == [RawEvent("event_of_tomorrow", json.dumps(later))]
    assert tokens(known, raw_events=True) == [StreamStart("msg_1", "claude", NAME), TextDelta("a")]
    assert tokens(unknown, raw_events=True) == [
        StreamStart("msg_1", "claude", NAME),
        RawEvent("message_start", json.dumps(unknown)),
    ]


def test_pings_give_nothing_at_all() -> None:
    reader = ANTHROPIC_MESSAGES.read_body(raw_events=True)

    assert reader.feed(wire({"type": "ping"})) == []
    assert reader.tokens_made == 0


def test_a_fallback_renames_the_model() -> None:
    result = fixture("everything")

    starts = [token for token in result.tokens if isinstance(token, StreamStart)]
    assert starts == [StreamStart("msg_own_1", "claude-own-1", NAME), StreamStart("msg_own_1", "claude-own-2", NAME)]
    assert result.message.model == "claude-own-2"


def test_usage_is_replaced_key_by_key() -> None:
    message = fixture("everything").message

    assert message.usage is not None
    assert (message.usage.input_tokens, message.usage.output_tokens, message.usage.reasoning_tokens) == (4045, 77, 20)
    assert (message.usage.cached_input_tokens, message.usage.cache_write_tokens) == (100, 0)
    assert message.usage.total_tokens is None
    assert message.usage_raw == {
        "input_tokens": 4045,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 100,
        "cache_creation": {"ephemeral_5m_input_tokens": 0},
        "output_tokens": 77,
        "service_tier": "standard",
        "output_tokens_details": {"thinking_tokens": 20},
        "server_tool_use": {"web_search_requests": 1},
        "iterations": [{"type": "message", "output_tokens": 50}],
    }


def test_usage_is_reported_only_when_it_says_something_new() -> None:
    made = tokens(
        message_start(usage={"input_tokens": 1, "output_tokens": 1}),
        message_delta(None, {"output_tokens": 1}),
        message_delta(None, {"output_tokens": None}),
        message_delta("end_turn", {"output_tokens": 2}),
        MESSAGE_STOP,
    )

    reports = [token for token in made if isinstance(token, UsageReport)]
    assert [(each.input_tokens, each.output_tokens) for each in reports] == [(1, 1), (1, 2)]
    assert [each.raw for each in reports] == [
        {"input_tokens": 1, "output_tokens": 1},
        {"input_tokens": 1, "output_tokens": 2},
    ]


def test_an_unknown_count_is_none_and_never_zero() -> None:
    [_, usage, _] = tokens(message_start(usage={"input_tokens": None}), MESSAGE_STOP)

    assert usage == UsageReport(raw={"input_tokens": None})


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("end_turn", FinishReason.STOP),
        ("stop_sequence", FinishReason.STOP),
        ("tool_use", FinishReason.TOOL_CALLS),
        ("max_tokens", FinishReason.LENGTH),
        ("model_context_window_exceeded", FinishReason.LENGTH),
        ("refusal", FinishReason.REFUSAL),
        ("pause_turn", FinishReason.PAUSE),
        ("compaction", FinishReason.PAUSE),
        ("word_of_tomorrow", FinishReason.OTHER),
        (None, FinishReason.OTHER),
    ],
)
def test_stop_reasons(word: str | None, reason: FinishReason) -> None:
    assert tokens(message_delta(word), MESSAGE_STOP) == [StreamEnd(reason, word)]


def test_the_end_tells_what_the_service_adds_to_its_word() -> None:
    details = {"type": "refusal", "category": "cyber", "explanation": "Own words."}

    assert fixture("refusal").tokens[-1] == StreamEnd(
        FinishReason.REFUSAL, "refusal", details={"stop_details": details}
    )
    assert fixture("odd").tokens[-1] == StreamEnd(FinishReason.STOP, "stop_sequence", details={"stop_sequence": "###"})
    assert fixture("everything").tokens[-1] == StreamEnd(
        FinishReason.TOOL_CALLS, "tool_use", details={"container": {"id": "container_1"}}
    )


def test_what_the_service_adds_in_several_events_adds_up() -> None:
    made = tokens(
        message_start(container={"id": "container_1"}),
        message_delta("stop_sequence", stop_sequence="###"),
        message_delta(None),
        MESSAGE_STOP,
    )

    assert made[-1] == StreamEnd(
        FinishReason.STOP,
        "stop_sequence",
        details={"container": {"id": "container_1"}, "stop_sequence": "###"},
    )


def test_the_stop_reason_is_known_as_soon_as_it_is_heard() -> None:
    result = outcome(message_start(), delta(0, "text_delta", text="Hi"), message_delta("max_tokens"))

    assert isinstance(result.error, TruncatedStreamError)
    assert result.message.finish_reason == "max_tokens"
    assert result.message.text == "Hi"
    assert not result.message.complete


def test_a_stop_reason_that_was_cut_inside_a_character_can_be_written() -> None:
    assert outcome(message_delta("\ud83d")).message.finish_reason == "\ufffd"


def test_an_answer_that_is_whole_in_its_start() -> None:
    result = fixture("whole-in-start")

    assert result.tokens[0] == StreamStart("msg_own_2", "claude-own-1", NAME)
    assert result.message.text == "Done."
    assert result.message.tool_calls == [AssembledToolCall("toolu_z", "look_up", {"id": 7}, None)]
    assert (result.message.reason, result.message.finish_reason) == (FinishReason.TOOL_CALLS, "tool_use")
    assert result.message.usage_raw == {"input_tokens": 3, "output_tokens": 4}
    assert result.tokens[-1] == StreamEnd(
        FinishReason.TOOL_CALLS, "tool_use", details={"container": {"id": "container_2"}}
    )
    kept = [token for token in fixture("whole-in-start", raw_events=True).tokens if isinstance(token, RawEvent)]
    assert [token.event for token in kept] == ["message_start"]


def test_a_call_that_is_whole_in_the_start_does_not_wait_for_the_end() -> None:
    call = {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"a": 1}}

    assert tokens(message_start(content=[call]))[-1] == ToolCall(
        "call-0", "toolu_1", FunctionCall("f", '{"a":1}'), None
    )


def test_a_second_message_start_of_the_same_answer_says_nothing_new() -> None:
    first = message_start(usage={"input_tokens": 1})
    again = message_start(usage={"input_tokens": 99})
    nameless = message_start(None)

    assert tokens(first, again, nameless, MESSAGE_STOP) == tokens(first, MESSAGE_STOP)


def test_another_answer_in_the_place_of_this_one_means_that_this_one_was_cut() -> None:
    result = outcome(
        message_start("msg_1"),
        block_start(0, "tool_use", id="toolu_1", name="f", input={}),
        delta(0, "input_json_delta", partial_json='{"a'),
        message_start("msg_2"),
        delta(0, "text_delta", text="again"),
        MESSAGE_STOP,
    )

    assert isinstance(result.error, TruncatedStreamError)
    assert result.error.is_retryable
    assert result.tokens[-1] == ToolCallTruncated("call-0", "toolu_1", "f", '{"a')
    assert (result.message.id, result.message.text) == ("msg_1", "")


def test_nothing_after_message_stop_is_looked_at() -> None:
    error: dict[str, Json] = {"type": "error", "error": {"type": "api_error", "message": "late"}}

    result = outcome(message_start(), MESSAGE_STOP, message_start("msg_2"), error, MESSAGE_STOP)

    assert result.error is None
    assert [type(token) for token in result.tokens] == [StreamStart, StreamEnd]


def test_message_delta_alone_does_not_end_a_stream() -> None:
    result = outcome(message_start(), message_delta("end_turn", {"output_tokens": 1}))

    assert isinstance(result.error, TruncatedStreamError)
    assert str(result.error) == f"{NAME}: the stream ended without message_stop"


def test_a_fixture_is_healthy_exactly_when_its_message_stop_is_in() -> None:
    for path in fixtures_of(ANTHROPIC_MESSAGES):
        body = path.read_bytes()
        data_end = len(body.rstrip()) if b'"message_stop"' in body else len(body)

        for offset in (0, data_end - 1, data_end, len(body)):
            result = read(ANTHROPIC_MESSAGES, [body[:offset]])

            assert (result.error is None) == (b'"message_stop"' in body and offset >= data_end), (path.stem, offset)


# --- What goes wrong ---


@pytest.mark.parametrize(
    ("kind", "error"),
    [
        ("authentication_error", AuthenticationError),
        ("permission_error", PermissionDeniedError),
        ("billing_error", QuotaExceededError),
        ("not_found_error", NotFoundError),
        ("invalid_request_error", InvalidRequestError),
        ("request_too_large", InvalidRequestError),
        ("rate_limit_error", RateLimitedError),
        ("overloaded_error", OverloadedError),
        ("api_error", ServerError),
        ("timeout_error", ServerError),
        ("error_of_tomorrow", ProviderError),
    ],
)
def test_errors_have_the_class_of_what_the_service_says(kind: str, error: type[ProviderError]) -> None:
    result = outcome({"type": "error", "error": {"type": kind, "message": "No."}, "request_id": "req_1"})

    assert result.error is not None
    assert type(result.error) is error
    assert (result.error.kind, result.error.message, result.error.request_id) == (kind, "No.", "req_1")
    assert result.error.provider == NAME
    assert result.message.error == ErrorInfo(kind, None, "No.")


def test_an_error_keeps_the_code_that_a_proxy_gives_it() -> None:
    error = outcome({"type": "error", "error": {"type": "api_error", "message": "No.", "code": "E17"}}).error

    assert error is not None
    assert error.code == "E17"


def test_what_came_before_an_error_is_kept() -> None:
    result = fixture("error")

    assert isinstance(result.error, OverloadedError)
    assert result.message.text == "So "
    assert result.message.tool_calls == [AssembledToolCall("toolu_y", "add", None, '{"a"')]
    assert result.tokens[-1] == ToolCallTruncated("call-0", "toolu_y", "add", '{"a"')
    assert not result.message.complete


@pytest.mark.parametrize(
    "body",
    [
        b'event: error\ndata: {"error": {"type": "api_error", "message": "No."}}\n\n',
        b'data: {"error": {"type": "api_error", "message": "No."}}\n\n',
        b'data: {"type": "error", "error": {"type": "api_error", "message": "No."}}\n\n',
        b'{"type": "error",\n "error": {"type": "api_error", "message": "No."}}\n',
        b'error: {"type": "api_error", "message": "No."}\n\n',
        b'event: error\ndata: {"message": "No.", "type": "api_error"}\n\n',
        b'event: error\ndata: {"error": "No."}\n\n',
        b'event: error\ndata: {"message": "No."}\n\n',
        b"event: error\ndata: No.\n\n",
        b"error: No.\n\n",
    ],
)
def test_errors_in_the_shapes_of_proxies(body: bytes) -> None:
    error = read(ANTHROPIC_MESSAGES, [body]).error

    assert isinstance(error, ProviderError)
    assert error.message == "No."


def test_an_error_without_words_is_still_an_error() -> None:
    error = outcome({"type": "error"}).error

    assert isinstance(error, ProviderError)
    assert error.message == "the service gave up and did not say why"


def test_the_json_says_what_an_event_is_and_its_name_only_where_the_json_does_not() -> None:
    body = (
        b'data: {"type": "content_block_delta", "delta": {"type": "text_delta", "text": "a"}}\n\n'
        b'event: ping\ndata: {"type": "content_block_delta", "delta": {"type": "thinking_delta", "thinking": "b"}}\n\n'
        b"event: message_stop\ndata: {}\n\n"
    )

    result = read(ANTHROPIC_MESSAGES, [body])

    assert result.tokens == [TextDelta("a"), ReasoningDelta("b"), StreamEnd(FinishReason.OTHER)]


@pytest.mark.parametrize(
    "noise",
    [b"data:\n\n", b"data: [DONE]\n\n", b"upstream: said so\n\n", b"<p>hello</p>\n\n", b": comment\n\n", b"[7]\n\n"],
)
def test_what_says_nothing_is_skipped(noise: bytes) -> None:
    result = read(ANTHROPIC_MESSAGES, [wire(message_start()) + noise + wire(MESSAGE_STOP)])

    assert result.error is None
    assert [type(token) for token in result.tokens] == [StreamStart, StreamEnd]


@pytest.mark.parametrize("nonsense", [b"hello", b"7", b'{"type": "content_block_delta", "delta": "x"}', b"{"])
def test_nonsense_in_an_event_is_an_error_that_does_not_quote_it(nonsense: bytes) -> None:
    result = read(ANTHROPIC_MESSAGES, [wire(message_start()), b"data: " + nonsense + b"\n\n"])

    assert isinstance(result.error, ProtocolError)
    assert nonsense.decode() not in str(result.error).split()
    assert [type(token) for token in result.tokens] == [StreamStart]


def test_odd_but_harmless_values_end_no_stream() -> None:
    result = fixture("odd")

    assert result.error is None
    assert result.message.text == "Odd but fine"
    assert result.message.usage is not None
    assert (result.message.usage.input_tokens, result.message.usage.output_tokens) == (12, 3)


def test_members_that_are_missing_end_no_stream() -> None:
    kinds = ["message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta"]
    deltas = ["text_delta", "thinking_delta", "input_json_delta", "signature_delta", "citations_delta"]
    blocks = ["text", "thinking", "redacted_thinking", "tool_use", "fallback"]

    result = outcome(
        *({"type": kind} for kind in kinds),
        {"type": "message_start", "message": {}},
        *({"type": "content_block_start", "content_block": {"type": kind}} for kind in blocks),
        *({"type": "content_block_delta", "delta": {"type": kind}} for kind in deltas),
        {"type": "message_delta", "delta": {}},
        MESSAGE_STOP,
    )

    assert result.error is None
    assert result.tokens == [StreamStart(None, None, NAME), StreamEnd(FinishReason.OTHER)]


def test_values_that_nest_too_deeply_to_be_passed_on_are_left_out() -> None:
    deep: Json = None
    for _ in range(200):
        deep = [deep]

    made = tokens(
        message_start(usage={"input_tokens": 1, "details": deep}),
        delta(0, "citations_delta", citation={"url": "https://example.org/", "details": deep}),
        message_delta("refusal", stop_details={"details": deep}),
        MESSAGE_STOP,
    )

    assert made[1:] == [
        UsageReport(1, raw={"input_tokens": 1}),
        Citation(url="https://example.org/"),
        StreamEnd(FinishReason.REFUSAL, "refusal"),
    ]


def test_a_refused_request_is_told_in_the_words_of_the_service() -> None:
    body = b'{"type":"error","error":{"type":"not_found_error","message":"model: x"},"request_id":"req_body"}'

    error = read_error(404, {"request-id": "req_header", "x-should-retry": "false"}, body)

    assert isinstance(error, NotFoundError)
    assert (error.status, error.kind, error.message, error.request_id) == (
        404,
        "not_found_error",
        "model: x",
        "req_header",
    )


# --- What is asked ---


def body_of(request: ChatRequest) -> dict[str, Json]:
    return json.loads(build_request(request).body)


def asked(*messages: Message, **options: Any) -> dict[str, Json]:
    """The body of a request, without what every request has."""
    body = body_of(ChatRequest(model="claude", messages=list(messages), **options))
    return {name: value for name, value in body.items() if name not in {"model", "stream"}}


def turns(*messages: Message) -> Json:
    return asked(*messages)["messages"]


def test_the_smallest_request() -> None:
    request = build_request(ChatRequest.of("Hello", model="claude"))

    assert (request.method, request.path) == ("POST", "/v1/messages")
    assert request.headers == {"content-type": "application/json", "accept": "text/event-stream"}
    assert ANTHROPIC_MESSAGES.headers == {"anthropic-version": "2023-06-01"}
    assert json.loads(request.body) == {
        "model": "claude",
        "max_tokens": 4096,
        "messages": [{"role": "user", "content": "Hello"}],
        "stream": True,
    }


def test_a_request_with_everything() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    request = ChatRequest(
        model="claude",
        messages=[
            Message("system", "Be brief."),
            Message(
                "user",
                [
                    TextPart("What is this?"),
                    ImagePart(data=b"\x89PNG", media_type="image/png", detail="low"),
                    ImagePart(url="https://example.org/a.png"),
                ],
            ),
            Message(
                "assistant",
                [
                    ReasoningPart("Hm.", signature="c2ln"),
                    ReasoningPart("", redacted="b3BhcXVl"),
                    TextPart("Let me add."),
                    ToolCallPart("toolu_1", "add", '{"a": 1}'),
                    ToolCallPart("toolu_2", "now", ""),
                ],
            ),
            Message.tool_result("toolu_1", "2"),
            Message.tool_result("toolu_2", "no clock", is_error=True),
            Message("user", "Thanks."),
        ],
        tools=[Tool("add", "Adds.", schema, strict=True), Tool("now")],
        tool_choice=ToolNamed("add"),
        parallel_tool_calls=False,
        response_format=JsonSchema("sum", schema),
        max_tokens=99,
        temperature=0.0,
        top_p=0.5,
        top_k=3,
        stop=["###"],
        reasoning=Reasoning(effort="low", budget_tokens=1024),
        extra={"metadata": {"user_id": "u"}, "top_k": None},
    )

    assert body_of(request) == {
        "model": "claude",
        "max_tokens": 99,
        "system": "Be brief.",
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "What is this?"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw=="}},
                    {"type": "image", "source": {"type": "url", "url": "https://example.org/a.png"}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                    {"type": "redacted_thinking", "data": "b3BhcXVl"},
                    {"type": "text", "text": "Let me add."},
                    {"type": "tool_use", "id": "toolu_1", "name": "add", "input": {"a": 1}},
                    {"type": "tool_use", "id": "toolu_2", "name": "now", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "toolu_1", "content": "2"},
                    {"type": "tool_result", "tool_use_id": "toolu_2", "content": "no clock", "is_error": True},
                ],
            },
            {"role": "user", "content": "Thanks."},
        ],
        "tools": [
            {"name": "add", "description": "Adds.", "input_schema": schema, "strict": True},
            {"name": "now", "input_schema": {"type": "object", "properties": {}}},
        ],
        "tool_choice": {"type": "tool", "name": "add", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": schema}},
        "stop_sequences": ["###"],
        "temperature": 0.0,
        "top_p": 0.5,
        "top_k": None,
        "metadata": {"user_id": "u"},
        "stream": True,
    }


def test_system_messages_leave_the_conversation_wherever_they_stand() -> None:
    body = asked(
        Message("system", "One."),
        Message("user", "Hi"),
        Message("developer", [TextPart("Two.")]),
        Message("system", ""),
    )

    assert body["system"] == [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]
    assert body["messages"] == [{"role": "user", "content": "Hi"}]


def test_results_of_separate_rounds_stay_separate_turns() -> None:
    result, call = Message.tool_result("a", "1"), Message("assistant", [ToolCallPart("b", "f", "{}")])

    assert turns(result, call, result) == [
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "b", "name": "f", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a", "content": "1"}]},
    ]


def test_thinking_of_another_service_stays_behind() -> None:
    unsigned = ReasoningPart("Hm.")

    assert turns(Message("assistant", [unsigned, TextPart("Hi")]), Message("assistant", [unsigned])) == [
        {"role": "assistant", "content": [{"type": "text", "text": "Hi"}]}
    ]


def test_an_answer_goes_back_as_it_came() -> None:
    message = fixture("everything").message.as_message()

    [turn] = turns(message)

    assert turn["role"] == "assistant"
    assert [block["type"] for block in turn["content"]] == [
        *("thinking", "redacted_thinking", "text", "text"),
        *["tool_use"] * 5,
    ]
    assert turn["content"][4]["input"] == {"a": [1, 2.5]}


@pytest.mark.parametrize(
    ("choice", "parallel", "written"),
    [
        ("auto", None, {"type": "auto"}),
        ("required", None, {"type": "any"}),
        ("none", None, {"type": "none"}),
        (ToolNamed("add"), True, {"type": "tool", "name": "add"}),
        ("required", False, {"type": "any", "disable_parallel_tool_use": True}),
        ("none", False, {"type": "none"}),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (None, True, None),
        (None, None, None),
    ],
)
def test_tool_choice(choice: Any, parallel: bool | None, written: Json) -> None:
    body = asked(Message("user", "Hi"), tools=[Tool("add")], tool_choice=choice, parallel_tool_calls=parallel)

    assert body.get("tool_choice") == written


def test_without_tools_there_is_nothing_to_say_about_parallel_calls() -> None:
    assert "tool_choice" not in asked(Message("user", "Hi"), parallel_tool_calls=False)


@pytest.mark.parametrize(
    ("reasoning", "written"),
    [
        (None, {"max_tokens": 4096}),
        (
            Reasoning(budget_tokens=2048),
            {"max_tokens": 4096 + 2048, "thinking": {"type": "enabled", "budget_tokens": 2048}},
        ),
        (
            Reasoning(effort="high"),
            {"max_tokens": 16384, "thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
        ),
        (Reasoning(effort="none"), {"max_tokens": 4096, "thinking": {"type": "disabled"}}),
        (Reasoning(), {"max_tokens": 16384, "thinking": {"type": "adaptive"}}),
    ],
)
def test_reasoning_and_the_room_that_it_gets(reasoning: Reasoning | None, written: dict[str, Json]) -> None:
    assert asked(reasoning=reasoning) == {"messages": [], **written}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed", 0),
        ("n", 2),
        ("logprobs", 0),
        ("presence_penalty", 0.0),
        ("frequency_penalty", 1.0),
        ("response_format", "json"),
    ],
)
def test_what_the_api_lacks_is_refused_by_name(option: str, value: Json) -> None:
    with pytest.raises(ConfigurationError, match=rf"{option}.*extra") as raised:
        asked(Message("user", "Hi"), **{option: value})

    assert raised.value.provider == NAME


@pytest.mark.parametrize(("option", "value"), [("n", 1), ("response_format", "text")])
def test_asking_for_what_there_is_anyway_is_no_fault(option: str, value: Json) -> None:
    assert option not in asked(Message("user", "Hi"), **{option: value})


@pytest.mark.parametrize(
    ("part", "complaint"),
    [
        (ToolCallPart("toolu_1", "add", '{"a"'), "add are not JSON"),
        (ToolCallPart("toolu_1", "add", "[1]"), "add are no JSON object"),
    ],
)
def test_a_call_goes_back_only_with_an_object(part: Part, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        turns(Message("assistant", [part]))


def test_a_system_message_holds_text_only() -> None:
    with pytest.raises(ConfigurationError, match="text only"):
        asked(Message("system", [ImagePart(url="https://example.org/a.png")]))


def test_who_speaks_can_not_be_said() -> None:
    with pytest.raises(ConfigurationError, match="name"):
        turns(Message("user", "Hi", name="Ada"))


@pytest.mark.parametrize("value", [object(), "\ud83d", {"deep": [{1, 2}, object]}])
def test_what_can_not_be_written_as_json_is_refused_before_it_is_sent(value: Any) -> None:
    with pytest.raises(ConfigurationError, match="can't be written as JSON"):
        asked(Message("user", "Hi"), extra={"metadata": value})


def test_a_tool_result_may_stand_in_a_turn_of_the_user() -> None:
    assert turns(Message("user", [ToolResultPart("a", "1"), TextPart("Go on.")])) == [
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "a", "content": "1"},
                {"type": "text", "text": "Go on."},
            ],
        }
    ]


def test_how_the_service_is_reached() -> None:
    assert ANTHROPIC_MESSAGES.authorize("sk-1") == {"x-api-key": "sk-1"}
    assert (ANTHROPIC_MESSAGES.base_url, ANTHROPIC_MESSAGES.models_path) == (
        "https://api.anthropic.com",
        "/v1/models?limit=1000",
    )
    assert ANTHROPIC_MESSAGES.base_url_variable == "ANTHROPIC_BASE_URL"
    assert ANTHROPIC_MESSAGES.key_variable == "ANTHROPIC_API_KEY"
