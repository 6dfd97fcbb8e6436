"""`show`: a stream in views, wherever it runs."""

import asyncio
import threading
from datetime import timedelta

from rxstream.errors import OverloadedError, SubscriberError
from rxstream.schedulers import FlowScheduler
from rxstream.schedulers.turn_scheduler import TurnScheduler
from rxstream.sources import from_async_iterable
from rxstream.tokens import FinishReason, StreamEnd, StreamToken, TextDelta
from rxstream.ui import AnswerView, Phase, show
from rxstream.ui.show import CAPACITY
from tests.demand import Faucet, turns
from tests.end_to_end.background import PATIENCE, on_background
from tests.virtual_loop import virtual_time

SECOND = timedelta(seconds=1)


class Ui(TurnScheduler):
    """The thread of the test as a UI that has a turn when the test says so."""

    def __init__(self) -> None:
        super().__init__(budget=timedelta(milliseconds=8))
        self._has_work = threading.Event()

    def turn(self) -> None:
        """Wait for something to do, and do it for the length of a turn."""
        assert self._has_work.wait(PATIENCE)
        self._has_work.clear()
        self._queue.run_turn(fail)
        if self._queue.wait() == 0:
            self._has_work.set()

    def _wake(self) -> None:
        self._has_work.set()


def fail(error: Exception) -> None:
    raise error


@virtual_time
async def test_on_asyncio_there_is_a_view_at_once_and_then_one_in_a_period() -> None:
    faucet: Faucet[StreamToken] = Faucet()
    seen: list[tuple[float, str, Phase]] = []
    loop = asyncio.get_running_loop()

    show(faucet.stream, lambda view: seen.append((loop.time(), view.text, view.phase)), period=SECOND)
    await asyncio.sleep(5)
    for _ in range(5):
        faucet.push(TextDelta("a"), TextDelta("b"))
        await asyncio.sleep(0.25)
    faucet.push(StreamEnd(FinishReason.STOP))
    faucet.complete()

    assert seen == [
        (0, "", Phase.WAITING),
        (5, "a", Phase.ANSWERING),
        (6, "abababab", Phase.ANSWERING),
        (6.25, "ababababab", Phase.ANSWERING),
        (6.25, "ababababab", Phase.DONE),
    ]


@virtual_time
async def test_an_asyncio_scheduler_is_as_good_as_none() -> None:
    seen: list[AnswerView] = []

    show(from_async_iterable([TextDelta("a")]), seen.append, scheduler=FlowScheduler(asyncio.get_running_loop()))
    await asyncio.sleep(1)

    assert [view.phase for view in seen] == [Phase.WAITING, Phase.ANSWERING, Phase.DONE]


@virtual_time
async def test_after_disposing_there_is_no_view_and_no_subscription() -> None:
    faucet: Faucet[StreamToken] = Faucet()
    seen: list[AnswerView] = []
    shown = show(faucet.stream, seen.append, period=SECOND)
    faucet.push(TextDelta("a"), TextDelta("b"))
    count = len(seen)

    shown.dispose()
    faucet.push(TextDelta("c"))
    await asyncio.sleep(5)

    assert len(seen) == count
    assert faucet.disposed == 1


@virtual_time
async def test_an_error_is_the_last_view_after_what_had_come() -> None:
    faucet: Faucet[StreamToken] = Faucet()
    seen: list[AnswerView] = []
    error = OverloadedError("busy")

    show(faucet.stream, seen.append, period=SECOND)
    faucet.push(TextDelta("a"), TextDelta("b"))
    faucet.fail(error)

    assert seen[-1].error is error
    assert seen[-1].text == "ab"


@virtual_time
async def test_a_window_that_cannot_draw_a_view_is_told_of_it() -> None:
    faucet: Faucet[StreamToken] = Faucet()
    seen: list[AnswerView] = []

    def draw(view: AnswerView) -> None:
        seen.append(view)
        if view.text == "a":
            seen.clear()
            if view.error is None:
                raise LookupError("no such tag")
            seen.append(view)

    show(faucet.stream, draw, period=SECOND)
    faucet.push(TextDelta("a"))
    await asyncio.sleep(1)

    (last,) = seen
    assert isinstance(last.error, SubscriberError)
    assert isinstance(last.error.__cause__, LookupError)
    assert faucet.disposed == 1


def test_views_come_on_the_thread_of_the_ui_and_a_slow_one_stops_the_stream() -> None:
    ui, faucet = Ui(), Faucet[StreamToken]()
    pieces = [f"{number} " for number in range(CAPACITY + 1)]
    seen: list[AnswerView] = []
    threads: set[int] = set()

    def draw(view: AnswerView) -> None:
        threads.add(threading.get_ident())
        seen.append(view)

    show(faucet.stream, draw, scheduler=ui, period=timedelta(milliseconds=1))
    faucet.push(*map(TextDelta, pieces))
    while faucet.is_wanted:  # until the frame of what came last has gone across
        on_background(turns())
    assert [view.phase for view in seen] == [Phase.WAITING]
    while not faucet.is_wanted:
        ui.turn()
    faucet.complete()
    while not seen[-1].is_over:
        ui.turn()

    assert seen[-1].text == "".join(pieces)
    assert threads == {threading.get_ident()}
