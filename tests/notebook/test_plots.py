"""What was measured, drawn."""

import asyncio
from typing import Any

import pytest

from rxstream import ConfigurationError, StreamBackpressureController, StreamMetrics
from rxstream.notebook import FlowWatch, plot_flow, plot_timing
from rxstream.taps import Outcome
from rxstream.tokens import TextDelta
from tests.virtual_loop import virtual_time

PNG = b"\x89PNG\r\n"


def drawn(figure: Any) -> bytes:
    return figure._repr_png_()


def words(figure: Any) -> str:
    """All that is written in a figure."""
    figure.canvas.draw()
    return "\n".join(each.get_text() for each in figure.findobj() if hasattr(each, "get_text"))


def measured(gap: float) -> StreamMetrics:
    metrics = StreamMetrics()
    metrics.start(0.0)
    for number in range(50):
        metrics.record(TextDelta("x"), 0.25 + gap * number)
    metrics.stop(Outcome.COMPLETED, 0.25 + gap * 50)
    return metrics


def test_timing_says_first_token_rate_and_percentiles() -> None:
    figure = plot_timing(measured(0.02), title="A stream")

    assert drawn(figure).startswith(PNG)
    said = words(figure)
    assert "first token 250 ms, then 50 tokens/s" in said
    assert "p50 20 ms" in said
    assert "A stream" in said


def test_the_timing_of_several_is_told_apart() -> None:
    said = words(plot_timing({"fast": measured(0.01), "slow": measured(0.1)}))

    assert "fast: p50 9.8 ms" in said
    assert "slow: p50" in said


def test_a_stream_in_which_nothing_came_can_be_drawn() -> None:
    metrics = StreamMetrics()
    metrics.start(0.0)
    metrics.stop(Outcome.FAILED, 1.0)

    assert "nothing came" in words(plot_timing(metrics))


@virtual_time
async def test_a_watch_sees_what_waits_against_time() -> None:
    controller = StreamBackpressureController(now=asyncio.get_running_loop().time)

    with FlowWatch(controller, period=0.01) as watch:
        controller.add(4_000, size=2_048)
        await asyncio.sleep(0.1)
        controller.release(4_000, size=2_048)
        await asyncio.sleep(0.1)

    assert watch.samples[0].depth == 0
    assert max(sample.depth for sample in watch.samples) == 4_000
    last = watch.samples[-1]
    assert (last.depth, last.bytes_in, last.pauses) == (0, 2_048, 1)
    assert last.seconds_paused == pytest.approx(0.1)
    figure = plot_flow({"one": watch, "two": watch}, title="Flow")
    assert "1 pauses, 0.10 s" in words(figure)
    assert drawn(figure).startswith(PNG)
    assert drawn(plot_flow(watch)).startswith(PNG)


@virtual_time
async def test_a_watch_leaves_no_timer() -> None:
    with FlowWatch(StreamBackpressureController()) as watch:
        await asyncio.sleep(1)
    looks = len(watch.samples)

    await asyncio.sleep(1)

    assert len(watch.samples) == looks


@virtual_time
async def test_a_watch_takes_bytes_and_pauses_from_metrics_near_the_source() -> None:
    metrics = StreamMetrics()
    metrics.start(0.0)

    with FlowWatch(StreamBackpressureController(), metrics) as watch:
        metrics.record(b"x" * 100, 0.0)

    assert watch.samples[-1].bytes_in == 100


def test_a_watch_without_an_event_loop_says_so() -> None:
    with pytest.raises(ConfigurationError, match="no event loop"), FlowWatch(StreamBackpressureController()):
        pass


def test_a_controller_is_drawn_as_what_it_holds() -> None:
    controller = StreamBackpressureController()
    controller.add(1_024, size=10)

    figure = plot_flow(controller)

    assert "1,024 of 4,096 items" in words(figure)
    assert drawn(figure).startswith(PNG)


def test_a_watch_that_saw_nothing_is_an_error() -> None:
    with pytest.raises(ConfigurationError, match="nothing was watched"):
        plot_flow(FlowWatch(StreamBackpressureController()))
