"""Larger deltas of small ones: for speech, for display by the line, for whoever pays by the message."""

from collections import deque
from collections.abc import Callable
from datetime import timedelta

from reactivex import Observable, abc

from rxstream.operators._boundaries import Boundary, Finder, finder
from rxstream.operators._courier import Courier
from rxstream.operators._graphemes import LONGEST, first_end, is_between, last_start
from rxstream.rx import lift
from rxstream.schedulers.gated_scheduler import on_time
from rxstream.tokenizer import Encoding, TokenCounter, Vocabulary, vocabulary
from rxstream.tokens import ReasoningDelta, StreamToken, TextDelta

MAX_CHARACTERS = 65_536
"""How much text is held at most, unless told otherwise: no word is so long, but a line or a block may be."""


def accumulate(
    boundary: Boundary | None = None,
    *,
    tokens: int | None = None,
    characters: int | None = None,
    within: timedelta | None = None,
    encoding: Vocabulary | Encoding | str | None = None,
    model: str | None = None,
    max_characters: int = MAX_CHARACTERS,
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Hold text back until there is enough of it; whichever of the options is reached first gives it.

    `boundary`
        gives one delta for each word, sentence, line, paragraph or Markdown block, even
        where several come at once. White space goes with what comes after it, line ends
        and blank lines with what comes before. A sentence ends in one of `. ! ? …`
        before white space, not after a usual abbreviation, an initial or the number of
        an item; in one of the full-width signs before anything; and at a blank line.
        A Han character or kana is a word. A block ends at a blank line that is in no
        fenced code, and fenced code is one block.
    `characters`
        gives pieces of so many code points, or a few more.
    `tokens`
        gives what came in before the delta with which it was so many tokens, and that
        delta; `encoding` and `model` are those of `vocabulary`, without them four bytes
        are a token.
    `within`
        gives what is held so long after the first of it came, but for the last grapheme.
        Timers run on the subscription's scheduler, one while something waits.
    `max_characters`
        bounds what is held, as `characters` does, where a line or a block has no end.

    The text is that of the source, and no grapheme (an accented letter, a joined emoji, a
    flag, CR LF) is taken apart, unless it has more than 256 code points. So the last one
    is held until it is known where it ends. Thinking is accumulated like text, each block
    and choice by itself. Any other token, thinking that is signed or named too, comes in its order: what is
    held is given before it, as at the end, good or bad. Empty deltas are left out. Raises
    `ValueError` for an option that makes no sense, or none at all.
    """
    chosen = vocabulary(encoding, model=model)

    def make() -> TokenAccumulator:
        return TokenAccumulator(
            boundary, tokens=tokens, characters=characters, encoding=chosen, max_characters=max_characters
        )

    make()
    if within is None:
        if boundary is None and tokens is None and characters is None:
            raise ValueError("nothing says how much to accumulate")
        return lift(make)
    seconds = within.total_seconds()
    if seconds <= 0:
        raise ValueError(f"the time must be more than 0, not {within}")

    def operator(source: Observable[StreamToken]) -> Observable[StreamToken]:
        def subscribe(
            observer: abc.ObserverBase[StreamToken], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            courier = _Accumulated(observer, on_time(scheduler), _Shelf(make(), seconds))
            courier.source.disposable = source.subscribe(
                courier.on_next, courier.on_error, courier.on_completed, scheduler=scheduler
            )
            return courier.disposable()

        return Observable(subscribe)

    return operator


class TokenAccumulator:
    """Tokens in, fewer and larger deltas out: the machine of `accumulate`, which explains the options.

    Time is for whoever drives it: `release` gives what may be given.
    """

    def __init__(
        self,
        boundary: Boundary | None = None,
        *,
        tokens: int | None = None,
        characters: int | None = None,
        encoding: Vocabulary | Encoding | str | None = None,
        max_characters: int = MAX_CHARACTERS,
    ) -> None:
        if any(count is not None and count < 1 for count in (tokens, characters, max_characters)):
            raise ValueError(
                f"counts must be at least 1, not {tokens} tokens, {characters} and {max_characters} characters"
            )
        self._boundary: Boundary | None = boundary
        self._most = min(max_characters, characters or max_characters)
        self._tokens = tokens
        self._vocabulary = vocabulary(encoding)
        self._texts: dict[tuple[type[StreamToken], int, int], _Text] = {}  # by kind, index and choice
        self._open: dict[int, _Text] = {}  # by choice, the one that something may be held of
        self._text = self._text_of(TextDelta(""))  # the one written to last

    @property
    def is_holding(self) -> bool:
        """Whether any text is held."""
        return any(text.held for text in self._open.values())

    def feed(self, token: StreamToken) -> list[StreamToken]:
        if type(token) is not TextDelta and (
            type(token) is not ReasoningDelta or not token.signature is token.redacted is token.item_id is None
        ):
            return [*self.flush(), token]
        text = self._text
        if text.index != token.index or text.choice != token.choice or text.kind is not type(token):
            text = self._text = self._text_of(token)
        if text.is_open:
            return text.feed(token.text)
        before = self._open.get(token.choice)
        self._open[token.choice] = text
        text.is_open = True
        return [*(before.close() if before else []), *text.feed(token.text)]

    def flush(self) -> list[StreamToken]:
        made = [delta for text in self._open.values() for delta in text.close()]
        self._open.clear()
        return made

    def release(self) -> list[StreamToken]:
        """Return what is held, but for the last grapheme of each text, which may not be whole."""
        return [delta for text in self._open.values() for delta in text.release()]

    def _text_of(self, token: TextDelta | ReasoningDelta) -> "_Text":
        key = type(token), token.index, token.choice
        text = self._texts.get(key)
        if text is None:
            counter = None if self._tokens is None else _Counter(self._vocabulary, self._tokens)
            text = self._texts[key] = _Text(
                token, None if self._boundary is None else finder(self._boundary), self._most, counter
            )
        return text


class _Text:
    """The text of one block, as far as it is held."""

    __slots__ = ("_counter", "_finder", "_most", "choice", "held", "index", "is_open", "kind")

    def __init__(
        self, token: TextDelta | ReasoningDelta, finder: Finder | None, most: int, counter: "_Counter | None"
    ) -> None:
        self.kind, self.index, self.choice = type(token), token.index, token.choice
        self.held = ""
        self.is_open = False
        """Whether it is the one of its choice that goes on."""
        self._finder = finder
        self._most = most
        self._counter = counter

    def feed(self, text: str) -> list[StreamToken]:
        made: list[StreamToken] = []
        counter = self._counter
        if counter is not None and counter.is_full and text and is_between(self.held + text[0], len(self.held)):
            made = self._give(len(self.held))
        held, self.held = self.held, ""  # with one name alone for it, CPython lengthens it in place
        held += text
        place = self._place(held, 0)
        if place is None:  # the usual case
            if counter is not None:
                counter.feed(text)
            self.held = held
            return made
        start = 0
        while place is not None:
            made.append(self.kind(held[start:place], self.index, self.choice))
            if self._finder is not None:
                self._finder.cut(held, place)
            start = place
            place = self._place(held, start)
        self._keep(held[start:], start)
        return made

    def close(self) -> list[StreamToken]:
        """Return all that is held, since something else comes."""
        self.is_open = False
        return self._give(len(self.held))

    def release(self) -> list[StreamToken]:
        return self._give(last_start(self.held))

    def _place(self, held: str, start: int) -> int | None:
        """Where to cut next."""
        end = len(held)
        limit = None
        if end - start > self._most:
            text = held[start : start + self._most + LONGEST + 1]
            limit = first_end(text, self._most)
            if limit is not None:
                end = limit = start + limit
        place = None if self._finder is None else self._finder.find(held, start, end)
        return limit if place is None else place

    def _give(self, place: int) -> list[StreamToken]:
        if not place:
            return []
        given = self.kind(self.held[:place], self.index, self.choice)
        if self._finder is not None:
            self._finder.cut(self.held, place)
        self._keep(self.held[place:], place)
        return [given]

    def _keep(self, held: str, count: int) -> None:
        """Hold no more than `held`, after the first `count` characters have gone."""
        self.held = held
        if self._finder is not None:
            self._finder.drop(count)
        if self._counter is not None:
            self._counter.restart()
            self._counter.feed(held)


class _Counter:
    """Whether the text held is so many tokens; counted no more often than it has to be."""

    __slots__ = ("_counter", "_room", "_vocabulary", "_wanted")

    def __init__(self, chosen: Vocabulary, wanted: int) -> None:
        self._vocabulary, self._wanted = chosen, wanted
        self.restart()

    @property
    def is_full(self) -> bool:
        if self._room > 0:
            return False
        self._room = self._wanted - self._counter.count
        return self._room <= 0

    def restart(self) -> None:
        self._counter = TokenCounter(self._vocabulary)
        self._room = self._wanted  # bytes that can't be too many: a token is at least one

    def feed(self, text: str) -> None:
        self._counter.feed(text)
        self._room -= len(text) if text.isascii() else 4 * len(text)


class _Shelf:
    """What is ready to be given, and when what is held has to be; its length is for the courier to see that."""

    def __init__(self, accumulator: TokenAccumulator, seconds: float) -> None:
        self._accumulator = accumulator
        self._seconds = seconds
        self.ready: deque[StreamToken] = deque()
        self.due_at: float | None = None

    def __len__(self) -> int:
        return len(self.ready) + (self.due_at is not None)

    def feed(self, token: StreamToken, now: float) -> None:
        made = self._accumulator.feed(token)
        self.ready += made
        if not self._accumulator.is_holding:
            self.due_at = None
        elif made or self.due_at is None:
            self.due_at = now + self._seconds

    def take(self, now: float) -> list[StreamToken]:
        """Return what is to be given at `now`."""
        if not self.ready and self.due_at is not None and self.due_at <= now:
            self.due_at = None
            self.ready += self._accumulator.release()
        taken = list(self.ready)
        self.ready.clear()
        return taken

    def end(self) -> None:
        """Take note that no more comes."""
        self.ready += self._accumulator.flush()
        self.due_at = None

    def clear(self) -> None:
        """Let go of everything."""
        self.end()
        self.ready.clear()


class _Accumulated(Courier[StreamToken]):
    def __init__(self, observer: abc.ObserverBase[StreamToken], scheduler: abc.SchedulerBase, shelf: _Shelf) -> None:
        super().__init__(observer, scheduler, shelf)
        self._shelf = shelf
        self._waits_for_time = False  # rather than for its turn

    def on_completed(self) -> None:
        with self._lock:
            self._shelf.end()
        super().on_completed()

    def _put(self, item: StreamToken) -> None:
        with self._lock:
            self._shelf.feed(item, self._now())

    def _look(self) -> None:
        if self._shelf.ready and self._waits_for_time and self._take_over():  # it need not wait any more
            self._go()
        else:
            super()._look()

    def _wait(self) -> float:
        with self._lock:
            shelf = self._shelf
            seconds = 0.0 if shelf.ready or shelf.due_at is None else shelf.due_at - self._now()
            self._waits_for_time = seconds > 0
            return seconds

    def _has_to_wait(self, stop_at: float) -> bool:
        has_to = super()._has_to_wait(stop_at)
        # Who made something ready in this very moment may have found nobody parked yet.
        return has_to and not (self._waits_for_time and self._shelf.ready and self._take_over())

    def _deliver_next(self) -> None:
        with self._lock:
            tokens = self._shelf.take(self._now())
        for token in tokens:
            self._emit(token)

    def _forget(self) -> None:
        with self._lock:
            self._shelf.clear()
