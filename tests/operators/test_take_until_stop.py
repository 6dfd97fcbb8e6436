"""`take_until_stop`: an answer ends before a stop sequence, wherever the deltas are cut."""

from typing import Any

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxstream.operators import take_until_stop
from rxstream.tokens import (
    Citation,
    FinishReason,
    FunctionCall,
    LogProbs,
    ReasoningDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
)
from tests.operators.cutting import cuts, deltas, joined, pieces
from tests.strategies import token_lists

END = StreamEnd(FinishReason.STOP, "stop")

sequences = st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=4)


def stopped(sequence: str, choice: int = 0) -> StreamEnd:
    return StreamEnd(FinishReason.STOP, choice=choice, details={"stop_sequence": sequence})


def until(sequences: list[str], *tokens: StreamToken) -> list[StreamToken]:
    given: list[StreamToken] = []
    failures: list[Exception] = []
    reactivex.from_iterable(tokens).pipe(take_until_stop(sequences)).subscribe(given.append, failures.append)
    assert failures == []
    return given


@given(st.text("ab\n ", max_size=30), cuts, sequences)
def test_a_stream_cut_anywhere_ends_where_the_whole_has_the_first_sequence(
    text: str, cuts: list[int], sequences: list[str]
) -> None:
    given = until(sequences, *deltas(pieces(text, cuts)), END)

    first = min((place for word in sequences if (place := text.find(word)) >= 0), default=None)
    assert joined(given) == text[:first]
    if first is None:
        assert given[-1] == END
    else:
        met = min((word for word in sequences if text.startswith(word, first)), key=len)
        assert given[-1] == stopped(met)
    assert sum(isinstance(token, StreamEnd) for token in given) == 1


@given(token_lists)
def test_an_answer_without_the_sequence_stays_as_it_is(tokens: list[StreamToken]) -> None:
    assert until(["nothing has this in it"], *tokens) == tokens


@given(token_lists, sequences)
def test_nothing_comes_of_a_choice_after_its_end(tokens: list[StreamToken], sequences: list[str]) -> None:
    given = until(sequences, *tokens)

    for choice in range(3):
        own = [token for token in given if getattr(token, "choice", None) == choice]
        ends = [place for place, token in enumerate(own) if isinstance(token, StreamEnd) and token.details]
        stops = [place for place in ends if "stop_sequence" in (own[place].details or {})]  # type: ignore[union-attr]  # ends have details
        assert stops in ([], [len(own) - 1])


def test_a_sequence_that_several_deltas_share_ends_the_answer() -> None:
    assert until(["\nUser:"], *deltas(["Hi.\n", "\nUs", "er: more"]), END) == [
        TextDelta("Hi."),
        TextDelta("\n"),
        stopped("\nUser:"),
    ]


def test_of_two_sequences_the_one_that_begins_the_other_is_met() -> None:
    machine_given = until(["\n\n", "\n"], TextDelta("a\n"), TextDelta("\nb"))

    assert machine_given == [TextDelta("a"), stopped("\n")]


def test_thinking_and_arguments_are_not_looked_at() -> None:
    tokens: list[StreamToken] = [ReasoningDelta("STOP"), ToolCallStart("k", None, "f"), ToolCallDelta("k", '"STOP"')]

    assert until(["STOP"], *tokens) == tokens


def test_no_sequence_reaches_over_the_end_of_a_block() -> None:
    tokens: list[StreamToken] = [TextDelta("ST"), Citation("url"), TextDelta("OP"), END]

    assert until(["STOP"], *tokens) == tokens


def test_an_open_call_is_cut_and_not_to_be_run() -> None:
    tokens: list[StreamToken] = [ToolCallStart("k", "1", "add"), ToolCallDelta("k", "[1"), TextDelta("a STOP b"), END]

    assert until(["STOP"], *tokens)[2:] == [TextDelta("a "), ToolCallTruncated("k", "1", "add", "[1"), stopped("STOP")]


def test_calls_of_other_choices_stay_open() -> None:
    call: list[StreamToken] = [ToolCallStart("k", "1", "add", choice=1), ToolCallDelta("k", "[1")]
    whole: list[StreamToken] = [ToolCall("k", "1", FunctionCall("add", "[1]")), StreamEnd(FinishReason.STOP, choice=1)]

    assert until(["STOP"], *call, TextDelta("STOP"), *whole) == [*call, stopped("STOP"), *whole]


def test_a_choice_that_has_ended_is_not_ended_again_with_its_source() -> None:
    tokens: list[StreamToken] = [TextDelta("b", choice=1), TextDelta("ST"), TextDelta("OP STOP")]

    assert until(["STOP"], *tokens) == [tokens[0], stopped("STOP")]


def test_each_choice_ends_by_itself() -> None:
    tokens: list[StreamToken] = [
        TextDelta("a"),
        TextDelta("b", choice=1),
        TextDelta("STOP"),
        LogProbs(),
        TextDelta("dropped"),
        ToolCallStart("k", None, "f"),
        ToolCallDelta("k", "{}"),
        ToolCall("k", None, FunctionCall("f", "{}")),
        UsageReport(output_tokens=3),
        TextDelta("cSTOP", choice=1),
        TextDelta("dropped", choice=1),
    ]

    assert until(["STOP"], *tokens) == [
        TextDelta("a"),
        TextDelta("b", choice=1),
        stopped("STOP"),
        UsageReport(output_tokens=3),
        TextDelta("c", choice=1),
        stopped("STOP", 1),
    ]


def test_a_call_that_never_began_is_not_ended() -> None:
    given = until(["abcd", "bc"], TextDelta("abc"), ToolCallStart("k", None, "f"), ToolCallDelta("k", "{}"), END)

    assert given == [TextDelta("a"), stopped("bc")]


def test_a_sequence_at_the_very_end_of_a_source_without_an_end_is_met() -> None:
    assert until(["abcd", "bc"], TextDelta("abc")) == [TextDelta("a"), stopped("bc")]


def test_a_broken_source_is_no_healthy_end() -> None:
    given: list[Any] = []
    failure = RuntimeError("gone")
    source = reactivex.concat(reactivex.of(TextDelta("abc")), reactivex.throw(failure))
    source.pipe(take_until_stop(["abcd", "bc"])).subscribe(given.append, given.append)

    assert given == [TextDelta("a"), failure]


def test_the_source_is_let_go_of_at_once() -> None:
    source = Subject[StreamToken]()
    given: list[StreamToken] = []
    completions: list[bool] = []
    source.pipe(take_until_stop(["STOP"])).subscribe(given.append, on_completed=lambda: completions.append(True))

    source.on_next(TextDelta("a STOP b"))

    assert given == [TextDelta("a "), stopped("STOP")]
    assert completions == [True]
    assert source.observers == []


@pytest.mark.parametrize("sequences", [[], [""], ["a", ""]])
def test_no_sequence_or_an_empty_one_is_refused(sequences: list[str]) -> None:
    with pytest.raises(ValueError, match="must"):
        take_until_stop(sequences)


def test_a_text_instead_of_a_list_is_refused() -> None:
    with pytest.raises(TypeError, match="list"):
        take_until_stop("STOP")
