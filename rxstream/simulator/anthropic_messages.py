"""Anthropic Messages, imitated: `POST /v1/messages`, `GET /v1/models`.

Order of events, fields and headers are those of api.anthropic.com: a ping follows
the first block's start, each block is closed before the end, usage comes in the
first event and, cumulative, in the last but one. Events are padded with up to 15
spaces before their closing brace, as the service does.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import formatdate

import msgspec
from msgspec import Struct

from rxstream.messages import Usage
from rxstream.simulator.api import Api, Asked, Content, Refusal, Said, letters, read_json, text_of, to_json
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

STOP_REASONS = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
    FinishReason.REFUSAL: "refusal",
    FinishReason.PAUSE: "pause_turn",
    FinishReason.ERROR: "error",
    FinishReason.OTHER: "other",
}
ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("invalid_request_error", "The request body is not valid JSON"),
    401: ("authentication_error", "invalid x-api-key"),
    402: ("billing_error", "Your credit balance is too low to access the Anthropic API."),
    403: ("permission_error", "Your API key does not have permission to use the specified resource."),
    404: ("not_found_error", "model: {model}"),
    413: ("request_too_large", "Request exceeds the maximum size"),
    429: ("rate_limit_error", "This request would exceed your organization's rate limit of 50 requests per minute."),
    500: ("api_error", "Internal server error"),
    504: ("timeout_error", "Request timed out"),
    529: ("overloaded_error", "Overloaded"),
}
"""What the service says for a status: type, message."""
LIMITS = {"requests": 4_000, "tokens": 480_000, "input-tokens": 400_000, "output-tokens": 80_000}
"""A minute."""
TIER = {"service_tier": "standard", "inference_geo": "not_available"}


class _Message(Struct):
    role: str
    content: Content


class _Tool(Struct):
    name: str
    input_schema: dict[str, Json] | None = None


class _Thinking(Struct):
    type: str


class _Body(Struct):
    model: str
    messages: list[_Message]
    max_tokens: int | None = None
    stream: bool | None = None
    system: Content = None
    stop_sequences: list[str] | None = None
    tools: list[_Tool] | None = None
    thinking: _Thinking | None = None


def counts(asked: Asked) -> bool:
    """Return whether a request only asks how many tokens it is."""
    return asked.path.endswith("/v1/messages/count_tokens")


def read(asked: Asked) -> Turn:
    """Read a request."""
    if "anthropic-version" not in asked.headers:
        raise Refusal(400, "anthropic-version: header is required")
    body = read_json(asked.body, _Body)
    if body.max_tokens is None and not counts(asked):
        raise Refusal(400, "max_tokens: Field required")
    if body.max_tokens is not None and body.max_tokens < 1:
        raise Refusal(400, "max_tokens: must be greater than or equal to 1")
    said = [text_of(body.system), *(text_of(message.content) for message in body.messages)]
    prompts = [text for message in body.messages if message.role == "user" and (text := text_of(message.content))]
    return Turn(
        model=body.model,
        prompt=prompts[-1] if prompts else "",
        stream=bool(body.stream),
        max_tokens=body.max_tokens,
        stop=tuple(body.stop_sequences or ()),
        tools=tuple(OfferedTool(tool.name, tool.input_schema or {}) for tool in body.tools or ()),
        tool_results=tuple(_results(body.messages[-1].content)) if body.messages else (),
        input_tokens=sum(3 + len(pieces(text)) for text in said) + 4,
        wants_reasoning=body.thinking is not None and body.thinking.type != "disabled",
    )


def _results(content: Content) -> Iterator[str]:
    """The text of the tool results in the content of a message."""
    for part in content if isinstance(content, list) else []:
        if part.type == "tool_result":
            yield text_of(part.content)


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as events."""
    return _Writer(answer, turn).writes()


class _Writer:
    """Stream tokens in, events out."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer, self._turn = answer, turn
        self._padding = turn.chance("padding")
        self._indexes: dict[object, int] = {}
        """The index of each block, by what is in it."""
        self._text_block: object = None
        """The block of text or thinking that is open."""
        self._has_pinged = False

    def writes(self) -> Iterator[Write]:
        nothing_yet: dict[str, Json] = {"content": [], "stop_reason": None, "stop_sequence": None, "stop_details": None}
        usage = {**_input_usage(self._answer.usage), "output_tokens": 1, **TIER}
        yield self._event("message_start", message={**_message(self._turn), **nothing_yet, "usage": usage})
        for token in self._answer.tokens():
            yield from self._writes_of(token)
        yield self._event("message_stop", is_end_mark=True)

    def _writes_of(self, token: StreamToken) -> Iterator[Write]:
        match token:
            case ReasoningDelta(redacted=str() as redacted):
                yield from self._begin(token, {"type": "redacted_thinking", "data": redacted})
                yield self._event("content_block_stop", index=self._indexes[token])
            case ReasoningDelta():
                yield from self._begin_text(
                    ("thinking", token.index), {"type": "thinking", "thinking": "", "signature": ""}
                )
                if token.signature is None:
                    yield self._delta(self._text_block, {"type": "thinking_delta", "thinking": token.text}, tokens=1)
                else:
                    signature = token.signature or _signature(self._turn)
                    yield self._delta(self._text_block, {"type": "signature_delta", "signature": signature})
            case TextDelta():
                yield from self._begin_text(("text", token.index), {"type": "text", "text": ""})
                yield self._delta(self._text_block, {"type": "text_delta", "text": token.text}, tokens=1)
            case ToolCallStart():
                yield from self._end_text()
                yield from self._begin(
                    token.key, _tool_use(token.id or _call_id(self._turn, token.key), token.name, {})
                )
                yield self._delta(token.key, {"type": "input_json_delta", "partial_json": ""})
            case ToolCallDelta():
                yield self._delta(token.key, {"type": "input_json_delta", "partial_json": token.arguments}, tokens=1)
            case ToolCall():
                yield self._event("content_block_stop", index=self._indexes[token.key])
            case StreamEnd():
                yield from self._end_text()
                yield from self._ping_once()
                usage = _input_usage(self._answer.usage)
                usage.pop("cache_creation", None)
                usage |= _output_usage(self._answer.usage)
                yield self._event("message_delta", delta=_ending(self._answer), usage=usage)
            case _:
                return  # a refusal's words are in the ending; there is no other channel for them

    def _begin_text(self, block: object, start: dict[str, Json]) -> Iterator[Write]:
        if block != self._text_block:
            yield from self._end_text()
            yield from self._begin(block, start)
            self._text_block = block

    def _begin(self, block: object, start: dict[str, Json]) -> Iterator[Write]:
        self._indexes[block] = len(self._indexes)
        yield self._event("content_block_start", index=self._indexes[block], content_block=start)
        yield from self._ping_once()

    def _ping_once(self) -> Iterator[Write]:
        if not self._has_pinged:
            self._has_pinged = True
            yield Write(PING, events=1)

    def _end_text(self) -> Iterator[Write]:
        if self._text_block is not None:
            yield self._event("content_block_stop", index=self._indexes[self._text_block])
            self._text_block = None

    def _delta(self, block: object, delta: dict[str, Json], *, tokens: int = 0) -> Write:
        return self._event("content_block_delta", tokens, index=self._indexes[block], delta=delta)

    def _event(self, type: str, tokens: int = 0, *, is_end_mark: bool = False, **fields: Json) -> Write:
        return Write(_event(type, fields, self._padding.randrange(16)), tokens, events=1, is_end_mark=is_end_mark)


def _event(type: str, fields: Mapping[str, Json], padding: int = 0) -> bytes:
    data = to_json({"type": type, **fields})
    return b"event: %b\ndata: %b%b}\n\n" % (type.encode(), data[:-1], b" " * padding)


def _message(turn: Turn) -> dict[str, Json]:
    return {
        "model": turn.model,
        "id": f"msg_01{letters(turn.chance('id'), 22)}",
        "type": "message",
        "role": "assistant",
    }


def _input_usage(usage: Usage) -> dict[str, Json]:
    return {
        "input_tokens": usage.input_tokens,
        "cache_creation_input_tokens": usage.cache_write_tokens or 0,
        "cache_read_input_tokens": usage.cached_input_tokens or 0,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.cache_write_tokens or 0, "ephemeral_1h_input_tokens": 0},
    }


def _output_usage(usage: Usage) -> dict[str, Json]:
    thinking = {"output_tokens_details": {"thinking_tokens": usage.reasoning_tokens}} if usage.reasoning_tokens else {}
    return {"output_tokens": usage.output_tokens, **thinking}


def _ending(answer: Answer) -> dict[str, Json]:
    """Why the message ends."""
    reason = STOP_REASONS[answer.finish]
    if answer.finish is FinishReason.STOP and answer.stop_sequence is not None:
        reason = "stop_sequence"
    ending: dict[str, Json] = {"stop_reason": answer.raw_finish or reason, "stop_sequence": answer.stop_sequence}
    ending["stop_details"] = None
    if answer.refusal:
        ending["stop_details"] = {"type": "refusal", "category": None, "explanation": "".join(answer.refusal)}
    return ending


def _tool_use(id: str, name: str, input: Json) -> dict[str, Json]:
    return {"type": "tool_use", "id": id, "name": name, "input": input}


def _call_id(turn: Turn, key: str) -> str:
    return f"toolu_01{letters(turn.chance(f'call {key}'), 22)}"


def _signature(turn: Turn) -> str:
    return f"{letters(turn.chance('signature'), 198)}=="


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one message."""
    content: list[Json] = []
    if answer.redacted is not None:
        content.append({"type": "redacted_thinking", "data": answer.redacted})
    if answer.reasoning:
        signature = answer.signature or _signature(turn)
        content.append({"type": "thinking", "thinking": "".join(answer.reasoning), "signature": signature})
    if answer.texts[0]:
        content.append({"type": "text", "text": "".join(answer.texts[0])})
    for place, call in enumerate(answer.calls):
        id = call.id or _call_id(turn, f"0/{place}")
        content.append(_tool_use(id, call.name, _input("".join(call.arguments))))
    usage = {**_input_usage(answer.usage), **_output_usage(answer.usage), **TIER}
    return to_json({**_message(turn), "content": content, **_ending(answer), "usage": usage})


def _input(arguments: str) -> dict[str, Json]:
    """The arguments as the object that a whole message holds; `{}` where their text is none."""
    try:
        return msgspec.json.decode(arguments, type=dict[str, Json])
    except msgspec.DecodeError:
        return {}


def headers(turn: Turn) -> dict[str, str]:
    """Return the headers of a good answer."""
    limits = LIMITS.items()
    reset = (datetime.fromtimestamp(turn.at, UTC) + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    used = {"requests": 1, "tokens": turn.input_tokens, "input-tokens": turn.input_tokens, "output-tokens": 0}
    return {
        "date": formatdate(turn.at, usegmt=True),
        "cache-control": "no-cache",
        **{f"anthropic-ratelimit-{name}-limit": str(limit) for name, limit in limits},
        **{f"anthropic-ratelimit-{name}-remaining": str(max(0, limit - used[name])) for name, limit in limits},
        **{f"anthropic-ratelimit-{name}-reset": reset for name in LIMITS},
        "request-id": _request_id(turn.chance("headers")),
        "anthropic-organization-id": "00000000-0000-4000-8000-000000000000",
        "server": "rxstream-simulator",
    }


def _request_id(chance: random.Random) -> str:
    return f"req_011C{letters(chance, 20)}"


def refuse(refusal: Refusal, turn: Turn) -> Said:
    """Write a refusal down."""
    kind, message = ERRORS.get(refusal.status, ERRORS[400 if refusal.status < 500 else 500])
    others = headers(turn)
    error = {
        "type": refusal.kind or kind,
        "message": message.format(model=turn.model) if refusal.message is None else refusal.message,
    }
    if refusal.status == 429:
        others["anthropic-ratelimit-requests-remaining"] = "0"
    should_retry = refusal.status in (408, 409, 429) or refusal.status >= 500
    others |= {"content-type": "application/json", "x-should-retry": "true" if should_retry else "false"}
    body = to_json({"type": "error", "error": error, "request_id": others["request-id"]})
    return Said(refusal.status, others, body)


def error_event(fault: ErrorEvent) -> bytes:
    """Return an error as it comes inside a stream."""
    error = {"type": fault.kind or "overloaded_error", "message": fault.message or "Overloaded"}
    return _event("error", {"error": error})


def models(names: Sequence[str], turn: Turn) -> bytes:
    """Write a list of models down."""
    at = datetime.fromtimestamp(turn.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    data = [{"type": "model", "id": name, "display_name": name, "created_at": at} for name in names]
    return to_json({"data": data, "has_more": False, "first_id": names[0], "last_id": names[-1]})


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key that a request brings: `x-api-key`, or `Authorization: Bearer`."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return headers.get("x-api-key") or (key.strip() if scheme.lower() == "bearer" else None)


PING = b'event: ping\ndata: {"type": "ping"}\n\n'

API = Api(
    name="anthropic.messages",
    paths=("POST /v1/messages", "POST /v1/messages/count_tokens", "GET /v1/models"),
    base_path="",
    answers=lambda asked: asked.path.endswith("/v1/messages"),
    counts=counts,
    count=lambda turn: to_json({"input_tokens": turn.input_tokens}),
    lists_models=lambda asked: asked.path.endswith("/models") and "anthropic-version" in asked.headers,
    key_of=key_of,
    read=read,
    stream=stream,
    whole=whole,
    headers=headers,
    refuse=refuse,
    error_event=error_event,
    models=models,
    ping=PING,
    garbage=b'event: content_block_delta\ndata: {"type": [\xff\xfe\x00 no JSON, no UTF-8\n\n',
)
