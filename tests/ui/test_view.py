"""`Answer`: tokens in, views out; and `added`, by which a window draws only what is new."""

from collections.abc import Callable
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.errors import OverloadedError
from rxstream.messages import MessageAssembler
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    ReasoningDelta,
    RefusalDelta,
    Retract,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallStart,
    UsageReport,
)
from rxstream.ui import Answer, AnswerView, Phase, Span, added

TOKENS = st.one_of(
    st.builds(TextDelta, st.text(max_size=4)),
    st.builds(ReasoningDelta, st.text(max_size=4)),
    st.builds(RefusalDelta, st.text(max_size=4)),
    st.builds(Retract, st.integers(0, 8)),
    st.just(ToolCallStart("k", "id", "look")),
    st.just(ToolCall("k", "id", FunctionCall("look", "{}"), "{}")),
)
FRAMES = st.lists(st.lists(TOKENS, max_size=6), max_size=8)
SPANS = st.lists(st.builds(Span, st.sampled_from(["text", "call", "error"]), st.text("ab", min_size=1, max_size=3)))


def clock(*seconds: float) -> Callable[[], float]:
    """Return a clock that shows these times, one after the other."""
    times = iter(seconds)
    return lambda: next(times)


def texts(spans: list[Span]) -> list[tuple[str, str]]:
    """The characters of `spans`, each with its kind: what is on the screen."""
    return [(character, span.kind) for span in spans for character in span.text]


@given(frames=FRAMES)
def test_a_view_is_what_all_tokens_so_far_add_up_to_however_they_were_framed(frames: list[list[StreamToken]]) -> None:
    answer, assembler = Answer(), MessageAssembler()

    for frame in frames:
        view = answer.feed(frame)
        assembler.extend(frame)
        assert view.message == assembler.message()
        assert view.text == assembler.message().text + assembler.message().refusal


@given(frames=FRAMES)
def test_a_window_that_draws_what_is_added_shows_each_view(frames: list[list[StreamToken]]) -> None:
    answer = Answer()
    shown: list[Span] = []
    screen: list[tuple[str, str]] = []

    for frame in frames:
        spans = answer.feed(frame).spans()
        news = added(shown, spans)
        screen = texts(spans) if news is None else screen + texts(news)
        shown = spans
        assert screen == texts(spans)


@given(shown=SPANS, wanted=SPANS)
def test_what_is_added_makes_the_one_of_the_other(shown: list[Span], wanted: list[Span]) -> None:
    news = added(shown, wanted)

    if news is not None:
        assert texts(shown) + texts(news) == texts(wanted)


@given(frames=st.lists(st.lists(st.builds(TextDelta, st.text(min_size=1, max_size=4)), max_size=6)))
def test_an_answer_that_only_grows_is_never_drawn_anew(frames: list[list[StreamToken]]) -> None:
    answer = Answer()

    views = [[], *(answer.feed(frame).spans() for frame in frames)]

    assert all(added(before, after) is not None for before, after in pairwise(views))


def test_text_that_is_taken_back_is_drawn_anew() -> None:
    answer = Answer()
    before = answer.feed([TextDelta("Hello there")]).spans()

    after = answer.feed([Retract(5)]).spans()

    assert after == [Span("text", "Hello")]
    assert added(before, after) is None


def test_what_is_read_comes_thoughts_first_and_the_error_last() -> None:
    answer = Answer()
    call = ToolCall("k", "id", FunctionCall("look", '{"at": 1}'), '{"at": 1}')
    answer.feed([TextDelta("Hi"), ReasoningDelta("Hm"), call])

    spans = answer.fail(OverloadedError("busy")).spans()

    assert spans == [("reasoning", "Hm"), ("text", "\n\nHi"), ("call", '\n\nlook({"at": 1})'), ("error", "\n\nbusy")]


def test_the_status_says_how_it_goes() -> None:
    answer = Answer(clock(10.0, 10.25, 10.5, 11.25))
    frames = [[StreamStart("id", "m", "toy")], [ReasoningDelta("Hm")], [TextDelta("a")], [TextDelta("b")] * 2]

    statuses = [answer.view.status, *(answer.feed(frame).status for frame in frames)]
    answer.feed([UsageReport(output_tokens=40), StreamEnd(FinishReason.LENGTH, "max_tokens")])
    statuses.append(answer.complete().status)

    assert statuses == [
        "waiting for the first token",
        "waiting for the first token",
        "thinking · 1 delta · first after 250 ms",
        "answering · 2 deltas at 8/s · first after 250 ms",
        "answering · 4 deltas at 4/s · first after 250 ms",
        "40 tokens at 40/s · first after 250 ms · ended by max_tokens",
    ]


@pytest.mark.parametrize("phase", [Phase.STOPPED, Phase.FAILED])
def test_the_status_says_that_nothing_came(phase: Phase) -> None:
    view = AnswerView(phase=phase)

    assert view.status == f"{phase} · no content came"
    assert view.is_over


def test_an_error_is_a_value_beside_what_had_come() -> None:
    error = OverloadedError("busy", code="overloaded")
    answer = Answer()
    answer.feed([TextDelta("half")])

    view = answer.fail(error)

    assert (view.phase, view.error, view.text) == (Phase.FAILED, error, "half")
    assert view.message.error == error.info


def test_an_error_of_an_operator_of_ones_own_is_one_too() -> None:
    error = TimeoutError("too slow")

    view = Answer().fail(error)

    assert (view.error, view.message.error) == (error, None)


def test_views_are_values_that_stay_as_they_are() -> None:
    answer = Answer()

    views = [answer.feed([TextDelta(piece)]) for piece in "abc"]

    assert [view.text for view in views] == list(accumulate("abc"))
