"""`rxstream chat`: an answer, streamed to the terminal.

The answer goes to standard output as it comes and is all that goes there. What is
worth knowing about it goes to standard error, when that is a terminal.
"""

import argparse
import asyncio
import os
import sys
import time
from contextlib import AsyncExitStack

from reactivex import Observable

from rxstream.dialects import FAMILIES, dialect, dialect_and_model, dialects, presets
from rxstream.providers import AiProvider
from rxstream.simulator import Simulator
from rxstream.sinks import iterate
from rxstream.tokens import (
    CONTENT,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallTruncated,
    UsageReport,
)

NAME = "chat"
SUMMARY = "stream an answer to the terminal"
DESCRIPTION = "Stream an answer to the terminal. Without a model, a simulator on this machine answers."
EPILOG = None

SIMULATED_API = "openai.chat"
DIM, PLAIN = "\x1b[2m", "\x1b[0m"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "-m",
        "--model",
        metavar="PROVIDER:MODEL",
        help="such as openai:gpt-5; a provider is a service ("
        + ", ".join([*FAMILIES, *presets()])
        + ") or one API of: "
        + ", ".join(dialects()),
    )
    parser.add_argument("--base-url", metavar="URL", help="where the API is, for compatible and local servers")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="the longest answer to ask for, in tokens")
    parser.add_argument("prompt", metavar="PROMPT", help="what to ask; - reads it from standard input")


def run(options: argparse.Namespace) -> int:
    """Ask what `options` say; return the exit status."""
    return asyncio.run(_chat(options))


async def _chat(options: argparse.Namespace) -> int:
    prompt = sys.stdin.read() if options.prompt == "-" else options.prompt
    async with AsyncExitStack() as stack:
        if options.model is None and options.base_url is None:
            simulator = await stack.enter_async_context(Simulator())
            address = simulator.base_url(SIMULATED_API)
            print(f"no model named: the simulator answers, at {address}{_hint()}", file=sys.stderr)
            provider, model = AiProvider(SIMULATED_API, base_url=address, api_key=None), "simulator"
        else:
            api, model = dialect_and_model(options.model or "")
            provider = AiProvider(api, base_url=options.base_url)
        await stack.enter_async_context(provider)
        chosen = {} if options.max_tokens is None else {"max_tokens": options.max_tokens}
        await show(provider.stream(prompt, model=model, **chosen))
    return 0


async def show(stream: Observable[StreamToken]) -> None:
    """Write the text of `stream` to standard output as it comes, and its figures to standard error at the end.

    Raises the `StreamError` that the stream ends in, after what came before it.
    """
    figures = Figures()
    try:
        async with iterate(stream) as tokens:
            async for token in tokens:
                figures.note(token)
                _show(token)
    finally:
        if figures.has_content and sys.stdout.isatty():
            print(flush=True)
        _note(figures.line())


class Figures:
    """What is worth knowing about an answer; times in seconds since it was asked for."""

    def __init__(self) -> None:
        self._asked = time.perf_counter()
        self._first: float | None = None
        self._last = 0.0
        self._deltas = 0
        self._usage = UsageReport()
        self._end: StreamEnd | None = None

    def note(self, token: StreamToken) -> None:
        """Take note of one token."""
        if isinstance(token, CONTENT):
            self._last = time.perf_counter() - self._asked
            if self._first is None:
                self._first = self._last
            self._deltas += 1
        elif isinstance(token, UsageReport):
            self._usage = token
        elif isinstance(token, StreamEnd):
            self._end = token

    @property
    def has_content(self) -> bool:
        """Whether the answer has begun."""
        return self._first is not None

    def line(self) -> str:
        """Return the figures in one line."""
        if self._first is None:
            return "no content came"
        count, unit = (self._usage.output_tokens, "tokens") if self._usage.output_tokens else (self._deltas, "deltas")
        took = self._last - self._first
        parts = [
            f"first token {self._first * 1000:.0f} ms",
            f"{count} {unit}" + (f" at {count / took:.0f}/s" if took > 0 else ""),
        ]
        if self._usage.input_tokens is not None:
            parts.append(f"{self._usage.input_tokens} in, {self._usage.output_tokens} out")
        if self._end is not None and self._end.reason != "stop":
            parts.append(f"ended: {self._end.raw_reason or self._end.reason}")
        return " · ".join(parts)


def _show(token: StreamToken) -> None:
    match token:
        case TextDelta(choice=0) | RefusalDelta(choice=0):
            sys.stdout.write(token.text)
            sys.stdout.flush()
        case ReasoningDelta(choice=0) if sys.stderr.isatty():
            sys.stderr.write(f"{DIM}{token.text}{PLAIN}")
            sys.stderr.flush()
        case ToolCall():
            _note(f"calls {token.function.name}({token.function.arguments})")
        case ToolCallTruncated():
            _note(f"a call of {token.name} was cut short")
        case _:
            return  # the figures are for the end


def _note(line: str) -> None:
    """Say something beside the answer, to a person only."""
    if sys.stderr.isatty():
        print(f"{DIM}{line}{PLAIN}", file=sys.stderr, flush=True)


def _hint() -> str:
    """Which keys are there for a next step."""
    names = [*dialects(), *presets()]
    found = [name for name in names if (variable := dialect(name).key_variable) and os.environ.get(variable)]
    return f"; with -m {found[0]}:MODEL the service does" if found else ""
