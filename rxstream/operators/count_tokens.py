"""How many tokens the model wrote, where its service does not say."""

import asyncio
from collections.abc import Callable

import msgspec
from reactivex import Observable

from rxstream.rx import lift
from rxstream.tokenizer import AnswerCounter, Encoding, TokenCounter, Vocabulary, vocabulary
from rxstream.tokens import StreamEnd, StreamToken, UsageReport


def count_tokens(
    encoding: Vocabulary | Encoding | str | None = None, *, model: str | None = None, provider: str | None = None
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Add a `UsageReport` of the tokens counted, right before each `StreamEnd`, where the service reports none.

    A service that has reported its `output_tokens` by then knows better, and nothing is
    added. Else the report is its last one with `output_tokens` filled in (no
    `total_tokens` is made up), and its `source` is "estimated": even with the right
    encoding, the tokens that a service puts around what the model wrote are not known.
    If the stream fails before an end, the count comes right before the error, unless the
    service's own is higher: it is what there is to account for. A stream in which the
    model wrote nothing gets no report.

    The arguments are those of `rxstream.tokenizer.vocabulary`, and the encoding is
    loaded here, not when the stream is subscribed to: up to about a second, the first
    time. With none at all, counts are a quarter of the UTF-8 bytes.

    Counting runs where the deltas arrive, a block of 4,096 characters at a time: some
    tenths of a millisecond. That holds for deltas of any usual size; where a service
    sends 64 KiB as one delta it is some ten milliseconds, and an operator that left the
    loop for it would have to hold the stream back. `await count_text(text)` leaves it.
    """
    chosen = vocabulary(encoding, model=model, provider=provider)
    return lift(lambda: _Counted(chosen))


async def count_text(
    text: str,
    encoding: Vocabulary | Encoding | str | None = None,
    *,
    model: str | None = None,
    provider: str | None = None,
) -> int:
    """Return how many tokens `text` is, counted on another thread, on which the encoding is loaded too.

    The arguments are those of `rxstream.tokenizer.vocabulary`.
    """

    def count() -> int:
        counter = TokenCounter(vocabulary(encoding, model=model, provider=provider))
        counter.feed(text)
        return counter.count

    return await asyncio.to_thread(count)


class _Counted:
    def __init__(self, chosen: Vocabulary) -> None:
        self._counter = AnswerCounter(chosen)
        self._reported = UsageReport(source="unknown")
        self._is_ended = False

    def feed(self, token: StreamToken) -> list[StreamToken]:
        if isinstance(token, UsageReport):
            self._reported = token
        elif isinstance(token, StreamEnd):
            self._is_ended = True
            if self._reported.output_tokens is None or self._reported.source == "estimated":
                return [*self._report(0), token]
        else:
            self._counter.feed(token)
        return [token]

    def flush(self) -> list[StreamToken]:
        return []

    def fail(self, _: Exception) -> list[StreamToken]:
        return [] if self._is_ended else self._report(self._reported.output_tokens or 0)

    def _report(self, known: int) -> list[StreamToken]:
        """Report the count, if it is more than `known`."""
        count = self._counter.count
        if count <= known:
            return []
        self._reported = msgspec.structs.replace(self._reported, output_tokens=count, source="estimated")
        return [self._reported]
