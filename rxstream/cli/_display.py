"""Where the tokens of an answer go: as they are to a pipe, set as Markdown to a terminal, or as JSON."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import timedelta
from typing import Protocol

import msgspec
from reactivex import Observable
from reactivex import operators as ops

from rxstream.cli import _figures
from rxstream.errors import StreamError
from rxstream.messages import AssembledMessage, MessageAssembler
from rxstream.operators import frames
from rxstream.sinks import iterate
from rxstream.taps import MetricsSummary, StreamMetrics, tap_metrics
from rxstream.tokens import (
    ReasoningDelta,
    RefusalDelta,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallTruncated,
    to_json,
)

DIM, PLAIN = "\x1b[2m", "\x1b[0m"
CAPACITY = 8192
"""Tokens that may wait to be shown; then the source is told to wait."""


class Display(Protocol):
    """What shows one answer."""

    @property
    def frame(self) -> timedelta | None:
        """How long what comes may wait to be shown together; `None` shows each token as it comes."""
        ...

    def take(self, tokens: Sequence[StreamToken]) -> None:
        """Show what came."""
        ...

    def end(self) -> None:
        """Show what is left, when no more comes, for whatever reason."""
        ...

    def fail(self, error: StreamError) -> None:
        """Show what the stream ended in, after `end`, where whoever reads the output needs it there."""
        ...


class Answer:
    """One answer: what is known of it while it comes, and after it ended."""

    def __init__(self) -> None:
        self.metrics = StreamMetrics()
        self._assembler = MessageAssembler()

    @property
    def message(self) -> AssembledMessage:
        """What came."""
        return self._assembler.message()

    async def show(self, stream: Observable[StreamToken], display: Display) -> None:
        """Show the tokens of `stream` as they come; raises the `StreamError` that it ends in, after all of them."""
        measured = stream.pipe(tap_metrics(self.metrics))
        if display.frame is None:
            batches = measured.pipe(ops.map(lambda token: [token]))
        else:
            batches = measured.pipe(frames(display.frame))
        try:
            async with iterate(batches, capacity=CAPACITY, weigh=len) as shown:
                async for tokens in shown:
                    self._assembler.extend(tokens)
                    display.take(tokens)
        except StreamError as error:
            display.end()
            display.fail(error)
            raise
        except asyncio.CancelledError:
            display.end()
            raise
        display.end()


class AsText:
    """The text of the answer to standard output; what else is worth knowing to standard error, for people."""

    frame = None

    def __init__(self) -> None:
        self._is_terminal = sys.stdout.isatty()
        self._has_shown = False

    def take(self, tokens: Sequence[StreamToken]) -> None:
        for token in tokens:
            self._take(token)

    def end(self) -> None:
        if self._has_shown and self._is_terminal:
            print(flush=True)

    def fail(self, error: StreamError) -> None:
        """Leave it to whoever asked."""

    def _take(self, token: StreamToken) -> None:
        match token:
            case TextDelta(choice=0) | RefusalDelta(choice=0):
                self._has_shown = True
                sys.stdout.write(_harmless(token.text) if self._is_terminal else token.text)
                sys.stdout.flush()
            case ReasoningDelta(choice=0) if sys.stderr.isatty():
                self._has_shown = True
                sys.stderr.write(f"{DIM}{_harmless(token.text)}{PLAIN}")
                sys.stderr.flush()
            case ToolCall():
                note(f"calls {token.function.name}({token.function.arguments})")
            case ToolCallTruncated():
                note(f"a call of {token.name} was cut short")
            case _:
                return  # the figures are for the end


class AsJson:
    """Every token as a line of JSON, and an error as one more, as `rxstream decode` prints them."""

    frame = None

    def take(self, tokens: Sequence[StreamToken]) -> None:
        for token in tokens:
            _print(to_json(token))

    def end(self) -> None:
        """Nothing is left."""

    def fail(self, error: StreamError) -> None:
        _print(msgspec.json.encode({"type": "Error", "kind": type(error).__name__, "error": error.info}))


def note(words: str) -> None:
    """Say something beside the answer, to a person only."""
    if sys.stderr.isatty():
        print(f"{DIM}{_harmless(words)}{PLAIN}", file=sys.stderr, flush=True)


def show_figures(summary: MetricsSummary, *, table: bool) -> None:
    """Say the figures of an answer on standard error: in a line for a person, or as the table that was asked for."""
    if not table:
        note(_figures.line(summary))
        return
    print(file=sys.stderr)
    for name, value in _figures.rows(summary):
        head = f"{name:>{_figures.NAMES}}"
        print(f"{DIM}{head}{PLAIN}  {value}" if sys.stderr.isatty() else f"{head}  {value}", file=sys.stderr)


def _print(line: bytes) -> None:
    """Write a line and let it go at once: whoever reads it may be watching a stream."""
    sys.stdout.buffer.write(line + b"\n")
    sys.stdout.buffer.flush()


def _harmless(text: str) -> str:
    """Return `text` without what a terminal would obey."""
    from rxstream.cli._markdown import printable  # it brings rich, which only a terminal needs

    return printable(text)
