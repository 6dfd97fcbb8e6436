"""`content_filter`: what must not be shown is not, wherever the deltas are cut."""

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest
import reactivex
from hypothesis import example, given
from hypothesis import strategies as st

from rxstream.errors import ContentBlockedError
from rxstream.operators import ContentFilter, content_filter
from rxstream.tokens import (
    Citation,
    FinishReason,
    FunctionCall,
    LogProbs,
    RawEvent,
    ReasoningDelta,
    RefusalDelta,
    Retract,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    ToolCallTruncated,
    UsageReport,
    merge_deltas,
)
from tests.operators.cutting import cuts, deltas, filtered, joined, pieces, run
from tests.strategies import token_lists

BESIDE = (LogProbs, RawEvent, StreamStart, UsageReport)
END = StreamEnd(FinishReason.STOP)
PATTERNS = [
    r"foo\b",
    r"\bfo+",
    r"o$",
    r"(?m)o$",
    r"a{2,4}?b?",
    r"(?=foobar)foo",
    r"foo(?!bar)",
    r"a|ab",
    r"(?:a|ab)(?!o)",
    r"a++b",
    r"\Bo",
    r"[ab$]+\Z",
    r"(o)\1",
    r"(?<=b )o",
    r"(?<!foo)b",
    r"o\b\n?",
    r"^f",
    r"(?x) fo+  # a comment",
    r"(?i)FOO",
]
ENDLESS = [r"\w+ \w", r"[^f]+"]

sentences = st.text("abBc _-", max_size=30)
terms = st.lists(st.text("abc -", min_size=1, max_size=6), min_size=1, max_size=5)
shifty = st.text("ae\u017fßsSK\ufb01if\u212a\u0301\u0327é가ㄱ\u1100\u1161\u11a8 ", max_size=12)
"""Characters that change their number when they are folded, or belong to the one before."""


def as_one_pattern(terms: Sequence[str], *, whole_words: bool, ignore_case: bool) -> re.Pattern[str]:
    """What the standard library says for `terms`: the longest first, so that it is the longest that is found."""

    def edge(character: str, look: str) -> str:
        return look if whole_words and re.match(r"\w", character) else ""

    words = sorted(terms, key=len, reverse=True)
    either = "|".join(edge(word[0], r"(?<!\w)") + re.escape(word) + edge(word[-1], r"(?!\w)") for word in words)
    return re.compile(either, re.IGNORECASE if ignore_case else 0)


@given(sentences, cuts, terms, st.booleans(), st.booleans())
@example("class ass", [4], ["ass"], True, False)
def test_a_stream_cut_anywhere_is_filtered_as_the_standard_library_filters_the_whole(
    text: str, cuts: list[int], terms: list[str], whole_words: bool, ignore_case: bool
) -> None:
    machine = ContentFilter(terms, mask="#", whole_words=whole_words, ignore_case=ignore_case)

    given = filtered(machine, *pieces(text, cuts))

    assert given == as_one_pattern(terms, whole_words=whole_words, ignore_case=ignore_case).sub("#", text)


@given(st.text("fobar \n$", max_size=25), cuts, st.sampled_from(PATTERNS))
@example("foo\nbar", [4], r"o$")
@example("xfoobar", [4], r"foo(?!bar)")
@example("b o", [2], r"(?<=b )o")
def test_patterns_find_in_a_stream_what_they_find_in_the_whole(text: str, cuts: list[int], pattern: str) -> None:
    machine = ContentFilter(patterns=[pattern], mask="#", ignore_case=False)

    assert filtered(machine, *pieces(text, cuts)) == re.sub(pattern, "#", text)


@given(
    st.text("fobar \n", max_size=40),
    cuts,
    st.lists(st.sampled_from([*PATTERNS, *ENDLESS]), max_size=2),
    st.lists(st.text("fo ", min_size=1, max_size=3), max_size=1),
    st.integers(1, 5),
)
@example("fo bar ab foo", [1, 2, 3, 4, 5, 6, 7, 8, 9], ENDLESS, [], 3)
@example("fo bar ab foo", [4], [r"\w+"], ["r"], 2)
@example("ffffaaaaaaaaff", [5, 6, 7, 8, 9, 10, 11], [r"[^f]+"], [], 3)
@example("ffffaaaaaaaaff", [4], [r"[^f]+"], [], 3)
def test_where_the_text_is_cut_does_not_matter_even_to_patterns_that_look_too_far(
    text: str, cuts: list[int], patterns: list[str], terms: list[str], max_length: int
) -> None:
    def make() -> ContentFilter:
        return ContentFilter(terms, patterns=patterns, max_pattern_length=max_length, action="<{}>".format)

    assert filtered(make(), *pieces(text, cuts)) == filtered(make(), text)


@given(shifty, cuts, st.lists(shifty.filter(bool), max_size=3), st.sampled_from([None, "NFC", "NFKC"]), st.booleans())
def test_where_the_text_is_cut_does_not_matter_to_folded_text(
    text: str, cuts: list[int], terms: list[str], form: Any, whole_words: bool
) -> None:
    def make() -> ContentFilter:
        return ContentFilter(terms, patterns=["s{2}"], action="<{}>".format, normalize=form, whole_words=whole_words)

    assert filtered(make(), *pieces(text, cuts)) == filtered(make(), text)


@given(shifty, st.sampled_from(["NFC", "NFKC"]))
def test_what_is_found_does_not_depend_on_the_form_it_is_written_in(text: str, form: Any) -> None:
    machine = ContentFilter([text], mask="#", normalize=form, whole_words=False) if text else ContentFilter()

    assert filtered(machine, unicodedata.normalize("NFD", text)) == ("#" if text else "")


@given(sentences | shifty, cuts, terms, st.lists(st.sampled_from(PATTERNS), max_size=2))
def test_no_more_is_held_back_than_may_still_become_a_match(
    text: str, cuts: list[int], terms: list[str], patterns: list[str]
) -> None:
    machine = ContentFilter(terms, patterns=patterns, max_pattern_length=8, action=lambda found: found)
    longest = max(16 if patterns else 0, *(len(term) for term in terms))
    came = gone = 0

    for token in deltas(pieces(text, cuts)):
        given = machine.feed(token)
        came, gone = came + len(joined([token])), gone + len(joined(given))
        assert came - gone <= longest
        held = text[gone:came].casefold()
        assert patterns or any(term.casefold().startswith(held) for term in terms)

    assert text[:gone] + joined(machine.flush()) == text


@given(token_lists, terms, st.booleans(), st.booleans())
def test_what_is_not_found_stays_as_it_is_and_where_it_is(
    tokens: list[StreamToken], terms: list[str], reasoning: bool, tool_arguments: bool
) -> None:
    machine = ContentFilter(
        terms, action=lambda found: found, whole_words=False, reasoning=reasoning, tool_arguments=tool_arguments
    )

    given = run(machine, tokens)

    for choice in range(3):
        assert of_choice(given, choice) == of_choice(tokens, choice)
    assert [token for token in given if isinstance(token, BESIDE)] == [
        token for token in tokens if isinstance(token, BESIDE)
    ]


def of_choice(tokens: list[StreamToken], choice: int) -> list[StreamToken]:
    """What is in one choice, the deltas joined; calls, which may be begun in any, stand in none."""
    own = [token for token in tokens if getattr(token, "choice", None) == choice and not isinstance(token, BESIDE)]
    plain = [token for token in own if not isinstance(token, TextDelta | ReasoningDelta | RefusalDelta) or token.text]
    return merge_deltas([*plain, *(token for token in own if getattr(token, "signature", None))])


@given(st.lists(st.text("ab ", max_size=5), max_size=6), terms)
def test_choices_that_come_by_turns_are_filtered_as_if_each_came_alone(texts: list[str], terms: list[str]) -> None:
    tokens: list[StreamToken] = [TextDelta(text, choice=choice) for text in texts for choice in (0, 1)]

    given = run(ContentFilter(terms), tokens)

    alone = filtered(ContentFilter(terms), *texts)
    assert ["".join(token.text for token in given if token.choice == choice) for choice in (0, 1)] == [alone, alone]


@given(st.text('ab"\\{}:, ', max_size=20), cuts, terms)
def test_a_whole_call_agrees_with_its_deltas(arguments: str, cuts: list[int], terms: list[str]) -> None:
    tokens: list[StreamToken] = [ToolCallStart("k", None, "f")]
    tokens += [ToolCallDelta("k", piece) for piece in pieces(arguments, cuts)]
    machine = ContentFilter(terms, mask="!", tool_arguments=True)

    *given, whole = run(machine, [*tokens, ToolCall("k", None, FunctionCall("f", arguments), arguments)])

    written = "".join(token.arguments for token in given if isinstance(token, ToolCallDelta))
    assert written == (whole.function.arguments if isinstance(whole, ToolCall) else whole.arguments)


# Cases


def test_a_word_that_several_deltas_share_is_masked() -> None:
    assert filtered(ContentFilter(["damn"]), "Oh D", "a", "mn", ", no") == "Oh ***, no"


def test_text_without_a_match_goes_through_as_the_same_token() -> None:
    token = TextDelta("hello ")

    assert ContentFilter(["damn"]).feed(token)[0] is token


def test_a_word_is_not_found_in_a_longer_one_unless_wanted() -> None:
    assert filtered(ContentFilter(["ass"]), "class as", "sume ass") == "class assume ***"
    assert filtered(ContentFilter(["ass"], whole_words=False), "class") == "cl***"


def test_what_is_no_word_needs_no_edges() -> None:
    assert filtered(ContentFilter(["c++", "::"]), "xc++ c++x a::b") == "xc++ ***x a***b"


def test_an_accent_goes_on_with_the_word() -> None:
    assert filtered(ContentFilter(["cafe"]), "cafe", "\u0301 cafe") == "cafe\u0301 ***"
    assert filtered(ContentFilter(["e"]), "\u0301e") == "\u0301e"


def test_of_two_that_overlap_the_leftmost_goes_first_and_then_the_longest() -> None:
    machine = ContentFilter(["new york", "york city", "new"])

    assert filtered(machine, "new york city, new jersey") == "*** city, *** jersey"


def test_what_was_begun_and_never_came_is_let_go() -> None:
    machine = ContentFilter(["new york city"])

    assert machine.feed(TextDelta("in new york")) == [TextDelta("in ")]
    assert machine.feed(TextDelta("ers")) == [TextDelta("new yorkers")]


def test_one_term_found_inside_another_that_never_came_is_still_found() -> None:
    assert filtered(ContentFilter(["new york city", "york"]), "new york", " state") == "new *** state"


@pytest.mark.parametrize("count", [10, 10_000])
def test_there_may_be_very_many_terms(count: int) -> None:
    machine = ContentFilter([f"term{number}" for number in range(count)])

    assert filtered(machine, "a ter", f"m{count - 1}", " and term", f"{count}.") == f"a *** and term{count}."


def test_the_leftmost_and_longest_goes_first_whether_word_or_pattern() -> None:
    assert filtered(ContentFilter(["a b c"], patterns=["b"]), "b a b", " c") == "*** ***"
    assert filtered(ContentFilter(["ab"], patterns=["abc"], whole_words=False), "abcd") == "***d"
    assert filtered(ContentFilter(["abc"], patterns=["ab"], whole_words=False), "abcd") == "***d"


def test_what_is_certain_does_not_wait() -> None:
    assert ContentFilter(["c++"]).feed(TextDelta("c++")) == [TextDelta("***")]
    assert ContentFilter(["ass"]).feed(TextDelta("class")) == [TextDelta("class")]


def test_case_is_ignored_unless_told_otherwise_and_where_letters_grow() -> None:
    assert filtered(ContentFilter(["straße", "KELVIN"]), "STRAS", "SE \u212aelvin") == "*** ***"
    assert filtered(ContentFilter(["s"], whole_words=False), "aßb") == "a***b"
    assert filtered(ContentFilter(["damn"], ignore_case=False), "Damn damn") == "Damn ***"


def test_variants_of_letters_are_the_same_where_they_are_normalized() -> None:
    assert filtered(ContentFilter(["bad"], normalize="NFKC"), "\uff42\uff21", "\uff44!") == "***!"
    assert filtered(ContentFilter(["école"], normalize="NFC"), "e", "\u0301cole") == "***"
    assert filtered(ContentFilter(["cole"], normalize="NFC"), "cole", "\u0301") == "cole\u0301"


def test_accents_without_end_are_not_held_without_end() -> None:
    machine = ContentFilter(["bad"], normalize="NFKC")

    given = [made for _ in range(1_000) for made in machine.feed(TextDelta("\u0301"))]

    assert len(joined(given)) > 900


def test_what_is_found_can_be_dropped_or_replaced() -> None:
    assert filtered(ContentFilter(["bad "], action="drop"), "a ba", "d day") == "a day"
    assert filtered(ContentFilter(["bad"], action=str.swapcase), "Bad day") == "bAD day"


def test_what_is_found_can_end_the_stream() -> None:
    given: list[StreamToken] = []
    failures: list[Exception] = []
    tokens = [TextDelta("it is b"), TextDelta("ad, very"), END]

    filtering = content_filter(["bad"], action="block")
    reactivex.from_iterable(tokens).pipe(filtering).subscribe(given.append, failures.append)

    assert given == [TextDelta("it is ")]
    assert isinstance(failures[0], ContentBlockedError)
    assert "bad" not in str(failures[0])


@pytest.mark.parametrize("last", [END, ReasoningDelta("why"), ToolCallStart("k", None, "f"), Citation("url")])
def test_nothing_comes_after_a_match_that_blocks(last: StreamToken) -> None:
    machine = ContentFilter(["bad"], action="block")
    assert machine.feed(TextDelta("so bad")) == [TextDelta("so ")]

    with pytest.raises(ContentBlockedError) as raised:
        machine.feed(last)

    assert raised.value.completed == []


def test_a_match_at_the_very_end_blocks_too() -> None:
    machine = ContentFilter(["bad"], action="block")
    machine.feed(TextDelta("bad"))

    with pytest.raises(ContentBlockedError):
        machine.flush()


def test_what_a_replacing_function_raises_ends_the_stream() -> None:
    def fail(found: str) -> str:
        raise RuntimeError(found)

    failures: list[Exception] = []
    reactivex.of(TextDelta("bad day")).pipe(content_filter(["bad"], action=fail)).subscribe(on_error=failures.append)

    assert isinstance(failures[0], RuntimeError)


def test_usage_and_log_probabilities_beside_the_text_do_not_part_it() -> None:
    tokens = [TextDelta("ba"), LogProbs(), UsageReport(output_tokens=1), RawEvent("e", ""), TextDelta("d!")]

    assert joined(run(ContentFilter(["bad"]), tokens)) == "***!"


def test_empty_deltas_of_another_block_do_not_part_the_text() -> None:
    assert joined(run(ContentFilter(["bad"]), [TextDelta("ba"), ReasoningDelta(""), TextDelta("d!")])) == "***!"


@pytest.mark.parametrize(
    "other",
    [
        ReasoningDelta("."),
        TextDelta(".", index=1),
        RefusalDelta("."),
        Citation("url"),
        Retract(1),
        ToolCallDelta("k", ""),
    ],
)
def test_text_goes_out_before_a_token_that_ends_its_block(other: StreamToken) -> None:
    given = run(ContentFilter(["bad"]), [TextDelta("ba"), other, TextDelta("d")])

    assert given == [TextDelta("ba"), other, TextDelta("d")]


def test_text_after_the_end_of_a_block_is_a_new_one() -> None:
    tokens: list[StreamToken] = [TextDelta("ba"), Citation("url"), TextDelta(" "), TextDelta("ba")]

    assert run(ContentFilter(["bad"]), tokens) == tokens


def test_arguments_that_were_held_back_go_out_before_the_end() -> None:
    tokens: list[StreamToken] = [ToolCallStart("k", None, "f", choice=1), ToolCallDelta("k", "ba")]
    tokens.append(StreamEnd(FinishReason.LENGTH, choice=1))

    assert run(ContentFilter(["bad"], tool_arguments=True), tokens) == tokens


def test_thinking_is_left_alone_unless_wanted() -> None:
    tokens: list[StreamToken] = [ReasoningDelta("ba"), ReasoningDelta("d", signature="proof"), TextDelta("so")]

    assert run(ContentFilter(["bad"]), tokens) == tokens
    assert run(ContentFilter(["bad"], reasoning=True), tokens) == [ReasoningDelta("***", signature="proof"), tokens[2]]


def test_refusals_are_text_too() -> None:
    assert run(ContentFilter(["bad"]), [RefusalDelta("ba"), RefusalDelta("d", 0), END]) == [RefusalDelta("***"), END]


def test_arguments_of_calls_are_left_alone_unless_wanted() -> None:
    tokens: list[StreamToken] = [
        ToolCallStart("k", None, "f"),
        ToolCallDelta("k", '{"a":"ba'),
        ToolCallDelta("k", 'd"}'),
        ToolCall("k", None, FunctionCall("f", '{"a":"bad"}')),
    ]

    kept = run(ContentFilter(["bad"]), tokens)
    masked = run(ContentFilter(["bad"], tool_arguments=True), tokens)

    assert kept == tokens
    assert masked[1:] == [
        ToolCallDelta("k", '{"a":"'),
        ToolCallDelta("k", '***"}'),
        ToolCall("k", None, FunctionCall("f", '{"a":"***"}')),
    ]


def test_a_call_whose_arguments_are_no_json_any_more_is_not_to_be_run() -> None:
    call = ToolCall("k", "1", FunctionCall("f", '{"a":bad}'), '{"a":bad}')

    assert run(ContentFilter(["bad"], tool_arguments=True), [call]) == [ToolCallTruncated("k", "1", "f", '{"a":***}')]


def test_arguments_of_a_call_that_never_became_whole_are_filtered_too() -> None:
    tokens = [ToolCallDelta("k", "[bad"), ToolCallTruncated("k", None, "f", "[bad")]

    given = run(ContentFilter(["bad"], tool_arguments=True), tokens)

    assert given == [ToolCallDelta("k", "["), ToolCallDelta("k", "***"), ToolCallTruncated("k", None, "f", "[***")]


def test_what_was_found_is_counted_by_its_rule() -> None:
    counts = Counter[str]()
    tokens = [
        TextDelta("Bad 12 "),
        TextDelta("bad"),
        ToolCallDelta("k", "[34]"),
        ToolCall("k", None, FunctionCall("f", "[34]"), "[34]"),
        ToolCall("whole", None, FunctionCall("f", "[56]"), "[56]"),
    ]
    operator = content_filter(["bad"], patterns=[r"\d\d"], mask="0", tool_arguments=True, counts=counts)

    reactivex.from_iterable(tokens).pipe(operator).subscribe()

    assert counts == {"bad": 2, r"\d\d": 3}


def test_compiled_patterns_keep_their_flags() -> None:
    pattern = re.compile("b.d  # anything", re.VERBOSE | re.DOTALL | re.IGNORECASE)

    assert filtered(ContentFilter(patterns=[pattern], ignore_case=False), "B", "\nd") == "***"


def test_each_subscription_starts_afresh() -> None:
    operator = content_filter(["bad"])
    given: list[StreamToken] = []

    for _ in range(2):
        reactivex.of(TextDelta("ba")).pipe(operator).subscribe(given.append)

    assert joined(given) == "baba"


def test_a_filter_of_nothing_changes_nothing() -> None:
    assert filtered(ContentFilter(), "a", "b") == "ab"


@pytest.mark.parametrize(("words", "patterns", "length"), [([""], [], 1), ([], ["a*"], 1), ([], ["a"], 0)])
def test_what_would_match_nothing_is_refused(words: list[str], patterns: list[str], length: int) -> None:
    with pytest.raises(ValueError, match="must"):
        content_filter(words, patterns=patterns, max_pattern_length=length)


def test_a_text_instead_of_a_list_of_words_is_refused() -> None:
    with pytest.raises(TypeError, match="collections"):
        content_filter("bad")
