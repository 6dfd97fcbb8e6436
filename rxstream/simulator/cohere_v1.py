"""Cohere's chat API, version 1, imitated: `POST /cohere/v1/chat`, `GET /cohere/v1/models`.

One JSON object a line; the last one repeats the whole answer. Arguments come as text,
and then each call once more with an object. There is no thinking, and no channel for a
refusal: it is the text.
"""

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from rxstream.simulator import _cohere
from rxstream.simulator.api import Api, Asked, read_json, to_json
from rxstream.simulator.faults import ErrorEvent
from rxstream.simulator.pieces import pieces
from rxstream.simulator.steps import Write
from rxstream.simulator.turn import Answer, OfferedTool, Turn
from rxstream.tokens import (
    FinishReason,
    Json,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)

JSON_TYPES = {
    "str": "string",
    "int": "integer",
    "float": "number",
    "bool": "boolean",
    "list": "array",
    "dict": "object",
}
FINISH_REASONS = {**_cohere.FINISH_REASONS, FinishReason.TOOL_CALLS: "COMPLETE"}
"""The calls say so themselves."""


class _Past(Struct):
    role: str
    message: str = ""


class _Parameter(Struct):
    type: str = "str"


class _Tool(Struct):
    name: str
    parameter_definitions: dict[str, _Parameter] | None = None


class _Result(Struct):
    outputs: list[dict[str, Json]] = []


class _Body(Struct):
    message: str
    model: str = "command"
    stream: bool = False
    chat_history: list[_Past] = []
    max_tokens: int | None = None
    stop_sequences: list[str] = []
    tools: list[_Tool] | None = None
    tool_results: list[_Result] = []


def read(asked: Asked) -> Turn:
    """Read a request."""
    body = read_json(asked.body, _Body)
    prompts = [past.message for past in body.chat_history if past.role == "USER"]
    told = [body.message, *(past.message for past in body.chat_history)]
    results = [str(value) for result in body.tool_results for output in result.outputs for value in output.values()]
    return Turn(
        model=body.model,
        prompt=body.message or (prompts[-1] if prompts else ""),
        stream=body.stream,
        max_tokens=body.max_tokens,
        stop=tuple(body.stop_sequences),
        tools=tuple(OfferedTool(tool.name, _schema(tool)) for tool in body.tools or ()),
        tool_results=tuple(results),
        input_tokens=sum(3 + len(pieces(text)) for text in [*told, *results]) + 3,
    )


def _schema(tool: _Tool) -> dict[str, Json]:
    definitions = (tool.parameter_definitions or {}).items()
    properties: dict[str, Json] = {name: {"type": JSON_TYPES.get(each.type, "string")} for name, each in definitions}
    return {"type": "object", "properties": properties}


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as lines."""
    return _Writer(answer, turn).writes()


class _Writer:
    """Stream tokens in, lines out."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer, self._turn = answer, turn
        self._places: dict[str, int] = {}

    def writes(self) -> Iterator[Write]:
        yield _line("stream-start", generation_id=_cohere.uuid(self._turn, "id"))
        for token in self._answer.tokens():
            yield from self._writes_of(token)

    def _writes_of(self, token: StreamToken) -> Iterator[Write]:
        match token:
            case TextDelta() | RefusalDelta():
                yield _line("text-generation", tokens=1, text=token.text)
            case ToolCallStart():
                place = self._places[token.key] = len(self._places)
                yield _line("tool-calls-chunk", tool_call_delta={"index": place, "name": token.name})
            case ToolCallDelta():
                piece = {"index": self._places[token.key], "parameters": token.arguments}
                yield _line("tool-calls-chunk", tokens=1, tool_call_delta=piece)
            case StreamEnd():
                calls = _calls(self._answer)
                if calls:
                    yield _line("tool-calls-generation", tool_calls=calls)
                response = _response(self._answer, self._turn)
                end = _line("stream-end", is_finished=True, finish_reason=response["finish_reason"], response=response)
                yield msgspec.structs.replace(end, is_end_mark=True)
            case _:
                return


def _line(kind: str, *, is_finished: bool = False, tokens: int = 0, **more: Json) -> Write:
    return Write(to_json({"is_finished": is_finished, "event_type": kind, **more}) + b"\n", tokens, events=1)


def _calls(answer: Answer) -> list[Json]:
    """The calls with their arguments as objects; none where one of them is no object."""
    try:
        return [
            {
                "name": call.name,
                "parameters": msgspec.json.decode("".join(call.arguments) or "{}", type=dict[str, Json]),
            }
            for call in answer.calls
        ]
    except (msgspec.DecodeError, UnicodeEncodeError):
        return []


def _response(answer: Answer, turn: Turn) -> dict[str, Json]:
    calls = _calls(answer)
    return {
        "response_id": _cohere.uuid(turn, "response"),
        "text": "".join([*answer.texts[0], *answer.refusal]),
        "generation_id": _cohere.uuid(turn, "id"),
        "finish_reason": answer.raw_finish or FINISH_REASONS.get(answer.finish, "COMPLETE"),
        **({"tool_calls": calls} if calls else {}),
        "meta": {"api_version": {"version": "1"}, **_cohere.counted(answer.usage)},
    }


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one object."""
    return to_json(_response(answer, turn))


def error_event(fault: ErrorEvent) -> bytes:
    """Return an error as it comes inside a stream: in its end."""
    message = fault.message or _cohere.ERRORS[500]
    return _line("stream-end", is_finished=True, finish_reason="ERROR", error=message, response={"text": ""}).data


API = Api(
    name="cohere.v1",
    paths=("POST /cohere/v1/chat", "GET /cohere/v1/models"),
    base_path="/cohere",
    answers=lambda asked: asked.path.endswith("/v1/chat"),
    lists_models=lambda asked: asked.path.endswith("/cohere/v1/models"),
    key_of=_cohere.key_of,
    read=read,
    stream=stream,
    whole=whole,
    headers=_cohere.headers,
    refuse=_cohere.refuse,
    error_event=error_event,
    models=_cohere.models,
    ping=b"\n",
    garbage=b'{"event_type": \xff\xfe\x00 no JSON, no UTF-8\n',
    content_type="application/stream+json",
)
