"""Words, phrases and patterns that must not be shown."""

import re
from collections import Counter
from collections.abc import Callable, Collection
from typing import Literal

from reactivex import Observable

from rxstream.errors import ContentBlockedError
from rxstream.operators._matching import BlockFilter, Form, Rules, rules_for
from rxstream.rx import lift
from rxstream.tokens import StreamToken

Action = Callable[[str], str] | Literal["mask", "drop", "block"]


def content_filter(
    words: Collection[str] = (),
    *,
    patterns: Collection[str | re.Pattern[str]] = (),
    max_pattern_length: int = 256,
    mask: str = "***",
    action: Action = "mask",
    whole_words: bool = True,
    ignore_case: bool = True,
    normalize: Form | None = None,
    reasoning: bool = False,
    tool_arguments: bool = False,
    counts: Counter[str] | None = None,
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    r"""Mask `words`, even where several deltas share one of them.

    `words` are words and phrases, taken literally; there may be tens of thousands of them.
    `patterns` are regular expressions as the standard library has them. Of what matches, the leftmost goes
    first, then the longest; everything else stays exactly as it is. Refusals are read
    like text.

    Holds back only what may still become a match, at most as much as the longest word or
    `max_pattern_length`, and lets go of it at the next token of the same choice that is not
    of the same block: no match reaches over the end of a block.

    `action`: "mask" gives `mask` instead, "drop" gives nothing, a function is given what was found and
    returns what to give instead, and "block" ends the stream with `ContentBlockedError`, after
    the text before the match. What a function raises ends the stream.

    `whole_words`: a word is not found inside a longer one, so that "ass" leaves "class"
    alone: where a term begins or ends with a letter, digit or underscore, none may be
    beside it. Turn it off for languages that are written without spaces. It does
    not concern patterns, which have `\b`.

    `ignore_case` and `normalize` ("NFC": an accent is the same as a part of its letter or by itself;
    "NFKC": full-width and other variants of a letter are the same, too) hold for words and
    patterns alike; a pattern then sees the folded text. With `normalize` the last
    character waits for the next one, which may be an accent on it.

    `max_pattern_length` is how far a pattern looks, from where its match begins and, with a
    look-behind, before it. One that could match more finds some match of up to twice
    as much, the same wherever the text is cut. Patterns are run again over what is held back, and
    by backtracking: one with nested repetition, such as `(a+)+b`, can take a time that doubles with each
    character of a text made for it. Possessive repetition (`a++`) does not.

    `reasoning` includes thinking. A service that signs it refuses it changed, so it cannot be sent back.
    `tool_arguments` includes the arguments of calls, as the JSON text that they are, escapes
    and all; the whole call has the filtered arguments, and comes as `ToolCallTruncated`, not to be run, where
    they are no JSON any more. `Citation` and `LogProbs`, which repeat the text, are not read,
    and a `Retract` keeps its number of characters: `guard` belongs after the filter.

    `counts` is added to: how often each word, as it was given, and each pattern was found.
    Raises `ValueError` for an empty word or a pattern that matches the empty text, and `re.error` for what is none.
    """
    rules = rules_for(
        words,
        patterns,
        max_pattern_length=max_pattern_length,
        whole_words=whole_words,
        ignore_case=ignore_case,
        form=normalize,
    )
    return lift(
        lambda: ContentFilter(
            rules, mask=mask, action=action, reasoning=reasoning, tool_arguments=tool_arguments, counts=counts
        )
    )


class ContentFilter(BlockFilter):
    """Tokens in, tokens out, without what is not to be shown; the options are those of `content_filter`."""

    def __init__(
        self,
        words: Collection[str] | Rules = (),
        *,
        patterns: Collection[str | re.Pattern[str]] = (),
        max_pattern_length: int = 256,
        mask: str = "***",
        action: Action = "mask",
        whole_words: bool = True,
        ignore_case: bool = True,
        normalize: Form | None = None,
        reasoning: bool = False,
        tool_arguments: bool = False,
        counts: Counter[str] | None = None,
    ) -> None:
        if not isinstance(words, Rules):
            words = rules_for(
                words,
                patterns,
                max_pattern_length=max_pattern_length,
                whole_words=whole_words,
                ignore_case=ignore_case,
                form=normalize,
            )
        super().__init__(words, reasoning=reasoning, tool_arguments=tool_arguments, counts=counts)
        self._action = action
        self._mask = "" if action == "drop" else mask

    def _replace(self, found: str, rule: str) -> str | None:  # noqa: ARG002  # which rule it was does not matter
        if callable(self._action):
            return self._action(found)
        return None if self._action == "block" else self._mask

    def _end(self, made: list[StreamToken]) -> list[StreamToken]:
        raise ContentBlockedError("the answer has what a filter of yours blocks", kind="content_filter", completed=made)
