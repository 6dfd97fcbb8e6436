"""Tokens: the same object in memory, in a recording and on a relay; and deltas joined without a trace."""

from typing import get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.messages import AssembledMessage, MessageAssembler
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    ReasoningDelta,
    RefusalDelta,
    Retract,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    UsageReport,
    from_json,
    from_msgpack,
    merge_deltas,
    read_arguments,
    to_dict,
    to_json,
    to_msgpack,
)
from tests.strategies import BY_TYPE, token_lists, tokens

DELTAS = (TextDelta, ReasoningDelta, RefusalDelta, ToolCallDelta)


def assembled(stream: list[StreamToken]) -> AssembledMessage:
    assembler = MessageAssembler()
    assembler.extend(stream)
    return assembler.message()


def test_the_tests_know_every_token() -> None:
    assert set(BY_TYPE) == set(get_args(StreamToken))


@pytest.mark.parametrize("kind", BY_TYPE, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_token_goes_to_json_and_back(kind: type[StreamToken], data: st.DataObject) -> None:
    token = data.draw(BY_TYPE[kind])

    line = to_json(token)

    assert from_json(line) == token
    assert type(from_json(line)) is kind
    assert b"\n" not in line


@pytest.mark.parametrize("kind", BY_TYPE, ids=lambda kind: kind.__name__)
@given(data=st.data())
def test_a_token_goes_to_messagepack_and_back(kind: type[StreamToken], data: st.DataObject) -> None:
    token = data.draw(BY_TYPE[kind])

    assert from_msgpack(to_msgpack(token)) == token


@given(tokens)
def test_a_token_as_builtins_says_which_it_is(token: StreamToken) -> None:
    builtins = to_dict(token)

    assert builtins["type"] == type(token).__name__
    assert msgspec.convert(builtins, type(token)) == token


def test_an_integer_beyond_64_bits_goes_both_ways_too() -> None:
    usage = UsageReport(input_tokens=10**30, raw={"limit": -(10**30)})

    assert from_json(to_json(usage)) == usage
    assert from_msgpack(to_msgpack(usage)) == usage


@pytest.mark.parametrize("data", [b"", b"{}", b'{"type":"Nonsense"}', b'{"type":"TextDelta"}', b"[]"])
def test_what_is_no_token_is_refused(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        from_json(data)


def test_tokens_are_frozen() -> None:
    with pytest.raises(AttributeError):
        TextDelta("a").text = "b"  # type: ignore[misc]  # that is what must fail


@given(token_lists)
def test_merging_twice_is_merging_once(stream: list[StreamToken]) -> None:
    merged = merge_deltas(stream)

    assert merge_deltas(merged) == merged


@given(token_lists)
def test_merging_leaves_the_message_as_it_is(stream: list[StreamToken]) -> None:
    assert assembled(merge_deltas(stream)) == assembled(stream)


@given(token_lists)
def test_merging_moves_no_token_across_another(stream: list[StreamToken]) -> None:
    merged = merge_deltas(stream)

    assert [token for token in merged if not isinstance(token, DELTAS)] == [
        token for token in stream if not isinstance(token, DELTAS)
    ]
    assert unfolded(merged) == unfolded(stream)


def unfolded(stream: list[StreamToken]) -> list[object]:
    """The stream by the character: what a reader of single characters would see, in order."""
    seen: list[object] = []
    for token in stream:
        match token:
            case TextDelta() | RefusalDelta():
                seen += [(type(token), getattr(token, "index", 0), token.choice, letter) for letter in token.text]
            case ReasoningDelta(signature=None, redacted=None):
                seen += [(type(token), token.index, token.choice, letter) for letter in token.text]
            case ToolCallDelta():
                seen += [(type(token), token.key, letter) for letter in token.arguments]
            case _:
                seen.append(token)
    return seen


def test_neighbouring_deltas_of_one_thing_become_one() -> None:
    stream: list[StreamToken] = [
        TextDelta("a"),
        TextDelta("b"),
        TextDelta("c", index=1),
        TextDelta("d", index=1, choice=1),
        ReasoningDelta("e"),
        ReasoningDelta("f"),
        ReasoningDelta("", signature="s"),
        ReasoningDelta("g"),
        RefusalDelta("h"),
        RefusalDelta("i"),
        ToolCallDelta("call-0", "j"),
        ToolCallDelta("call-0", "k"),
        ToolCallDelta("call-1", "l"),
        TextDelta("m"),
        Retract(0),
        TextDelta("n"),
        StreamEnd(FinishReason.STOP),
        StreamEnd(FinishReason.STOP),
    ]

    assert merge_deltas(stream) == [
        TextDelta("ab"),
        TextDelta("c", index=1),
        TextDelta("d", index=1, choice=1),
        ReasoningDelta("ef"),
        ReasoningDelta("", signature="s"),
        ReasoningDelta("g"),
        RefusalDelta("hi"),
        ToolCallDelta("call-0", "jk"),
        ToolCallDelta("call-1", "l"),
        TextDelta("m"),
        Retract(0),
        TextDelta("n"),
        StreamEnd(FinishReason.STOP),
        StreamEnd(FinishReason.STOP),
    ]


def test_nothing_merges_to_nothing() -> None:
    assert merge_deltas([]) == []


@pytest.mark.parametrize("text", ["", " ", "\n"])
def test_no_argument_text_is_no_arguments(text: str) -> None:
    assert read_arguments(text) == {}
    assert ToolCall("call-0", None, FunctionCall("f", text)).parsed == {}


def test_arguments_that_are_no_json_are_refused() -> None:
    with pytest.raises(msgspec.DecodeError):
        read_arguments('{"a":')
