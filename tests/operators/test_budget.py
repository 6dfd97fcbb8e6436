"""`budget`: an answer ends where it would cost too much."""

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxstream.operators import budget
from rxstream.tokenizer import AnswerCounter, Encoding
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    ReasoningDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
)
from tests.strategies import token_lists
from tests.tokenizer.encodings import BYTES, SMALL

END = StreamEnd(FinishReason.STOP)


def spent(limit: int, choice: int = 0) -> StreamEnd:
    return StreamEnd(FinishReason.LENGTH, choice=choice, details={"budget": limit})


def within(limit: int, tokens: list[StreamToken], encoding: Encoding | None = BYTES) -> list[StreamToken]:
    given: list[StreamToken] = []
    failures: list[Exception] = []
    reactivex.from_iterable(tokens).pipe(budget(limit, encoding)).subscribe(given.append, failures.append)
    assert failures == []
    return given


@given(token_lists, st.integers(1, 20), st.sampled_from([SMALL, BYTES, None]))
def test_no_more_than_the_budget_is_given(tokens: list[StreamToken], limit: int, encoding: Encoding | None) -> None:
    counter = AnswerCounter(encoding)

    for token in within(limit, tokens, encoding):
        if not isinstance(token, ToolCallTruncated):
            counter.feed(token)

    assert counter.count <= limit


@given(token_lists)
def test_an_answer_within_the_budget_stays_as_it_is(tokens: list[StreamToken]) -> None:
    assert within(1_000_000, tokens) == tokens


@given(st.text(" the thing.", max_size=60), st.integers(1, 9), st.integers(1, 30))
def test_where_the_text_is_cut_does_not_matter_to_how_much_of_it_is_given(text: str, size: int, limit: int) -> None:
    pieces: list[StreamToken] = [TextDelta(text[start : start + size]) for start in range(0, len(text), size)]

    given = "".join(token.text for token in within(limit, [*pieces, END], BYTES) if isinstance(token, TextDelta))

    assert given == text[:limit]


def test_the_delta_that_goes_over_is_cut_at_a_token() -> None:
    assert within(2, [TextDelta("the thing"), END], SMALL) == [TextDelta("the th"), spent(2)]


def test_half_a_character_is_not_given() -> None:
    assert within(2, [TextDelta("aé"), END]) == [TextDelta("a"), spent(2)]


def test_an_answer_of_exactly_the_budget_ends_as_it_would() -> None:
    assert within(4, [TextDelta("four"), END]) == [TextDelta("four"), END]


def test_a_delta_larger_than_a_block_is_cut_too() -> None:
    assert within(9_000, [TextDelta("word " * 4_000)]) == [TextDelta("word " * 1_800), spent(9_000)]


def test_every_choice_that_has_begun_is_ended_once() -> None:
    tokens: list[StreamToken] = [TextDelta("a"), TextDelta("b", choice=1), END, TextDelta("cd", choice=2)]

    assert within(3, tokens)[-3:] == [TextDelta("c", choice=2), spent(3, 1), spent(3, 2)]


def test_an_open_call_is_cut_and_not_to_be_run() -> None:
    tokens: list[StreamToken] = [ToolCallStart("k", "1", "add"), ToolCallDelta("k", '{"a":'), ToolCallDelta("k", "10}")]

    given = within(9, tokens)

    assert given[-3:] == [ToolCallDelta("k", "1"), ToolCallTruncated("k", "1", "add", '{"a":1'), spent(9)]


def test_a_whole_call_is_given_whole_or_not_at_all() -> None:
    call = ToolCall("k", None, FunctionCall("add", "{}"))

    assert within(5, [call, END]) == [call, END]
    assert within(4, [call, END]) == [spent(4)]


def test_thinking_counts_too() -> None:
    assert within(3, [ReasoningDelta("why"), TextDelta("x")]) == [ReasoningDelta("why"), spent(3)]


def test_the_source_is_let_go_of_at_once() -> None:
    source = Subject[StreamToken]()
    given: list[StreamToken] = []
    completions: list[bool] = []
    source.pipe(budget(1, BYTES)).subscribe(given.append, on_completed=lambda: completions.append(True))

    source.on_next(TextDelta("ab"))

    assert given == [TextDelta("a"), spent(1)]
    assert completions == [True]
    assert source.observers == []


def test_a_budget_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        budget(0)
