"""Counting the tokens of a whole answer: its texts, its thinking and its tool calls."""

from collections.abc import Hashable

from rxstream.tokenizer.counter import BLOCK, TokenCounter, byte_length
from rxstream.tokenizer.encodings import Encoding
from rxstream.tokenizer.vocabulary import Vocabulary, vocabulary
from rxstream.tokens import ReasoningDelta, RefusalDelta, StreamToken, TextDelta, ToolCall, ToolCallDelta, ToolCallStart


def written(token: StreamToken) -> str:
    """Return what the model wrote of `token`: text, thinking, a refusal, or the name or arguments of a call."""
    match token:
        case TextDelta(text=text) | ReasoningDelta(text=text) | RefusalDelta(text=text):
            return text
        case ToolCallStart(name=name):
            return name
        case ToolCallDelta(arguments=arguments):
            return arguments
        case ToolCall(function=function):
            return function.name + function.arguments
        case _:
            return ""


class AnswerCounter:
    """Counts what the model wrote in the tokens of one answer.

    Each block of each choice is a text of its own, and so is each call. The tokens
    that a service puts around them are not known, nor is thinking that it only gives
    encrypted or summed up; its own `UsageReport`, where it sends one, knows better.
    """

    def __init__(self, encoding: Vocabulary | Encoding | str | None = None) -> None:
        self.vocabulary = vocabulary(encoding)
        self._counters: dict[Hashable, TokenCounter] = {}
        self._most = 0  # what the count is at most: what it was, and a token for each byte since
        self._called: set[str] = set()  # the calls that came in pieces: the whole call says nothing new

    @property
    def count(self) -> int:
        """The tokens so far."""
        return sum(counter.count for counter in self._counters.values())

    @property
    def is_exact(self) -> bool:
        """Whether every text is counted exactly, with the encoding that was meant."""
        return self.vocabulary.is_exact and all(counter.is_exact for counter in self._counters.values())

    def feed(self, token: StreamToken) -> None:
        """Take the next token."""
        if text := self.new_text(token):
            self._counter_of(token).feed(text)
            self._most += byte_length(text)

    def new_text(self, token: StreamToken) -> str:
        """Return what `token` adds, once it is fed."""
        if type(token) is TextDelta:  # the usual case
            return token.text
        if isinstance(token, ToolCall) and token.key in self._called:
            return ""
        return written(token)

    def fitting(self, token: StreamToken, limit: int) -> str:
        """Take as much of `token` as keeps `count` at `limit`, at most; return it.

        Cut at a token of the model. Cheap as long as the limit is far away.
        """
        text = self.new_text(token)
        counter = self._counter_of(token)
        most = self._most + byte_length(text)
        if most <= limit:
            self._most = most
            counter.feed(text)
            return text
        room = limit - (self.count - counter.count)
        fitted = ""
        for start in range(0, len(text), BLOCK):
            piece = text[start : start + BLOCK]
            fits = counter.fitting(piece, room)
            counter.feed(fits)
            fitted += fits
            if fits != piece:
                break
        self._most = sum(each.most for each in self._counters.values())
        return fitted

    def _counter_of(self, token: StreamToken) -> TokenCounter:
        if isinstance(token, ToolCallStart | ToolCallDelta):
            self._called.add(token.key)
        strand = (token.index, token.choice) if type(token) is TextDelta else _strand(token)
        if strand not in self._counters:
            self._counters[strand] = TokenCounter(self.vocabulary)
        return self._counters[strand]


def _strand(token: StreamToken) -> Hashable:
    """What the texts of `token` and of others like it join to."""
    match token:
        case ToolCallStart(key=key):
            return "name", key
        case ToolCallDelta(key=key) | ToolCall(key=key):
            return "arguments", key
        case ReasoningDelta(index=index, choice=choice):
            return "thinking", index, choice
        case RefusalDelta(choice=choice):
            return "refusal", choice, None
        case _:
            return None
