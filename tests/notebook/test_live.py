"""Answers that are shown while they come."""

import asyncio
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import pytest
import reactivex
from hypothesis import example, given, settings
from hypothesis import strategies as st
from reactivex.subject import Subject

from rxstream import AiProvider, ConfigurationError, buffered, from_async_iterable
from rxstream.messages import AssembledMessage
from rxstream.notebook import Live, compare, display
from rxstream.notebook.live import NotebookScreen, Stream
from rxstream.notebook.page import AnswerPage
from rxstream.simulator import FAST, At, Disconnect, Script, Settings, Simulator, Stall
from rxstream.tokens import FinishReason, StreamEnd, StreamToken, TextDelta
from tests.virtual_loop import run_virtual


class Screen:
    """Keeps what it is shown, and when."""

    def __init__(self) -> None:
        self.pages: list[str] = []
        self.times: list[float] = []
        self.stop: Callable[[], None] | None = None

    def show(self, html: str, plain: str) -> None:
        self.pages.append(html)
        self.times.append(asyncio.get_running_loop().time())

    def offer_stop(self, stop: Callable[[], None]) -> None:
        self.stop = stop

    def withdraw_stop(self) -> None:
        self.stop = None


def shown(source: reactivex.Observable[StreamToken], screen: Screen) -> Live[AssembledMessage]:
    return Live({"it": Stream(source, AnswerPage())}, lambda messages: messages["it"], screen)


def run(test: Callable[[Screen], Coroutine[Any, Any, None]]) -> Screen:
    screen = Screen()
    run_virtual(test(screen))
    return screen


@settings(max_examples=30)
@example(gaps=[0.01] * 200)
@given(gaps=st.lists(st.sampled_from([0.0, 0.001, 0.01, 0.05, 0.5]), max_size=200))
def test_at_most_thirty_drawings_a_second_and_the_last_state_is_always_drawn(gaps: list[float]) -> None:
    async def slowly() -> AsyncGenerator[StreamToken]:
        for number, gap in enumerate(gaps):
            await asyncio.sleep(gap)
            yield TextDelta(f" w{number}.")
        yield StreamEnd(FinishReason.STOP)

    async def test(screen: Screen) -> None:
        message = await shown(from_async_iterable(slowly()), screen)

        assert message.complete

    screen = run(test)

    assert max(sum(at <= other < at + 1 for other in screen.times) for at in screen.times) <= 30
    assert "● complete" in screen.pages[-1]
    assert all(f"w{number}." in screen.pages[-1] for number in range(len(gaps)))
    assert screen.stop is None


def test_an_idle_stream_draws_nothing() -> None:
    async def test(screen: Screen) -> None:
        source: Subject[StreamToken] = Subject()
        live = shown(source, screen)
        source.on_next(TextDelta("One"))
        await asyncio.sleep(60)
        drawn = len(screen.pages)
        await asyncio.sleep(600)

        assert len(screen.pages) == drawn == 2
        live.stop()

    run(test)


def test_stop_ends_it_keeps_what_came_and_draws_it() -> None:
    async def test(screen: Screen) -> None:
        source: Subject[StreamToken] = Subject()
        live = shown(source, screen)
        source.on_next(TextDelta("One"))
        stop = screen.stop
        assert stop is not None
        stop()
        stop()
        message = await live

        assert (message.text, message.complete) == ("One", False)
        assert not source.observers
        assert live.is_over

    assert "● stopped" in run(test).pages[-1]


def test_stop_works_from_another_thread() -> None:
    async def test(screen: Screen) -> None:
        live = shown(reactivex.never(), screen)
        thread = threading.Thread(target=live.stop)
        thread.start()
        await live
        thread.join()

    assert "● stopped" in run(test).pages[-1]


def test_to_cancel_who_waits_stops_the_stream() -> None:
    async def test(screen: Screen) -> None:
        source: Subject[StreamToken] = Subject()
        live = shown(source, screen)
        waiting = asyncio.ensure_future(live)
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

        assert live.is_over
        assert not source.observers

    run(test)


def test_a_mistake_of_an_operator_is_shown_and_raised() -> None:
    async def test(screen: Screen) -> None:
        with pytest.raises(ZeroDivisionError):
            await shown(reactivex.throw(ZeroDivisionError("my own")), screen)

    assert "ZeroDivisionError" in run(test).pages[-1]


def test_a_source_that_cannot_be_asked_so_is_an_error_and_leaves_nothing() -> None:
    async def test(screen: Screen) -> None:
        source: Subject[StreamToken] = Subject()

        with pytest.raises(ConfigurationError, match="cannot wait"):
            await shown(source.pipe(buffered(4)), screen)

        assert screen.stop is None
        assert not source.observers

    run(test)


def test_without_an_event_loop_it_says_so() -> None:
    with pytest.raises(ConfigurationError, match="no event loop"):
        display(reactivex.empty())


async def test_nothing_to_compare_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="nothing to compare"):
        compare()


@asynccontextmanager
async def asked(*scripts: Script) -> AsyncGenerator[tuple[Simulator, AiProvider]]:
    async with Simulator(Settings(speed=FAST)) as simulator:
        simulator.expect(*scripts)
        async with AiProvider("openai.chat", base_url=simulator.base_url("openai.chat"), api_key=None) as provider:
            yield simulator, provider


class Published:
    """Takes what would go to IPython."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.pages: list[tuple[str, bool, dict[str, Any]]] = []
        monkeypatch.setattr(NotebookScreen, "_publish", staticmethod(self._take))

    def _take(self, data: dict[str, Any], display_id: str, *, update: bool) -> None:
        self.pages.append((display_id, update, data))

    def last(self, *, is_button: bool = False) -> dict[str, Any]:
        return next(data for id, _, data in reversed(self.pages) if id.endswith("-stop") == is_button)


async def test_an_answer_is_one_output_brought_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(monkeypatch)

    async with asked(Script(text="The **sky** is blue.")) as (_, provider):
        message = await display(provider.stream("Why?", model="m"))

    assert message.text == "The **sky** is blue."
    assert "The <strong>sky</strong> is blue." in published.last()["text/html"]
    outputs = [(id, update) for id, update, _ in published.pages if not id.endswith("-stop")]
    assert len({id for id, _ in outputs}) == 1
    assert [update for _, update in outputs] == [False] + [True] * (len(outputs) - 1)


async def test_stop_closes_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    Published(monkeypatch)

    async with asked(Script(text="One two three four", faults=(Stall(at=At(tokens=2)),))) as (simulator, provider):
        live = display(provider.stream("Why?", model="m"))
        request = await simulator.received()
        await request.stalled.wait()
        live.stop()
        message = await live
        await simulator.connection_closed()

    assert not message.complete


async def test_a_stream_that_breaks_is_shown_as_such_and_hurts_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(monkeypatch)
    broken = Script(text="One two three four", faults=(Disconnect(at=At(tokens=2)),))

    async with asked(broken, Script(text="All of it.")) as (simulator, provider):
        first = provider.stream("Why?", model="m")
        live = compare({"broken one": first})
        await simulator.received()
        messages = {**await live, **await compare(whole=provider.stream("Why?", model="m"))}

    assert messages["broken one"].error is not None
    assert messages["whole"].complete
    assert any("TransportError" in data.get("text/html", "") for _, _, data in published.pages)


async def test_several_are_shown_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    published = Published(monkeypatch)

    async with asked() as (_, provider):
        live = compare(a=provider.stream("One?", model="m"), b=provider.stream("Two?", model="m"))
        messages = await live

    assert list(messages) == ["a", "b"]
    assert published.last()["text/html"].count("● complete") == 2
    assert live.metrics["a"].content_tokens > 10


async def test_a_button_stops_the_stream_and_goes(monkeypatch: pytest.MonkeyPatch) -> None:
    widgets: Any = pytest.importorskip("ipywidgets")
    made: list[Any] = []

    make_button = widgets.Button

    def button(**options: Any) -> Any:
        made.append(make_button(**options))
        return made[-1]

    monkeypatch.setattr(widgets, "Button", button)
    published = Published(monkeypatch)
    live = display(reactivex.never())
    assert "application/vnd.jupyter.widget-view+json" in published.last(is_button=True)

    made[0].click()
    await live

    assert live.is_over
    assert published.last(is_button=True) == {"text/html": "", "text/plain": ""}


async def test_without_ipywidgets_there_is_no_button(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    published = Published(monkeypatch)

    message = await display(reactivex.of(TextDelta("Hello")))

    assert message.text == "Hello"
    assert not [id for id, _, _ in published.pages if id.endswith("-stop")]


async def test_it_reaches_ipython(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("IPython")

    await display(reactivex.of(TextDelta("Hello"), StreamEnd(FinishReason.STOP)))

    assert "Hello" in capsys.readouterr().out
