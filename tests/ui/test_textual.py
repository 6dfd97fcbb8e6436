"""The chat in the terminal, with Textual's pilot: a burst, Escape, an error, and the end in mid-stream."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rxstream.messages import AssembledMessage
from rxstream.simulator import HttpError, Script, Settings, Simulator
from rxstream.ui import AnswerView, Phase, Span
from tests.demand import turns
from tests.ui.windows import BURST, ENDLESS, PIECES, asking, at, others

pytest.importorskip("textual", reason="there is no Textual")

from textual.geometry import Region
from textual.pilot import Pilot
from textual.widgets import Input

from rxstream.ui.textual import ChatApp, Transcript


class Watched(ChatApp):
    """A chat that keeps what it drew."""

    events: list[str]
    views: list[AnswerView]
    drawn: asyncio.Event

    def draw(self, view: AnswerView) -> None:
        super().draw(view)
        self.views.append(view)
        self.events.append("view")
        self.drawn.set()

    async def until(self, phase: Phase) -> AnswerView:
        """Wait for a view of this phase."""
        while not self.views or self.views[-1].phase is not phase:
            self.drawn.clear()
            await self.drawn.wait()
        return self.views[-1]

    @property
    def text(self) -> str:
        """What the transcript shows of the answer, row by row."""
        return " ".join(row.plain for row in self.transcript.rows)


@asynccontextmanager
async def chatting(settings: Settings) -> AsyncGenerator[tuple[Simulator, Watched, Pilot[None]]]:
    """Ask one question; nothing may be left at the end."""
    tasks = await others()
    async with Simulator(settings) as simulator, at(simulator) as provider:
        app = Watched(asking(provider), "toy")
        app.events, app.views, app.drawn = [], [], asyncio.Event()
        async with app.run_test() as pilot:
            ticking = asyncio.create_task(tick(app.events))
            app.query_one(Input).value = "Go!"
            await pilot.press("enter")
            yield simulator, app, pilot
            ticking.cancel()
        if not app.views[-1].is_over:
            await simulator.connection_closed()
    await turns()
    assert await others() == tasks


async def tick(events: list[str]) -> None:
    """Note that the loop has its turns, every millisecond."""
    while True:
        events.append("tick")
        await asyncio.sleep(0.001)


async def test_a_burst_is_shown_whole_and_in_order_while_the_terminal_has_its_turns() -> None:
    async with chatting(BURST) as (_, app, _):
        view = await app.until(Phase.DONE)

        first, last = app.events.index("view"), len(app.events) - app.events[::-1].index("view")
        assert view.text == "".join(PIECES)
        assert app.text.split() == ["Go!", *(piece.strip() for piece in PIECES)]
        assert "tick" in app.events[first:last]
        assert len(app.views) < len(PIECES) / 10


async def test_escape_stops_the_answer_and_the_chat_asks_again() -> None:
    async with chatting(ENDLESS) as (simulator, app, pilot):
        await app.until(Phase.ANSWERING)
        await pilot.press("escape")
        await app.until(Phase.STOPPED)
        app.query_one(Input).value = "And on?"
        await pilot.press("enter")
        await app.until(Phase.ANSWERING)
        await pilot.press("escape")
        await app.until(Phase.STOPPED)

        assert simulator.requests_made == 2
        assert [message.role for message in app.conversation.messages] == ["user", "assistant"] * 2


async def test_an_error_is_shown_and_the_chat_goes_on() -> None:
    async with chatting(Settings(script=Script(faults=(HttpError(status=401),)))) as (_, app, _):
        view = await app.until(Phase.FAILED)

        assert "".join(str(view.error).split()) in "".join(app.text.split())
        assert app.is_running


async def test_text_that_is_taken_back_disappears() -> None:
    async with chatting(Settings(script=Script(text="Hi"))) as (_, app, _):
        await app.until(Phase.DONE)
        app.draw(AnswerView(message=AssembledMessage(text="No"), phase=Phase.DONE))

        assert app.text.split() == ["Go!", "No"]


async def test_left_in_mid_stream_it_leaves_nothing() -> None:
    async with chatting(ENDLESS) as (simulator, app, pilot):
        await app.until(Phase.ANSWERING)
        await pilot.press("ctrl+q")

    assert not app.views[-1].is_over
    assert simulator.requests[0].outcome == "client left"
    assert app.return_code == 0


class Narrow(Transcript):
    """A transcript of eight columns, without a screen."""

    @property
    def scrollable_content_region(self) -> Region:
        return Region(0, 0, 8, 8)


@example(pieces=["aaaaaa a ", "a"])  # the last space is beyond the edge
@given(pieces=st.lists(st.text("ab \n", max_size=9), max_size=9))
def test_rows_laid_out_as_they_grow_are_those_of_the_whole(pieces: list[str]) -> None:
    grown, whole = Narrow(), Narrow()

    for piece in pieces:
        grown.lay_out(Span("text", piece))
    whole.lay_out(Span("text", "".join(pieces)))

    assert [row.plain.rstrip() for row in grown.rows] == [row.plain.rstrip() for row in whole.rows]
