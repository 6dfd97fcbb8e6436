"""The message so far after each token, made only where somebody looks.

To build a message for each token would cost the square of its length. So a snapshot
is a place in the stream's list of tokens, and the message is built when it is read: by
one assembler for all snapshots of a stream, which only goes on from where it was.
"""

import threading
from collections.abc import Callable

from reactivex import Observable

from rxstream.messages import AssembledMessage, AssembledToolCall, MessageAssembler
from rxstream.rx import lift
from rxstream.tokens import StreamToken


def snapshots() -> Callable[[Observable[StreamToken]], Observable["MessageSnapshot"]]:
    """Give the message so far after each token, as a `MessageSnapshot`.

    A snapshot costs the same however long the message has become; what costs is to
    read one. So put `frames(period)`, or `buffered(1, overflow=Overflow.LATEST)`, after
    this and read the last. The tokens of the stream are kept for as long as any
    snapshot of it is.
    """
    return lift(Snapshotter)


class MessageSnapshot:
    """The message as it was after one token. It never changes, and may be read in any thread.

    Reading takes one pass over the tokens that came since the snapshot of this stream
    read last, or over all of them if that was a later one; and the message is copied
    out, which takes time by its length. Two snapshots are equal if the same tokens led
    to them, and not hashable, as tokens are not.
    """

    __slots__ = ("_story", "length")

    def __init__(self, story: "_Story", length: int) -> None:
        self._story = story
        self.length = length
        """How many tokens led to it."""

    @property
    def latest(self) -> StreamToken:
        """The token that came last."""
        return self._story.tokens[self.length - 1]

    @property
    def message(self) -> AssembledMessage:
        """The message so far; `complete` says whether its end had come."""
        return self._story.message(self.length)

    @property
    def text(self) -> str:
        """The visible text so far."""
        return self.message.text

    @property
    def reasoning(self) -> str:
        """The thinking so far."""
        return self.message.reasoning

    @property
    def tool_calls(self) -> list[AssembledToolCall]:
        """The calls so far; the `arguments` of one that is not whole yet are `None`."""
        return self.message.tool_calls

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, MessageSnapshot):
            return NotImplemented
        if self.length != other.length:
            return False
        mine, others = self._story.tokens, other._story.tokens
        return mine is others or mine[: self.length] == others[: self.length]

    __hash__ = None  # type: ignore[assignment]  # so Python spells "not hashable", which the type of `object` denies

    def __repr__(self) -> str:
        return f"<MessageSnapshot after {self.length} tokens: {self.message!r}>"


class _Story:
    """The tokens of one stream, and the message as it was when somebody last looked."""

    __slots__ = ("_assembler", "_at", "_latest", "_lock", "tokens")

    def __init__(self) -> None:
        self.tokens: list[StreamToken] = []
        self._lock = threading.Lock()  # for readers in several threads; who appends needs none
        self._assembler = MessageAssembler()
        self._at = 0  # how many tokens the assembler has been fed
        self._latest = self._assembler.message()

    def message(self, length: int) -> AssembledMessage:
        """Return the message after the first `length` tokens."""
        with self._lock:
            if length < self._at:
                past = MessageAssembler()
                past.extend(self.tokens[:length])
                return past.message()
            if length > self._at:
                self._assembler.extend(self.tokens[self._at : length])
                self._at = length
                self._latest = self._assembler.message()
            return self._latest


class Snapshotter:
    """Tokens in, a `MessageSnapshot` out for each: the machine of `snapshots`."""

    def __init__(self) -> None:
        self._story = _Story()
        self._tokens = self._story.tokens

    def feed(self, token: StreamToken) -> list[MessageSnapshot]:
        tokens = self._tokens
        tokens.append(token)
        return [MessageSnapshot(self._story, len(tokens))]

    def flush(self) -> list[MessageSnapshot]:
        return []
