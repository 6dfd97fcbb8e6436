"""What an answer adds up to, whole or as far as it came; and what is asked."""

import tracemalloc
from typing import Any, cast

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.messages import (
    AssembledChoice,
    AssembledMessage,
    AssembledToolCall,
    ChatRequest,
    ErrorInfo,
    ImagePart,
    Message,
    MessageAssembler,
    ReasoningPart,
    TextPart,
    ToolCallPart,
    ToolResultPart,
    Usage,
)
from rxstream.tokens import (
    Citation,
    FinishReason,
    FunctionCall,
    LogProbs,
    Media,
    RawEvent,
    ReasoningDelta,
    RefusalDelta,
    Retract,
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
)
from tests.strategies import token_lists

mostly_first = st.sampled_from([0, 0, 0, 1])
"""Which choice."""


def assembled(*tokens: StreamToken) -> AssembledMessage:
    assembler = MessageAssembler()
    assembler.extend(tokens)
    return assembler.message()


@given(token_lists)
def test_adding_tokens_one_by_one_is_adding_them_together(tokens: list[StreamToken]) -> None:
    assembler = MessageAssembler()

    for token in tokens:
        assembler.add(token)

    assert assembler.message() == assembled(*tokens)


@given(token_lists, st.integers(0, 20))
def test_looking_at_the_message_on_the_way_changes_nothing(tokens: list[StreamToken], at: int) -> None:
    assembler = MessageAssembler()

    assembler.extend(tokens[:at])
    half_way = assembler.message()
    assembler.extend(tokens[at:])

    assert half_way == assembled(*tokens[:at])
    assert assembler.message() == assembled(*tokens)


@given(token_lists)
def test_a_message_seen_once_never_changes(tokens: list[StreamToken]) -> None:
    assembler = MessageAssembler()
    assembler.extend(tokens)
    seen = assembler.message()
    before = msgspec.json.encode(seen)

    assembler.extend(tokens)

    assert msgspec.json.encode(seen) == before


@given(token_lists)
def test_a_message_goes_to_json_and_back(tokens: list[StreamToken]) -> None:
    message = assembled(*tokens)

    assert msgspec.json.decode(msgspec.json.encode(message), type=AssembledMessage) == message


@given(token_lists)
def test_texts_are_those_of_the_first_choice_joined(drawn: list[StreamToken]) -> None:
    tokens = [token for token in drawn if not isinstance(token, Retract)]
    message = assembled(*tokens)

    choices: set[int] = {token.choice for token in tokens if isinstance(token, TextDelta | StreamEnd)}
    for choice in message.choices:
        assert sorted(choice.text) == sorted(
            "".join(token.text for token in tokens if isinstance(token, TextDelta) and token.choice == choice.index)
        )
    if message.choices:
        assert choices <= {choice.index for choice in message.choices}
        assert message.text == message.choices[0].text


@given(
    st.lists(
        st.builds(TextDelta, st.sampled_from(["", "a", "bc"]), st.integers(0, 1), mostly_first)
        | st.builds(Retract, st.integers(0, 6), mostly_first),
        min_size=5,
    )
)
def test_what_is_taken_back_is_the_end_of_a_choices_text_in_the_order_in_which_it_came(
    tokens: list[StreamToken],
) -> None:
    came: dict[int, list[tuple[int, str]]] = {}  # by choice: each character, with its block
    blocks: dict[tuple[int, int], None] = {}
    for token in tokens:
        if isinstance(token, TextDelta):
            blocks[token.choice, token.index] = None
            came.setdefault(token.choice, []).extend((token.index, letter) for letter in token.text)
        elif isinstance(token, Retract):
            del came.setdefault(token.choice, [])[token.start :]

    message = assembled(*tokens)

    for choice in message.choices or [message]:
        number = choice.index if isinstance(choice, AssembledChoice) else next(iter(blocks), (0, 0))[0]
        letters = came.get(number, [])
        in_order = [index for of_choice, index in blocks if of_choice == number]
        assert choice.text == "".join(letter for block in in_order for index, letter in letters if index == block)


def test_text_goes_on_where_it_was_taken_back_to() -> None:
    message = assembled(TextDelta("good, bad"), Retract(6), TextDelta("better"), TextDelta("!", index=1), Retract(12))

    assert message.text == "good, better"
    assert message.parts == [TextPart("good, better")]


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ([TextDelta("a"), TextDelta("b", 1), TextDelta("c"), Retract(9)], "acb"),
        ([TextDelta("a"), TextDelta("b", 1), TextDelta("c"), Retract(2)], "ab"),
        ([TextDelta("a"), TextDelta("b", 1), TextDelta("c"), Retract(1)], "a"),
        ([TextDelta("a"), TextDelta("b", 1), TextDelta("c"), Retract(0), TextDelta("d"), Retract(0)], ""),
        ([TextDelta("a"), TextDelta("", 1), TextDelta("b"), Retract(9), TextDelta("c"), Retract(1)], "a"),
        ([TextDelta("a"), TextDelta("", 1), TextDelta("b"), TextDelta("c", 1), Retract(9), Retract(2)], "ab"),
        ([TextDelta("a"), Retract(0), TextDelta("b"), TextDelta("c", 1), Retract(1)], "b"),
    ],
)
def test_blocks_that_take_turns_are_cut_where_the_text_was(tokens: list[StreamToken], text: str) -> None:
    assert assembled(*tokens).text == text


def test_only_text_is_taken_back() -> None:
    message = assembled(
        ReasoningDelta("hm"), TextDelta("bad"), RefusalDelta("no"), ToolCallStart("call-0", "id", "f"), Retract(0)
    )

    assert (message.text, message.reasoning, message.refusal, len(message.tool_calls)) == ("", "hm", "no", 1)


def test_no_tokens_are_an_empty_incomplete_message() -> None:
    assert assembled() == AssembledMessage()


def test_a_whole_answer() -> None:
    logprob = TokenLogProb("H", -0.5)
    citation = Citation(url="https://example.org/")
    media = Media("image/png", b"\x89PNG")

    message = assembled(
        StreamStart("id-1", "model-1", "test"),
        ReasoningDelta("Let me ", 0),
        ReasoningDelta("think.", 0),
        ReasoningDelta("", 0, signature="first"),
        ReasoningDelta("", 0, signature="second"),
        ReasoningDelta("", 1, redacted="secret"),
        TextDelta("H", 2),
        TextDelta("i", 2),
        LogProbs([logprob]),
        LogProbs([logprob]),
        citation,
        media,
        RawEvent("ping", "{}"),
        ToolCallStart("call-0", "id-a", "add"),
        ToolCallDelta("call-0", '{"a": '),
        ToolCallDelta("call-0", "1}"),
        ToolCall("call-0", "id-a", FunctionCall("add", '{"a": 1}'), '{"a": 1}'),
        UsageReport(input_tokens=1),
        UsageReport(input_tokens=2, output_tokens=3, raw={"in": 2, "out": 3}),
        StreamEnd(FinishReason.TOOL_CALLS, "tool_use"),
    )

    assert message == AssembledMessage(
        text="Hi",
        reasoning="Let me think.",
        tool_calls=[AssembledToolCall("id-a", "add", {"a": 1}, '{"a": 1}')],
        finish_reason="tool_use",
        usage=Usage(input_tokens=2, output_tokens=3),
        complete=True,
        id="id-1",
        model="model-1",
        provider="test",
        reason=FinishReason.TOOL_CALLS,
        parts=[
            ReasoningPart("Let me think.", signature="second"),
            ReasoningPart("", redacted="secret"),
            TextPart("Hi"),
            ToolCallPart("id-a", "add", '{"a": 1}'),
        ],
        citations=[citation],
        media=[media],
        logprobs=[logprob, logprob],
        usage_raw={"in": 2, "out": 3},
        usage_source="provider",
        usage_is_whole=True,
    )
    assert message.as_message() == Message("assistant", message.parts)


def test_a_refusal_is_not_text() -> None:
    message = assembled(RefusalDelta("I "), RefusalDelta("can't."), StreamEnd(FinishReason.STOP, "stop"))

    assert (message.text, message.refusal) == ("", "I can't.")


def test_a_message_is_complete_only_after_its_end_and_without_an_error() -> None:
    assembler = MessageAssembler()
    assembler.add(TextDelta("a"))
    assert not assembler.message().complete

    assembler.add(StreamEnd(FinishReason.STOP, "stop"))
    assert assembler.message().complete

    error = ErrorInfo("overloaded", None, "no room")
    assert not assembler.message(error=error).complete
    assert assembler.message(error=error).error == error


def test_a_finish_reason_heard_before_the_end_is_known_to_a_partial_message() -> None:
    assembler = MessageAssembler()
    assembler.add(TextDelta("a"))

    assert assembler.message().finish_reason is None
    assert assembler.message(finish_reason="length").finish_reason == "length"

    assembler.add(StreamEnd(FinishReason.STOP, "stop"))
    assert assembler.message(finish_reason="length").finish_reason == "stop"


def test_an_unfinished_call_is_there_without_arguments_and_never_goes_back() -> None:
    begun = (ToolCallStart("call-0", "id-a", "add"), ToolCallDelta("call-0", '{"a"'))

    for message in (assembled(*begun), assembled(*begun, ToolCallTruncated("call-0", "id-a", "add", '{"a"'))):
        assert message.tool_calls == [AssembledToolCall("id-a", "add", None, '{"a"')]
        assert message.parts == []


def test_a_call_without_arguments_is_called_with_an_empty_object() -> None:
    message = assembled(ToolCall("call-0", "id-a", FunctionCall("now", "{}"), ""))

    assert message.tool_calls == [AssembledToolCall("id-a", "now", {}, "")]


def test_what_is_known_of_a_call_or_a_thought_stays_known() -> None:
    message = assembled(
        ReasoningDelta("a", signature="s"),
        ReasoningDelta("b"),
        ToolCallStart("call-0", "id-a", "add"),
        ToolCall("call-0", None, FunctionCall("add", "{}"), "{}"),
    )

    assert message.parts == [ReasoningPart("ab", signature="s"), ToolCallPart("id-a", "add", "{}")]


def test_a_call_given_as_an_object_has_no_raw_text() -> None:
    message = assembled(ToolCall("call-0", None, FunctionCall("add", '{"a":1}')))

    assert message.tool_calls == [AssembledToolCall(None, "add", {"a": 1}, None)]


def test_interleaved_calls_stay_apart() -> None:
    message = assembled(
        ToolCallStart("call-0", "id-a", "add"),
        ToolCallStart("call-1", "id-b", "add"),
        ToolCallDelta("call-1", "{}"),
        ToolCallDelta("call-0", "[]"),
        ToolCall("call-1", "id-b", FunctionCall("add", "{}"), "{}"),
        ToolCall("call-0", "id-a", FunctionCall("add", "[]"), "[]"),
    )

    assert [(call.id, call.arguments) for call in message.tool_calls] == [("id-a", []), ("id-b", {})]


def test_a_later_start_of_the_same_answer_renames_its_model() -> None:
    message = assembled(StreamStart("id-1", "model-1", "test"), StreamStart("id-1", "model-2", "test"))

    assert (message.id, message.model) == ("id-1", "model-2")


def test_several_choices_are_given_each_and_the_first_is_the_message() -> None:
    message = assembled(
        TextDelta("b", choice=1),
        TextDelta("a", choice=0),
        ToolCallStart("call-0", "id", "f", choice=1),
        ToolCall("call-0", "id", FunctionCall("f", "{}"), "{}"),
        StreamEnd(FinishReason.TOOL_CALLS, "tool_calls", choice=1),
        StreamEnd(FinishReason.STOP, "stop", choice=0),
    )

    assert (message.text, message.finish_reason, message.tool_calls) == ("a", "stop", [])
    assert message.choices == [
        AssembledChoice(0, "a", "stop"),
        AssembledChoice(1, "b", "tool_calls", tool_calls=[AssembledToolCall("id", "f", {}, "{}")]),
    ]


def test_a_choice_is_written_without_what_it_lacks() -> None:
    assert msgspec.to_builtins(AssembledChoice(0, "a", "stop")) == {"index": 0, "text": "a", "finish_reason": "stop"}


def test_text_grows_in_place_however_many_deltas_come() -> None:
    assembler = MessageAssembler()
    inside = cast(Any, assembler)
    assembler.add(TextDelta("a"))
    (block,) = inside._pieces

    for _ in range(1_000):
        assembler.add(TextDelta("a"))

    assert inside._pieces == [block]
    assert assembler.message().text == "a" * 1_001


def test_a_prompt_is_a_request() -> None:
    request = ChatRequest.of("Hello", model="m", temperature=0.5)

    assert request == ChatRequest(model="m", messages=[Message("user", "Hello")], temperature=0.5)


def test_messages_are_a_request() -> None:
    messages = [Message("system", "Be brief."), Message("user", "Hello")]

    assert ChatRequest.of(messages, model="m").messages == messages


def test_options_go_over_a_request() -> None:
    request = ChatRequest(model="m", messages=[], temperature=1.0, seed=1)

    assert ChatRequest.of(request, temperature=0.0) == ChatRequest(model="m", messages=[], temperature=0.0, seed=1)
    assert ChatRequest.of(request) is request


@pytest.mark.parametrize("options", [{}, {"model": "m", "colour": "blue"}])
def test_a_request_without_a_model_or_with_an_unknown_option_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(TypeError):
        ChatRequest.of("Hello", **options)


def test_the_parts_of_plain_text() -> None:
    assert Message("user", "Hello").parts == [TextPart("Hello")]
    assert Message("user", "").parts == []
    assert Message("user", [TextPart("a"), ImagePart(url="https://example.org/a.png"), TextPart("b")]).text == "ab"


def test_the_answer_to_a_call_is_a_message() -> None:
    assert Message.tool_result("id-a", "3") == Message("tool", [ToolResultPart("id-a", "3")])
    assert Message.tool_result("id-a", "no", is_error=True).parts == [ToolResultPart("id-a", "no", is_error=True)]


@pytest.mark.parametrize(
    "content",
    [{}, {"url": "https://example.org/a.png", "data": b"a", "media_type": "image/png"}, {"data": b"a"}],
    ids=["nothing", "both", "no media type"],
)
def test_an_image_is_an_address_or_bytes_with_a_media_type(content: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ImagePart"):
        ImagePart(**content)


def test_free_text_is_no_value_of_arguments_but_goes_back() -> None:
    said = FunctionCall("write_sql", '"SELECT 1"')

    message = assembled(ToolCallStart("k", "id", "write_sql"), ToolCall("k", "id", said, "SELECT 1", "ctc", True))

    assert message.tool_calls == [AssembledToolCall("id", "write_sql", None, "SELECT 1", "ctc")]
    assert message.parts == [ToolCallPart("id", "write_sql", '"SELECT 1"', "ctc", is_free_text=True)]


def test_the_name_of_a_call_itself_is_left_out_where_there_is_none() -> None:
    names = [set(msgspec.to_builtins(AssembledToolCall("id", "f", None, None, name))) for name in (None, "item")]

    assert names == [
        {"id", "name", "arguments", "arguments_raw"},
        {"id", "name", "arguments", "arguments_raw", "item_id"},
    ]


def test_the_name_of_a_block_goes_back_with_its_signature() -> None:
    message = assembled(ReasoningDelta("Hm"), ReasoningDelta("", signature="sig", item_id="rs"))

    assert message.parts == [ReasoningPart("Hm", "sig", item_id="rs")]


@pytest.mark.parametrize("kind", [TextDelta, ReasoningDelta])
def test_a_long_answer_takes_little_more_than_its_text(kind: type[TextDelta] | type[ReasoningDelta]) -> None:
    assembler = MessageAssembler()
    tracemalloc.start()
    try:
        for number in range(60_000):
            assembler.add(kind(f"w{number} "))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    message = assembler.message()
    size = len(message.text + message.reasoning)
    assert held < 2 * size + 1_000_000
