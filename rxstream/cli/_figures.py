"""The figures of an answer for people: in one line, or as a table."""

from collections.abc import Iterator

from rxstream.taps import MetricsSummary
from rxstream.tokens import FinishReason

NAMES = 13
"""The width of the longest name of a figure."""


def line(summary: MetricsSummary) -> str:
    """Return what is worth knowing in one line."""
    if summary.time_to_first_content is None:
        return "no content came"
    parts = [f"first token {_milliseconds(summary.time_to_first_content)}", _counted(summary)]
    if summary.input_tokens is not None and summary.output_tokens is not None:
        parts.append(f"{summary.input_tokens} in, {summary.output_tokens} out")
    if summary.finish_reason not in {None, FinishReason.STOP}:
        parts.append(f"ended: {summary.raw_finish_reason or summary.finish_reason}")
    return " · ".join(parts)


def short(summary: MetricsSummary) -> str:
    """Return what two answers are compared by: the time to the first token, the rate, the length."""
    if summary.time_to_first_content is None:
        return "no content came" if summary.outcome else "…"
    rate = summary.output_tokens_per_second or summary.tokens_per_second
    count, unit = (summary.output_tokens, "tokens") if summary.output_tokens else (summary.content_tokens, "deltas")
    parts = [_milliseconds(summary.time_to_first_content), "" if rate is None else f"{rate:.0f}/s", f"{count} {unit}"]
    return " · ".join(part for part in parts if part)


def rows(summary: MetricsSummary) -> Iterator[tuple[str, str]]:
    """Give each figure that is known, by its name."""
    how = summary.error_type or summary.raw_finish_reason or summary.finish_reason
    yield "ended", f"{summary.outcome or 'running'}" + (f" ({how})" if how else "")
    for name, value in (("api", summary.provider), ("model", summary.model)):
        if value is not None:
            yield name, value
    yield "took", f"{summary.seconds:.2f} s"
    for name, seconds in (("first byte", summary.time_to_first_byte), ("first token", summary.time_to_first_content)):
        if seconds is not None:
            yield name, _milliseconds(seconds)
    for name, count in (("input tokens", summary.input_tokens), ("output tokens", summary.output_tokens)):
        if count is not None:
            yield name, f"{count:,}"
    yield "pieces", f"{summary.content_tokens:,}"
    yield from _rates(summary)
    if summary.chunks:
        yield "bytes", f"{summary.bytes:,} in {summary.chunks:,} chunks"
    if summary.pauses:
        yield "paused", f"{summary.pauses} times, for {summary.seconds_paused:.2f} s"


def _rates(summary: MetricsSummary) -> Iterator[tuple[str, str]]:
    rate = summary.output_tokens_per_second or summary.tokens_per_second
    if rate is not None:
        yield "rate", f"{rate:,.0f}/s"
    if None not in (gaps := (summary.gap_p50, summary.gap_p90, summary.gap_p99)):
        yield "gaps", " / ".join(f"{gap * 1000:.3g}" for gap in gaps if gap is not None) + " ms (p50 / p90 / p99)"


def _counted(summary: MetricsSummary) -> str:
    if summary.output_tokens:
        count, unit, rate = summary.output_tokens, "tokens", summary.output_tokens_per_second
    else:
        count, unit, rate = summary.content_tokens, "deltas", summary.tokens_per_second
    return f"{count} {unit}" + (f" at {rate:.0f}/s" if rate is not None else "")


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
