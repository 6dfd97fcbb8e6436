"""The visible text of a stream."""

from collections.abc import Callable

from reactivex import Observable

from rxstream.rx import lift
from rxstream.tokens import StreamToken, TextDelta


def text(choice: int = 0) -> Callable[[Observable[StreamToken]], Observable[str]]:
    """Give the visible text of one choice, piece by piece."""
    return lift(lambda: _Text(choice))


class _Text:
    def __init__(self, choice: int) -> None:
        self._choice = choice

    def feed(self, token: StreamToken) -> list[str]:
        if isinstance(token, TextDelta) and token.choice == self._choice and token.text:
            return [token.text]
        return []

    def flush(self) -> list[str]:
        return []
