"""What one request asks and what the simulated model answers, in the same words for every API."""

import random
from collections.abc import Iterator, Sequence
from itertools import zip_longest

import msgspec
from msgspec import Struct

from rxstream.messages import Usage
from rxstream.simulator import small_talk
from rxstream.simulator.pieces import pieces
from rxstream.simulator.script import Script, ScriptedCall
from rxstream.tokens import (
    FinishReason,
    FunctionCall,
    Json,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)


class OfferedTool(Struct, frozen=True):
    """A tool that the request lets the model call."""

    name: str
    schema: dict[str, Json] = {}
    """JSON schema of its arguments."""
    takes_free_text: bool = False
    """Whether it is called with plain text; then arguments that are text are that text."""


class Turn(Struct, frozen=True, kw_only=True):
    """What one request asks."""

    model: str = "simulated"
    prompt: str = ""
    """The text of the last message of the user."""
    stream: bool = True
    choices: int = 1
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    tools: tuple[OfferedTool, ...] = ()
    tool_results: tuple[str, ...] = ()
    """What the tools gave that the model called last."""
    input_tokens: int = 0
    wants_reasoning: bool = False
    wants_usage: bool = True
    wants_logprobs: bool = False
    wants_streamed_arguments: bool = False
    """Where the service sends a call whole unless asked for the pieces of its arguments."""
    wants_padding: bool = True
    """Against the analysis of traffic, where the service has that."""
    seed: int = 0
    number: int = 1
    """Of this request within the run; it makes the ids of answers differ."""
    at: int = 1_750_000_000
    """When, in seconds since 1970."""
    starting_after: int = -1
    """The number of the event after which a stream goes on that is asked for again."""

    def chance(self, purpose: str) -> random.Random:
        """Return what to draw ids and padding from: always the same for the same turn and purpose."""
        return random.Random(f"{self.seed}/{self.number}/{purpose}")


ANY_TURN = Turn()


class Call(Struct, frozen=True):
    """A tool call of an answer."""

    id: str | None
    """`None` where the service makes one up."""
    name: str
    arguments: list[str]
    """JSON text in pieces."""


class Answer(Struct, frozen=True, kw_only=True):
    """What the model says, decided, but not yet in the words of a service."""

    model: str
    texts: list[list[str]]
    """The text of each choice in pieces."""
    reasoning: list[str]
    signature: str | None
    redacted: str | None
    refusal: list[str]
    calls: list[Call]
    interleaved: bool
    finish: FinishReason
    raw_finish: str | None
    stop_sequence: str | None
    usage: Usage
    reasoning_field: str

    def tokens(self) -> Iterator[StreamToken]:
        """Give the answer as stream tokens, choices in turns; every delta is one token of the model."""
        yield StreamStart(None, self.model, "simulator")
        yield from _in_turns([self._choice(choice) for choice in range(len(self.texts))])
        for choice in range(len(self.texts)):
            details = {"stop_sequence": self.stop_sequence} if self.stop_sequence else None
            yield StreamEnd(self.finish, self.raw_finish, choice, details)
        usage = self.usage
        yield UsageReport(*(getattr(usage, name) for name in Usage.__struct_fields__))

    def _choice(self, choice: int) -> Iterator[StreamToken]:
        index = 0
        if self.redacted is not None:
            yield ReasoningDelta("", index, choice, redacted=self.redacted)
            index += 1
        for piece in self.reasoning:
            yield ReasoningDelta(piece, index, choice)
        if self.reasoning:
            yield ReasoningDelta("", index, choice, signature=self.signature or "")
            index += 1
        for piece in self.texts[choice]:
            yield TextDelta(piece, index, choice)
        for piece in self.refusal:
            yield RefusalDelta(piece, choice)
        calls = [self._call(call, f"{choice}/{place}", choice) for place, call in enumerate(self.calls)]
        if self.interleaved:
            yield from _in_turns(calls)
        else:
            for call in calls:
                yield from call

    @staticmethod
    def _call(call: Call, key: str, choice: int) -> Iterator[StreamToken]:
        yield ToolCallStart(key, call.id, call.name, choice)
        for piece in call.arguments:
            yield ToolCallDelta(key, piece)
        yield ToolCall(key, call.id, FunctionCall(call.name, "".join(call.arguments)))


def _in_turns(series: Sequence[Iterator[StreamToken]]) -> Iterator[StreamToken]:
    if len(series) == 1:
        return series[0]
    return (token for turns in zip_longest(*series) for token in turns if token is not None)


def answer(script: Script, turn: Turn) -> Answer:
    """Return what `script` says to `turn`."""
    calls = [*script.tool_calls, *(_calls_of(turn) if script.call_tools else ())]
    texts, finish, stop_sequence = _texts(script, turn, has_calls=bool(calls))
    if calls:
        finish = FinishReason.TOOL_CALLS
    elif script.refusal is not None:
        finish = FinishReason.REFUSAL
    reasoning = script.reasoning
    if reasoning is None and (script.think or turn.wants_reasoning):
        reasoning = small_talk.thoughts(turn.prompt)
    thought, refused = pieces(reasoning or ""), pieces(script.refusal or "")
    written = [Call(call.id, call.name, pieces(_as_text(call.arguments))) for call in calls]
    once = len(thought) + len(refused) + sum(len(call.arguments) for call in written)
    output = sum(map(len, texts)) + once * len(texts)
    return Answer(
        model=turn.model,
        texts=texts,
        reasoning=thought,
        signature=script.signature,
        redacted=script.redacted,
        refusal=refused,
        calls=written,
        interleaved=script.interleaved,
        finish=script.finish or finish,
        raw_finish=script.raw_finish,
        stop_sequence=script.stop_sequence or stop_sequence,
        usage=script.usage
        or Usage(turn.input_tokens, output, len(thought) * len(texts), 0, 0, turn.input_tokens + output),
        reasoning_field=script.reasoning_field,
    )


def _texts(script: Script, turn: Turn, *, has_calls: bool) -> tuple[list[list[str]], FinishReason, str | None]:
    """The text of each choice, why it ends, and the stop sequence that it met."""
    times = script.choices or turn.choices
    if script.deltas is not None:
        return [list(script.deltas)] * times, FinishReason.STOP, None
    if script.text is not None or has_calls or script.refusal is not None:
        return [pieces(script.text or "")] * times, FinishReason.STOP, None
    if script.call_tools and turn.tool_results:
        said = [small_talk.reply_to(turn.tool_results)] * times
    else:
        said = [small_talk.reply(turn.prompt, variant=choice, length=script.length) for choice in range(times)]
        if script.length is not None:
            return said, FinishReason.STOP, None
    within = [_within_limits(text, turn) for text in said]
    return [text for text, _, _ in within], within[0][1], within[0][2]


def _within_limits(said: list[str], turn: Turn) -> tuple[list[str], FinishReason, str | None]:
    """`said` as far as stop sequences and the limit on tokens let it go."""
    text = "".join(said) if turn.stop else ""
    found = [(text.find(word), word) for word in turn.stop if word and word in text]
    if found:
        place, word = min(found)
        said = pieces(text[:place])
        if turn.max_tokens is None or len(said) <= turn.max_tokens:
            return said, FinishReason.STOP, word
    if turn.max_tokens is not None and len(said) > turn.max_tokens:
        return said[: turn.max_tokens], FinishReason.LENGTH, None
    return said, FinishReason.STOP, None


def _calls_of(turn: Turn) -> list[ScriptedCall]:
    if turn.tool_results:
        return []
    return [
        ScriptedCall(tool.name, small_talk.as_object(small_talk.arguments_for(tool.schema, turn.prompt)))
        for tool in turn.tools
    ]


def _as_text(arguments: str | dict[str, Json]) -> str:
    return arguments if isinstance(arguments, str) else msgspec.json.encode(arguments).decode()
