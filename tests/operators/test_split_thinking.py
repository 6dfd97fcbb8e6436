"""`split_thinking`: thinking told apart from text, however the tags are cut."""

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialects import dialect
from rxstream.operators import ThinkingSplitter, split_thinking
from rxstream.tokens import (
    FinishReason,
    LogProbs,
    ReasoningDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCallStart,
    UsageReport,
    merge_deltas,
)
from tests.demand import Consumer, Faucet
from tests.dialects.reading import read
from tests.shared import SHARED, needs_shared
from tests.strategies import token_lists

CALL = ToolCallStart("call-0", "1", "add")
END = StreamEnd(FinishReason.STOP)
BOOM = OSError("boom")
tagged = st.lists(st.sampled_from(["<", "think", ">", "<think>", "</think>", "</", "<thi", "a", "\n", "<<"])).map(
    "".join
)


def split(*tokens: StreamToken, starts_inside: bool = False) -> list[StreamToken]:
    machine = ThinkingSplitter(starts_inside=starts_inside)
    made = [made for token in tokens for made in machine.feed(token)]
    return merge_deltas(made + machine.flush())


def in_pieces(text: str, cuts: list[int]) -> list[StreamToken]:
    places = sorted(min(cut, len(text)) for cut in cuts)
    return [TextDelta(text[a:b]) for a, b in pairwise([0, *places, len(text)]) if a < b]


def length(tokens: list[StreamToken]) -> int:
    return sum(len(token.text) for token in tokens if isinstance(token, TextDelta | ReasoningDelta))


def reference(text: str) -> list[StreamToken]:
    """The whole text, read by a pattern."""
    made: list[StreamToken] = []
    for said, thought in re.findall(r"(.*?)(?:<think>(.*?)(?:</think>|\Z)|\Z)", text, re.DOTALL):
        made += [TextDelta(said)] * bool(said) + [ReasoningDelta(thought)] * bool(thought)
    return merge_deltas(made)


@given(tagged, st.lists(st.integers(0, 40)))
def test_any_cut_gives_what_a_pattern_finds_in_the_whole(text: str, cuts: list[int]) -> None:
    assert split(*in_pieces(text, cuts)) == reference(text)


@given(tagged, st.lists(st.integers(0, 40)))
def test_to_start_inside_is_to_start_with_the_tag(text: str, cuts: list[int]) -> None:
    begun = text if text.startswith("<think>") else "<think>" + text

    assert split(*in_pieces(text, cuts), starts_inside=True) == reference(begun)


@given(token_lists)
def test_without_tags_every_token_is_as_it_was(tokens: list[StreamToken]) -> None:
    machine = ThinkingSplitter("\ue000")

    assert [made for token in tokens for made in machine.feed(token)] == tokens
    assert machine.flush() == []


@given(tagged)
def test_no_more_is_held_than_may_become_a_tag(text: str) -> None:
    machine, given_out = ThinkingSplitter(), 0

    for count, character in enumerate(text, 1):
        given_out += length(machine.feed(TextDelta(character)))

        assert 0 <= length(split(TextDelta(text[:count]))) - given_out < len("</think>")


def test_white_space_around_the_tags_stays() -> None:
    assert split(TextDelta("<think>\nhm\n</think>\n\nYes")) == [ReasoningDelta("\nhm\n"), TextDelta("\n\nYes")]


@pytest.mark.parametrize("between", [CALL, ReasoningDelta("own"), END])
def test_what_is_held_comes_before_another_token_of_its_choice(between: StreamToken) -> None:
    assert split(TextDelta("a <thi"), between, TextDelta("nk>")) == [TextDelta("a <thi"), between, TextDelta("nk>")]


@pytest.mark.parametrize("beside", [LogProbs(), UsageReport(output_tokens=1)])
def test_what_is_beside_the_text_does_not_take_a_tag_apart(beside: StreamToken) -> None:
    assert split(TextDelta("<thi"), beside, TextDelta("nk>hm")) == [beside, ReasoningDelta("hm")]


def test_choices_and_blocks_have_tags_of_their_own() -> None:
    assert split(
        TextDelta("<th", 0, 0), TextDelta("no", 0, 1), TextDelta("ink>a", 0, 0), StreamEnd(FinishReason.STOP, choice=1)
    ) == [TextDelta("no", 0, 1), ReasoningDelta("a", 0, 0), StreamEnd(FinishReason.STOP, choice=1)]
    assert split(TextDelta("<think>a", 0), TextDelta("b", 1)) == [ReasoningDelta("a", 0), TextDelta("b", 1)]


def test_only_the_first_block_of_a_choice_starts_inside() -> None:
    assert split(TextDelta("a", 0, 1), TextDelta("b", 1, 1), TextDelta("c", 0, 2), starts_inside=True) == [
        ReasoningDelta("a", 0, 1),
        TextDelta("b", 1, 1),
        ReasoningDelta("c", 0, 2),
    ]


def test_what_is_held_comes_before_an_error() -> None:
    faucet = Faucet[StreamToken]()
    consumer = Consumer(faucet.stream.pipe(split_thinking("[", "]]")))

    faucet.push(TextDelta("[hm]"))
    faucet.fail(BOOM)

    assert consumer.heard == [ReasoningDelta("hm"), ReasoningDelta("]")]
    assert consumer.error is BOOM


@pytest.mark.parametrize("tags", [("", "x"), ("x", "")])
def test_an_empty_tag_is_refused_at_once(tags: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match="empty"):
        split_thinking(*tags)


@needs_shared
def test_a_recorded_answer_is_told_apart() -> None:
    body = SHARED / "captures" / "groq" / "think-tags-long.sse"
    outcome = read(dialect("openai.chat"), [body.read_bytes()])
    whole = outcome.message.text
    thought, said = whole.removeprefix("<think>").split("</think>")

    made = split(*outcome.tokens)

    assert "".join(token.text for token in made if isinstance(token, ReasoningDelta)) == thought
    assert "".join(token.text for token in made if isinstance(token, TextDelta)) == said
    assert thought
    assert said
