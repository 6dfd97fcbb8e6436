import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxstream.dialects.openai_responses import OPENAI_RESPONSES, ResponsesDecoder, read_error
from rxstream.errors import (
    AuthenticationError,
    ContentBlockedError,
    InvalidRequestError,
    OverloadedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    StreamError,
    TransportError,
    TruncatedStreamError,
)
from rxstream.framing import SseEvent
from rxstream.messages import ReasoningPart, TextPart, ToolCallPart
from rxstream.tokens import (
    Citation,
    FinishReason,
    FunctionCall,
    LogProbs,
    Media,
    RawEvent,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    TokenLogProb,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
    from_json,
    to_json,
)
from tests.dialects.reading import FIXTURES, Outcome, read
from tests.shared import SHARED, needs_shared
from tests.strategies import json_values

START = StreamStart("r", "m", "openai.responses")
STOP = StreamEnd(FinishReason.STOP, "completed")


def event(kind: str, **members: Any) -> bytes:
    """An event as the service writes it; `response.` goes before most names."""
    name = kind if kind in {"error", "keepalive"} else f"response.{kind}"
    return f"event: {name}\ndata: {json.dumps({'type': name, **members})}\n\n".encode()


def response(status: str, **members: Any) -> dict[str, Any]:
    return {"response": {"id": "r", "model": "m", "status": status, **members}}


CREATED = event("created", sequence_number=0, **response("in_progress"))
COMPLETED = event("completed", **response("completed"))


def added(index: int = 0, **item: Any) -> bytes:
    return event("output_item.added", output_index=index, item=item)


def done(index: int = 0, **item: Any) -> bytes:
    return event("output_item.done", output_index=index, item=item)


def text(delta: Any, index: int = 0, **members: Any) -> bytes:
    return event("output_text.delta", output_index=index, content_index=0, delta=delta, **members)


def call(**members: Any) -> dict[str, Any]:
    return {"type": "function_call", "id": "fc", "call_id": "c", "name": "f", "arguments": "", **members}


def custom(**members: Any) -> dict[str, Any]:
    return {"type": "custom_tool_call", "id": "ctc", "call_id": "c", "name": "f", "input": "", **members}


def piece(delta: Any, index: int = 0) -> bytes:
    return event("function_call_arguments.delta", output_index=index, delta=delta)


def heard(*events: bytes, raw_events: bool = False) -> Outcome:
    return read(OPENAI_RESPONSES, [b"".join(events)], raw_events=raw_events)


def tokens_of(*events: bytes, raw_events: bool = False) -> list[StreamToken]:
    """The tokens of a stream with these events, without its start and its end."""
    outcome = heard(CREATED, *events, COMPLETED, raw_events=raw_events)
    assert outcome.error is None
    assert outcome.tokens[0] == START
    assert isinstance(outcome.tokens[-1], StreamEnd)
    return outcome.tokens[1:-1]


def error_of(*events: bytes) -> StreamError:
    error = heard(*events).error
    assert error is not None
    return error


def ended(*events: bytes) -> StreamEnd:
    end = heard(CREATED, *events).tokens[-1]
    assert isinstance(end, StreamEnd)
    return end


class GeneralDecoder(ResponsesDecoder):
    """The decoder without its fast path."""

    @property
    def _plain(self) -> int:
        return -1

    @_plain.setter
    def _plain(self, value: int) -> None: ...


texts = st.sampled_from(["a", "b c", "", "ü", None, 7])
indexes = st.sampled_from([0, 1, 2])
items: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "reasoning", "function_call", "custom_tool_call", "web_search_call"])},
    optional={
        "id": texts,
        "call_id": texts,
        "name": texts,
        "arguments": texts | st.sampled_from(["{}", '{"x":1}']) | json_values,
        "input": texts,
        "status": st.sampled_from(["completed", "incomplete", None]),
        "content": st.none() | st.lists(st.just({"type": "output_text", "text": "t", "annotations": [{"url": "u"}]})),
        "summary": st.none() | st.just([{"text": "s"}]),
        "encrypted_content": texts,
    },
)
answers: st.SearchStrategy[Any] = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "id": texts,
        "model": texts,
        "status": st.sampled_from(["completed", "incomplete", "failed", "bored", None]),
        "output": st.none() | st.lists(items, max_size=2),
        "usage": st.none() | st.just({"input_tokens": 1}) | json_values,
        "error": st.none() | st.just({"code": "x", "message": "no"}) | json_values,
        "incomplete_details": st.none() | st.just({"reason": "max_output_tokens"}),
    },
)
KINDS = [
    *("created", "queued", "in_progress", "completed", "incomplete", "failed", "cancelled"),
    *("output_item.added", "output_item.done", "output_text.delta", "refusal.delta", "output_text.annotation.added"),
    *("reasoning_summary_text.delta", "reasoning_text.delta", "audio.delta", "web_search_call.searching"),
    *("function_call_arguments.delta", "function_call_arguments.done", "custom_tool_call_input.delta"),
]
events: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"type": st.sampled_from([*(f"response.{kind}" for kind in KINDS), "error", "new"])},
    optional={
        "output_index": indexes,
        "sequence_number": st.none() | st.integers(0, 9),
        "delta": texts | st.just("{}"),
        "logprobs": st.none() | st.just([{"token": "a", "logprob": -1}]),
        "item": st.none() | items,
        "response": answers,
        "arguments": st.just("{}") | json_values,
        "annotation": st.none() | st.just({"type": "url_citation", "url": "u"}),
        "error": st.sampled_from([None, {"message": "no"}, ""]),
    },
)
plain: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"type": st.just("response.output_text.delta"), "output_index": indexes, "delta": texts}
)


def decoded(decoder: ResponsesDecoder, frames: list[SseEvent]) -> tuple[list[StreamToken], str | None]:
    tokens: list[StreamToken] = []
    try:
        for frame in frames:
            tokens += decoder.feed(frame)
        tokens += decoder.flush()
    except StreamError as error:
        return tokens + error.completed + decoder.fail(error), str(error)
    return tokens, None


def frame_of(value: Any) -> SseEvent:
    return SseEvent(value["type"], json.dumps(value).encode())


TEXT = {"type": "response.output_text.delta", "output_index": 0, "delta": "a"}


@given(st.lists(events | plain))
@example([TEXT, TEXT | {"error": {"message": "no"}}])
@example([TEXT, TEXT | {"logprobs": [{"token": "a", "logprob": -1}]}])
@example([TEXT, TEXT | {"delta": ""}, TEXT | {"delta": None}, TEXT | {"output_index": 1}, TEXT])
def test_the_fast_path_gives_what_the_general_one_gives(values: list[Any]) -> None:
    frames = [frame_of(value) for value in values]
    fast, general = ResponsesDecoder(True), GeneralDecoder(True)

    assert decoded(fast, frames) == decoded(general, frames)
    assert fast.resume_after == general.resume_after


@given(st.lists(events))
def test_any_events_give_calls_that_begin_once_and_end_once(values: list[Any]) -> None:
    tokens, _ = decoded(ResponsesDecoder(), [frame_of(value) for value in values])

    begun = [token.key for token in tokens if isinstance(token, ToolCallStart)]
    over = [token.key for token in tokens if isinstance(token, ToolCall | ToolCallTruncated)]
    assert len(begun) == len(set(begun))
    assert len(over) == len(set(over))
    assert set(begun) <= set(over)
    starts = [token for token in tokens if isinstance(token, StreamStart)]
    assert starts == tokens[: len(starts)]
    assert len(starts) <= 1


frames = st.builds(
    SseEvent,
    st.sampled_from(["message", "error", "ping", "", "response.output_text.delta"]),
    st.binary(max_size=8) | st.just(b"[DONE]") | json_values.map(lambda value: json.dumps(value).encode()),
)


@given(st.lists(frames))
def test_any_frames_give_tokens_or_one_stream_error(sequence: list[SseEvent]) -> None:
    tokens, _ = decoded(ResponsesDecoder(True), sequence)

    assert [token for token in tokens if not isinstance(token, RawEvent)] == []


def test_what_no_rule_maps_starts_nothing() -> None:
    raw = event("new_thing")

    tokens = heard(raw, CREATED, COMPLETED, raw_events=True).tokens

    assert [type(token) for token in tokens] == [RawEvent, StreamStart, StreamEnd]


DEEP: list[Any] = [
    {"type": "response.completed", "response": {"status": "completed", "usage": {"x": "@"}}},
    {"type": "response.completed", "response": {"incomplete_details": "@", "content_filters": "@"}},
    {"type": "response.failed", "response": {"status": "failed", "error": {"message": "@"}}},
    {"type": "error", "error": {"message": "no", "x": "@"}},
    {"type": "response.output_text.annotation.added", "annotation": {"x": "@"}},
    {"type": "response.output_text.delta", "delta": "@"},
    {"type": "response.output_text.delta", "delta": "a", "logprobs": "@"},
    {"type": "response.output_item.done", "item": call(arguments="@")},
    {"type": "response.output_item.done", "item": {"type": "message", "content": "@"}},
    {"type": "response.new", "x": "@"},
]


@pytest.mark.parametrize("depth", [100, 300, 900, 100_000])
@pytest.mark.parametrize("value", DEEP)
def test_depth_breaks_nothing(value: Any, depth: int) -> None:
    deep = "[" * depth + '{"token":"t","logprob":0}' + "]" * depth
    wire = json.dumps(value).replace('"@"', deep)

    outcome = heard(CREATED, b"data: " + wire.encode() + b"\n\n", COMPLETED, raw_events=True)

    assert outcome.error is None or isinstance(outcome.error, ProtocolError | ProviderError)
    assert [from_json(to_json(token)) for token in outcome.tokens] == outcome.tokens
    assert msgspec.json.encode(outcome.message)


def test_a_plain_answer() -> None:
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}

    outcome = heard(
        CREATED,
        event("in_progress", **response("in_progress")),
        added(type="message", id="msg", content=[]),
        event("content_part.added", output_index=0, part={"type": "output_text", "text": ""}),
        text("Hel", logprobs=[], obfuscation="x"),
        text("lo", logprobs=[]),
        event("output_text.done", output_index=0, text="Hello"),
        event("content_part.done", output_index=0, part={"type": "output_text", "text": "Hello"}),
        done(type="message", id="msg", content=[{"type": "output_text", "text": "Hello", "annotations": []}]),
        event("completed", **response("completed", usage=usage)),
    )

    assert outcome.tokens == [
        START,
        TextDelta("Hel"),
        TextDelta("lo"),
        UsageReport(1, 2, total_tokens=3, raw=usage),
        STOP,
    ]
    assert outcome.message.complete
    assert outcome.message.finish_reason == "completed"


def test_an_answer_that_names_nothing_starts_with_its_first_content() -> None:
    assert heard(text("a"), COMPLETED).tokens == [StreamStart(None, None, "openai.responses"), TextDelta("a"), STOP]


def test_the_end_of_an_answer_that_says_nothing_is_its_start_too() -> None:
    assert heard(COMPLETED).tokens == [START, STOP]
    assert heard(event("completed")).tokens == [StreamStart(None, None, "openai.responses"), STOP]


def test_other_apis_end_marks_are_none_here() -> None:
    assert tokens_of(text("a"), b"data: [DONE]\n\n") == [TextDelta("a")]
    assert isinstance(error_of(CREATED, text("a"), b"data: [DONE]\n\n"), TruncatedStreamError)


def test_summaries_and_raw_thinking_are_the_thinking_of_their_item() -> None:
    told = tokens_of(
        event("reasoning_summary_text.delta", output_index=0, summary_index=0, delta="S"),
        event("reasoning_summary_text.delta", output_index=0, summary_index=1, delta="T"),
        event("reasoning_text.delta", output_index=0, content_index=0, delta="R"),
        done(0, type="reasoning", id="rs", summary=[{"text": "S"}, {"text": "T"}], content=[{"text": "R"}]),
        text("Yes", 1),
    )

    assert told == [ReasoningDelta("S"), ReasoningDelta("T"), ReasoningDelta("R"), TextDelta("Yes", 1)]


def test_the_signature_of_thinking_is_the_one_of_the_whole_item() -> None:
    outcome = heard(
        CREATED,
        added(type="reasoning", id="rs", summary=[], encrypted_content="gA"),
        event("reasoning_summary_text.delta", output_index=0, delta="Hm"),
        done(type="reasoning", id="rs", summary=[{"text": "Hm"}], encrypted_content="gAAAA"),
        COMPLETED,
    )

    assert outcome.tokens[1:-1] == [ReasoningDelta("Hm"), ReasoningDelta("", signature="gAAAA", item_id="rs")]
    assert outcome.message.parts == [ReasoningPart("Hm", "gAAAA", item_id="rs")]


def test_a_call_comes_in_pieces_and_then_whole() -> None:
    told = tokens_of(
        added(**call()),
        piece('{"x"'),
        piece(":1}"),
        event("function_call_arguments.done", output_index=0, arguments='{"x":1}', name="f"),
        done(**call(arguments='{"x":1}', status="completed")),
    )

    assert told == [
        ToolCallStart("call-0", "c", "f"),
        ToolCallDelta("call-0", '{"x"'),
        ToolCallDelta("call-0", ":1}"),
        ToolCall("call-0", "c", FunctionCall("f", '{"x":1}'), '{"x":1}', "fc"),
    ]


def test_calls_may_be_open_at_once_and_are_told_apart_by_their_place() -> None:
    told = tokens_of(
        added(0, **call(id="a", call_id="c-0")),
        added(1, **call(id="a", call_id="c-1")),
        piece('{"x":', 1),
        piece("{", 0),
        piece("2}", 1),
        done(1, **call(id="b", call_id="c-1", arguments='{"x":2}')),
        piece("}", 0),
        done(0, **call(id="b", call_id="c-0", arguments="{}")),
    )

    calls = [(token.id, token.arguments_raw) for token in told if isinstance(token, ToolCall)]
    assert calls == [("c-1", '{"x":2}'), ("c-0", "{}")]


WHOLE = [ToolCallStart("call-0", "c", "f"), ToolCallDelta("call-0", '{"x":1}')]
WHOLE_CALL = ToolCall("call-0", "c", FunctionCall("f", '{"x":1}'), '{"x":1}', "fc")


@pytest.mark.parametrize(
    "told",
    [
        [done(**call(arguments='{"x":1}'))],
        [added(**call(arguments='{"x":1}')), done(**call(arguments='{"x":1}'))],
        [added(**call(arguments='{"x":1}'))],
        [added(**call()), event("function_call_arguments.done", output_index=0, arguments='{"x":1}')],
        [added(**call(arguments='{"x":1}')), piece('{"x":1}'), done(**call(arguments='{"x":1}'))],
        [added(**call()), done(**call(arguments='{"x":1}')), done(**call(arguments='{"x":1}'))],
        [piece("1}"), done(**call(arguments='{"x":1}'))],
    ],
    ids=["done", "begun and done", "begun", "arguments", "begun and told", "done twice", "begun unheard"],
)
def test_a_call_that_comes_whole_is_told_all_the_same(told: list[bytes]) -> None:
    assert tokens_of(*told) == [*WHOLE, WHOLE_CALL]


def test_pieces_that_break_off_are_completed_by_the_whole() -> None:
    told = tokens_of(added(**call()), piece('{"x"'), done(**call(arguments='{"x":1}')))

    assert told[1:] == [ToolCallDelta("call-0", '{"x"'), ToolCallDelta("call-0", ":1}"), WHOLE_CALL]


def test_a_call_that_nothing_finishes_is_finished_by_the_whole_answer() -> None:
    end = event("completed", **response("completed", output=[call(arguments='{"x":1}')]))

    assert heard(CREATED, added(**call()), end).tokens[1:-1] == [*WHOLE, WHOLE_CALL]


def test_arguments_may_be_an_object() -> None:
    [*_, whole] = tokens_of(added(**call()), done(**call(arguments={"x": 1})))

    assert whole == ToolCall("call-0", "c", FunctionCall("f", '{"x":1}'), None, "fc")


def test_a_call_without_an_id_of_its_own_goes_by_that_of_its_item() -> None:
    [*_, whole] = tokens_of(done(type="function_call", id="fc", name="f", arguments="{}"))

    assert isinstance(whole, ToolCall)
    assert whole.id == "fc"


def test_what_a_custom_tool_gets_is_free_text() -> None:
    outcome = heard(
        CREATED,
        added(**custom()),
        event("custom_tool_call_input.delta", output_index=0, delta="SELECT "),
        event("custom_tool_call_input.delta", output_index=0, delta='"1"'),
        event("custom_tool_call_input.done", output_index=0, input='SELECT "1"'),
        done(**custom(input='SELECT "1"')),
        COMPLETED,
    )

    whole, end = outcome.tokens[-2:]
    assert whole == ToolCall(
        "call-0", "c", FunctionCall("f", r'"SELECT \"1\""'), 'SELECT "1"', "ctc", is_free_text=True
    )
    assert isinstance(whole, ToolCall)
    assert whole.parsed == 'SELECT "1"'
    assert end == StreamEnd(FinishReason.TOOL_CALLS, "completed")
    [called] = outcome.message.tool_calls
    assert (called.arguments, called.arguments_raw, called.item_id) == (None, 'SELECT "1"', "ctc")
    assert outcome.message.parts == [ToolCallPart("c", "f", r'"SELECT \"1\""', "ctc", is_free_text=True)]


@pytest.mark.parametrize("said", ["", "12", "{}", "null"])
def test_free_text_is_whole_whatever_it_looks_like(said: str) -> None:
    [*_, whole] = tokens_of(added(**custom()), done(**custom(input=said)))

    assert isinstance(whole, ToolCall)
    assert (whole.parsed, whole.arguments_raw) == (said, said)


def test_what_is_not_told_before_the_end_is_told_there() -> None:
    outcome = heard((FIXTURES / "openai.responses" / "only-at-the-end.sse").read_bytes())

    assert outcome.message.text == "Yes"
    assert outcome.message.reasoning == "Hm."
    assert outcome.message.refusal == "no"
    assert [call.arguments for call in outcome.message.tool_calls] == [{}]
    assert len(outcome.message.citations) == 1


def test_what_was_told_is_not_told_again_at_the_end() -> None:
    said = {"type": "message", "content": [{"type": "output_text", "text": "Yes", "annotations": [{"url": "u"}]}]}
    end = event("completed", **response("completed", output=[said, {"type": "reasoning", "summary": [{"text": "S"}]}]))

    told = heard(CREATED, text("Yes", 7), end).tokens[1:-1]

    assert told == [TextDelta("Yes", 7), ReasoningDelta("S", 1)]


def test_a_message_that_comes_only_whole_is_told_when_it_is_done() -> None:
    parts = [{"type": "output_text", "text": "Yes", "annotations": [{"url": "u"}]}, {"type": "refusal", "refusal": "N"}]

    told = tokens_of(added(type="message"), done(type="message", content=parts))

    assert told == [TextDelta("Yes"), RefusalDelta("N"), Citation(url="u", raw={"url": "u"})]


def test_a_server_may_have_one_index_for_all_items() -> None:
    told = tokens_of(
        added(type="message"),
        text("One"),
        done(type="message", content=[{"type": "output_text", "text": "One"}]),
        added(**call(call_id="c-0", arguments="{}")),
        added(**call(call_id="c-1", arguments="{}")),
    )

    assert [token.id for token in told if isinstance(token, ToolCall)] == ["c-0", "c-1"]


def test_a_resumed_stream_is_the_rest_and_its_calls_are_whole() -> None:
    outcome = heard((FIXTURES / "openai.responses" / "resumed.sse").read_bytes())

    assert outcome.message.text == "rest"
    assert [call.arguments for call in outcome.message.tool_calls] == [{"at": "sky"}]
    assert outcome.message.citations == []
    assert outcome.message.reason is FinishReason.TOOL_CALLS


def test_a_resumed_stream_says_that_calls_were_made_before() -> None:
    end = event("completed", sequence_number=9, **response("completed", output=[call(arguments="{}")]))

    assert heard(end).tokens == [START, StreamEnd(FinishReason.TOOL_CALLS, "completed")]


def test_the_number_of_the_last_event_is_where_to_go_on() -> None:
    error = error_of(CREATED, text("a", sequence_number=1), text("b", sequence_number=2), text("c"))

    assert isinstance(error, TruncatedStreamError)
    assert error.resume_after == 2
    assert error.partial is not None
    assert (error.partial.id, error.partial.text) == ("r", "abc")
    assert error_of(CREATED, text("a"), event("in_progress", sequence_number=7), text("b")).resume_after == 7


@pytest.mark.parametrize(
    ("first", "is_resumed"),
    [
        (event("created", sequence_number=1, **response("in_progress")), False),
        (event("in_progress", **response("in_progress")), False),
        (event("in_progress", sequence_number=0, **response("in_progress")), False),
        (event("in_progress", sequence_number=1, **response("in_progress")), True),
    ],
    ids=["created", "no number", "the first number", "a later number"],
)
def test_a_stream_that_begins_with_a_later_event_is_resumed(first: bytes, is_resumed: bool) -> None:
    item = done(0, type="message", content=[{"type": "output_text", "text": "Hi"}])

    assert heard(first, item, COMPLETED).message.text == ("" if is_resumed else "Hi")


SILENT = [
    *("queued", "in_progress", "content_part.added", "content_part.done", "output_text.done", "refusal.done"),
    *("reasoning_summary_part.added", "reasoning_summary_part.done", "reasoning_summary_text.done"),
    *("reasoning_text.done", "audio.done", "audio.transcript.done"),
]


@pytest.mark.parametrize("kind", SILENT)
def test_events_whose_news_come_elsewhere_say_nothing_and_are_not_unknown(kind: str) -> None:
    assert tokens_of(event(kind, output_index=0, text="a", delta="a"), raw_events=True) == []


def test_what_no_rule_maps_keeps_its_name() -> None:
    wire = event("audio.delta", output_index=0, delta=7)

    assert tokens_of(added(0, type="message", content=[]), raw_events=True) == []
    assert tokens_of(wire, raw_events=True) == [
        RawEvent("response.audio.delta", wire.decode().partition("data: ")[2].rstrip())
    ]


@pytest.mark.parametrize(
    ("item", "kind", "given", "parsed"),
    [
        (call(name=None), "function_call_arguments.done", {"arguments": '{"x":1}', "name": "g"}, {"x": 1}),
        (custom(name=None), "custom_tool_call_input.done", {"input": "say x", "arguments": "[]", "name": "g"}, "say x"),
    ],
    ids=["function", "custom"],
)
def test_the_event_that_ends_the_arguments_has_all_of_them(item: Any, kind: str, given: Any, parsed: Any) -> None:
    outcome = heard(CREATED, added(**item), event(kind, output_index=0, **given), COMPLETED)

    assert [
        (token.id, token.function.name, token.parsed) for token in outcome.tokens if isinstance(token, ToolCall)
    ] == [("c", "g", parsed)]


def test_thinking_that_was_told_is_not_told_again_at_the_end() -> None:
    said = {"type": "reasoning", "summary": [{"type": "summary_text", "text": "S"}]}

    outcome = heard(
        CREATED,
        event("reasoning_summary_text.delta", output_index=5, delta="S"),
        event("completed", **response("completed", output=[said])),
    )

    assert outcome.tokens == [START, ReasoningDelta("S", 5), STOP]


def test_a_proof_is_told_once_and_in_its_place() -> None:
    item = {"type": "reasoning", "id": "rs", "encrypted_content": "xyz"}

    outcome = heard(CREATED, done(3, **item), event("completed", **response("completed", output=[item])))

    assert outcome.tokens == [START, ReasoningDelta("", 3, signature="xyz", item_id="rs"), STOP]


def test_an_item_may_come_whole_at_its_end() -> None:
    source = {"type": "url_citation", "url": "u"}
    thought = done(0, type="reasoning", content=[{"type": "reasoning_text", "text": "T"}])
    message = done(1, type="message", content=[{"type": "output_text", "text": "", "annotations": [source]}])

    assert tokens_of(thought, message) == [ReasoningDelta("T"), Citation("u", index=1, raw=source)]


def test_a_refusal_that_was_told_is_not_told_again() -> None:
    said = done(2, type="message", content=[{"type": "refusal", "refusal": "no"}])

    assert tokens_of(event("refusal.delta", output_index=2, delta="no"), said) == [RefusalDelta("no")]
    assert tokens_of(said) == [RefusalDelta("no")]


@pytest.mark.parametrize("given", ['{"y":22}', '{"x"', '{"x":1}', ""])
def test_what_was_told_of_arguments_counts_unless_more_of_them_comes(given: str) -> None:
    told = tokens_of(added(**call()), piece('{"x":1}'), done(**call(arguments=given)))

    assert [token.arguments_raw for token in told if isinstance(token, ToolCall)] == ['{"x":1}']


@pytest.mark.parametrize("status", ["completed", "incomplete"])
def test_a_call_that_was_cut_is_not_whole_where_it_might_have_gone_on(status: str) -> None:
    is_whole = status == "completed"
    at_its_end = tokens_of(added(**call()), piece("12"), done(**call(arguments="12", status=status)))
    at_the_end = heard(CREATED, added(**call()), piece("12"), event(status, **response(status))).tokens

    assert isinstance(at_its_end[-1], ToolCall if is_whole else ToolCallTruncated)
    assert any(isinstance(token, ToolCall) for token in at_the_end) is is_whole
    assert any(isinstance(token, ToolCallTruncated) for token in at_the_end) is not is_whole


def test_all_calls_that_are_open_at_the_end_are_finished() -> None:
    calls = [call(call_id=id, arguments=arguments) for id, arguments in (("c-0", "{}"), ("c-1", '{"x":1}'))]

    told = tokens_of(*(added(index, **item) for index, item in enumerate(calls)))

    assert [(token.id, token.parsed) for token in told if isinstance(token, ToolCall)] == [
        ("c-0", {}),
        ("c-1", {"x": 1}),
    ]


def test_an_answer_that_failed_at_once_has_its_start_and_its_usage() -> None:
    usage = {"input_tokens": 1}

    outcome = heard(event("failed", **response("failed", error={"message": "no"}, usage=usage)))

    assert isinstance(outcome.error, ProviderError)
    assert outcome.tokens == [START, UsageReport(1, raw=usage)]


def test_items_may_follow_each_other_in_one_place() -> None:
    def said(words: str) -> bytes:
        return done(0, type="message", content=[{"type": "output_text", "text": words}])

    calls = tokens_of(
        *(added(**call(call_id="c-0")), done(**call(call_id="c-0", arguments="{}"))),
        *(added(**call(call_id="c-1")), done(**call(call_id="c-1", arguments='{"x":1}'))),
    )
    texts = tokens_of(added(0, type="message"), text("a"), said("a"), added(0, type="message"), said("b"))

    assert [(token.id, token.parsed) for token in calls if isinstance(token, ToolCall)] == [
        ("c-0", {}),
        ("c-1", {"x": 1}),
    ]
    assert texts == [TextDelta("a"), TextDelta("b")]


def test_each_piece_is_told_when_it_comes() -> None:
    pieces = [
        event("reasoning_summary_text.delta", output_index=0, delta="S"),
        event("reasoning_text.delta", output_index=0, delta="T"),
        text("a", 1),
        text("b", 1),
        event("output_text.annotation.added", output_index=1, annotation={"type": "url_citation", "url": "u"}),
        event("refusal.delta", output_index=2, delta="no"),
    ]

    outcome = heard(CREATED, *pieces)

    assert isinstance(outcome.error, TruncatedStreamError)
    assert outcome.tokens == [
        START,
        ReasoningDelta("S"),
        ReasoningDelta("T"),
        TextDelta("a", 1),
        TextDelta("b", 1),
        Citation("u", index=1, raw={"type": "url_citation", "url": "u"}),
        RefusalDelta("no"),
    ]


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (event("completed", **response("completed")), STOP),
        (event("completed"), STOP),
        (
            event("incomplete", **response("incomplete", incomplete_details={"reason": "max_output_tokens"})),
            StreamEnd(
                FinishReason.LENGTH, "incomplete", details={"incomplete_details": {"reason": "max_output_tokens"}}
            ),
        ),
        (
            event("incomplete", **response("incomplete", incomplete_details={"reason": "content_filter"})),
            StreamEnd(
                FinishReason.CONTENT_FILTER, "incomplete", details={"incomplete_details": {"reason": "content_filter"}}
            ),
        ),
        (event("incomplete"), StreamEnd(FinishReason.OTHER, "incomplete")),
        (event("completed", **response("bored")), StreamEnd(FinishReason.OTHER, "bored")),
        (
            event("completed", **response("completed", content_filters=[{"blocked": False}])),
            StreamEnd(FinishReason.STOP, "completed", details={"content_filters": [{"blocked": False}]}),
        ),
    ],
)
def test_the_status_says_how_the_answer_ended(end: bytes, expected: StreamEnd) -> None:
    assert ended(end) == expected


def test_a_refusal_ends_an_answer_that_is_complete() -> None:
    refused = event("refusal.delta", output_index=0, content_index=0, delta="I won't")

    outcome = heard(CREATED, refused, COMPLETED)

    assert outcome.tokens[1:] == [RefusalDelta("I won't"), StreamEnd(FinishReason.REFUSAL, "completed")]


def test_calls_that_a_limit_cut_are_truncated() -> None:
    outcome = heard((FIXTURES / "openai.responses" / "cut-in-arguments.sse").read_bytes())

    assert [token for token in outcome.tokens if isinstance(token, ToolCall)] == []
    truncated = [token.arguments for token in outcome.tokens if isinstance(token, ToolCallTruncated)]
    assert truncated == ['{"at":"s', "SELECT"]
    assert outcome.message.reason is FinishReason.LENGTH


def test_usage_has_its_details() -> None:
    usage = {
        "input_tokens": 9,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 3},
        "total_tokens": 16,
    }

    [report] = [
        token
        for token in heard(event("completed", **response("completed", usage=usage))).tokens
        if isinstance(token, UsageReport)
    ]

    assert report == UsageReport(9, 7, 3, 4, 2, 16, raw=usage)


@pytest.mark.parametrize(
    ("failure", "kind", "message"),
    [
        ({"code": "server_error", "message": "no"}, ServerError, "no"),
        ({"code": "rate_limit_exceeded", "message": "no"}, RateLimitedError, "no"),
        ({"code": "insufficient_quota", "message": "no"}, QuotaExceededError, "no"),
        ({"code": "invalid_prompt", "message": "no"}, InvalidRequestError, "no"),
        ({"code": "bio_policy", "message": "no"}, ContentBlockedError, "no"),
        ({"code": "image_content_policy_violation", "message": "no"}, ContentBlockedError, "no"),
        ({"code": "vector_store_timeout", "message": "no"}, ServerError, "no"),
        ({"code": None, "message": "no", "type": "overloaded_error"}, OverloadedError, "no"),
        ({"code": "new", "message": "no"}, ProviderError, "no"),
        ({"message": "no \ud83d"}, ProviderError, "no \ufffd"),
        (None, ProviderError, "the service gave up and did not say why"),
        (7, ProviderError, "the service gave up and did not say why"),
    ],
)
def test_a_failed_answer_is_an_error_with_what_came(failure: Any, kind: type[ProviderError], message: str) -> None:
    outcome = heard(CREATED, text("a"), event("failed", **response("failed", error=failure)))

    assert outcome.error is not None
    assert type(outcome.error) is kind
    assert (outcome.error.message, outcome.error.provider) == (message, "openai.responses")
    assert outcome.message.text == "a"
    assert outcome.message.finish_reason == "failed"
    assert not outcome.message.complete


def test_a_cancelled_answer_is_no_answer() -> None:
    error = error_of(CREATED, text("a"), event("cancelled", **response("cancelled")))

    assert type(error) is ProviderError
    assert error.message == "the response was cancelled"


ERROR = {"type": "tokens", "code": "rate_limit_exceeded", "message": "no", "param": None}


@pytest.mark.parametrize(
    "wire",
    [
        event("error", error=ERROR),
        event("error", code="rate_limit_exceeded", message="no", param=None),
        event("output_text.delta", error=ERROR),
        b"event: error\n" + f"data: {json.dumps({'error': ERROR})}\n\n".encode(),
        b'error: {"code": "rate_limit_exceeded", "message": "no"}\n\n',
        json.dumps({"error": ERROR}).encode() + b"\n",
    ],
    ids=["nested", "flat", "beside", "by its name alone", "a line", "bare"],
)
def test_an_error_in_the_stream_is_heard_in_every_shape(wire: bytes) -> None:
    outcome = heard(CREATED, text("a"), wire)

    assert type(outcome.error) is RateLimitedError
    assert (outcome.error.message, outcome.error.code) == ("no", "rate_limit_exceeded")
    assert outcome.tokens == [START, TextDelta("a")]


@pytest.mark.parametrize("wire", [b"event: error\ndata: {\n\n", b"event: error\ndata: no room left\n\n"])
def test_an_error_that_is_no_json_is_one_all_the_same(wire: bytes) -> None:
    assert type(error_of(CREATED, wire)) is ProviderError


def test_an_error_is_not_hidden_by_how_the_connection_breaks_after_it() -> None:
    reader = OPENAI_RESPONSES.read_body()
    reader.feed(event("error", code="server_error", message="Sorry."))

    with pytest.raises(ServerError, match="Sorry") as caught:
        reader.fail(TransportError("the connection was lost"))

    assert isinstance(caught.value.__cause__, TransportError)
    assert caught.value.partial is not None


def test_an_error_is_told_once_by_what_fails_after_it() -> None:
    failed = event("failed", **response("failed", error={"code": "server_error", "message": "later"}))

    outcome = heard(CREATED, event("error", error=ERROR), failed)

    assert type(outcome.error) is ServerError
    assert outcome.error.info.type is None
    assert outcome.message.finish_reason == "failed"


@pytest.mark.parametrize("end", [event("failed", **response("failed")), COMPLETED])
def test_an_end_that_says_nothing_leaves_the_error_as_it_was(end: bytes) -> None:
    error = error_of(CREATED, event("error", error=ERROR), end)

    assert type(error) is RateLimitedError
    assert error.kind == "tokens"


def test_annotations_of_every_kind_are_citations() -> None:
    kinds: list[dict[str, Any]] = [
        {"type": "url_citation", "url": "u", "title": "t", "start_index": 1, "end_index": 2},
        {"type": "file_citation", "file_id": "f", "filename": "n", "index": 3},
        {"type": "container_file_citation", "container_id": "c", "filename": "n", "start_index": 1, "end_index": 2},
        {"type": "file_path", "file_id": "f", "index": 0},
    ]

    told = tokens_of(
        *(event("output_text.annotation.added", output_index=2, annotation=kind) for kind in kinds),
        done(2, type="message", content=[{"type": "output_text", "text": "", "annotations": kinds}]),
    )

    assert told == [
        Citation(url="u", title="t", start=1, end=2, index=2, raw=kinds[0]),
        Citation(title="n", index=2, raw=kinds[1]),
        Citation(title="n", start=1, end=2, index=2, raw=kinds[2]),
        Citation(index=2, raw=kinds[3]),
    ]


def test_log_probabilities_stand_beside_their_text() -> None:
    likely = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": [{"token": "b", "logprob": -1}]}]

    assert tokens_of(text("a", logprobs=likely)) == [
        TextDelta("a"),
        LogProbs([TokenLogProb("a", -0.5, [97], [TokenLogProb("b", -1.0)])]),
    ]


def test_images_and_audio_are_media() -> None:
    told = tokens_of(
        done(0, type="image_generation_call", result="iVBORw==", output_format="webp"),
        done(1, type="image_generation_call", result="iVBORw=="),
        done(2, type="image_generation_call", result="no base64!"),
        done(3, type="image_generation_call", result=None),
        event("audio.delta", delta="AAE="),
        event("audio.transcript.delta", delta="Hm"),
    )

    assert told == [
        Media("image/webp", b"\x89PNG", 0),
        Media("image/png", b"\x89PNG", 1),
        Media("audio/*", b"\x00\x01"),
        TextDelta("Hm"),
    ]


SERVER_RUN = [
    *("web_search_call", "file_search_call", "code_interpreter_call", "mcp_call", "mcp_list_tools"),
    *("mcp_approval_request", "computer_call", "local_shell_call", "shell_call", "apply_patch_call", "compaction"),
]


@pytest.mark.parametrize("kind", SERVER_RUN)
def test_tools_that_are_no_functions_are_no_calls(kind: str) -> None:
    item: dict[str, Any] = {
        "type": kind,
        "id": "x",
        "call_id": "c",
        "name": "f",
        "arguments": "{}",
        "content": 7,
        "summary": 7,
    }
    run = [added(**item), event(f"{kind}.in_progress", output_index=0), piece("{}"), done(**item)]

    assert tokens_of(*run) == []
    assert [token.event for token in tokens_of(*run, raw_events=True) if isinstance(token, RawEvent)] == [
        "response.output_item.added",
        f"response.{kind}.in_progress",
        "response.output_item.done",
    ]
    assert ended(*run, COMPLETED) == STOP


def test_events_that_no_rule_maps_are_skipped_or_given_as_they_are() -> None:
    odd = [
        b"event: keepalive\n" + b'data: {"type":"keepalive","sequence_number":3}\n\n',
        b"event: ping\ndata: not JSON\n\n",
        b"<p>\n",
        b"data:\n\n",
        event("new_thing.delta", delta=[1]),
    ]

    assert tokens_of(*odd) == []
    assert [token.event for token in tokens_of(*odd, raw_events=True) if isinstance(token, RawEvent)] == [
        "keepalive",
        "ping",
        "",
        "response.new_thing.delta",
    ]


def test_events_may_go_without_their_name_or_without_their_type() -> None:
    nameless = b'data: {"type":"response.output_text.delta","delta":"a"}\n\n'
    typeless = b'event: response.output_text.delta\ndata:  {"delta":"b"}\n\n'

    assert tokens_of(nameless, typeless) == [TextDelta("a"), TextDelta("b")]


@pytest.mark.parametrize("data", [b"nonsense", b'{"type": [', b"[1]", b'{"item": 7}'])
def test_nonsense_is_a_protocol_error(data: bytes) -> None:
    outcome = heard(CREATED, text("a"), b"event: response.new\ndata: " + data + b"\n\n", COMPLETED)

    assert type(outcome.error) is ProtocolError
    assert outcome.message.text == "a"


def test_bare_json_of_a_whole_answer_is_no_stream() -> None:
    error = error_of(json.dumps({"id": "r", "object": "response", "output": []}, indent=1).encode())

    assert type(error) is ProtocolError
    assert "bare JSON" in error.message


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {"type": "invalid_request_error", "code": "invalid_api_key"}, AuthenticationError),
        (429, {"type": "insufficient_quota", "code": "insufficient_quota"}, QuotaExceededError),
        (400, {"type": None, "code": "content_filter"}, ContentBlockedError),
    ],
)
def test_the_words_of_a_refusal_choose_the_error(status: int, error: dict[str, Any], kind: type[ProviderError]) -> None:
    body = json.dumps({"error": {"message": "no", **error}}).encode()

    refused = read_error(status, {"apim-request-id": "a"}, body)

    assert type(refused) is kind
    assert (refused.provider, refused.request_id) == ("openai.responses", "a")


@needs_shared
def test_recorded_refusals_of_its_services_give_what_they_state() -> None:
    recorded: list[dict[str, Any]] = json.loads((SHARED / "captures" / "http-errors.json").read_bytes())
    answers = [answer for answer in recorded if answer["provider"] in {"openai", "azure", "openrouter", "xai"}]

    for answer in answers:
        expect = answer["expect"]
        error = read_error(answer["status"], answer["headers"], answer["body"].encode())
        stated = (error.status, error.kind, error.code, error.message, error.request_id)
        assert stated == tuple(expect[name] for name in ("status", "type", "code", "message", "request_id"))
    assert len(answers) >= 4


@needs_shared
@pytest.mark.parametrize(
    ("capture", "others"),
    [("responses-mcp", ["mcp_list_tools"] * 3), ("responses-web-search-citations", ["web_search_call"])],
)
def test_items_of_the_service_are_raw_events_of_the_captures(capture: str, others: list[str]) -> None:
    wire = (SHARED / "captures" / "openai" / f"{capture}.sse").read_bytes()

    outcome = read(OPENAI_RESPONSES, [wire], raw_events=True)

    raw = [token for token in outcome.tokens if isinstance(token, RawEvent) and token.event.endswith("item.added")]
    assert [json.loads(token.data)["item"]["type"] for token in raw] == others
    assert outcome.message.tool_calls == []


def test_the_parts_of_an_answer_are_in_the_order_of_its_items() -> None:
    outcome = heard((FIXTURES / "openai.responses" / "everything.sse").read_bytes())

    kinds = [type(part) for part in outcome.message.parts]
    assert kinds == [ReasoningPart, TextPart, TextPart, ToolCallPart, ToolCallPart, TextPart]  # a refusal is text
