"""Fewer, larger deltas: what comes close together goes on together."""

from collections.abc import Callable
from datetime import timedelta

from reactivex import Observable

from rxstream.operators import frames
from rxstream.rx import lift
from rxstream.tokens import StreamToken, merge_deltas


def gathered(period: timedelta) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Join the neighbouring deltas that come within `period`; the first token, and the end, wait for nothing."""
    frame, join = frames(period), lift(_Join)
    return lambda source: join(frame(source))


class _Join:
    def feed(self, frame: list[StreamToken]) -> list[StreamToken]:
        return merge_deltas(frame)

    def flush(self) -> list[StreamToken]:
        return []
