"""`count_tokens`: a report where the service has none."""

import pytest
import reactivex
from hypothesis import given
from hypothesis import strategies as st
from reactivex import operators as ops

from rxstream.operators import count_text, count_tokens
from rxstream.tokenizer import AnswerCounter, EstimateWarning
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)
from tests.strategies import token_lists
from tests.tokenizer.encodings import BYTES, SMALL

END = StreamEnd(FinishReason.STOP)
BOOM = OSError("boom")


def counted(tokens: list[StreamToken], error: Exception | None = None) -> list[StreamToken]:
    given: list[StreamToken] = []
    source = reactivex.from_iterable(tokens)
    if error is not None:
        source = source.pipe(ops.concat(reactivex.throw(error)))
    failures: list[Exception] = []
    source.pipe(count_tokens(BYTES)).subscribe(given.append, failures.append)
    assert failures == ([] if error is None else [error])
    return given


def estimated(count: int) -> UsageReport:
    return UsageReport(output_tokens=count, source="estimated")


@given(token_lists)
def test_every_token_passes_in_order(tokens: list[StreamToken]) -> None:
    own = [token for token in counted(tokens) if not isinstance(token, UsageReport)]

    assert own == [token for token in tokens if not isinstance(token, UsageReport)]


@given(st.lists(st.text(max_size=6)), st.integers(1, 7))
def test_where_a_text_is_cut_does_not_matter(texts: list[str], size: int) -> None:
    whole = "".join(texts)
    pieces = [TextDelta(whole[start : start + size]) for start in range(0, len(whole), size)]

    assert counted([*pieces, END])[-2:] == counted([TextDelta(whole), END])[-2:] if pieces else True


def test_the_count_comes_right_before_the_end() -> None:
    assert counted([TextDelta("four"), END]) == [TextDelta("four"), estimated(4), END]


def test_a_service_that_counts_knows_better() -> None:
    tokens: list[StreamToken] = [TextDelta("four"), UsageReport(output_tokens=1), END]

    assert counted(tokens) == tokens


def test_what_the_service_did_report_is_kept() -> None:
    (*_, report, _) = counted([UsageReport(input_tokens=7), TextDelta("four"), END])

    assert report == UsageReport(input_tokens=7, output_tokens=4, source="estimated")


def test_each_choice_ends_with_the_count_so_far() -> None:
    other = StreamEnd(FinishReason.STOP, choice=1)

    given = counted([TextDelta("a"), END, TextDelta("bc", choice=1), other])

    assert [token for token in given if isinstance(token, UsageReport)] == [estimated(1), estimated(3)]


def test_a_broken_stream_says_how_far_it_came() -> None:
    assert counted([UsageReport(output_tokens=1), TextDelta("four")], BOOM)[-1] == estimated(4)
    assert counted([TextDelta("four"), UsageReport(output_tokens=9)], BOOM)[-1] == UsageReport(output_tokens=9)
    assert counted([TextDelta("four"), END], BOOM)[-1] == END


def test_an_answer_of_nothing_gets_no_report() -> None:
    assert counted([END]) == [END]


def test_everything_that_the_model_wrote_counts_once() -> None:
    counter = AnswerCounter(BYTES)

    for token in (
        ReasoningDelta("12"),
        TextDelta("345"),
        RefusalDelta("6"),
        ToolCallStart("a", None, "789"),
        ToolCallDelta("a", "{}"),
        ToolCall("a", None, FunctionCall("789", "{}")),
        ToolCall("b", None, FunctionCall("x", "{}")),
    ):
        counter.feed(token)

    assert counter.count == 6 + 3 + 2 + 3


def test_texts_of_different_blocks_are_not_joined() -> None:
    counter = AnswerCounter(SMALL)

    counter.feed(TextDelta("th", index=0))
    counter.feed(TextDelta("e", index=1))

    assert counter.count == 2
    assert len(SMALL.encode_ordinary("the")) == 1


async def test_one_text_is_counted_off_the_loop() -> None:
    assert await count_text("the thing " * 20_000, SMALL) == len(SMALL.encode_ordinary("the thing " * 20_000))


def test_a_missing_encoding_is_said_when_the_operator_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    with pytest.warns(EstimateWarning, match="p50k_edit"):
        count_tokens("p50k_edit")
