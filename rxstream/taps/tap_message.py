"""What a stream added up to, told however it ended."""

from collections.abc import Callable
from typing import Any

from reactivex import Observable, abc

from rxstream.errors import StreamError
from rxstream.messages import AssembledMessage, ErrorInfo, MessageAssembler
from rxstream.taps._tapped import tapped
from rxstream.tokens import Outcome, StreamToken


def tap_message(
    tell: Callable[[AssembledMessage, Outcome], object],
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Call `tell` once, at the end of each subscription, with the message as far as it came and how it ended.

    A stream that fails has it as `.partial`, but who lets go of one is told nothing more: this is
    where to account for it. `message.used` is what the service counted, or an estimate that says so.
    The call comes before the end itself; what it raises is logged. `error` is set if the stream failed.
    """

    def begin(_scheduler: abc.SchedulerBase | None) -> _Told:
        return _Told(tell)

    return lambda source: tapped(source, begin)


class _Told:
    """One subscription, put together."""

    def __init__(self, tell: Callable[[AssembledMessage, Outcome], object]) -> None:
        self._tell = tell
        self._assembler = MessageAssembler()

    def on_item(self, item: Any) -> None:
        self._assembler.add(item)

    def on_failed(self, error: Exception) -> None:
        is_ours = isinstance(error, StreamError)
        info = error.info if is_ours else ErrorInfo(type(error).__name__, None, "")  # who knows what its text holds
        reason = error.partial.finish_reason if is_ours and error.partial is not None else None
        self._tell(self._assembler.message(error=info, finish_reason=reason), Outcome.FAILED)

    def on_completed(self) -> None:
        self._tell(self._assembler.message(), Outcome.COMPLETED)

    def on_cancelled(self) -> None:
        self._tell(self._assembler.message(), Outcome.CANCELLED)
