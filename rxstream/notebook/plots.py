"""What was measured, drawn: the timing of tokens, and the flow of a stream against time."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from itertools import pairwise
from typing import TYPE_CHECKING, Any, TypeAlias

from rxstream.errors import ConfigurationError
from rxstream.flow import StreamBackpressureController
from rxstream.notebook.flow_watch import FlowSample, FlowWatch
from rxstream.taps import StreamMetrics

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Axes: TypeAlias = Any
"""Matplotlib's; it leaves the types of keyword arguments open, which would be an error at every call."""

WAITING, STREAMING, PAUSED, QUEUE = "#c9c9c9", "#1f77b4", "#f5b7b1", "#2ca02c"
SHARES = ((0.5, "p50"), (0.9, "p90"), (0.99, "p99"))
SHORTEST = 1e-5
"""Seconds; gaps that are shorter, of tokens that came together, are drawn as this long."""
POINTS = 120
"""How many points a curve of gaps has."""
SLICES = 40
"""How many bars a rate against time has."""


def plot_timing(metrics: StreamMetrics | Mapping[str, StreamMetrics], /, title: str = "") -> "Figure":
    """Draw when tokens came: the wait for the first and the time of the rest, and how long the gaps between were.

    Of one stream, or of several by name. The gaps are drawn as the part of them that is no
    longer than so many milliseconds; 50, 90 and 99 % are marked. Exact within 2 %.
    """
    streams = dict(metrics) if isinstance(metrics, Mapping) else {"": metrics}
    figure = _picture(9, 2.6 + 0.3 * len(streams))
    bars, curves = figure.subplots(1, 2, width_ratios=(1, 1.2))
    _draw_times(bars, streams)
    _draw_gaps(curves, streams)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _draw_times(axes: Axes, streams: Mapping[str, StreamMetrics]) -> None:
    for row, metrics in enumerate(streams.values()):
        summary = metrics.summary()
        first = summary.time_to_first_content
        until = summary.seconds if first is None else first
        axes.barh(row, until, color=WAITING, height=0.55)
        axes.barh(row, summary.seconds - until, left=until, color=f"C{row}", height=0.55)
        said = "nothing came" if first is None else f"first token {_milliseconds(first)}"
        rate = summary.tokens_per_second
        said += f", then {rate:.0f} tokens/s" if rate else ""
        axes.annotate(said, (0, row - 0.3), xytext=(3, 2), textcoords="offset points", fontsize=9)
    axes.set_yticks(range(len(streams)), list(streams))
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(streams) - 0.5, 1.0), -0.8)
    axes.set_xlabel("seconds since the request")
    axes.set_title("waiting (grey), then streaming", fontsize=10)
    _tidy(axes)


def _draw_gaps(axes: Axes, streams: Mapping[str, StreamMetrics]) -> None:
    from matplotlib.ticker import LogLocator

    widest = (float("inf"), 0.0)
    for row, (name, metrics) in enumerate(streams.items()):
        gaps, colour = metrics.gaps, f"C{row}"
        shortest, longest = gaps.at(0), gaps.at(1)
        if shortest is None or longest is None:
            continue
        low, high = max(shortest, SHORTEST) / 1.05, max(longest, SHORTEST) * 1.05
        widest = min(widest[0], low), max(widest[1], high)
        at = [low * (high / low) ** (point / POINTS) for point in range(POINTS + 1)]
        shares = [0.0, *(100 * gaps.up_to(each) / gaps.count for each in at)]
        axes.step([low * 1000, *(each * 1000 for each in at)], shares, color=colour)
        for part, _ in SHARES:
            axes.plot(max(gaps.at(part) or 0, SHORTEST) * 1000, 100 * part, "o", color=colour, markersize=5)
        marks = " · ".join(f"{word} {_milliseconds(gaps.at(part) or 0)}" for part, word in SHARES)
        axes.plot([], [], color=colour, label=f"{name}: {marks}" if name else marks)
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if widest[1] / widest[0] < 200 else (1,)))
    axes.xaxis.set_major_formatter(_plain_number)
    axes.xaxis.set_minor_formatter("")
    axes.set_ylim(0, 104)
    axes.set_xlabel("milliseconds (log)")
    axes.set_title("% of gaps that are no longer than", fontsize=10)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(fontsize=8, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.22))
    _tidy(axes)


def plot_flow(
    flow: "StreamBackpressureController | FlowWatch | Mapping[str, FlowWatch]", /, title: str = ""
) -> "Figure":
    """Draw what waited and what came.

    Of a `FlowWatch`, or of several by name, against time: what waits in the queue, how fast
    bytes come, and in red when the source was told to wait, with a white line between one
    pause and the next. Of a controller itself, which keeps no history, what it holds now
    and held at most, beside its marks.
    """
    if isinstance(flow, StreamBackpressureController):
        figure = _draw_held(flow)
    else:
        watches = {"": flow} if isinstance(flow, FlowWatch) else dict(flow)
        if not all(watch.samples for watch in watches.values()) or not watches:
            raise ConfigurationError("nothing was watched: use the FlowWatch as `with FlowWatch(controller) as watch:`")
        figure = _draw_flows(watches)
    if title:
        figure.suptitle(title, fontsize=12)
    return figure


def _draw_flows(watches: Mapping[str, FlowWatch]) -> Any:
    figure = _picture(min(max(6.0, 3.4 * len(watches)), 15.0), 4.4)
    grid = figure.subplots(2, len(watches), sharex=True, sharey="row", squeeze=False)
    for column, (name, watch) in enumerate(watches.items()):
        depth: Axes = grid[0, column]
        rate: Axes = grid[1, column]
        samples = watch.samples
        last = samples[-1]
        for axes in (depth, rate):
            _shade_pauses(axes, samples)
            _tidy(axes)
        depth.fill_between(
            [one.at for one in samples], [one.depth for one in samples], step="post", color=QUEUE, zorder=2
        )
        starts, widths, heights = _rates(samples)
        rate.bar(starts, heights, widths, align="edge", color=STREAMING, zorder=2)
        told = f"{last.pauses} pauses, {last.seconds_paused:.2f} s" if last.pauses else "no pause"
        depth.set_title(f"{name}\n{told}" if name else told, fontsize=10)
        rate.set_xlabel("seconds")
    grid[0, 0].set_ylabel("items waiting")
    grid[1, 0].set_ylabel("KiB/s from the socket")
    return figure


def _shade_pauses(axes: Axes, samples: Sequence[FlowSample]) -> None:
    """Shade when the source waited: for most of the time between two looks."""
    began: float | None = None
    for before, after in pairwise(samples):
        is_paused = after.seconds_paused - before.seconds_paused > (after.at - before.at) / 2
        if is_paused and began is None:
            began = before.at
        elif not is_paused and began is not None:
            axes.axvspan(began, before.at, color=PAUSED, linewidth=0, zorder=0)
            began = None
        if before.pauses and after.pauses > before.pauses:  # it went on in between, too shortly to be seen
            axes.axvline(after.at, color="white", linewidth=1.5, zorder=1)
    if began is not None:
        axes.axvspan(began, samples[-1].at, color=PAUSED, linewidth=0, zorder=0)


def _rates(samples: Sequence[FlowSample]) -> tuple[list[float], list[float], list[float]]:
    """Where each slice of time starts, how long it is, and the KiB a second in it."""
    width = (samples[-1].at - samples[0].at) / SLICES
    chosen = [samples[0]]
    for sample in samples[1:]:
        if sample.at - chosen[-1].at >= width and sample.at > chosen[-1].at:
            chosen.append(sample)
    pairs = list(pairwise(chosen))
    return (
        [before.at for before, _ in pairs],
        [after.at - before.at for before, after in pairs],
        [(after.bytes_in - before.bytes_in) / 1024 / (after.at - before.at) for before, after in pairs],
    )


def _draw_held(controller: StreamBackpressureController) -> Any:
    config, held = controller.config, controller.snapshot()
    figure = _picture(6.5, 2.2)
    rows = (
        ("items", held.depth, held.peak_items, config.maximum_items),
        ("bytes", held.bytes_held, held.peak_bytes, config.maximum_bytes),
    )
    axes = figure.subplots()
    for row, (what, now, peak, most) in enumerate(rows):
        axes.barh(row, 100, color="#eeeeee", height=0.6)
        axes.barh(row, 100 * now / most, color=QUEUE, height=0.6)
        axes.plot([100 * peak / most] * 2, [row - 0.3, row + 0.3], color="black")
        axes.text(101, row, f"{now:,} of {most:,} {what}, at most {peak:,}", va="center", fontsize=9)
    for mark, word in ((config.low_mark, "opens"), (config.high_mark, "closes")):
        axes.plot([100 * mark] * 2, [-0.4, 1.4], color=STREAMING, linestyle=":")
        axes.text(100 * mark, -0.45, word, ha="center", va="bottom", fontsize=9, color=STREAMING)
    axes.set_yticks([])
    axes.set_ylim(1.5, -0.9)
    axes.set_xlabel("% of the maximum: held (green), the most that was held (line)")
    state = "closed" if held.is_paused else "open"
    axes.set_title(f"gate {state} · {held.times_paused} pauses, {held.seconds_paused:.2f} s", fontsize=10)
    _tidy(axes)
    return figure


def _picture(width: float, height: float) -> Any:
    """A figure of so many inches that shows itself, and that nothing else keeps."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        def _repr_png_(self) -> bytes:
            data = BytesIO()
            picture: Any = self  # see `Axes`
            picture.savefig(data, format="png", dpi=90, bbox_inches="tight")
            return data.getvalue()

    return Picture(figsize=(width, height), layout="constrained", facecolor="white")


def _tidy(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(labelsize=9)


def _milliseconds(seconds: float) -> str:
    milliseconds = seconds * 1000
    if milliseconds < 0.1:
        return f"{milliseconds * 1000:.2g} µs"
    return f"{milliseconds:.0f} ms" if milliseconds >= 10 else f"{milliseconds:.2g} ms"


def _plain_number(value: float, _: object) -> str:
    return f"{value:g}"
