r"""Find words and patterns in text that arrives in pieces: what `content_filter`, `redact` and `take_until_stop` share.

The law is that where the text is cut changes nothing. So each finder is asked, of
the text so far, two things: which match is certain, whatever follows, and from
where on something may still become one. Everything before the two is let go.

Matches are leftmost, then longest, and do not overlap. A match never reaches over
the end of a block: text of one kind, index and choice, up to a token of the same
choice that is something else.

Words are walked through a trie of dictionaries, all of them at once, from where a word
may begin. The Aho-Corasick packages that are well kept (pyahocorasick and
ahocorasick-rs: both have wheels up to 3.14) would be quicker over long texts,
but say only where a term was found: neither tells which end of the text is the beginning
of a term, which is what has to be known after each delta of four characters, and neither knows
the edges of words or keeps offsets under case folding. Alternatives in one regular
expression of the standard library are tried one after the other, so ten
thousand cost a thousand times as much as ten. A walk is as long as the text
is like a term: a step or two at most places, and at worst the longest term at each place.

Patterns are those of the standard library, and run by `regex`, which tiktoken brings along
anyway: it can tell that a match ran out of text (`partial=True`). It does not
count as reading that `\b` or `$` looks at the end of the text, so these are made to.
"""

import re
import unicodedata
from abc import ABC, abstractmethod
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

import msgspec

from rxstream.tokens import (
    Citation,
    FunctionCall,
    LogProbs,
    Media,
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
    read_arguments,
)

if TYPE_CHECKING:
    import regex

Form: TypeAlias = Literal["NFC", "NFKC"]
Delta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta
Trie: TypeAlias = dict[str, Any]

_TERM = ""  # the key in a trie's node that is no character: the term that ends there
_MANY = 32  # alternatives, where one look at a set of characters is quicker
_LONGEST_UNIT = 32  # a character and its accents; Unicode's stream-safe text has at most 30 of them
_AFTER_PLACE = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\$", re.DOTALL)  # escapes, sets of characters and `$`
_FIRST_ACCENT = "\u0300"
_JAMO = "\u1160", "\u11ff"  # the Korean letters that join the one before them


class Found(NamedTuple):
    """A match that is certain."""

    start: int
    end: int
    rule: str
    """The term or the name of the pattern that was found."""


class Finder(Protocol):
    """What looks for matches."""

    def find(self, text: str, start: int, base: int, is_last: bool, /) -> tuple[Found | None, int]:
        """Return the first match from `start` on that is certain, and where the first may begin that is not.

        What is before `start` is only looked back at. `base` is the place of `text` in its block,
        and `is_last` says that nothing follows in it.
        """
        ...


def is_word_character(character: str) -> bool:
    """Whether `character` is part of a word: a letter, a digit, an underscore, or an accent on one of them."""
    return character.isalnum() or character == "_" or unicodedata.category(character).startswith("M")


class Terms:
    """Finds literal terms."""

    def __init__(self, terms: Iterable[tuple[str, str]], *, whole_words: bool) -> None:
        """Take terms as they are looked for, each with its name."""
        self._whole_words = whole_words
        self._trie: Trie = {}
        self.longest = 0
        for term, name in terms:
            if not term:
                raise ValueError("a term must not be empty")
            self.longest = max(self.longest, len(term))
            node = self._trie
            for character in term:
                node = node.setdefault(character, {})
            node.setdefault(_TERM, name)
        edged = {first for first in self._trie if whole_words and is_word_character(first)}
        either = [
            rf"(?<!\w)(?:{self._beginning_with(edged)})" if edged else "",
            self._beginning_with(self._trie.keys() - edged),
        ]
        self.next_place = re.compile("|".join(filter(None, either)) or "(?!)").search

    def _beginning_with(self, firsts: Iterable[str]) -> str:
        """The pattern of where a term may begin that has one of `firsts` as its first character."""
        firsts = sorted(firsts)
        if len(firsts) > _MANY:  # alternatives are tried one after the other
            return _any_of(firsts)
        nodes = {first: self._trie[first] for first in firsts}
        return "|".join(
            re.escape(first) + ("" if _TERM in node else rf"(?:{_any_of(node)}|\Z)") for first, node in nodes.items()
        )

    def find(self, text: str, start: int, base: int, is_last: bool) -> tuple[Found | None, int]:  # noqa: ARG002  # a term is the same everywhere
        place = self.next_place(text, start)
        while place is not None:
            at = place.start()
            if not (self._whole_words and at and text[at - 1] >= _FIRST_ACCENT and _is_within_word(text, at)):
                found, is_open = self._walk(text, at, is_last)
                if is_open:
                    return None, at
                if found is not None:
                    return found, len(text)
            place = self.next_place(text, at + 1)
        return None, len(text)

    def _walk(self, text: str, at: int, is_last: bool) -> tuple[Found | None, bool]:
        """The longest term at `at`, and whether it may still become another one."""
        node, end, found = self._trie, at, None
        for character in text[at : at + self.longest]:
            below = node.get(character)
            if below is None:
                return found, False
            node = below
            end += 1
            if _TERM in node and not (self._whole_words and _is_within_word(text, end)):
                found = Found(at, end, node[_TERM])
        if is_last or end < len(text):
            return found, False
        goes_on = len(node) > (_TERM in node)
        ends_a_word = self._whole_words and _TERM in node and is_word_character(text[-1])
        return found, goes_on or ends_a_word


def _any_of(characters: Iterable[str]) -> str:
    return f"[{''.join(map(re.escape, characters))}]"


def _is_within_word(text: str, at: int) -> bool:
    """Whether characters of one word are on both sides of `at`."""
    return 0 < at < len(text) and is_word_character(text[at - 1]) and is_word_character(text[at])


class Pattern:
    """Finds what a regular expression matches, looking no further than `max_length` characters from where it begins.

    Text is looked at in windows that lie at fixed places of the block: a match that begins
    in one is decided by that one and the next, each of `max_length`. So a pattern that
    could go on for longer finds the same things wherever the text is cut, and holds no more back.
    """

    def __init__(
        self,
        pattern: str,
        max_length: int,
        *,
        name: str | None = None,
        flags: int = 0,
        measure: Callable[[str, str], int] | None = None,
    ) -> None:
        """Take a pattern. Without a `name` it is that of the group that matched.

        `measure` is given a match and its name, and says how much of it counts, from its start: 0 for nothing.
        """
        if max_length < 1:
            raise ValueError(f"the longest match of a pattern must be at least 1, not {max_length}")
        compiled = re.compile(pattern, flags)
        if compiled.fullmatch(""):
            raise ValueError("a pattern must not match the empty text")
        self._name = name
        self._max_length = max_length
        self._measure = measure
        peeking = _AFTER_PLACE.sub(_with_peek, pattern)
        newline = "\n" if compiled.flags & re.VERBOSE else ""  # the pattern may end in a comment
        import regex

        self._regex = regex.compile(peeking, _flags(compiled.flags))
        self._search = self._regex.search
        # It finds nothing, so it tries every way to match, and tells the first place where one ran out of text.
        self._open = regex.compile(f"(?:{peeking}{newline})(?!)", _flags(compiled.flags))
        self.looks_back = max_length + 1 if "(?<" in pattern else 1

    def find(self, text: str, start: int, base: int, is_last: bool) -> tuple[Found | None, int]:
        length = self._max_length
        while True:
            edge = ((base + start) // length + 1) * length - base
            if edge + length > len(text) and not is_last:
                return self._find_open(text, start)
            found = self._first(text, start, edge + length)
            if found is not None and found.start < edge:
                return found, len(text)
            if edge >= len(text):
                return None, len(text)
            start = edge

    def _find_open(self, text: str, start: int) -> tuple[Found | None, int]:
        first = self._search(text, start, partial=True)
        if first is None:
            return None, len(text)
        if first.partial:
            return None, first.start()
        unfinished = self._open.search(text, start, partial=True)
        return self._first(text, start, len(text)), len(text) if unfinished is None else unfinished.start()

    def _first(self, text: str, start: int, end: int) -> Found | None:
        while (match := self._search(text, start, end)) is not None:
            if (found := self._found(match)) is not None:
                return found
            start = match.start() + 1
        return None

    def _found(self, match: "regex.Match[str]") -> Found | None:
        name = self._name or match.lastgroup or ""
        length = match.end() - match.start()
        if length and self._measure is not None:
            length = self._measure(match.group(), name)
        return Found(match.start(), match.start() + length, name) if length else None


class PlacedPattern(Pattern):
    """A pattern of which it is known what its matches begin with, so that it is tried only there.

    `begins` is another pattern: what the match begins with but not all of it, or as much of that as there is
    before the end of the text.
    """

    def __init__(
        self,
        pattern: str,
        max_length: int,
        begins: str,
        *,
        name: str | None = None,
        measure: Callable[[str, str], int] | None = None,
    ) -> None:
        super().__init__(pattern, max_length, name=name, measure=measure)
        self.next_place = re.compile(begins).search

    def find(self, text: str, start: int, base: int, is_last: bool) -> tuple[Found | None, int]:
        place = self.next_place(text, start)
        while place is not None:
            at = place.start()
            end = ((base + at) // self._max_length + 2) * self._max_length - base
            if (
                not is_last
                and end > len(text)
                and (place.end() == len(text) or self._open.match(text, at, partial=True) is not None)
            ):
                return None, at
            match = self._regex.match(text, at, end)
            if match is not None and (found := self._found(match)) is not None:
                return found, len(text)
            place = self.next_place(text, at + 1)
        return None, len(text)


class Folding:
    """What makes characters count as the same: case, Unicode's normal forms, or neither."""

    def __init__(self, *, ignore_case: bool = False, form: Form | None = None) -> None:
        self.ignores_case = ignore_case
        self.form: Form | None = form

    def fold(self, text: str) -> str:
        """Return `text` as it is compared."""
        folded, _ = self.view(text, 0, True)
        return folded

    def view(self, text: str, start: int, is_last: bool) -> tuple[str, list[int] | None]:
        """Return `text` as it is compared, and which offset each of its characters came from.

        `None` instead of offsets means that they are the same. With a normal form
        the last character is left out as long as an accent may follow.
        """
        if text.isascii():
            settled = text[:-1] if self.form and not is_last and len(text) > start else text
            return settled.lower() if self.ignores_case else settled, None
        if self.form is None:
            if not self.ignores_case:
                return text, None
            folded = text.casefold()
            if len(folded) == len(text):  # folding takes nothing away, so each is still one
                return folded, None
        starts = self._units(text, start)
        if self.form and not is_last and starts[-1] >= start:
            text = text[: starts.pop()]
        pieces: list[str] = []
        offsets: list[int] = []
        for at, end in pairwise([*starts, len(text)]):
            piece = self._fold_unit(text[at:end])
            pieces.append(piece)
            offsets += [at] * len(piece)
        offsets.append(len(text))
        return "".join(pieces), offsets

    def _units(self, text: str, start: int) -> list[int]:
        """Where the characters begin that are folded each by itself, accents with what they are on."""
        if self.form is None:
            return list(range(len(text)))
        starts = [0]
        for at in range(1, len(text)):
            if at == start or at - starts[-1] == _LONGEST_UNIT or not _joins(text[at]):
                starts.append(at)
        return starts

    def _fold_unit(self, unit: str) -> str:
        if self.form is not None:
            unit = unicodedata.normalize(self.form, unit)
        if self.ignores_case:
            unit = unit.casefold()
            if self.form is not None:
                unit = unicodedata.normalize(self.form, unit)
        return unit


@lru_cache(4096)
def _joins(character: str) -> bool:
    """Whether a normal form may join `character` with what is before it."""
    first = unicodedata.normalize("NFKD", character)[0]
    return unicodedata.category(first).startswith("M") or _JAMO[0] <= first <= _JAMO[1]


class Rules:
    """All that is looked for, together; immutable, so that machines can share it."""

    def __init__(self, finders: Collection[Finder], folding: Folding, *, looks_back: int = 1) -> None:
        self._finders = finders
        self.folding = folding
        self.looks_back = looks_back
        """How much of the text before a match is of interest."""
        (only,) = finders if len(finders) == 1 else (None,)
        self.find = only.find if only is not None else self._find_any
        self.next_place = only.next_place if isinstance(only, Terms | PlacedPattern) and not folding.form else None
        """Where it finds no place, there is nothing to be found; `None` if it takes more than that to know."""

    def _find_any(self, text: str, start: int, base: int, is_last: bool) -> tuple[Found | None, int]:
        first, first_open = None, len(text)
        for finder in self._finders:
            found, open_at = finder.find(text, start, base, is_last)
            first_open = min(first_open, open_at)
            if found is not None and (first is None or (found.start, -found.end) < (first.start, -first.end)):
                first = found
        return first, first_open


def rules_for(
    words: Collection[str],
    patterns: Collection[str | re.Pattern[str]] = (),
    *,
    max_pattern_length: int = 256,
    whole_words: bool = True,
    ignore_case: bool = False,
    form: Form | None = None,
) -> Rules:
    """Make rules of words, phrases and regular expressions."""
    if isinstance(words, str) or isinstance(patterns, str):
        raise TypeError("words and patterns are given as collections: a text alone would be one of characters")
    folding = Folding(ignore_case=ignore_case, form=form)
    finders: list[Finder] = []
    looks_back = 1
    if words:
        finders.append(Terms(((folding.fold(word), word) for word in words), whole_words=whole_words))
    for pattern in patterns:
        source, flags = (pattern, 0) if isinstance(pattern, str) else (pattern.pattern, pattern.flags)
        finder = Pattern(source, max_pattern_length, name=source, flags=flags | (re.IGNORECASE if ignore_case else 0))
        finders.append(finder)
        looks_back = max(looks_back, finder.looks_back)
    return Rules(finders, folding, looks_back=looks_back)


def _flags(flags: int) -> int:
    """Flags of `re`, as `regex` numbers them."""
    names = ("IGNORECASE", "MULTILINE", "DOTALL", "VERBOSE", "ASCII")
    import regex

    return sum(int(getattr(regex, name)) for name in names if flags & getattr(re, name))


def _with_peek(part: re.Match[str]) -> str:
    """Let what looks at the end of the text for a place try to read on first, so that it runs out of text there."""
    return rf"(?=\n?[\s\S]|){part.group()}" if part.group() in {"$", r"\b", r"\B", r"\Z"} else part.group()


class Block:
    """Text of one block that is being read."""

    __slots__ = ("before", "held", "is_counted", "is_over", "like", "released")

    def __init__(self, like: Delta, *, is_counted: bool = True) -> None:
        self.like = like
        """A delta of the block."""
        self.is_counted = is_counted
        """Whether what is found in it counts."""
        self.before = ""
        """The last of what was let go, as it was."""
        self.held = ""
        """What may still become a match."""
        self.released = 0
        """How many characters were let go, as they are compared."""
        self.is_over = False
        """Whether nothing more of it is wanted."""


class Met(NamedTuple):
    """A match after which nothing more of its block is wanted."""

    rule: str
    choice: int


class BlockFilter(ABC):
    """Tokens in, tokens out: what is found in their text is replaced by what `_replace` says.

    Text is held back only while it may still become a match, and at most as long as there is
    nothing else of its choice. Usage, log probabilities and raw events come beside the text,
    not in it: they pass at once and end nothing.
    """

    def __init__(
        self,
        rules: Rules,
        *,
        reasoning: bool = False,
        tool_arguments: bool = False,
        counts: Counter[str] | None = None,
    ) -> None:
        self.counts: Counter[str] = Counter() if counts is None else counts
        """How often each rule was met."""
        self._find = rules.find
        self._view = rules.folding.view
        self._next_place = rules.next_place
        self._ignores_case = rules.folding.ignores_case
        self._looks_back = rules.looks_back
        self._reads = {TextDelta, RefusalDelta, ReasoningDelta} if reasoning else {TextDelta, RefusalDelta}
        self._reads_arguments = tool_arguments
        self._blocks: dict[int, Block] = {}  # by choice
        self._calls: dict[str, Block] = {}  # by key: the argument text of calls
        self._call_choices: dict[str, int] = {}
        # Index, choice and block of the text that came last: at first no block has that index.
        self._text: tuple[int, int, Block] = (-1, -1, Block(TextDelta("")))
        self.met: list[Met] = []
        """The blocks that are over."""

    def feed(self, token: StreamToken) -> list[StreamToken]:
        index, choice, block = self._text
        if type(token) is TextDelta and token.index == index and token.choice == choice:  # the usual token
            if self._next_place is not None and not block.held and not block.is_over and not self.met:
                view = block.before + token.text  # most text is not like a rule at all
                seen = view.lower() if self._ignores_case else view
                if view.isascii() and self._next_place(seen, len(block.before)) is None:
                    block.released += len(token.text)
                    block.before = view[-self._looks_back :]
                    return [token]
            text = self._advance(block, token.text)
            if text == token.text and not self.met:
                return [token]
            made: list[StreamToken] = [TextDelta(text, index, choice)] if text else []
        else:
            made = self._feed_other(token)
        return self._end(made) if self.met else made

    def flush(self) -> list[StreamToken]:
        made = [made for choice in list(self._blocks) for made in self._release(choice)]
        made += [made for key in list(self._calls) for made in self._release_call(key)]
        return self._end(made) if self.met else made

    @abstractmethod
    def _replace(self, found: str, rule: str) -> str | None:
        """Return what is given instead of `found`; `None` if nothing more of its block is wanted."""

    def _end(self, made: list[StreamToken]) -> list[StreamToken]:
        """Return what is given after `made`, since a block is over, as `_met` says."""
        return made

    def _feed_other(self, token: StreamToken) -> list[StreamToken]:
        match token:
            case TextDelta(text="") | RefusalDelta(text="") | ReasoningDelta(text="", signature=None, redacted=None):
                return [token]
            case TextDelta() | RefusalDelta() | ReasoningDelta():
                return self._feed_text(token)
            case ToolCallStart(key=key, choice=choice):
                self._call_choices[key] = choice
                return self._after(self._release(choice), token)
            case ToolCallDelta(key=key):
                released = self._release(self._call_choices.get(key, 0))
                return self._after(released, *self._feed_arguments(token))
            case ToolCall(key=key) | ToolCallTruncated(key=key):
                has_deltas = key in self._calls
                released = self._release(self._call_choices.pop(key, 0)) + self._release_call(key)
                whole = self._call(token, is_counted=not has_deltas) if self._reads_arguments else token
                return self._after(released, whole)
            case StreamEnd(choice=choice):
                return self._after(self._release(choice) + self._release_calls(choice), token)
            case Citation(choice=choice) | Media(choice=choice) | Retract(choice=choice):
                return self._after(self._release(choice), token)
            case LogProbs() | UsageReport() | RawEvent() | StreamStart():
                return [token]

    def _feed_text(self, token: TextDelta | RefusalDelta | ReasoningDelta) -> list[StreamToken]:
        choice = token.choice
        block = self._blocks.get(choice)
        before: list[StreamToken] = []
        if block is None or _block_of(block.like) != _block_of(token):
            before = self._release(choice)
            if self.met or type(token) not in self._reads:
                return self._after(before, token)
            block = self._blocks[choice] = Block(token)
        if isinstance(token, TextDelta):
            self._text = token.index, choice, block
        elif isinstance(token, ReasoningDelta) and (token.signature or token.redacted):  # it closes what it proves
            self._forget(choice)
            return [*before, msgspec.structs.replace(token, text=self._advance(block, token.text, is_last=True))]
        return [*before, *self._given(token, token.text, self._advance(block, token.text))]

    def _feed_arguments(self, token: ToolCallDelta) -> list[StreamToken]:
        if not self._reads_arguments:
            return [token]
        block = self._calls.setdefault(token.key, Block(token))
        return self._given(token, token.arguments, self._advance(block, token.arguments))

    def _after(self, before: list[StreamToken], *tokens: StreamToken) -> list[StreamToken]:
        """Return `tokens` after what was released because of them, unless that ended the block."""
        return before if self.met else [*before, *tokens]

    @staticmethod
    def _given(token: Delta, text: str, becomes: str) -> list[StreamToken]:
        """Return what is given for a delta whose `text` becomes another one."""
        if becomes == text:
            return [token]
        return [_with_text(token, becomes)] if becomes else []

    def _release(self, choice: int) -> list[StreamToken]:
        """End the block of `choice`: what was held back is decided."""
        block = self._forget(choice)
        text = self._advance(block, "", is_last=True) if block is not None and block.held else ""
        return [_with_text(block.like, text)] if block is not None and text else []

    def _forget(self, choice: int) -> Block | None:
        if self._text[1] == choice:
            self._text = (-1, -1, self._text[2])
        return self._blocks.pop(choice, None)

    def _release_calls(self, choice: int) -> list[StreamToken]:
        keys = [key for key in self._calls if self._call_choices.get(key, 0) == choice]
        return [made for key in keys for made in self._release_call(key)]

    def _release_call(self, key: str) -> list[StreamToken]:
        block = self._calls.pop(key, None)
        text = self._advance(block, "", is_last=True) if block is not None else ""
        return [ToolCallDelta(key, text)] if text else []

    def _call(self, call: ToolCall | ToolCallTruncated, *, is_counted: bool) -> StreamToken:
        """Filter a whole call as its deltas were; one whose arguments are no JSON any more is not to be run."""

        def whole(text: str, *, is_counted: bool = False) -> str:
            return self._advance(Block(ToolCallDelta(call.key, ""), is_counted=is_counted), text, is_last=True)

        if isinstance(call, ToolCallTruncated):
            return msgspec.structs.replace(call, arguments=whole(call.arguments, is_counted=is_counted))
        function, raw = call.function, call.arguments_raw
        arguments = whole(function.arguments, is_counted=is_counted)
        raw = None if raw is None else whole(raw)
        if arguments == function.arguments and raw == call.arguments_raw:
            return call
        try:
            read_arguments(arguments)
        except msgspec.DecodeError:
            return ToolCallTruncated(call.key, call.id, function.name, arguments if raw is None else raw)
        return msgspec.structs.replace(call, function=FunctionCall(function.name, arguments), arguments_raw=raw)

    def _choice_of(self, delta: Delta) -> int:
        return self._call_choices.get(delta.key, 0) if isinstance(delta, ToolCallDelta) else delta.choice

    def _advance(self, block: Block, text: str, *, is_last: bool = False) -> str:
        """Take the next piece of a block's text; return what is given of it now."""
        if block.is_over:
            return ""
        before = block.before
        buffer = before + block.held + text
        start = len(before)
        view, offsets = self._view(buffer, start, is_last)
        found, open_at = None, 0
        if offsets is None:
            found, open_at = self._find(view, start, block.released - start, is_last)
        if offsets is not None or (found is not None and found.start < open_at):
            return self._advance_over(block, buffer, view, offsets or range(len(view) + 1), is_last)
        block.released += open_at - start  # the usual case: nothing was found
        block.before = buffer[max(0, open_at - self._looks_back) : open_at]
        block.held = buffer[open_at:]
        return buffer[start:open_at]

    def _advance_over(self, block: Block, buffer: str, view: str, offsets: Sequence[int], is_last: bool) -> str:
        """Replace what is found in `buffer`, which is compared as `view`; `offsets` leads back."""
        at = begin = bisect_left(offsets, len(block.before))  # in the view; always where a character begins
        base = block.released - begin
        given: list[str] = []
        while True:
            found, open_at = self._find(view, at, base, is_last)
            if found is None or open_at <= found.start:
                break
            start = offsets[found.start]
            end_at = bisect_left(offsets, offsets[found.end - 1] + 1)  # where its last character ends
            original = buffer[start : offsets[end_at]]
            given.append(buffer[offsets[at] : start])
            if block.is_counted:
                self.counts[found.rule] += 1
            replacement = self._replace(original, found.rule)
            if replacement is None:
                block.is_over = True
                self.met.append(Met(found.rule, self._choice_of(block.like)))
                return "".join(given)
            given.append(replacement)
            at = end_at
        open_at = bisect_left(offsets, offsets[open_at])  # a character is held whole
        release = offsets[open_at]
        given.append(buffer[offsets[at] : release])
        block.released += open_at - begin
        block.before = buffer[max(0, release - self._looks_back) : release]
        block.held = buffer[release:]
        return "".join(given)


def _block_of(delta: StreamToken) -> tuple[type[StreamToken], int]:
    """Which of the blocks of a choice `delta` belongs to."""
    return type(delta), delta.index if isinstance(delta, TextDelta | ReasoningDelta) else 0


def _with_text(delta: Delta, text: str) -> Delta:
    """A delta of the same block with other text."""
    match delta:
        case TextDelta(index=index, choice=choice):
            return TextDelta(text, index, choice)
        case ReasoningDelta(index=index, choice=choice):
            return ReasoningDelta(text, index, choice)
        case RefusalDelta(choice=choice):
            return RefusalDelta(text, choice)
        case ToolCallDelta(key=key):
            return ToolCallDelta(key, text)
