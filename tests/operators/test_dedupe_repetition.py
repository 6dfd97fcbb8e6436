"""`dedupe_repetition`: an answer in a loop ends, and others stay as they are."""

from typing import Any

import pytest
import reactivex
from hypothesis import example, given
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxstream.operators import dedupe_repetition
from rxstream.tokens import (
    FinishReason,
    ReasoningDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
)
from tests.operators.cutting import cuts, deltas, joined, pieces
from tests.strategies import token_lists

END = StreamEnd(FinishReason.STOP, "stop")
SMALL: dict[str, Any] = {"times": 3, "min_length": 6, "max_length": 12, "times_without_letters": 5}
PHRASE = "I cannot say more about the weather in the north of the country than what I have said. "
LONG_PHRASE = " ".join(f"item{number}" for number in range(50))
TABLE = "| name | a | b |\n|------|---|---|\n" + "".join(f"| row {n} | 0 | 0 |\n" for n in range(80))
CODE = "".join(f"{'    ' * (n % 12)}if value[{n}] == 0:\n" for n in range(200))
DRAWING = ("+" + "-" * 78 + "+\n") + ("|" + " " * 78 + "|\n") * 40 + ("+" + "-" * 78 + "+\n")
ORDINARY = {
    "a quotation": LONG_PHRASE * 3 + PHRASE * 4 + LONG_PHRASE,
    "a phrase longer than is looked for": (LONG_PHRASE + LONG_PHRASE.upper()) * 50,
    "a ruler": "-" * 200 + "\n" + "=" * 200,
    "a table": TABLE,
    "a table of zeros": ("0, " * 24 + "\n") * 24,
    "indented code": CODE,
    "closing brackets": "".join("    " * n + "}\n" for n in range(40, 0, -1)),
    "a drawing": DRAWING,
    "a chorus": (PHRASE + "\n") * 6,
    "blank lines": "\n" * 300,
    "a laugh": "ha" * 100,
    "a numbered list": "".join(f"{n}. the same thing\n" for n in range(500)),
}


def run(tokens: list[StreamToken], **options: Any) -> list[StreamToken]:
    given: list[StreamToken] = []
    failures: list[Exception] = []
    reactivex.from_iterable(tokens).pipe(dedupe_repetition(**options)).subscribe(given.append, failures.append)
    assert failures == []
    return given


@given(st.text("ab .", max_size=30), st.text("ab .", min_size=1, max_size=12), st.integers(1, 9), cuts)
@example("", "ab", 9, [1])
def test_where_the_text_is_cut_does_not_matter(before: str, phrase: str, times: int, cuts: list[int]) -> None:
    text = before + phrase * times + before

    in_pieces, whole = run([*deltas(pieces(text, cuts)), END], **SMALL), run([*deltas([text]), END], **SMALL)

    assert joined(in_pieces) == joined(whole)
    assert in_pieces[-1] == whole[-1]


@given(st.text("abc .", min_size=1, max_size=12), st.text("xyz", max_size=30))
def test_a_loop_always_ends_the_answer_soon(phrase: str, before: str) -> None:
    tokens = [*deltas([before, *[phrase] * 100]), END]

    given = run(tokens, **SMALL)

    end = given[-1]
    assert isinstance(end, StreamEnd)
    assert end.reason is FinishReason.OTHER
    least = 5 if not any(map(str.isalpha, phrase)) else 3
    # A shorter phrase counts by what its repetitions make, and a look may fall on an inner repetition once.
    assert len(joined(given)) <= len(before) + least * 12 + 12 + 6


@given(token_lists)
def test_an_answer_without_a_loop_stays_as_it_is(tokens: list[StreamToken]) -> None:
    assert run(tokens) == tokens


@pytest.mark.parametrize("text", ORDINARY.values(), ids=ORDINARY.keys())
def test_ordinary_repetition_is_left_alone(text: str) -> None:
    assert joined(run([*deltas(pieces(text, range(0, len(text), 4))), END])) == text


@pytest.mark.parametrize("phrase", [PHRASE, "No.\n", "ha", "the same line again\n", LONG_PHRASE])
def test_a_loop_ends_the_answer(phrase: str) -> None:
    tokens = deltas(["Well. ", *[phrase] * 1_000])

    *given, end = run([*tokens, END])

    assert isinstance(end, StreamEnd)
    assert end.reason is FinishReason.OTHER
    assert end.raw_reason is None
    assert end.details is not None
    repetition = end.details["repetition"]
    assert repetition["characters"] == len(phrase)
    assert repetition["times"] >= 10
    assert len(joined(given)) <= 6 + 11 * max(len(phrase), 100)


def test_a_loop_without_letters_may_be_longer() -> None:
    *given, end = run([*deltas(["-" * 50] * 1_000), END])

    assert len(joined(given)) == 4_000
    assert end == StreamEnd(FinishReason.OTHER, details={"repetition": {"characters": 1, "times": 4_000}})


def test_thinking_in_a_loop_ends_too() -> None:
    given = run([ReasoningDelta("why? ")] * 1_000)

    assert sum(len(token.text) for token in given if isinstance(token, ReasoningDelta)) == 1_000
    assert isinstance(given[-1], StreamEnd)


def test_the_delta_in_which_a_loop_is_certain_is_cut_there() -> None:
    assert run([TextDelta("ab" * 100)], **SMALL) == [
        TextDelta("ab" * 9),
        StreamEnd(FinishReason.OTHER, details={"repetition": {"characters": 2, "times": 9}}),
    ]


def test_blocks_are_looked_at_by_themselves() -> None:
    tokens: list[StreamToken] = [TextDelta("again ", index) for index in range(1_000)]

    assert run(tokens) == tokens


def test_each_choice_ends_by_itself() -> None:
    tokens: list[StreamToken] = [
        TextDelta("fine", choice=1),
        TextDelta("ab" * 100),
        TextDelta("dropped"),
        TextDelta(", too", choice=1),
        StreamEnd(FinishReason.STOP, choice=1),
    ]

    given = run(tokens, **SMALL)

    assert [token.choice for token in given if isinstance(token, StreamEnd)] == [0, 1]
    assert joined(given) == "fine" + "ab" * 9 + ", too"


def test_an_open_call_is_cut_and_not_to_be_run() -> None:
    tokens: list[StreamToken] = [ToolCallStart("k", "1", "add"), ToolCallDelta("k", "[1"), TextDelta("ab" * 100)]

    assert ToolCallTruncated("k", "1", "add", "[1") in run(tokens, **SMALL)


def test_the_source_is_let_go_of_at_once() -> None:
    source = Subject[StreamToken]()
    completions: list[bool] = []
    source.pipe(dedupe_repetition(**SMALL)).subscribe(on_completed=lambda: completions.append(True))

    source.on_next(TextDelta("ab" * 100))

    assert completions == [True]
    assert source.observers == []


@pytest.mark.parametrize("options", [{"times": 1}, {"times_without_letters": 1}, {"min_length": 1}, {"max_length": 99}])
def test_what_is_no_repetition_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"repeated|phrase"):
        dedupe_repetition(**options)
