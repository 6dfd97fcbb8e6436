"""Gemini, imitated: `POST …/models/{model}:streamGenerateContent`, `:generateContent`, `:countTokens`, `GET …/models`.

Order of members, line ends and headers are those of generativelanguage.googleapis.com:
each event is a whole answer with CR LF at its end, usage is cumulative, and the finish
reason comes with an empty part. A signature sits on the part after the thinking. Calls
come whole, unless the request asks for their arguments as a stream, as Vertex does;
a call whose arguments are no JSON object is left open, as one that a limit cut.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate
from typing import cast

import msgspec
from msgspec import Struct

from rxstream.messages import Usage
from rxstream.simulator.api import Api, Asked, Refusal, Said, letters, read_json, to_json
from rxstream.simulator.faults import ErrorEvent
from rxstream.simulator.pieces import pieces
from rxstream.simulator.steps import Write
from rxstream.simulator.turn import Answer, OfferedTool, Turn
from rxstream.tokens import (
    FinishReason,
    Json,
    ReasoningDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCall,
    ToolCallDelta,
    ToolCallStart,
)

FINISH_REASONS = {
    FinishReason.STOP: "STOP",
    FinishReason.LENGTH: "MAX_TOKENS",
    FinishReason.TOOL_CALLS: "STOP",
    FinishReason.CONTENT_FILTER: "SAFETY",
    FinishReason.REFUSAL: "SAFETY",
    FinishReason.PAUSE: "STOP",
    FinishReason.ERROR: "MALFORMED_FUNCTION_CALL",
    FinishReason.OTHER: "OTHER",
}
ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("INVALID_ARGUMENT", "Invalid JSON payload received."),
    401: ("UNAUTHENTICATED", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "Permission denied on the requested resource."),
    404: ("NOT_FOUND", "{model} is not found for API version v1beta, or is not supported for generateContent."),
    429: ("RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details."),
    499: ("CANCELLED", "The operation was cancelled."),
    500: ("INTERNAL", "An internal error has occurred."),
    503: ("UNAVAILABLE", "The model is overloaded. Please try again later."),
    504: ("DEADLINE_EXCEEDED", "The request timed out. Please try again."),
}
"""What the service says for a status: its name, message."""
_PATH = re.compile(r".*/(?P<model>[^/:]+):(?P<method>streamGenerateContent|generateContent|countTokens)")


class _Result(Struct):
    response: dict[str, Json] = {}


class _Part(Struct, rename="camel"):
    text: str | None = None
    thought: bool | None = None
    function_response: _Result | None = None


class _Content(Struct):
    parts: list[_Part] = []
    role: str = "user"

    @property
    def text(self) -> str:
        return "".join(part.text for part in self.parts if part.text and not part.thought)


class _Function(Struct, rename="camel"):
    name: str
    parameters_json_schema: dict[str, Json] | None = None
    parameters: dict[str, Json] | None = None


class _Tool(Struct, rename="camel"):
    function_declarations: list[_Function] = []


class _Thinking(Struct, rename="camel"):
    include_thoughts: bool = False


class _Config(Struct, rename="camel"):
    max_output_tokens: int | None = None
    stop_sequences: list[str] = []
    candidate_count: int = 1
    thinking_config: _Thinking | None = None


class _Calling(Struct):
    streams: bool = msgspec.field(default=False, name="streamFunctionCallArguments")
    streams_too: bool = msgspec.field(default=False, name="stream_function_call_arguments")
    """The same as Google's own client spells it; the service takes either."""


class _ToolConfig(Struct, rename="camel"):
    function_calling_config: _Calling | None = None


class _Body(Struct, rename="camel"):
    contents: list[_Content] = []
    system_instruction: _Content | None = None
    tools: list[_Tool] = []
    tool_config: _ToolConfig | None = None
    generation_config: _Config | None = None
    generate_content_request: "_Body | None" = None
    """The request whose tokens are to be counted."""


def read(asked: Asked) -> Turn:
    """Read a request."""
    address = _PATH.fullmatch(asked.path)
    if address is None:
        raise Refusal(404)
    body = read_json(asked.body, _Body)
    body = body.generate_content_request or body
    if not body.contents:
        raise Refusal(400, "* GenerateContentRequest.contents: contents is not specified\n")
    config = body.generation_config or _Config()
    spoken = [content.text for content in body.contents]
    said = [body.system_instruction.text, *spoken] if body.system_instruction else spoken
    prompts = [content.text for content in body.contents if content.role == "user" and content.text]
    calling = body.tool_config and body.tool_config.function_calling_config
    return Turn(
        model=address["model"],
        prompt=prompts[-1] if prompts else "",
        stream=address["method"] == "streamGenerateContent",
        choices=config.candidate_count,
        max_tokens=config.max_output_tokens,
        stop=tuple(config.stop_sequences),
        tools=tuple(
            OfferedTool(each.name, each.parameters_json_schema or each.parameters or {})
            for tool in body.tools
            for each in tool.function_declarations
        ),
        tool_results=tuple(_results(body.contents[-1])),
        input_tokens=sum(1 + len(pieces(text)) for text in said),
        wants_reasoning=config.thinking_config is not None and config.thinking_config.include_thoughts,
        wants_streamed_arguments=calling is not None and (calling.streams or calling.streams_too),
    )


def _results(content: _Content) -> Iterator[str]:
    """The text of the tool results in a turn."""
    for part in content.parts:
        if part.function_response is not None:
            for said in part.function_response.response.values():
                yield said if isinstance(said, str) else msgspec.json.encode(said).decode()


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as events."""
    in_order = msgspec.structs.replace(answer, interleaved=False)  # whole calls can't take turns
    return _Writer(in_order, turn).writes()


class _Writer:
    """Stream tokens in, events out."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer, self._turn = answer, turn
        self._signatures: dict[int, str] = {}
        """The proof of the thinking before, for the next part of each candidate."""
        self._calls: dict[str, tuple[ToolCallStart, int]] = {}
        """The calls that are not whole, and how many tokens of them came."""
        self._written = 0
        self._thought = 0

    def writes(self) -> Iterator[Write]:
        for token in self._answer.tokens():
            yield from self._writes_of(token)

    def _writes_of(self, token: StreamToken) -> Iterator[Write]:
        match token:
            case ReasoningDelta(signature=str() as signature):
                self._signatures[token.choice] = signature or _signature(self._turn)
            case ReasoningDelta(redacted=None):
                self._thought += 1
                yield self._event(token.choice, {"text": token.text, "thought": True}, tokens=1)
            case TextDelta():
                self._written += 1
                yield self._event(token.choice, {"text": token.text}, tokens=1)
            case ToolCallStart():
                self._calls[token.key] = token, 0
            case ToolCallDelta():
                start, tokens = self._calls[token.key]
                self._calls[token.key] = start, tokens + 1
            case ToolCall():
                yield from self._call(token, *self._calls.pop(token.key))
            case StreamEnd():
                yield self._end(token)
            case _:
                return  # a refusal's words are in the finish message

    def _call(self, call: ToolCall, start: ToolCallStart, tokens: int) -> Iterator[Write]:
        self._written += tokens
        named = {"name": call.function.name}
        id = {"id": call.id or _call_id(self._turn, call.key)}
        arguments = _as_object(call.function.arguments)
        if arguments is not None and not self._turn.wants_streamed_arguments:
            yield self._event(start.choice, {"functionCall": {**named, "args": arguments, **id}}, tokens=tokens)
            return
        if arguments == {}:
            yield self._event(start.choice, {"functionCall": named}, tokens=tokens)
            return
        yield self._event(start.choice, {"functionCall": {**named, "willContinue": True}}, tokens=tokens)
        if arguments is not None:
            for leaf in _leaves(arguments, "$"):
                yield self._event(start.choice, {"functionCall": {"partialArgs": [leaf], "willContinue": True}})
            yield self._event(start.choice, {"functionCall": {}})

    def _event(self, choice: int, part: dict[str, Json], *, tokens: int = 0) -> Write:
        signature = None if part.get("thought") else self._signatures.pop(choice, None)
        signed = part if signature is None else {**part, "thoughtSignature": signature}
        candidate = {"content": {"parts": [signed], "role": "model"}, "index": choice}
        return Write(_event(self._response(candidate, self._so_far())), tokens, events=1)

    def _end(self, end: StreamEnd) -> Write:
        signature = self._signatures.pop(end.choice, None)
        part = {"text": ""} if signature is None else {"text": "", "thoughtSignature": signature}
        content = {"content": {"parts": [part], "role": "model"}}
        candidate = {**content, **_ending(self._answer), "index": end.choice}
        return Write(_event(self._response(candidate, self._answer.usage)), events=1, is_end_mark=True)

    def _response(self, candidate: dict[str, Json], usage: Usage) -> dict[str, Json]:
        return _response(self._turn, [candidate], usage)

    def _so_far(self) -> Usage:
        given = self._answer.usage.input_tokens
        return Usage(given, self._written, self._thought or None, total_tokens=(given or 0) + self._written)


def _leaves(value: Json, path: str) -> Iterator[dict[str, Json]]:
    """The leaves of `value` as Vertex streams them: each with its place, a text in pieces."""
    match value:
        case dict() if value:
            for name, member in cast("dict[str, Json]", value).items():
                step = f".{name}" if name.isidentifier() else f"[{to_json(name).decode()}]"
                yield from _leaves(member, path + step)
        case list() if value:
            for number, item in enumerate(cast("list[Json]", value)):
                yield from _leaves(item, f"{path}[{number}]")
        case str():
            for piece in pieces(value):
                yield {"jsonPath": path, "stringValue": piece, "willContinue": True}
            yield {"jsonPath": path, "stringValue": ""}
        case bool():
            yield {"jsonPath": path, "boolValue": value}
        case int() | float():
            yield {"jsonPath": path, "numberValue": value}
        case _:
            yield {"jsonPath": path, "nullValue": None}


def _as_object(arguments: str) -> dict[str, Json] | None:
    """The arguments as the object that an event holds; `None` where their text is none."""
    try:
        return msgspec.json.decode(arguments, type=dict[str, Json]) if arguments else {}
    except msgspec.DecodeError:
        return None


def _event(response: Mapping[str, Json]) -> bytes:
    return b"data: %b\r\n\r\n" % to_json(response)


def _response(turn: Turn, candidates: list[Json], usage: Usage) -> dict[str, Json]:
    response: dict[str, Json] = {"candidates": candidates, "usageMetadata": _usage(usage)}
    return {**response, "modelVersion": turn.model, "responseId": letters(turn.chance("id"), 22)}


def _usage(usage: Usage) -> dict[str, Json]:
    given = usage.input_tokens
    thought = usage.reasoning_tokens or 0
    counts = {
        "promptTokenCount": given,
        "candidatesTokenCount": usage.output_tokens,
        "totalTokenCount": usage.total_tokens,
        "cachedContentTokenCount": usage.cached_input_tokens or None,
        "promptTokensDetails": None if given is None else [{"modality": "TEXT", "tokenCount": given}],
        "thoughtsTokenCount": thought or None,
    }
    return {name: count for name, count in counts.items() if count is not None}


def _ending(answer: Answer) -> dict[str, Json]:
    """Why the candidate ends."""
    ending: dict[str, Json] = {"finishReason": answer.raw_finish or FINISH_REASONS[answer.finish]}
    if answer.refusal:
        ending["finishMessage"] = "".join(answer.refusal)
    return ending


def _call_id(turn: Turn, key: str) -> str:
    return letters(turn.chance(f"call {key}"), 8).lower()


def _signature(turn: Turn) -> str:
    return letters(turn.chance("signature"), 196)  # whole groups of four: true base 64


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one response."""
    candidates = [_candidate(answer, turn, choice, texts) for choice, texts in enumerate(answer.texts)]
    return to_json(_response(turn, candidates, answer.usage))


def _candidate(answer: Answer, turn: Turn, choice: int, texts: list[str]) -> dict[str, Json]:
    parts: list[dict[str, Json]] = []
    if texts:
        parts.append({"text": "".join(texts)})
    for place, call in enumerate(answer.calls):
        id = call.id or _call_id(turn, f"{choice}/{place}")
        arguments = _as_object("".join(call.arguments))
        parts.append({"functionCall": {"name": call.name, "args": arguments or {}, "id": id}})
    if answer.reasoning:
        parts = parts or [{"text": ""}]
        parts[0]["thoughtSignature"] = answer.signature or _signature(turn)
        parts.insert(0, {"text": "".join(answer.reasoning), "thought": True})
    return {"content": {"parts": parts, "role": "model"}, **_ending(answer), "index": choice}


def headers(turn: Turn) -> dict[str, str]:
    """Return the headers of a good answer."""
    return {
        "vary": "Origin, X-Origin, Referer",
        "date": formatdate(turn.at, usegmt=True),
        "server": "rxstream-simulator",
        "x-content-type-options": "nosniff",
    }


def refuse(refusal: Refusal, turn: Turn) -> Said:
    """Write a refusal down; it says that it is a stream of events, if one was asked for."""
    kind, message = ERRORS.get(refusal.status, ERRORS[400 if refusal.status < 500 else 500])
    said = message.format(model=f"models/{turn.model}") if refusal.message is None else refusal.message
    kind = "text/event-stream" if turn.stream else "application/json; charset=UTF-8", refusal.kind or kind
    body = _error(refusal.status, said, kind[1])
    return Said(refusal.status, {**headers(turn), "content-type": kind[0]}, body)


def error_event(fault: ErrorEvent) -> bytes:
    """Return an error as it comes inside a stream: bare, over several lines."""
    kind = fault.kind or "UNAVAILABLE"
    status, usual = next(((status, said) for status, (name, said) in ERRORS.items() if name == kind), (500, ""))
    return _error(status, fault.message or usual or "An error has occurred.", kind)


def _error(status: int, message: str, kind: str) -> bytes:
    error = {"error": {"code": status, "message": message, "status": kind}}
    return json.dumps(error, indent=2, ensure_ascii=False).encode() + b"\n"


def models(names: Sequence[str], _: Turn) -> bytes:
    """Write a list of models down."""
    methods = ["generateContent", "countTokens"]
    rows = [{"name": f"models/{name}", "version": "1", "supportedGenerationMethods": methods} for name in names]
    return to_json({"models": rows})


def count(turn: Turn) -> bytes:
    """Write down how many tokens a request is."""
    details = [{"modality": "TEXT", "tokenCount": turn.input_tokens}]
    return to_json({"totalTokens": turn.input_tokens, "promptTokensDetails": details})


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key that a request brings: `x-goog-api-key`, or for Vertex `Authorization: Bearer`."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return headers.get("x-goog-api-key") or (key.strip() if scheme.lower() == "bearer" else None)


def lists_models(asked: Asked) -> bool:
    """Return whether a request is for the models of Gemini; OpenAI's are at the same path in version 1."""
    is_beta = asked.path.startswith("/v1beta")
    return asked.path.endswith("/models") and (is_beta or "x-goog-api-key" in asked.headers)


API = Api(
    name="gemini.generate",
    paths=(
        "POST /v1beta/models/{model}:streamGenerateContent",
        "POST /v1beta/models/{model}:generateContent",
        "POST /v1beta/models/{model}:countTokens",
        "GET /v1beta/models",
    ),
    base_path="/v1beta",
    answers=lambda asked: asked.path.endswith((":streamGenerateContent", ":generateContent")),
    counts=lambda asked: asked.path.endswith(":countTokens"),
    count=count,
    lists_models=lists_models,
    key_of=key_of,
    read=read,
    stream=stream,
    whole=whole,
    headers=headers,
    refuse=refuse,
    error_event=error_event,
    models=models,
    ping=b": ping\r\n\r\n",
    garbage=b'data: {"candidates": [\xff\xfe\x00 no JSON, no UTF-8\r\n\r\n',
    content_type="text/event-stream",
    has_choices=True,
)
