"""`accumulate`: the same text in larger pieces, cut where they may be cut."""

import asyncio
from datetime import timedelta
from itertools import accumulate as running_sums
from itertools import pairwise
from typing import Any

import pytest
import regex
from hypothesis import given
from hypothesis import strategies as st
from reactivex.testing import ReactiveTest, TestScheduler

from rxstream.operators import TokenAccumulator, accumulate
from rxstream.operators.accumulate import Boundary
from rxstream.tokens import (
    FinishReason,
    ReasoningDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCallStart,
    merge_deltas,
)
from tests.demand import Consumer, Faucet
from tests.strategies import token_lists
from tests.tokenizer.encodings import BYTES
from tests.virtual_loop import VirtualTimeLoop, virtual_time

on_next, on_error, on_completed = ReactiveTest.on_next, ReactiveTest.on_error, ReactiveTest.on_completed
BOOM = OSError("boom")
CALL = ToolCallStart("call-0", "1", "add")
END = StreamEnd(FinishReason.STOP)
BOUNDARIES: list[Boundary] = ["word", "sentence", "line", "paragraph", "block"]

joined = ["e\u0301", "👩\u200d🚀", "🇩🇪", "🇫🇷", "각", "\u1100\u1161\u11a8", "\r\n", "❤\ufe0f", "क्षि", "👍🏽"]
parts = sorted({part for whole in joined for part in whole} | {"\u0600", "\u200d", "\uff9e"})
pieces = st.sampled_from(
    [*joined, *parts, *"aAz19 \n\t.!?…。！？”)*`~", "Dr.", "```py\n", "\n```\n", "\n\n", "word ", "中", "カ"]  # noqa: RUF001
)
texts = st.lists(pieces, max_size=30).map("".join)
cuts = st.lists(st.integers(0, 60), max_size=30)
boundaries, counts = st.sampled_from(BOUNDARIES), st.integers(1, 12)
options = st.one_of(
    st.builds(dict[str, Any], boundary=boundaries),
    st.builds(dict[str, Any], characters=counts),
    st.builds(dict[str, Any], boundary=boundaries, characters=counts),
    st.builds(dict[str, Any], boundary=boundaries, max_characters=counts),
)


def in_pieces(text: str, cuts: list[int]) -> list[StreamToken]:
    places = sorted(min(cut, len(text)) for cut in cuts)
    return [TextDelta(text[a:b]) for a, b in pairwise([0, *places, len(text)])]


def fed(tokens: list[StreamToken], /, **options: Any) -> list[StreamToken]:
    machine = TokenAccumulator(**options)
    made = [made for token in tokens for made in machine.feed(token)]
    is_holding = machine.is_holding
    held = machine.flush()
    assert is_holding == bool(held)
    return made + held


def said(text: str, **options: Any) -> list[str]:
    """The pieces that a text is given in when it comes character by character."""
    return [token.text for token in fed(list(map(TextDelta, text)), **options) if isinstance(token, TextDelta)]


def ends_of_graphemes(text: str) -> set[int]:
    return {0, *running_sums(map(len, regex.findall(r"\X", text)))}


# Laws


@given(texts, cuts, options)
def test_any_cut_gives_the_same_pieces(text: str, cuts: list[int], options: dict[str, Any]) -> None:
    assert fed(in_pieces(text, cuts), **options) == fed(in_pieces(text, []), **options)


@given(texts, cuts, options | st.builds(dict[str, Any], tokens=counts))
def test_the_pieces_are_the_text_and_no_grapheme_is_split(text: str, cuts: list[int], options: dict[str, Any]) -> None:
    if "tokens" in options:
        options = {**options, "encoding": BYTES}

    made = [token.text for token in fed(in_pieces(text, cuts), **options) if isinstance(token, TextDelta)]

    assert "".join(made) == text
    assert all(made)
    assert set(running_sums(map(len, made))) <= ends_of_graphemes(text)


@given(texts, cuts, st.data())
def test_what_is_released_in_between_splits_no_grapheme_either(text: str, cuts: list[int], data: st.DataObject) -> None:
    machine = TokenAccumulator(data.draw(st.sampled_from([None, *BOUNDARIES])))
    made: list[StreamToken] = []

    for token in in_pieces(text, cuts):
        made += machine.feed(token)
        if data.draw(st.booleans()):
            made += machine.release()
    made += machine.flush()

    lengths = [len(token.text) for token in made if isinstance(token, TextDelta)]
    assert merge_deltas(made) == merge_deltas(in_pieces(text, []) if text else [])
    assert set(running_sums(lengths)) <= ends_of_graphemes(text)


@given(token_lists.map(lambda tokens: [token for token in tokens if getattr(token, "text", None) != ""]), options)
def test_the_tokens_of_a_choice_are_the_same_but_for_where_the_text_is_cut(
    tokens: list[StreamToken], options: dict[str, Any]
) -> None:
    made = fed(tokens, **options)

    for choice in range(3):
        assert of_choice(made, choice) == of_choice(tokens, choice)


def of_choice(tokens: list[StreamToken], choice: int) -> list[StreamToken]:
    return merge_deltas(token for token in tokens if getattr(token, "choice", choice) == choice)


@given(texts, cuts, st.integers(1, 40))
def test_what_is_held_is_bounded(text: str, cuts: list[int], most: int) -> None:
    machine, fed_so_far, given_so_far = TokenAccumulator("block", max_characters=most), 0, 0

    for token in in_pieces(text, cuts):
        assert isinstance(token, TextDelta)
        fed_so_far += len(token.text)
        given_so_far += sum(len(made.text) for made in machine.feed(token) if isinstance(made, TextDelta))

        assert fed_so_far - given_so_far <= most + max(len(one) for one in ["", *regex.findall(r"\X", text)])


# Boundaries


@pytest.mark.parametrize(
    ("boundary", "pieces"),
    [
        ("word", ["It", " was", "\ta", "\n\ndark", " night.", " "]),
        ("word", ["see", "中", "文。", "好"]),
        ("sentence", ["It was.", " Was it?", " Yes!", " …", ' "No."', " Then"]),
        ("sentence", ["Dr. Smith (e.g. J. R. Smith of the U.S. army) paid 3.14.", " Or v2.0?!", " Wait...", " what"]),
        ("sentence", ["1. First thing.", "\n2. Second.", " In 2024.", " End"]),
        ("sentence", ["**Bold.**", " (Aside.)", " “Quote.”", " End."]),
        ("sentence", ["你好。", "世界！？", "「对。」", "好"]),  # noqa: RUF001
        ("sentence", ["A heading\n\n", "Text.", "\r\n\r\nAnother\r\n\r\n", "End"]),
        ("line", ["one\n", "\n", "two\r\n", "three\r", "four"]),
        ("paragraph", ["one\ntwo\n\n", "\n\nthree\n \t\n", "four"]),
        ("paragraph", ["```\none\n\n", "two\n```\n"]),
        ("block", ["one\ntwo\n\n", "```py\none\n\ntwo\n```\n", "\nthree\n\n"]),
        ("block", ["text\n", "  ~~~~\n~~~\n```\n\n~~~~~ \n", "text"]),
        ("block", ["text ``` text\n``` no ` fence\n\n", "```\nopen\n\nto the end\n\n"]),
    ],
)
def test_where_pieces_end(boundary: str, pieces: list[str]) -> None:
    assert said("".join(pieces), boundary=boundary) == pieces


def test_a_piece_is_given_as_soon_as_its_end_is_seen() -> None:
    machine = TokenAccumulator("sentence")

    made = [machine.feed(TextDelta(text)) for text in ["It", " was", ".", " The", " end", ".\n"]]

    assert made == [[], [], [], [TextDelta("It was.")], [], [TextDelta(" The end.")]]


def test_a_fence_is_known_though_a_part_of_its_line_has_gone() -> None:
    assert said("```py\nx\n\ny\n```\n\nz", boundary="block", max_characters=4) == [
        "```p",
        "y\nx\n",
        "\ny\n`",
        "``\n",
        "\nz",
    ]


# Counts


def test_characters_are_counted_up_to_the_end_of_a_grapheme() -> None:
    assert said("abcde\u0301fghi", characters=5) == ["abcde\u0301", "fghi"]
    assert said("ab" + "🇩🇪🇫🇷", characters=3) == ["ab🇩🇪", "🇫🇷"]


def test_tokens_are_counted_to_the_end_of_a_delta() -> None:
    deltas: list[StreamToken] = [TextDelta("abc"), TextDelta("de"), TextDelta("f"), TextDelta("g"), TextDelta("h")]

    assert fed(deltas, tokens=5, encoding=BYTES) == [TextDelta("abcde"), TextDelta("fgh")]
    assert fed(deltas, tokens=2) == [TextDelta("abcde"), TextDelta("fgh")]  # four bytes are one


def test_the_first_that_is_reached_counts() -> None:
    assert said("One. Two and three and four.", boundary="sentence", characters=10) == [
        "One.",
        " Two and t",
        "hree and f",
        "our.",
    ]


def test_marks_without_end_are_cut() -> None:
    assert list(map(len, said("e" + "\u0301" * 1_000, characters=10))) == [256, 256, 256, 233]


# Other tokens


@pytest.mark.parametrize("other", [CALL, END, ReasoningDelta("", signature="proof"), TextDelta("b", 1)])
def test_what_is_held_comes_before_another_token(other: StreamToken) -> None:
    assert fed([TextDelta("a"), other, TextDelta("c")], boundary="line") == [TextDelta("a"), other, TextDelta("c")]


def test_thinking_is_accumulated_and_kept_apart() -> None:
    assert fed([ReasoningDelta("a"), ReasoningDelta("b"), TextDelta("c"), TextDelta("d")], boundary="line") == [
        ReasoningDelta("ab"),
        TextDelta("cd"),
    ]


def test_choices_do_not_disturb_each_other() -> None:
    tokens: list[StreamToken] = [TextDelta(letter, 0, choice) for letter in "abc" for choice in (0, 1)]

    assert fed(tokens, boundary="line") == [TextDelta("abc", 0, 0), TextDelta("abc", 0, 1)]


@pytest.mark.parametrize("fails", [False, True])
def test_what_is_held_comes_before_the_end(fails: bool) -> None:
    for within in (None, timedelta(seconds=1)):
        faucet = Faucet[StreamToken]()
        consumer = Consumer(faucet.stream.pipe(accumulate("line", within=within)))

        faucet.push(TextDelta("e"), TextDelta("nd"))
        (faucet.fail(BOOM) if fails else faucet.complete())

        assert consumer.heard == [TextDelta("end")]
        assert (consumer.error, consumer.is_completed) == ((BOOM, False) if fails else (None, True))


# Time


def marbles(*messages: Any, disposed: float = 1_000, **options: Any) -> list[Any]:
    """Time in whole seconds; text waits ten at most."""
    clock = TestScheduler()
    source = clock.create_hot_observable(*messages)
    operator = accumulate(within=timedelta(seconds=10), **options)
    return clock.start(lambda: source.pipe(operator), disposed=disposed).messages


def test_what_is_held_comes_in_time_but_for_its_last_grapheme() -> None:
    assert marbles(
        on_next(210, TextDelta("abc")),
        on_next(215, TextDelta("e")),
        on_next(250, TextDelta("\u0301f")),
        on_completed(300),
    ) == [
        on_next(220, TextDelta("abc")),
        on_next(260, TextDelta("e\u0301")),
        on_next(300, TextDelta("f")),
        on_completed(300),
    ]


def test_a_boundary_comes_at_once_and_begins_the_time_anew() -> None:
    assert marbles(
        on_next(210, TextDelta("one\n")),
        on_next(212, TextDelta("tw")),
        on_next(215, TextDelta("o\nthr")),
        on_next(216, CALL),
        on_next(217, TextDelta("four")),
        on_completed(300),
        boundary="line",
    ) == [
        on_next(210, TextDelta("one\n")),
        on_next(215, TextDelta("two\n")),
        on_next(216, TextDelta("thr")),
        on_next(216, CALL),
        on_next(227, TextDelta("fou")),
        on_next(300, TextDelta("r")),
        on_completed(300),
    ]


def test_the_time_of_the_rest_begins_when_it_came() -> None:
    assert marbles(
        on_next(210, TextDelta("a")), on_next(215, TextDelta("b\ncd")), on_completed(300), boundary="line"
    ) == [
        on_next(215, TextDelta("ab\n")),
        on_next(225, TextDelta("c")),
        on_next(300, TextDelta("d")),
        on_completed(300),
    ]


def test_after_a_dispose_nothing_comes() -> None:
    assert marbles(on_next(210, TextDelta("abc")), disposed=215) == []


@virtual_time
async def test_one_timer_runs_while_something_waits_and_none_else() -> None:
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    faucet, heard, timers = Faucet[StreamToken](), list[StreamToken](), list[int]()
    stream = faucet.stream.pipe(accumulate("line", within=timedelta(seconds=1)))
    subscription = stream.subscribe(heard.append)

    for text in ["a\n", "bc", "de", "f\n", "gh"]:
        faucet.push(TextDelta(text))
        timers.append(loop.pending_timers)
    await asyncio.sleep(2)
    timers.append(loop.pending_timers)
    faucet.push(TextDelta("ij"))
    timers.append(loop.pending_timers)
    subscription.dispose()
    timers.append(loop.pending_timers)

    assert timers == [0, 1, 1, 0, 1, 0, 1, 0]
    assert heard == [TextDelta("a\n"), TextDelta("bcdef\n"), TextDelta("g")]


# Options


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({}, "nothing says"),
        ({"boundary": "chapter"}, "no boundary"),
        ({"tokens": 0}, "at least 1"),
        ({"characters": -1}, "at least 1"),
        ({"boundary": "line", "max_characters": 0}, "at least 1"),
        ({"within": timedelta(0)}, "more than 0"),
    ],
)
def test_an_option_that_makes_no_sense_is_refused_at_once(options: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        accumulate(**options)
