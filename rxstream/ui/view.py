"""What a window shows of an answer, as a value.

The tokens of a frame go in and a whole view comes out, so a window has no state of the
stream to keep: it draws the view it was given last. Text only grows, nearly always, and
`added` says by what, so that drawing costs what is new and not what is there.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal, NamedTuple, TypeAlias

from rxstream.errors import StreamError
from rxstream.messages import AssembledMessage, AssembledToolCall, MessageAssembler
from rxstream.tokens import CONTENT, FinishReason, StreamToken

Kind: TypeAlias = Literal["question", "reasoning", "text", "call", "error"]
"""`question` is for the windows: no answer has one."""

NOTHING = AssembledMessage()
_USUAL = (None, FinishReason.STOP, FinishReason.TOOL_CALLS)
"""Reasons to end of which nobody needs to be told."""


class Phase(StrEnum):
    """How far an answer is."""

    WAITING = "waiting"
    ANSWERING = "answering"
    DONE = "done"
    STOPPED = "stopped"
    """By the user; what had come is there."""
    FAILED = "failed"
    """See `AnswerView.error`; what had come is there."""


class Span(NamedTuple):
    """A piece of what is shown, of one look."""

    kind: Kind
    text: str


@dataclass(frozen=True, kw_only=True)
class AnswerView:
    """What a window shows of an answer at one moment."""

    message: AssembledMessage = NOTHING
    """The answer so far."""
    phase: Phase = Phase.WAITING
    error: Exception | None = None
    """What the stream ended in: a `StreamError`, unless an operator of yours raised something else."""
    deltas: int = 0
    """How many pieces of content came."""
    first_after: float | None = None
    """Seconds from the question to the first content; `None` while there is none."""
    seconds: float = 0.0
    """Seconds from the question to the last content."""

    @property
    def text(self) -> str:
        """The words of the answer, a refusal included."""
        return self.message.text + self.message.refusal

    @property
    def reasoning(self) -> str:
        """What the model thought first."""
        return self.message.reasoning

    @property
    def tool_calls(self) -> list[AssembledToolCall]:
        """The calls so far; one whose `arguments` are `None` is not whole, or takes plain text."""
        return self.message.tool_calls

    @property
    def is_over(self) -> bool:
        """Whether no other view of this answer comes."""
        return self.phase in {Phase.DONE, Phase.STOPPED, Phase.FAILED}

    @property
    def status(self) -> str:
        """One line on how it goes, for beneath the answer."""
        match self.phase:
            case Phase.WAITING:
                return "waiting for the first token"
            case Phase.ANSWERING:
                return f"{'answering' if self.text or not self.reasoning else 'thinking'} · {self._figures()}"
            case Phase.DONE:
                reason = self.message.reason
                ended = [] if reason in _USUAL else [f"ended by {self.message.finish_reason or reason}"]
                return " · ".join([self._figures(), *ended])
            case Phase.STOPPED:
                return f"stopped · {self._figures()}"
            case Phase.FAILED:
                return f"failed · {self._figures()}"

    def spans(self) -> list[Span]:
        """Return the answer in the order in which it is read; each span after the first begins with its distance."""
        pieces = [
            Span("reasoning", self.reasoning),
            Span("text", self.text),
            *(Span("call", f"{call.name}({call.arguments_raw or ''})") for call in self.tool_calls),
            Span("error", str(self.error) if self.error else ""),
        ]
        shown = [piece for piece in pieces if piece.text]
        return shown[:1] + [Span(kind, f"\n\n{text}") for kind, text in shown[1:]]

    def _figures(self) -> str:
        if self.first_after is None:
            return "no content came"
        usage = self.message.usage
        told = usage.output_tokens if usage else None
        about = "≈ " if self.message.usage_source == "estimated" else ""
        count = f"{about}{told} tokens" if told else f"{self.deltas} delta{'s' if self.deltas != 1 else ''}"
        took = self.seconds - self.first_after
        rate = f" at {(told or self.deltas) / took:.0f}/s" if took > 0 else ""
        return f"{count}{rate} · first after {self.first_after * 1000:.0f} ms"


def added(shown: Sequence[Span], wanted: Sequence[Span]) -> list[Span] | None:
    """Return what `wanted` has after `shown`; `None` if it does not begin like it, and all is to be drawn anew."""
    if not shown:
        return list(wanted)
    last = len(shown) - 1
    if len(wanted) <= last or list(shown[:last]) != list(wanted[:last]):
        return None
    before, after = shown[last], wanted[last]
    if before.kind != after.kind or not after.text.startswith(before.text):
        return None
    grown = [Span(after.kind, after.text[len(before.text) :])] if len(after.text) > len(before.text) else []
    return [*grown, *wanted[last + 1 :]]


class Answer:
    """Tokens in, the view of what they add up to out."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._asked = now()
        self._assembler = MessageAssembler()
        self.view = AnswerView()
        """The last view."""

    def feed(self, tokens: Iterable[StreamToken]) -> AnswerView:
        """Take the tokens of a frame."""
        tokens = list(tokens)
        self._assembler.extend(tokens)
        if deltas := sum(isinstance(token, CONTENT) for token in tokens):
            seconds = self._now() - self._asked
            first_after = seconds if self.view.first_after is None else self.view.first_after
            counted = self.view.deltas + deltas
            self.view = replace(
                self.view, phase=Phase.ANSWERING, deltas=counted, first_after=first_after, seconds=seconds
            )
        self.view = replace(self.view, message=self._assembler.message())
        return self.view

    def complete(self) -> AnswerView:
        """End well."""
        self.view = replace(self.view, phase=Phase.DONE)
        return self.view

    def fail(self, error: Exception) -> AnswerView:
        """End with `error`."""
        info = error.info if isinstance(error, StreamError) else None
        message = self._assembler.message(error=info)
        self.view = replace(self.view, phase=Phase.FAILED, error=error, message=message)
        return self.view
