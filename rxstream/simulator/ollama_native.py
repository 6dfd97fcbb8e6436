"""Ollama, imitated: `POST /api/chat`, `GET /api/tags`.

One JSON object a line, in the order of Ollama's own members; the last one counts
tokens and nanoseconds. Streams unless told not to. Calls come whole; one whose
arguments are no JSON object comes as text, as when Ollama cannot read what the model
wrote. There is no channel for a refusal: it is the text.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import formatdate

import msgspec
from msgspec import Struct

from rxstream.simulator.api import Api, Asked, Refusal, Said, letters, read_json, to_json
from rxstream.simulator.faults import ErrorEvent
from rxstream.simulator.pieces import pieces
from rxstream.simulator.steps import Write
from rxstream.simulator.turn import Answer, OfferedTool, Turn
from rxstream.tokens import (
    FinishReason,
    Json,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
)

DONE_REASONS = {FinishReason.LENGTH: "length"}
"""All else ends in `stop`."""
ERRORS: Mapping[int, str] = {
    400: "invalid request",
    401: "unauthorized",
    403: "forbidden",
    404: "model '{model}' not found",
    429: "too many requests",
    500: "an error was encountered while running the model",
    503: "server busy, please try again. maximum pending requests exceeded",
}
"""What the service says for a status."""


class _Message(Struct):
    role: str
    content: str = ""


class _Function(Struct):
    name: str
    parameters: dict[str, Json] | None = None


class _Tool(Struct):
    function: _Function


class _Options(Struct):
    num_predict: int | None = None
    stop: list[str] = []


class _Body(Struct):
    model: str
    messages: list[_Message] = []
    stream: bool = True
    tools: list[_Tool] | None = None
    options: _Options | None = None
    think: bool | str | None = None


def read(asked: Asked) -> Turn:
    """Read a request."""
    body = read_json(asked.body, _Body)
    options = body.options or _Options()
    prompts = [message.content for message in body.messages if message.role == "user" and message.content]
    results = [message.content for message in body.messages if message.role == "tool"]
    is_told = bool(body.messages) and body.messages[-1].role == "tool"
    return Turn(
        model=body.model,
        prompt=prompts[-1] if prompts else "",
        stream=body.stream,
        max_tokens=options.num_predict,
        stop=tuple(options.stop),
        tools=tuple(OfferedTool(tool.function.name, tool.function.parameters or {}) for tool in body.tools or ()),
        tool_results=tuple(results) if is_told else (),
        input_tokens=sum(4 + len(pieces(message.content)) for message in body.messages),
        wants_reasoning=bool(body.think),
    )


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as lines."""
    in_order = msgspec.structs.replace(answer, interleaved=False)  # whole calls can't take turns
    return _Writer(in_order, turn).writes()


class _Writer:
    """Stream tokens in, lines out."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer, self._turn = answer, turn
        self._lines = 0
        self._calls = 0
        self._pieces: dict[str, int] = {}
        """How many tokens of each call came."""

    def writes(self) -> Iterator[Write]:
        for token in self._answer.tokens():
            yield from self._writes_of(token)

    def _writes_of(self, token: StreamToken) -> Iterator[Write]:
        match token:
            case ReasoningDelta(text=str() as text) if text:
                yield self._said({"content": "", "thinking": text}, tokens=1)
            case TextDelta() | RefusalDelta():
                yield self._said({"content": token.text}, tokens=1)
            case ToolCallDelta(key=key):
                self._pieces[key] = self._pieces.get(key, 0) + 1
            case ToolCall():
                message = _called(token, self._calls, _call_id(self._turn, token.key))
                self._calls += 1
                yield self._said(message, tokens=self._pieces.pop(token.key, 0))
            case StreamEnd():
                yield Write(_line(self._stamped() | _ending(self._answer)), events=1, is_end_mark=True)
            case _:
                return

    def _said(self, message: dict[str, Json], *, tokens: int) -> Write:
        line = self._stamped() | {"message": {"role": "assistant", **message}, "done": False}
        return Write(_line(line), tokens, events=1)

    def _stamped(self) -> dict[str, Json]:
        self._lines += 1
        return _stamped(self._turn, self._lines)


def _line(value: Json) -> bytes:
    return to_json(value) + b"\n"


def _stamped(turn: Turn, number: int) -> dict[str, Json]:
    """What every line begins with; the fraction of the second differs with each."""
    at = datetime.fromtimestamp(turn.at, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = turn.chance("times").randrange(100_000) * 10 + number % 10
    return {"model": turn.model, "created_at": f"{at}.{fraction:06}Z"}


def _called(call: ToolCall, index: int, id: str) -> dict[str, Json]:
    """A message that makes a call."""
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}", type=dict[str, Json])
    except msgspec.DecodeError:
        return {"content": f'{{"name": "{call.function.name}", "arguments": {call.function.arguments}'}
    function = {"index": index, "name": call.function.name, "arguments": arguments}
    return {"content": "", "tool_calls": [{"id": call.id or id, "function": function}]}


def _call_id(turn: Turn, key: str) -> str:
    return f"call_{letters(turn.chance(f'call {key}'), 8).lower()}"


def _ending(answer: Answer) -> dict[str, Json]:
    usage = answer.usage
    figures = {
        "total_duration": 1_000_000 * (40 + 20 * (usage.output_tokens or 0)),
        "load_duration": 20_000_000,
        "prompt_eval_count": usage.input_tokens or None,
        "prompt_eval_duration": 20_000_000,
        "eval_count": usage.output_tokens or None,
        "eval_duration": 20_000_000 * (usage.output_tokens or 0),
    }
    return {
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": answer.raw_finish or DONE_REASONS.get(answer.finish, "stop"),
        **{name: figure for name, figure in figures.items() if figure is not None},
    }


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one object."""
    message: dict[str, Json] = {"role": "assistant", "content": "".join([*answer.texts[0], *answer.refusal])}
    if answer.reasoning:
        message["thinking"] = "".join(answer.reasoning)
    calls: list[Json] = []
    for place, call in enumerate(answer.calls):
        arguments = msgspec.json.decode("".join(call.arguments) or "{}")
        function = {"index": place, "name": call.name, "arguments": arguments}
        calls.append({"id": call.id or _call_id(turn, f"0/{place}"), "function": function})
    if calls:
        message["tool_calls"] = calls
    return to_json(_stamped(turn, 1) | _ending(answer) | {"message": message})


def headers(turn: Turn) -> dict[str, str]:
    """Return the headers of a good answer."""
    return {"date": formatdate(turn.at, usegmt=True)}


def refuse(refusal: Refusal, turn: Turn) -> Said:
    """Write a refusal down."""
    usual = ERRORS.get(refusal.status, ERRORS[400 if refusal.status < 500 else 500])
    message = usual.format(model=turn.model) if refusal.message is None else refusal.message
    said = {**headers(turn), "content-type": "application/json; charset=utf-8"}
    return Said(refusal.status, said, to_json({"error": message}))


def error_event(fault: ErrorEvent) -> bytes:
    """Return an error as it comes inside a stream."""
    return _line({"error": fault.message or ERRORS[500]})


def models(names: Sequence[str], turn: Turn) -> bytes:
    """Write a list of models down."""
    at = datetime.fromtimestamp(turn.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    rows = [{"name": name, "model": name, "modified_at": at, "size": 1, "digest": _digest(name)} for name in names]
    return to_json({"models": rows})


def _digest(name: str) -> str:
    return letters(random.Random(name), 64, "0123456789abcdef")


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key that a request brings: the hosted service wants one."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else None


API = Api(
    name="ollama.native",
    paths=("POST /api/chat", "GET /api/tags"),
    base_path="",
    answers=lambda asked: asked.path.endswith("/api/chat"),
    lists_models=lambda asked: asked.path.endswith("/api/tags"),
    key_of=key_of,
    read=read,
    stream=stream,
    whole=whole,
    headers=headers,
    refuse=refuse,
    error_event=error_event,
    models=models,
    ping=b"\n",
    garbage=b'{"message": [\xff\xfe\x00 no JSON, no UTF-8\n',
    content_type="application/x-ndjson",
)
