"""Cohere's chat API, version 2, imitated: `POST /cohere/v2/chat`, `GET /cohere/v1/models`.

Contents, calls and citations are numbered each by themselves. There is no channel for
a refusal: it is the text.
"""

from collections.abc import Iterator

from msgspec import Struct

from rxstream.simulator import _cohere
from rxstream.simulator.api import Api, Asked, Content, letters, read_json, text_of, to_json
from rxstream.simulator.faults import ErrorEvent
from rxstream.simulator.pieces import pieces
from rxstream.simulator.steps import Write
from rxstream.simulator.turn import Answer, Call, OfferedTool, Turn
from rxstream.tokens import (
    Json,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
)


class _Message(Struct):
    role: str
    content: Content = None


class _Function(Struct):
    name: str
    parameters: dict[str, Json] | None = None


class _Tool(Struct):
    function: _Function | None = None


class _Thinking(Struct):
    type: str = "enabled"


class _Body(Struct):
    model: str
    messages: list[_Message]
    stream: bool = False
    max_tokens: int | None = None
    stop_sequences: list[str] = []
    tools: list[_Tool] | None = None
    thinking: _Thinking | None = None
    logprobs: bool | None = None


def read(asked: Asked) -> Turn:
    """Read a request."""
    body = read_json(asked.body, _Body)
    said_last = max((place for place, each in enumerate(body.messages) if each.role == "assistant"), default=-1)
    prompts = [text_of(each.content) for each in body.messages if each.role == "user"]
    return Turn(
        model=body.model,
        prompt=prompts[-1] if prompts else "",
        stream=body.stream,
        max_tokens=body.max_tokens,
        stop=tuple(body.stop_sequences),
        tools=tuple(
            OfferedTool(tool.function.name, tool.function.parameters or {})
            for tool in body.tools or ()
            if tool.function
        ),
        tool_results=tuple(text_of(each.content) for each in body.messages[said_last + 1 :] if each.role == "tool"),
        input_tokens=sum(3 + len(pieces(text_of(each.content))) for each in body.messages) + 3,
        wants_reasoning=body.thinking is not None and body.thinking.type == "enabled",
        wants_logprobs=bool(body.logprobs),
    )


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as events."""
    return _Writer(answer, turn).writes()


class _Writer:
    """Stream tokens in, events out."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer, self._turn = answer, turn
        self._open: str | None = None  # the kind of the content block that is open
        self._blocks = 0
        self._places: dict[str, int] = {}
        self._chance = turn.chance("logprobs")

    def writes(self) -> Iterator[Write]:
        message: dict[str, Json] = {"role": "assistant", "content": []}
        message |= {"tool_plan": "", "tool_calls": [], "citations": []}
        start = {"id": _cohere.uuid(self._turn, "id"), "type": "message-start", "delta": {"message": message}}
        yield _event(start)
        for token in self._answer.tokens():
            yield from self._writes_of(token)

    def _writes_of(self, token: StreamToken) -> Iterator[Write]:
        match token:
            case ReasoningDelta():
                if token.text:
                    yield from self._piece("thinking", token.text)
            case TextDelta() | RefusalDelta():
                yield from self._piece("text", token.text)
            case ToolCallStart():
                yield from self._close()
                place = self._places[token.key] = len(self._places)
                function = {"name": token.name, "arguments": ""}
                call = {"id": token.id or _call_id(self._turn, token.name, place), "type": "function"}
                yield _said("tool-call-start", place, {"tool_calls": {**call, "function": function}})
            case ToolCallDelta():
                piece = {"tool_calls": {"function": {"arguments": token.arguments}}}
                yield _said("tool-call-delta", self._places[token.key], piece, tokens=1)
            case ToolCall():
                yield _event({"type": "tool-call-end", "index": self._places[token.key]})
            case StreamEnd():
                yield from self._close()
                yield self._end(token)
            case _:
                return

    def _piece(self, kind: str, text: str) -> Iterator[Write]:
        if self._open != kind:
            yield from self._close()
            self._open = kind
            yield _said("content-start", self._blocks, {"content": {"type": kind, kind: ""}})
        more: dict[str, Json] = {}
        if kind == "text" and self._turn.wants_logprobs:
            more["logprobs"] = {"text": text, "token_ids": [1], "logprobs": [-round(self._chance.random() ** 4, 8)]}
        yield _said("content-delta", self._blocks, {"content": {kind: text}}, tokens=1, **more)

    def _close(self) -> Iterator[Write]:
        if self._open is not None:
            yield _event({"type": "content-end", "index": self._blocks})
            self._open = None
            self._blocks += 1

    def _end(self, end: StreamEnd) -> Write:
        reason = end.raw_reason or _cohere.FINISH_REASONS.get(end.reason, "COMPLETE")
        delta = {"finish_reason": reason, "usage": _cohere.counted(self._answer.usage)}
        event = _event({"type": "message-end", "delta": delta})
        return Write(event.data + b"data: [DONE]\n\n", events=2, is_end_mark=True)


def _said(kind: str, index: int, message: dict[str, Json], *, tokens: int = 0, **more: Json) -> Write:
    return _event({"type": kind, "index": index, "delta": {"message": message}, **more}, tokens)


def _event(event: dict[str, Json], tokens: int = 0) -> Write:
    return Write(b"event: %b\ndata: %b\n\n" % (str(event["type"]).encode(), to_json(event)), tokens, events=1)


def _call_id(turn: Turn, name: str, place: int) -> str:
    return f"{name}_{letters(turn.chance(f'call {place}'), 12).lower()}"


def _call(turn: Turn, call: Call, place: int) -> Json:
    function = {"name": call.name, "arguments": "".join(call.arguments)}
    return {"id": call.id or _call_id(turn, call.name, place), "type": "function", "function": function}


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one object."""
    text = "".join([*answer.texts[0], *answer.refusal])
    content: list[Json] = [{"type": "thinking", "thinking": "".join(answer.reasoning)}] if answer.reasoning else []
    content += [{"type": "text", "text": text}] if text else []
    message: dict[str, Json] = {"role": "assistant", "content": content}
    if answer.calls:
        message["tool_calls"] = [_call(turn, call, place) for place, call in enumerate(answer.calls)]
    said = {
        "id": _cohere.uuid(turn, "id"),
        "message": message,
        "finish_reason": answer.raw_finish or _cohere.FINISH_REASONS.get(answer.finish, "COMPLETE"),
        "usage": _cohere.counted(answer.usage),
    }
    return to_json(said)


def error_event(fault: ErrorEvent) -> bytes:
    """Return an error as it comes inside a stream: in its end."""
    error = {"error": fault.message or _cohere.ERRORS[500], "error_type": fault.kind or "INTERNAL_ERROR"}
    event = _event({"type": "message-end", "delta": {"finish_reason": "ERROR", "usage": {}, **error}})
    return event.data + b"data: [DONE]\n\n"


API = Api(
    name="cohere.v2",
    paths=("POST /cohere/v2/chat", "GET /cohere/v1/models"),
    base_path="/cohere",
    answers=lambda asked: asked.path.endswith("/v2/chat"),
    lists_models=lambda asked: asked.path.endswith("/cohere/v1/models"),
    key_of=_cohere.key_of,
    read=read,
    stream=stream,
    whole=whole,
    headers=_cohere.headers,
    refuse=_cohere.refuse,
    error_event=error_event,
    models=_cohere.models,
    ping=b": keep-alive\n\n",
    garbage=b'event: content-delta\ndata: {"type": \xff\xfe\x00 no JSON, no UTF-8\n\n',
)
