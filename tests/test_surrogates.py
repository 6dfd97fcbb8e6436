"""Characters that a service cut in two: whatever is cut, what is joined is the text as it was."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.surrogates import JoinSurrogates, mend_text, mend_value
from rxstream.tokens import (
    Citation,
    FinishReason,
    FunctionCall,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallTruncated,
    UsageReport,
    to_json,
)

HIGH, LOW = "\ud83d", "\ude00"
EMOJI = HIGH + LOW  # as Python reads the two escapes: two code points

texts = st.text(st.sampled_from("aé中😀\x00"), max_size=12)
broken_texts = st.text(st.one_of(st.sampled_from([HIGH, LOW, "\udbff", "\udc00", "a", "é", "😀"])), max_size=12)


def joined(tokens: list[StreamToken]) -> list[StreamToken]:
    joiner = JoinSurrogates()
    made = [made for token in tokens for made in joiner.feed(token)]
    return made + joiner.flush()


def as_utf_16(text: str) -> list[str]:
    """The text as a server that counts in UTF-16 holds it: one piece a unit."""
    units = text.encode("utf-16-le")
    return [units[at : at + 2].decode("utf-16-le", "surrogatepass") for at in range(0, len(units), 2)]


@given(texts)
def test_text_without_lone_halves_stays_as_it_is(text: str) -> None:
    assert mend_text(text) == text


@given(broken_texts)
def test_mended_text_can_always_be_encoded(text: str) -> None:
    mended = mend_text(text)

    assert mended.encode().decode() == mended
    assert mend_text(mended) == mended


@pytest.mark.parametrize(
    ("broken", "whole"),
    [
        (EMOJI, "😀"),
        (HIGH, "\ufffd"),
        (LOW, "\ufffd"),
        (LOW + HIGH, "\ufffd\ufffd"),
        (HIGH + EMOJI + "a" + LOW, "\ufffd😀a\ufffd"),
    ],
)
def test_halves_are_joined_and_lone_ones_replaced(broken: str, whole: str) -> None:
    assert mend_text(broken) == whole


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | broken_texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(broken_texts, inner, max_size=3),
    max_leaves=8,
)


@given(json_values)
def test_a_mended_value_can_always_be_written(value: Any) -> None:
    mended = mend_value(value)

    json.dumps(mended, ensure_ascii=False).encode()
    assert mend_value(mended) == mended


def test_values_inside_a_token_are_mended() -> None:
    citation = Citation(title=HIGH, raw={EMOJI: [LOW, 1, None]})

    mended = mend_value(citation)

    assert mended == Citation(title="\ufffd", raw={"😀": ["\ufffd", 1, None]})


@given(texts, st.data())
def test_text_cut_anywhere_between_utf_16_units_is_joined_again(text: str, data: st.DataObject) -> None:
    pieces: list[str] = [""]
    for unit in as_utf_16(text):
        if data.draw(st.booleans(), label="cut here"):
            pieces.append("")
        pieces[-1] += unit

    made = joined([TextDelta(piece) for piece in pieces if piece])

    assert "".join(token.text for token in made if isinstance(token, TextDelta)) == text


@given(st.lists(broken_texts.filter(bool)))
def test_no_lone_half_ever_comes_out(pieces: list[str]) -> None:
    made = joined([TextDelta(piece) for piece in pieces])

    assert "".join(token.text for token in made if isinstance(token, TextDelta)) == mend_text("".join(pieces))
    for token in made:
        to_json(token)


@pytest.mark.parametrize(
    ("first", "second", "whole"),
    [
        (TextDelta(HIGH, 3, 1), TextDelta(LOW, 3, 1), TextDelta("😀", 3, 1)),
        (ReasoningDelta(HIGH, 2), ReasoningDelta(LOW, 2), ReasoningDelta("😀", 2)),
        (RefusalDelta(HIGH, 1), RefusalDelta(LOW, 1), RefusalDelta("😀", 1)),
        (ToolCallDelta("call-0", HIGH), ToolCallDelta("call-0", LOW), ToolCallDelta("call-0", "😀")),
    ],
    ids=lambda token: type(token).__name__,
)
def test_the_halves_of_every_channel_meet(first: StreamToken, second: StreamToken, whole: StreamToken) -> None:
    assert joined([first, second]) == [whole]


def test_a_half_waits_in_its_own_channel() -> None:
    interleaved: list[StreamToken] = [
        TextDelta("a" + HIGH, choice=0),
        TextDelta("b" + HIGH, choice=1),
        ReasoningDelta("c"),
        TextDelta(LOW, choice=1),
        TextDelta(LOW, choice=0),
    ]

    assert joined(interleaved) == [
        TextDelta("a", choice=0),
        TextDelta("b", choice=1),
        ReasoningDelta("c"),
        TextDelta("😀", choice=1),
        TextDelta("😀", choice=0),
    ]


@pytest.mark.parametrize(
    "last",
    [
        StreamEnd(FinishReason.STOP),
        ToolCall("call-0", None, FunctionCall("f", "{}")),
        ToolCallTruncated("call-0", None, "f", ""),
    ],
    ids=lambda token: type(token).__name__,
)
def test_a_half_that_stays_alone_comes_before_what_ends_its_text(last: StreamToken) -> None:
    assert joined([TextDelta("a" + HIGH), last]) == [TextDelta("a"), TextDelta("\ufffd"), last]


def test_a_half_that_stays_alone_comes_at_the_end() -> None:
    assert joined([TextDelta(HIGH)]) == [TextDelta("\ufffd")]


def test_a_half_waits_while_tokens_that_are_no_text_pass() -> None:
    usage = UsageReport(output_tokens=1)

    assert joined([TextDelta(HIGH), usage, TextDelta(LOW)]) == [usage, TextDelta("😀")]


def test_a_signature_is_not_lost_with_the_half_beside_it() -> None:
    made = joined([ReasoningDelta("a" + HIGH), ReasoningDelta("", signature="s"), ReasoningDelta(LOW)])

    assert "".join(token.text for token in made if isinstance(token, ReasoningDelta)) == "a😀"
    assert [token.signature for token in made if isinstance(token, ReasoningDelta) and token.signature] == ["s"]
