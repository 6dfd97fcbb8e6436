"""What is shown of an answer: tokens in, HTML out. It knows nothing of IPython, and keeps no clock."""

from collections.abc import Iterable
from typing import Literal, TypeAlias

from msgspec import Struct

from rxstream import markup
from rxstream.errors import StreamError
from rxstream.messages import AssembledMessage, AssembledToolCall, MessageAssembler
from rxstream.notebook.markdown import to_html
from rxstream.taps import MetricsSummary
from rxstream.tokens import StreamToken

State: TypeAlias = Literal["waiting", "streaming", "complete", "failed", "stopped"]

COLOURS: dict[State, str] = {
    "waiting": "#8a8a8a",
    "streaming": "#1f77b4",
    "complete": "#2ca02c",
    "failed": "#d62728",
    "stopped": "#d98200",
}


class Price(Struct, frozen=True):
    """What a million tokens cost."""

    input: float
    output: float
    currency: str = "$"

    def of(self, input_tokens: int | None, output_tokens: int | None) -> float:
        """Return the cost of so many tokens; those that nobody knows cost nothing."""
        return ((input_tokens or 0) * self.input + (output_tokens or 0) * self.output) / 1_000_000


class AnswerPage:
    """One answer, as it looks so far."""

    def __init__(self, name: str | None = None, price: Price | None = None) -> None:
        self.name, self.price = name, price
        self.state: State = "waiting"
        self._error: Exception | None = None
        self._assembler = MessageAssembler()

    def extend(self, tokens: Iterable[StreamToken]) -> None:
        """Take the next tokens."""
        self.state = "streaming"
        self._assembler.extend(tokens)

    def end(self, state: State, error: Exception | None = None) -> None:
        """Take note of how it ended."""
        self.state, self._error = state, error

    @property
    def message(self) -> AssembledMessage:
        """The answer so far; with its error, if it ended in one."""
        return self._assembler.message(error=self._error.info if isinstance(self._error, StreamError) else None)

    def html(self, figures: MetricsSummary) -> str:
        """Return the answer with its figures, as HTML."""
        message = self.message
        state = f'<span style="color:{COLOURS[self.state]}">● {self.state}</span>'
        heading = f"<b>{markup.text(self.name)}</b> " if self.name else ""
        model = f" · {markup.text(message.model)}" if message.model else ""
        parts = [
            markup.quiet(f"{heading}{state}{model}"),
            _reasoning(message),
            to_html(message.text),
            markup.plain(f"⛔ {message.refusal}") if message.refusal else "",
            *map(_card, message.tool_calls),
            _failure(self._error) if self._error is not None else "",
            markup.quiet(markup.text(self.figures(message, figures))),
        ]
        return "".join(parts)

    def plain(self, figures: MetricsSummary) -> str:
        """Return the same for where no HTML is shown."""
        message = self.message
        heading = [f"{self.name} ({self.state})" if self.name else ""]
        calls = [f"{call.name}({call.shown})" for call in message.tool_calls]
        error = [] if self._error is None else [f"{type(self._error).__name__}: {self._error}"]
        lines = [*heading, message.text, message.refusal, *calls, *error, self.figures(message, figures)]
        return "\n".join(line for line in lines if line)

    def figures(self, message: AssembledMessage, figures: MetricsSummary) -> str:
        """Return the line of first token, rate, tokens and cost; what is only estimated has a ≈ before it."""
        first, rate = figures.time_to_first_content, figures.tokens_per_second
        parts = [
            f"first token {first * 1000:.0f} ms" if first is not None else f"waiting for {figures.seconds:.1f} s",
            f"{rate:.0f} tokens/s" if rate is not None else "",
            self._tokens(figures),
            self._cost(message, figures),
            f"{figures.seconds:.2f} s",
            f"paused {figures.seconds_paused:.2f} s" if figures.pauses else "",
        ]
        return " · ".join(part for part in parts if part)

    @staticmethod
    def _tokens(figures: MetricsSummary) -> str:
        if figures.output_tokens is None:
            return f"≈ {figures.content_tokens} out"
        about = "≈ " if figures.usage_is_estimated else ""
        given = "?" if figures.input_tokens is None else figures.input_tokens
        return f"{given} in, {about}{figures.output_tokens} out"

    def _cost(self, message: AssembledMessage, figures: MetricsSummary) -> str:
        """What the service says it cost, or else what it costs by `price`."""
        told = (message.usage_raw or {}).get("cost")
        if isinstance(told, int | float):
            return f"${told:.4g}"
        if self.price is None:
            return ""
        estimate = figures.output_tokens is None or figures.usage_is_estimated
        written = figures.content_tokens if figures.output_tokens is None else figures.output_tokens
        cost = self.price.of(figures.input_tokens, written)
        return f"{'≈ ' if estimate else ''}{self.price.currency}{cost:.2g}"


def side_by_side(answers: Iterable[str]) -> str:
    """Return the HTML of several answers as columns, which go beneath each other where there is no room."""
    columns = "".join(markup.box(answer, "flex:1 1 16em;min-width:0;overflow-x:auto") for answer in answers)
    return f'<div style="display:flex;flex-wrap:wrap;gap:.6em">{columns}</div>'


def _reasoning(message: AssembledMessage) -> str:
    """The thinking: open as long as there is nothing else to read."""
    if not message.reasoning:
        return ""
    is_open = not (message.text or message.tool_calls or message.complete)
    summary = "thinking…" if is_open else f"thought ({len(message.reasoning.split())} words)"
    return markup.folded(summary, f'<div style="opacity:.75">{to_html(message.reasoning)}</div>', is_open=is_open)


def _card(call: AssembledToolCall) -> str:
    """A tool call, as far as it has come."""
    id = f' <span style="opacity:.6">{markup.text(call.id)}</span>' if call.id else ""
    return markup.box(f"🔧 <b>{markup.text(call.name)}</b>{id}{markup.code(call.shown)}")


def _failure(error: Exception) -> str:
    return markup.box(f"<b>{markup.text(type(error).__name__)}</b> {markup.text(error)}", "border-color:#d62728")
