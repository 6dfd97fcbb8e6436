import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialects.openai_chat import OPENAI_CHAT, ChatDecoder, build_request, read_error
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    ContentBlockedError,
    InvalidRequestError,
    NotFoundError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    StreamError,
    TruncatedStreamError,
)
from rxstream.framing import SseEvent
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
from rxstream.tokens import (
    Citation,
    FinishReason,
    FunctionCall,
    LogProbs,
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
from tests.dialects.reading import Outcome, read
from tests.strategies import json_values

DONE = b"data: [DONE]\n\n"
START = StreamStart("x", "m", "openai.chat")
STOP = StreamEnd(FinishReason.STOP, "stop")


def event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def chunk(*choices: Any, **members: Any) -> bytes:
    return event({"id": "x", "model": "m", "choices": list(choices), **members})


def piece(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"index": index, "delta": delta, "finish_reason": finish}


def call(index: int | None = 0, id: str | None = None, name: str | None = None, arguments: Any = None) -> Any:
    members = {"index": index, "id": id, "function": {"name": name, "arguments": arguments}}
    return {name: member for name, member in members.items() if member is not None}


def heard(*events: bytes, raw_events: bool = False) -> Outcome:
    return read(OPENAI_CHAT, [b"".join(events)], raw_events=raw_events)


def tokens_of(*events: bytes) -> list[StreamToken]:
    """The tokens of a stream with these events, without its start and its end."""
    outcome = heard(chunk(), *events, DONE)
    assert outcome.error is None
    assert outcome.tokens[0] == START
    assert isinstance(outcome.tokens[-1], StreamEnd)
    return [token for token in outcome.tokens[1:] if not isinstance(token, StreamEnd)]


def calls_of(*pieces: Any, finish: str | None = None) -> list[tuple[str | None, str, str]]:
    """The whole calls that these pieces of `tool_calls`, each in a chunk of its own, add up to."""
    events = [chunk(piece(tool_calls=pieces)) for pieces in pieces]
    tokens = tokens_of(*events, chunk(piece(finish=finish)))
    return [(t.id, t.function.name, t.function.arguments) for t in tokens if isinstance(t, ToolCall)]


def error_of(*events: bytes) -> StreamError:
    error = heard(*events).error
    assert error is not None
    return error


class GeneralDecoder(ChatDecoder):
    """The decoder without its fast path."""

    @property
    def _is_plain(self) -> bool:
        return False

    @_is_plain.setter
    def _is_plain(self, value: bool) -> None: ...


texts = st.sampled_from(["a", "b c", "", "ü", None])
deltas: st.SearchStrategy[Any] = st.none() | st.fixed_dictionaries(
    {},
    optional={
        "content": texts | st.just([{"type": "text", "text": "t"}]),
        "reasoning": texts,
        "reasoning_content": texts,
        "refusal": texts,
        "tool_calls": st.none() | st.lists(st.builds(call, st.sampled_from([0, 1, None]), texts, texts, texts)),
        "function_call": st.none() | texts.map(lambda name: {"name": name, "arguments": "{}"}),
        "annotations": st.none() | st.just([{"type": "url_citation", "url": "u"}]),
    },
)
choices: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"delta": deltas},
    optional={
        "index": st.integers(0, 1),
        "finish_reason": st.sampled_from([None, "", "stop", "length", "error"]),
        "logprobs": st.none() | st.just({"content": [{"token": "a", "logprob": -1}]}),
    },
)
plain: st.SearchStrategy[Any] = texts.map(lambda text: {"choices": [{"index": 0, "delta": {"content": text}}]})
chunks: st.SearchStrategy[Any] = st.fixed_dictionaries(
    {"choices": st.none() | st.lists(choices, max_size=2)},
    optional={
        "id": st.sampled_from([None, "", "x"]),
        "usage": st.none() | st.just({"prompt_tokens": 1}) | json_values,
        "x_groq": st.none() | st.just({"usage": {"prompt_tokens": 2}}),
        "citations": st.none() | st.just(["https://example.org"]),
        "search_results": st.none() | st.just([{"url": "https://example.org", "title": "t"}]),
        "error": st.sampled_from([None, {"message": "no"}, ""]),
    },
)


def decoded(decoder: ChatDecoder, frames: list[SseEvent]) -> tuple[list[StreamToken], str | None]:
    tokens: list[StreamToken] = []
    try:
        for frame in frames:
            tokens += decoder.feed(frame)
        tokens += decoder.flush()
    except StreamError as error:
        return tokens + error.completed + decoder.fail(error), str(error)
    return tokens, None


@given(st.lists(chunks | plain))
def test_the_fast_path_gives_what_the_general_one_gives(values: list[Any]) -> None:
    frames = [SseEvent("message", json.dumps(value).encode()) for value in values]

    assert decoded(ChatDecoder(True), frames) == decoded(GeneralDecoder(True), frames)


BESIDE_TEXT: list[Any] = [
    {"choices": [{"delta": {"content": "b", name: value}}]}
    for name, value in {
        "reasoning": "r",
        "reasoning_content": "r",
        "reasoning_details": [{"text": "r"}],
        "refusal": "no",
        "tool_calls": [call(0, "i", "f", "{}")],
        "function_call": {"name": "f"},
        "annotations": [{"url": "u"}],
    }.items()
] + [
    {"choices": [{"delta": {"content": "b"}, "finish_reason": "stop"}]},
    {"choices": [{"delta": {"content": "b"}, "logprobs": {"content": [{"token": "b", "logprob": 0}]}}]},
    {"choices": [{"delta": {"content": "b"}, "content_filter_results": {"hate": {"filtered": True}}}]},
    {"choices": [{"delta": {"content": "b"}, "index": 1}]},
    {"choices": [{"delta": {"content": "b"}}, {"delta": {"content": "c"}, "index": 1}]},
    {"choices": [{"delta": {"content": "b"}}], "usage": {"prompt_tokens": 1}},
    {"choices": [{"delta": {"content": "b"}}], "x_groq": {"usage": {"prompt_tokens": 1}}},
    {"choices": [{"delta": {"content": "b"}}], "citations": ["u"]},
    {"choices": [{"delta": {"content": "b"}}], "search_results": [{"url": "u"}]},
    {"choices": [{"delta": {"content": "b"}}], "error": "no"},
]


@pytest.mark.parametrize("value", BESIDE_TEXT)
def test_what_stands_beside_text_is_not_lost_on_the_fast_path(value: Any) -> None:
    text = {"choices": [{"delta": {"content": "a"}}]}
    frames = [SseEvent("message", json.dumps(frame).encode()) for frame in (text, text, value)]

    fast, general = decoded(ChatDecoder(), frames), decoded(GeneralDecoder(), frames)

    assert fast == general
    assert fast != decoded(ChatDecoder(), [*frames[:2], frames[0]])


frames = st.builds(
    SseEvent,
    st.sampled_from(["message", "error", "ping"]),
    st.binary(max_size=8)
    | st.just(b"[DONE]")
    | st.one_of(chunks, json_values, st.dictionaries(st.sampled_from(["choices", "error", "usage"]), json_values)).map(
        lambda value: json.dumps(value).encode()
    ),
)


@given(st.lists(frames))
def test_any_frames_give_tokens_or_one_stream_error(sequence: list[SseEvent]) -> None:
    tokens, _ = decoded(ChatDecoder(), sequence)

    starts = [token for token in tokens if isinstance(token, StreamStart)]
    assert len(starts) == bool(tokens)
    assert tokens[:1] == starts


DEEP: list[Any] = [
    {"usage": {"x": "@"}},
    {"error": {"message": "no", "x": "@"}},
    {"x_groq": {"usage": "@"}},
    {"citations": [{"url": "u", "x": "@"}]},
    {"choices": [{"logprobs": {"content": [{"token": "t", "logprob": 0, "top_logprobs": "@"}]}}]},
    {"choices": [{"delta": {"annotations": [{"x": "@"}]}}]},
    {"choices": [{"delta": {"tool_calls": [call(0, "i", "f", "@")]}}]},
    {"choices": [{"delta": {"content": "@"}}]},
    {"type": "@"},
]


@pytest.mark.parametrize("depth", [100, 300, 900, 100_000])
@pytest.mark.parametrize("value", DEEP)
def test_depth_breaks_nothing(value: Any, depth: int) -> None:
    deep = "[" * depth + '{"token":"t","logprob":0}' + "]" * depth
    wire = json.dumps(value).replace('"@"', deep)

    outcome = heard(b"data: " + wire.encode() + b"\n\n", DONE, raw_events=True)

    assert outcome.error is None or isinstance(outcome.error, ProtocolError | ProviderError)
    assert [from_json(to_json(token)) for token in outcome.tokens] == outcome.tokens
    assert msgspec.json.encode(outcome.message)


def test_a_plain_answer() -> None:
    outcome = heard(
        chunk(piece(role="assistant", content="")),
        chunk(piece(content="Hel")),
        chunk(piece(content="lo")),
        chunk(piece(finish="stop")),
        chunk(usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
        DONE,
    )

    assert outcome.tokens == [
        START,
        TextDelta("Hel"),
        TextDelta("lo"),
        UsageReport(1, 2, total_tokens=3, raw={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}),
        STOP,
    ]
    assert outcome.message.complete


def test_the_first_real_id_or_model_starts_the_stream() -> None:
    azure = event({"id": "", "model": "", "choices": [], "prompt_filter_results": []})

    assert heard(azure, chunk(piece(content="a")), DONE).tokens[:2] == [START, TextDelta("a")]
    assert heard(event({"choices": [], "model": "m"}), DONE).tokens[0] == StreamStart(None, "m", "openai.chat")
    assert heard(event({"choices": [], "id": "x"}), DONE).tokens[0] == StreamStart("x", None, "openai.chat")


def test_content_starts_a_stream_that_says_neither_id_nor_model() -> None:
    outcome = heard(event({"choices": [piece(content="a")]}), chunk(piece(content="b")), DONE)

    assert outcome.tokens[:3] == [StreamStart(None, None, "openai.chat"), TextDelta("a"), TextDelta("b")]


ODD: list[Any] = [
    {"choices": []},
    {"choices": None},
    {},
    {"choices": [{}]},
    {"choices": [{"index": 0, "delta": None}]},
    {"choices": [{"index": None, "delta": {"content": None}}]},
    {"choices": [None]},
    {"choices": [{"delta": {"content": 7, "refusal": 7, "reasoning": 7, "tool_calls": None}}]},
    {"choices": [{"delta": {"content": [7, {"type": "image"}, {"type": "thinking", "thinking": 7}]}}]},
    {"choices": [{"delta": {"tool_calls": [{}]}}]},
    {"choices": [{"delta": {}, "message": {"content": "the whole answer so far"}}]},
    {"choices": [{"delta": {}, "logprobs": {"content": None}}]},
    {"choices": [{"delta": {}, "logprobs": []}]},
    {"choices": [], "usage": 7},
    {"choices": [], "usage": {}},
    {"choices": [], "moderation": {"flagged": False}},
    {"choices": [], "created": 1.5, "id": 7, "model": 7},
]


@pytest.mark.parametrize("odd", ODD)
def test_what_is_missing_or_odd_says_nothing(odd: Any) -> None:
    assert tokens_of(event(odd)) == []


@pytest.mark.parametrize("spelling", ["reasoning_content", "reasoning"])
def test_thinking_has_two_spellings(spelling: str) -> None:
    assert tokens_of(chunk({"index": 0, "delta": {"content": None, spelling: "Hm"}})) == [ReasoningDelta("Hm")]


def test_thinking_that_is_told_in_three_places_counts_once() -> None:
    details = [{"type": "reasoning.text", "text": "Hm", "index": 0}]

    told = chunk(piece(reasoning="Hm", reasoning_content="Hm", reasoning_details=details))

    assert tokens_of(told) == [ReasoningDelta("Hm")]


def test_details_of_thinking_alone_are_thinking_too() -> None:
    details = [{"type": "reasoning.summary", "summary": "S", "index": 1}, {"type": "reasoning.text", "text": "T"}]

    assert tokens_of(chunk(piece(reasoning_details=details))) == [ReasoningDelta("S", 1), ReasoningDelta("T")]


def test_details_that_only_repeat_earlier_thinking_add_no_text() -> None:
    whole = [{"type": "reasoning.text", "text": "Hm, so", "signature": "sig", "index": 0}]

    told = tokens_of(
        chunk(piece(reasoning="Hm, ")), chunk(piece(reasoning="so")), chunk(piece(reasoning_details=whole))
    )

    assert told == [ReasoningDelta("Hm, "), ReasoningDelta("so"), ReasoningDelta("", signature="sig")]


def test_thinking_and_details_that_differ_count_as_the_thinking() -> None:
    details = [{"type": "reasoning.text", "text": "Hm, so", "signature": "sig", "index": 2}]

    told = tokens_of(chunk(piece(reasoning="so", reasoning_details=details)))

    assert told == [ReasoningDelta("so", 2), ReasoningDelta("", 2, signature="sig")]


def test_signatures_and_encrypted_thinking_survive() -> None:
    details = [
        {"type": "reasoning.text", "signature": "sig"},
        {"type": "reasoning.encrypted", "data": "xyz", "index": 1},
    ]

    told = tokens_of(chunk(piece(reasoning_details=details)))

    assert told == [ReasoningDelta("", signature="sig"), ReasoningDelta("", 1, redacted="xyz")]


def test_details_that_add_up_to_the_thinking_stand_for_it() -> None:
    details = [{"text": "Hm, "}, {"text": "so", "signature": "sig", "index": 1}]

    told = tokens_of(chunk(piece(reasoning="Hm, so", reasoning_details=details)))

    assert told == [ReasoningDelta("Hm, "), ReasoningDelta("so", 1, signature="sig")]


def test_details_without_text_are_proofs_of_the_thinking() -> None:
    encrypted = {"type": "reasoning.encrypted", "data": "xyz", "index": 1}

    told = tokens_of(chunk(piece(reasoning="So", reasoning_details=[encrypted])))

    assert told == [ReasoningDelta("So", 1), ReasoningDelta("", 1, redacted="xyz")]
    assert tokens_of(chunk(piece(reasoning="So", reasoning_details=["odd"]))) == [ReasoningDelta("So")]


def test_thinking_is_that_of_its_choice() -> None:
    detail = {"type": "reasoning.text", "text": "Hm", "signature": "sig", "index": 2}
    thought = {"type": "thinking", "thinking": "Hm", "signature": "sig"}

    told = [
        tokens_of(chunk(piece(1, reasoning="Hm"))),
        tokens_of(chunk(piece(1, reasoning_details=[detail]))),
        tokens_of(chunk(piece(1, reasoning="So", reasoning_details=[detail]))),
        tokens_of(chunk(piece(1, content=[thought, {"type": "text", "text": "Yes"}]))),
    ]

    assert told == [
        [ReasoningDelta("Hm", 0, 1)],
        [ReasoningDelta("Hm", 2, 1, "sig")],
        [ReasoningDelta("So", 2, 1), ReasoningDelta("", 2, 1, "sig")],
        [ReasoningDelta("Hm", 0, 1), ReasoningDelta("", 0, 1, "sig"), TextDelta("Yes", 0, 1)],
    ]


def test_content_may_be_a_list_of_thinking_and_text() -> None:
    parts = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "H"}, {"type": "text", "text": "m"}]},
        {"type": "thinking", "thinking": "!", "closed": True},
        {"type": "text", "text": "Yes"},
    ]

    told = tokens_of(chunk(piece(content=parts)), chunk(piece(content=" and no")))

    assert told == [
        ReasoningDelta("H"),
        ReasoningDelta("m"),
        ReasoningDelta("!"),
        TextDelta("Yes"),
        TextDelta(" and no"),
    ]


def test_think_tags_are_text() -> None:
    assert tokens_of(chunk(piece(content="<think>"))) == [TextDelta("<think>")]


def test_a_refusal_has_a_channel_and_an_end_of_its_own() -> None:
    outcome = heard(chunk(piece(content=None, refusal="I ")), chunk(piece(refusal="won't", finish="stop")), DONE)

    assert outcome.tokens == [
        START,
        RefusalDelta("I "),
        RefusalDelta("won't"),
        StreamEnd(FinishReason.REFUSAL, "stop"),
    ]


def test_a_refusal_is_that_of_its_choice() -> None:
    outcome = heard(chunk(piece(1, refusal="no", finish="stop")), DONE)

    assert outcome.tokens == [START, RefusalDelta("no", 1), StreamEnd(FinishReason.REFUSAL, "stop", choice=1)]


def test_choices_interleave_and_each_has_its_end() -> None:
    outcome = heard(
        chunk(piece(0, content="a"), piece(1, content="b")),
        chunk(piece(1, content="c", finish="length")),
        chunk(piece(0, content="d", finish="stop")),
        DONE,
    )

    assert outcome.tokens == [
        START,
        TextDelta("a"),
        TextDelta("b", choice=1),
        TextDelta("c", choice=1),
        TextDelta("d"),
        STOP,
        StreamEnd(FinishReason.LENGTH, "length", choice=1),
    ]


def test_calls_may_interleave() -> None:
    found = calls_of(
        [call(0, "a", "f", ""), call(1, "b", "g", "")],
        [call(1, arguments='{"x"')],
        [call(0, arguments="{")],
        [call(1, arguments=":1}"), call(0, arguments="}")],
        finish="tool_calls",
    )

    assert found == [("a", "f", "{}"), ("b", "g", '{"x":1}')]


def test_several_calls_of_one_chunk_are_all_told_of() -> None:
    first, second = call(0, "a", "f", '{"x"'), call(1, "b", "g", "[")
    old = {"name": "h", "arguments": "1"}

    told = tokens_of(chunk(piece(tool_calls=[first, second], function_call=old)))

    assert told[:6] == [
        ToolCallStart("call-0", "a", "f"),
        ToolCallDelta("call-0", '{"x"'),
        ToolCallStart("call-1", "b", "g"),
        ToolCallDelta("call-1", "["),
        ToolCallStart("call-2", None, "h"),
        ToolCallDelta("call-2", "1"),
    ]


@pytest.mark.parametrize("index", [0, None])
def test_calls_of_different_choices_do_not_mix(index: int | None) -> None:
    def told(*pieces: Any) -> bytes:
        return chunk(*(piece(choice, **delta) for choice, delta in enumerate(pieces)))

    names = told({"tool_calls": [call(index, "a", "f", "{")]}, {"tool_calls": [call(index, "b", "g", "[")]})
    rests = told({"tool_calls": [call(index, arguments="}")]}, {"tool_calls": [call(index, arguments="]")]})
    old_names = told({"function_call": {"name": "f", "arguments": "{"}}, {"function_call": {"name": "g"}})
    old_rests = told({"function_call": {"arguments": "}"}}, {"function_call": {"arguments": "[]"}})

    tokens = tokens_of(names, rests, told({}, {}), old_names, old_rests)

    calls = [
        (token.id, token.function.name, token.function.arguments) for token in tokens if isinstance(token, ToolCall)
    ]
    assert calls == [("a", "f", "{}"), ("b", "g", "[]"), (None, "f", "{}"), (None, "g", "[]")]


@pytest.mark.parametrize("first", [0, 1, 7])
def test_the_index_of_calls_may_start_anywhere(first: int) -> None:
    found = calls_of([call(first, "a", "f", "{")], [call(first, arguments="}")], [call(first + 1, "b", "g", "{}")])

    assert found == [("a", "f", "{}"), ("b", "g", "{}")]


def test_whole_calls_under_one_index_are_told_apart_by_their_ids() -> None:
    found = calls_of([call(0, "a", "f", "{}"), call(0, "b", "f", '{"x":1}')], [call(0, "c", "g", "{}")])

    assert found == [("a", "f", "{}"), ("b", "f", '{"x":1}'), ("c", "g", "{}")]


def test_a_new_id_with_each_piece_is_no_new_call() -> None:
    found = calls_of([call(0, "a", "f", "{")], [call(0, "b", arguments='"x":')], [call(0, "c", arguments="1}")])

    assert found == [("a", "f", '{"x":1}')]


def test_a_name_with_each_piece_is_no_new_call() -> None:
    found = calls_of([call(0, "a", "f", "{")], [call(0, "a", "f", '"x":')], [call(0, None, "f", "1}")])

    assert found == [("a", "f", '{"x":1}')]


def test_without_ids_whole_calls_are_told_apart_by_name_and_by_being_whole() -> None:
    found = calls_of([call(0, None, "f", "{}")], [call(0, None, "f", '{"x":1}')], [call(0, None, "g", "{}")])
    spaced = calls_of([call(0, None, "f", "{}")], [call(0, None, "f", ' {"x":1}')], [call(0, None, "f", "")])
    pieces = calls_of([call(0, None, "f", "{")], [call(0, None, "f", '"x":{}')], [call(0, None, "f", "}")])
    nested = calls_of([call(0, None, "f", '{"x":')], [call(0, None, "f", "{}")], [call(0, None, "f", "}")])

    assert spaced == [(None, "f", "{}"), (None, "f", ' {"x":1}')]
    assert nested == [(None, "f", '{"x":{}}')]
    assert found == [(None, "f", "{}"), (None, "f", '{"x":1}'), (None, "g", "{}")]
    assert pieces == [(None, "f", '{"x":{}}')]


def test_calls_without_an_index_are_told_apart_by_their_ids() -> None:
    found = calls_of(
        [call(None, "a", "f", "{"), call(None, "b", "g", "[")],
        [call(None, "a", arguments="}")],
        [call(None, "b", arguments="]")],
        [call(None, None, "h", "1")],
        [call(None, "c", arguments="2")],  # its id comes late
        [call(None, arguments="3")],
    )

    assert found == [("a", "f", "{}"), ("b", "g", "[]"), ("c", "h", "123")]
    assert calls_of([call(None, "a", "f", "{")], [call(None, arguments="}")]) == [("a", "f", "{}")]


def test_ids_and_names_may_be_empty_null_or_late() -> None:
    found = calls_of(
        [call(0, "", "null", '{"x"')], [call(0, "null", "", ":1}")], [call(0, "a", "f")], [call(0, "b", "", "")]
    )

    assert found == [("a", "f", '{"x":1}')]


def test_arguments_may_be_an_object() -> None:
    [start, delta, whole] = tokens_of(chunk(piece(tool_calls=[call(0, "a", "f", {"x": 1})])))

    assert start == ToolCallStart("call-0", "a", "f")
    assert delta == ToolCallDelta("call-0", '{"x":1}')
    assert whole == ToolCall("call-0", "a", FunctionCall("f", '{"x":1}'), None)


def test_the_old_function_call_is_a_call_without_an_id() -> None:
    events = [
        chunk(piece(function_call={"name": "f", "arguments": ""})),
        chunk(piece(function_call={"arguments": "{"})),
        chunk(piece(function_call={"name": "f", "arguments": "}"})),
        chunk(piece(finish="function_call")),
    ]

    outcome = heard(*events, DONE)

    assert outcome.tokens[-2:] == [
        ToolCall("call-0", None, FunctionCall("f", "{}"), "{}"),
        StreamEnd(FinishReason.TOOL_CALLS, "function_call"),
    ]


def test_calls_are_whole_when_their_choice_finishes_not_before() -> None:
    decoder = ChatDecoder()
    frames = [
        {"choices": [piece(0, tool_calls=[call(0, "a", "f", "{}")]), piece(1, tool_calls=[call(0, "b", "g", "{}")])]},
        {"choices": [piece(0, tool_calls=[call(1, "c", "h", "{}")])]},
        {"choices": [piece(0, finish="tool_calls")]},
        {"choices": [piece(1, finish="tool_calls")]},
    ]

    made = [decoder.feed(SseEvent("message", json.dumps(frame).encode())) for frame in frames]

    whole = [[token.function.name for token in step if isinstance(token, ToolCall)] for step in made]
    assert whole == [[], [], ["f", "h"], ["g"]]


def test_several_finished_calls_may_share_a_place() -> None:
    found = calls_of([call(0, "a", "f", "{}")], finish="tool_calls")
    events = [chunk(piece(tool_calls=[call(0, "", "f", "{}")], finish="tool_calls")) for _ in range(2)]

    assert found == [("a", "f", "{}")]
    assert [token.key for token in tokens_of(*events) if isinstance(token, ToolCall)] == ["call-0", "call-1"]


@pytest.mark.parametrize("reason", ["length", "content_filter", "error"])
@pytest.mark.parametrize("arguments", ["", '{"x"', "12"])
def test_a_call_that_was_cut_short_is_truncated(reason: str, arguments: str) -> None:
    told = tokens_of(chunk(piece(tool_calls=[call(0, "a", "f", arguments)])), chunk(piece(finish=reason)))

    assert told[-1] == ToolCallTruncated("call-0", "a", "f", arguments)


def test_a_stop_with_a_call_waits_for_its_result() -> None:
    outcome = heard(chunk(piece(tool_calls=[call(0, "a", "f", "{}")], finish="stop")), DONE)

    assert outcome.tokens[-1] == StreamEnd(FinishReason.TOOL_CALLS, "stop")


def test_sources_are_given_once_however_often_they_are_repeated() -> None:
    sources: dict[str, Any] = {
        "citations": ["https://example.org/1", "https://example.org/2", {"url": "https://example.org/3", "title": "3"}],
        "search_results": [{"url": "https://example.org/1", "title": "1", "snippet": "s"}, {"title": "no address"}],
    }

    told = tokens_of(chunk(piece(content="a"), **sources), chunk(piece(content="b"), **sources))

    assert told == [
        TextDelta("a"),
        Citation("https://example.org/1", "1", "s", raw=sources["search_results"][0]),
        Citation("https://example.org/3", "3", raw=sources["citations"][2]),
        Citation("https://example.org/2"),
        TextDelta("b"),
    ]


def test_sources_may_be_listed_in_one_place_alone() -> None:
    found = {"url": "https://example.org/1", "title": "1", "snippet": "s"}

    assert tokens_of(chunk(search_results=[found])) == [Citation("https://example.org/1", "1", "s", raw=found)]
    assert tokens_of(chunk(citations=["https://example.org/1"])) == [Citation("https://example.org/1")]


def test_annotations_are_citations_nested_or_flat() -> None:
    facts = {"url": "u", "title": "t", "content": "c", "start_index": 1, "end_index": 2}
    nested, flat = {"type": "url_citation", "url_citation": facts}, {"type": "url_citation", **facts}

    told = tokens_of(chunk(piece(1, annotations=[nested, flat, "odd"])))

    assert told == [Citation("u", "t", "c", 1, 2, choice=1, raw=raw) for raw in (nested, flat)]


def test_logprobs_are_appended() -> None:
    said = {"token": "Hi", "logprob": -0.5, "bytes": [72, 105], "top_logprobs": [{"token": "Ho", "logprob": -2}]}

    def told(choice: int) -> bytes:
        return chunk({**piece(choice, content="Hi"), "logprobs": {"content": [said], "refusal": [{"token": 7}]}})

    probability = TokenLogProb("Hi", -0.5, [72, 105], [TokenLogProb("Ho", -2.0)])
    assert tokens_of(told(0), told(1)) == [
        TextDelta("Hi"),
        LogProbs([probability]),
        TextDelta("Hi", choice=1),
        LogProbs([probability], choice=1),
    ]


def test_a_token_that_is_infinitely_unlikely_has_a_number_all_the_same() -> None:
    told = b'data: {"choices":[{"delta":{},"logprobs":{"refusal":[{"token":"a","logprob":-Infinity}]}}]}\n\n'

    assert tokens_of(told) == [LogProbs(refusal=[TokenLogProb("a", -9999.0)])]


def test_usage_is_given_when_it_changes() -> None:
    first, second = {"prompt_tokens": 1, "completion_tokens": 1}, {"prompt_tokens": 1, "completion_tokens": 2}

    told = tokens_of(
        chunk(piece(content="a"), usage=first),
        chunk(piece(content="b"), usage=second),
        chunk(usage=second),
        chunk(x_groq={"usage": second}),
    )

    assert told == [TextDelta("a"), UsageReport(1, 1, raw=first), TextDelta("b"), UsageReport(1, 2, raw=second)]


def test_counts_are_read_where_services_put_them() -> None:
    usage = {
        "prompt_tokens": 10.0,
        "completion_tokens": 1.5,
        "total_tokens": None,
        "prompt_cache_hit_tokens": 4,
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    cached = {**usage, "prompt_tokens_details": {"cached_tokens": 0}}

    [report, other] = tokens_of(chunk(usage=usage), chunk(x_groq={"usage": cached}))

    assert report == UsageReport(10, None, 3, 4, raw=usage)
    assert other == UsageReport(10, None, 3, 0, raw=cached)


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("stop", FinishReason.STOP),
        ("length", FinishReason.LENGTH),
        ("tool_calls", FinishReason.TOOL_CALLS),
        ("content_filter", FinishReason.CONTENT_FILTER),
        ("error", FinishReason.ERROR),
        ("insufficient_system_resource", FinishReason.ERROR),
        ("a new word", FinishReason.OTHER),
    ],
)
def test_every_finish_reason_is_mapped_and_kept(word: str, reason: FinishReason) -> None:
    outcome = heard(chunk(piece(content="a", finish=word)), DONE)

    assert outcome.tokens == [START, TextDelta("a"), StreamEnd(reason, word)]


def test_a_finish_reason_is_reported_once_and_last() -> None:
    usage = {"prompt_tokens": 1}

    outcome = heard(
        chunk(piece(content="a", finish="length")), chunk(piece(content="", finish="stop"), usage=usage), DONE
    )

    assert outcome.tokens == [
        START,
        TextDelta("a"),
        UsageReport(1, raw=usage),
        StreamEnd(FinishReason.LENGTH, "length"),
    ]


def test_a_later_word_that_the_answer_is_broken_counts() -> None:
    outcome = heard(chunk(piece(finish="stop")), chunk(piece(finish="error")), DONE)

    assert outcome.tokens[-1] == StreamEnd(FinishReason.ERROR, "error")


def test_the_end_mark_alone_is_an_end() -> None:
    outcome = heard(chunk(piece(content="a")), DONE)

    assert outcome.error is None
    assert outcome.tokens[-1] == StreamEnd(FinishReason.OTHER, None)
    assert heard(DONE).tokens == [StreamStart(None, None, "openai.chat"), StreamEnd(FinishReason.OTHER, None)]


def test_a_finish_reason_alone_is_an_end_too() -> None:
    outcome = heard(chunk(piece(content="a")), chunk(piece(finish="stop")))

    assert outcome.error is None
    assert outcome.tokens == [START, TextDelta("a"), STOP]


@pytest.mark.parametrize(
    "events",
    [
        [],
        [chunk()],
        [chunk(piece(content="a"))],
        [chunk(piece(content="a", finish=""))],
        [chunk(usage={"prompt_tokens": 1})],
        [chunk(piece(0, content="a"), piece(1, content="b")), chunk(piece(0, finish="stop"))],
        [chunk(piece(content="a")), b"data: [DON"],
    ],
)
def test_a_stream_with_neither_was_cut(events: list[bytes]) -> None:
    assert type(error_of(*events)) is TruncatedStreamError


def test_a_cut_gives_the_calls_that_were_open() -> None:
    outcome = heard(chunk(piece(content="a")), chunk(piece(tool_calls=[call(0, "i", "f", "{}")])))

    assert outcome.tokens[-1] == ToolCallTruncated("call-0", "i", "f", "{}")
    assert isinstance(outcome.error, TruncatedStreamError)


def test_frames_after_the_end_mark_are_not_looked_at() -> None:
    outcome = heard(chunk(piece(content="a", finish="stop")), DONE, b"data: nonsense\n\n", event({"error": "no"}))

    assert outcome.error is None
    assert outcome.tokens == [START, TextDelta("a"), STOP]


def test_the_finish_reason_is_known_from_when_it_is_heard() -> None:
    outcome = heard(chunk(piece(content="a", finish="length")), event({"error": {"message": "no"}}))

    assert outcome.error is not None
    assert outcome.message.finish_reason == "length"
    assert not outcome.message.complete


def test_a_later_word_is_not_heard_even_where_the_stream_was_cut() -> None:
    outcome = heard(
        chunk(piece(content="a", finish="length")), chunk(piece(finish="stop")), event({"error": {"message": "no"}})
    )

    assert outcome.message.finish_reason == "length"


def test_usage_that_nests_too_deeply_to_be_passed_on_is_left_out() -> None:
    deep: Any = None
    for _ in range(200):
        deep = [deep]

    assert tokens_of(chunk(usage={"prompt_tokens": 1, "x": deep}), chunk(usage={"prompt_tokens": 2})) == [
        UsageReport(2, raw={"prompt_tokens": 2})
    ]


@pytest.mark.parametrize(
    ("wire", "kind", "message"),
    [
        (event({"error": {"message": "no"}}), ProviderError, "no"),
        (event({"error": {"message": "no", "type": "server_error", "code": None}}), ServerError, "no"),
        (event({"error": {"message": "no", "type": "invalid_request_error"}}), InvalidRequestError, "no"),
        (event({"error": {"message": "no", "code": 429}}), RateLimitedError, "no"),
        (event({"error": {"message": "no", "status_code": 404}}), NotFoundError, "no"),
        (event({"error": "no", "code": "insufficient_quota"}), QuotaExceededError, "no"),
        (event({"error": True}), ProviderError, "the service gave up and did not say why"),
        (event({"object": "error", "message": "no", "type": "x", "code": 400}), InvalidRequestError, "no"),
        (event({"type": "error", "message": "no"}), ProviderError, "no"),
        (b"event: error\n" + event({"error": {"message": "no", "code": "content_filter"}}), ContentBlockedError, "no"),
        (b"event: error\n" + event({"message": "no"}), ProviderError, "no"),
        (b"event: error\ndata: no room left\n\n", ProviderError, "no room left"),
        (b"event: error\ndata: {\n\n", ProviderError, "the service gave up and did not say why"),
        (b'error: {"code": 400, "message": "no"}\n\n', InvalidRequestError, "no"),
        (b'error: {"detail": "x", "error": {"message": "no"}}\n\n', ProviderError, "no"),
        (b"error: no\n", ProviderError, "no"),
        (b'{\n "error": {\n  "message": "no"\n }\n}\n', ProviderError, "no"),
        (b'{"error": "no"}', ProviderError, "no"),
        (b'{"detail": "no"}', ProviderError, "no"),
        (b'{"message": "no"}\n', ProviderError, "no"),
    ],
)
def test_an_error_in_the_stream_is_heard_in_every_shape(wire: bytes, kind: type[ProviderError], message: str) -> None:
    outcome = heard(chunk(piece(content="a")), wire)

    assert outcome.error is not None
    assert type(outcome.error) is kind
    assert outcome.error.message == message
    assert outcome.error.provider == "openai.chat"
    assert outcome.tokens == [START, TextDelta("a")]
    assert outcome.message.text == "a"


def test_content_and_usage_beside_an_error_come_before_it() -> None:
    usage = {"prompt_tokens": 1}

    outcome = heard(chunk(piece(content="a"), usage=usage, error={"code": 400, "message": "no"}), DONE)

    assert isinstance(outcome.error, InvalidRequestError)
    assert outcome.error.info.code == 400
    assert outcome.tokens == [START, TextDelta("a"), UsageReport(1, raw=usage)]


def test_an_error_without_content_is_not_an_error() -> None:
    assert tokens_of(chunk(piece(content="a"), error=None), chunk(piece(content="b"), error={})) == [
        TextDelta("a"),
        TextDelta("b"),
    ]


@pytest.mark.parametrize(
    "data", [b"nonsense", b'{"choices": [', b"[1]", b'{"choices": 7}', b'{"choices":[{"delta":7}]}']
)
def test_nonsense_is_a_protocol_error(data: bytes) -> None:
    outcome = heard(chunk(piece(content="a")), b"data: " + data + b"\n\n", DONE)

    assert type(outcome.error) is ProtocolError
    assert outcome.message.text == "a"


def test_bare_json_of_a_whole_answer_is_no_stream() -> None:
    error = error_of(json.dumps({"id": "x", "choices": [{"message": {"content": "Hi"}}]}, indent=1).encode())

    assert type(error) is ProtocolError
    assert "bare JSON" in error.message


def test_events_that_no_rule_maps_are_skipped_or_given_as_they_are() -> None:
    odd = [
        event({"type": "ping"}),
        b"event: ping\ndata: not JSON\n\n",
        b"<p>\n",
        b'later: {"message": "field of a later standard"}\n\n',
        b"data:\n\n",
        event({"detail": "searching"}),
    ]

    assert tokens_of(*odd) == []
    assert heard(chunk(), *odd, DONE, raw_events=True).tokens[1:-1] == [
        RawEvent("message", '{"type": "ping"}'),
        RawEvent("ping", "not JSON"),
        RawEvent("", "<p>"),
        RawEvent("later", '{"message": "field of a later standard"}'),
        RawEvent("message", '{"detail": "searching"}'),
    ]


def test_chunks_may_come_under_any_event_name() -> None:
    assert tokens_of(b"event: completion\n" + chunk(piece(content="a"))) == [TextDelta("a")]


def test_halves_of_a_character_meet() -> None:
    def told(escape: str) -> bytes:
        return b'data: {"choices":[{"index":0,"delta":{"content":"' + escape.encode() + b'"}}]}\n\n'

    told_in_two = [token for token in tokens_of(told("a\\ud83d"), told("\\ude00b")) if isinstance(token, TextDelta)]

    assert "".join(token.text for token in told_in_two) == "a😀b"


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (401, {"type": "invalid_request_error", "code": "invalid_api_key"}, AuthenticationError),
        (401, {"type": "invalid_request_error", "code": None}, AuthenticationError),
        (429, {"type": "insufficient_quota", "code": "insufficient_quota"}, QuotaExceededError),
        (429, {"type": "tokens", "code": "rate_limit_exceeded"}, RateLimitedError),
        (404, {"type": "invalid_request_error", "code": "model_not_found"}, NotFoundError),
        (400, {"type": "invalid_request_error", "code": "content_policy_violation"}, ContentBlockedError),
        (400, {"type": None, "code": "content_filter"}, ContentBlockedError),
        (400, {"type": "invalid_request_error", "code": "context_length_exceeded"}, InvalidRequestError),
        (500, {"type": "server_error", "code": None}, ServerError),
    ],
)
def test_the_words_of_a_refusal_choose_the_error(status: int, error: dict[str, Any], kind: type[ProviderError]) -> None:
    body = json.dumps({"error": {"message": "no", **error}}).encode()

    refusal = read_error(status, {}, body)

    assert type(refusal) is kind
    assert refusal.provider == "openai.chat"


def asked(**options: Any) -> dict[str, Any]:
    """The body of a request with these options, without what every body has."""
    request = ChatRequest.of(options.pop("messages", "Hi"), model="m", **options)
    body = json.loads(build_request(request).body)
    always = {
        "model": "m",
        "messages": [{"role": "user", "content": "Hi"}],
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    return {name: value for name, value in body.items() if name not in always or value != always[name]}


def said(*messages: Message) -> list[Any]:
    return json.loads(build_request(ChatRequest(model="m", messages=list(messages))).body)["messages"]


def test_the_least_request() -> None:
    request = build_request(ChatRequest.of("Hi", model="gpt-5"))

    assert request.method == "POST"
    assert request.path == "/chat/completions"
    assert request.headers == {"content-type": "application/json", "accept": "text/event-stream"}
    assert request.body == (
        b'{"model":"gpt-5","messages":[{"role":"user","content":"Hi"}],'
        b'"stream":true,"stream_options":{"include_usage":true}}'
    )


def test_every_option_has_its_place() -> None:
    schema = {"type": "object", "properties": {"q": {"type": "string"}}}

    body = asked(
        tools=[Tool("find", "Find it.", schema, strict=True), Tool("now")],
        tool_choice=ToolNamed("find"),
        parallel_tool_calls=False,
        response_format=JsonSchema("answer", schema),
        max_tokens=5,
        temperature=0.0,
        top_p=0.5,
        stop=["END"],
        seed=0,
        presence_penalty=0.1,
        frequency_penalty=-0.1,
        n=2,
        logprobs=3,
        reasoning=Reasoning(effort="low"),
    )

    assert body == {
        "tools": [
            {
                "type": "function",
                "function": {"name": "find", "description": "Find it.", "parameters": schema, "strict": True},
            },
            {"type": "function", "function": {"name": "now", "parameters": {"type": "object", "properties": {}}}},
        ],
        "tool_choice": {"type": "function", "function": {"name": "find"}},
        "parallel_tool_calls": False,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "schema": schema, "strict": True},
        },
        "max_tokens": 5,
        "temperature": 0.0,
        "top_p": 0.5,
        "stop": ["END"],
        "seed": 0,
        "presence_penalty": 0.1,
        "frequency_penalty": -0.1,
        "n": 2,
        "logprobs": True,
        "top_logprobs": 3,
        "reasoning_effort": "low",
    }


@pytest.mark.parametrize(
    ("options", "body"),
    [
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"response_format": "json"}, {"response_format": {"type": "json_object"}}),
        ({"response_format": "text"}, {"response_format": {"type": "text"}}),
        ({"logprobs": 0}, {"logprobs": True}),
        ({"reasoning": Reasoning()}, {}),
        ({"extra": {"top_k": 3}}, {"top_k": 3}),
        ({"extra": {"seed": None, "stream_options": None}, "seed": 1}, {"seed": None, "stream_options": None}),
        ({"extra": {"x": {"deep": [None, "ü"]}}}, {"x": {"deep": [None, "ü"]}}),
    ],
)
def test_options_are_written_as_the_api_wants_them(options: dict[str, Any], body: dict[str, Any]) -> None:
    assert asked(**options) == body


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt-4o", "max_tokens"),
        ("gpt-35-turbo", "max_tokens"),
        ("openai/gpt-oss-120b", "max_tokens"),
        ("llama3:8b", "max_tokens"),
        ("olmo-2", "max_tokens"),
        ("o1", "max_completion_tokens"),
        ("o3-mini-2025-01-31", "max_completion_tokens"),
        ("gpt-5", "max_completion_tokens"),
        ("gpt-5.4-mini", "max_completion_tokens"),
        ("openai/o4-mini", "max_completion_tokens"),
        ("ft:gpt-5-nano:acme::x", "max_completion_tokens"),
    ],
)
def test_the_limit_goes_by_the_name_that_the_model_takes(model: str, name: str) -> None:
    body = json.loads(build_request(ChatRequest.of("Hi", model=model, max_tokens=7)).body)

    assert {member: value for member, value in body.items() if value == 7} == {name: 7}


def test_a_conversation_with_tools_goes_back() -> None:
    written = said(
        Message("system", "Be brief."),
        Message("developer", [TextPart("Very "), TextPart("brief.")]),
        Message("user", "Sum?", name="ann"),
        Message(
            "assistant",
            [
                ReasoningPart("Hm", signature="sig"),
                TextPart("Let me "),
                TextPart("see."),
                ToolCallPart("a", "add", '{"x": 1}'),
                ToolCallPart(None, "now", ""),
            ],
        ),
        Message.tool_result("a", "3"),
        Message("tool", [ToolResultPart("b", "noon"), ToolResultPart("c", "no clock", is_error=True)]),
        Message("assistant", [ReasoningPart("Hm"), ToolCallPart("d", "add", "{}")]),
        Message("user", [ToolResultPart("d", "4"), TextPart("Thanks.")]),
        Message("assistant", ""),
        Message("assistant", [ReasoningPart("Hm")]),
    )

    assert written == [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": "Very brief."},
        {"role": "user", "name": "ann", "content": "Sum?"},
        {
            "role": "assistant",
            "content": "Let me see.",
            "tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "add", "arguments": '{"x": 1}'}},
                {"type": "function", "function": {"name": "now", "arguments": "{}"}},
            ],
        },
        {"role": "tool", "tool_call_id": "a", "content": "3"},
        {"role": "tool", "tool_call_id": "b", "content": "noon"},
        {"role": "tool", "tool_call_id": "c", "content": "Error: no clock"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "d", "type": "function", "function": {"name": "add", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "d", "content": "4"},
        {"role": "user", "content": "Thanks."},
        {"role": "assistant", "content": ""},
        {"role": "assistant", "content": ""},
    ]


def test_images_go_as_addresses_or_as_data() -> None:
    [message] = said(
        Message(
            "user",
            [
                TextPart("What is this?"),
                ImagePart(url="https://example.org/a.png", detail="low"),
                ImagePart(data=b"\x89PNG", media_type="image/png"),
            ],
        )
    )

    assert message["content"] == [
        {"type": "text", "text": "What is this?"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png", "detail": "low"}},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw=="}},
    ]


def test_several_texts_of_the_user_stay_apart() -> None:
    [message] = said(Message("user", [TextPart("One."), TextPart("Two.")]))

    assert message["content"] == [{"type": "text", "text": "One."}, {"type": "text", "text": "Two."}]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"top_k": 3}, "no top_k; if this server takes one, put it into extra"),
        ({"reasoning": Reasoning(budget_tokens=9)}, "no reasoning.budget_tokens"),
        ({"messages": [Message("tool", "3")]}, "Message.tool_result"),
        ({"messages": [Message("tool", [TextPart("3"), ToolResultPart("a", "3")])]}, "Message.tool_result"),
        ({"messages": [Message("user", [ToolCallPart("a", "f", "{}")])]}, "only the assistant"),
        ({"messages": [Message("assistant", [ImagePart(url="u")])]}, "can't hold images"),
        ({"extra": {"x": object}}, "can't be written as JSON"),
        ({"messages": [Message("user", "\ud83d")]}, "can't be written as JSON"),
    ],
)
def test_what_the_api_cannot_be_asked_is_named(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        asked(**options)


def test_a_key_goes_into_one_header() -> None:
    assert OPENAI_CHAT.authorize("sk-secret") == {"authorization": "Bearer sk-secret"}
    assert "sk-secret" not in repr(OPENAI_CHAT)
