"""Mistral's chat completions, imitated: `POST /mistral/v1/chat/completions`, `GET /mistral/v1/models`.

Requests are those of OpenAI's API, and so is the form of the answer; thinking comes as
a list of parts, calls whole with the finish, usage beside it, and `p` pads each chunk.
There is no channel for a refusal: it is the text.
"""

import string
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate

import msgspec
from msgspec import Struct

from rxstream.messages import Usage
from rxstream.simulator import openai_chat
from rxstream.simulator.api import Api, Asked, Refusal, Said, letters, read_json, to_json
from rxstream.simulator.faults import ErrorEvent
from rxstream.simulator.steps import Write
from rxstream.simulator.turn import Answer, Turn
from rxstream.tokens import (
    FinishReason,
    Json,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
)

FINISH_REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.ERROR: "error",
}
"""All else ends in `stop`."""
ERRORS: Mapping[int, tuple[str, str, str]] = {
    400: ("invalid_request_message", "3240", "The request is not valid."),
    404: ("invalid_model", "1500", "Invalid model: {model}"),
    429: ("rate_limited", "1300", "Rate limit exceeded"),
    500: ("internal_server_error", "3000", "Internal server error"),
    503: ("service_unavailable", "3505", "Service unavailable"),
}
"""What the service says for a status: type, code, message."""
TOKENS_A_MINUTE = 500_000
PADDING = string.ascii_lowercase + string.ascii_uppercase


class _Body(Struct):
    reasoning_effort: str | None = None
    prompt_mode: str | None = None


def read(asked: Asked) -> Turn:
    """Read a request."""
    body = read_json(asked.body, _Body)
    thinks = body.reasoning_effort not in {None, "none"} or body.prompt_mode == "reasoning"
    return msgspec.structs.replace(openai_chat.read(asked), wants_usage=True, wants_reasoning=thinks)


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as chunks."""
    return _Writer(answer, turn).writes()


class _Writer:
    """Stream tokens in, chunks out."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer, self._turn = answer, turn
        self._common = _identity(turn, "chat.completion.chunk")
        self._padding = turn.chance("padding")
        self._ends = 0
        self._thinking: set[int] = set()  # the choices that have thought
        self._calls: dict[str, dict[str, str]] = {}
        self._choices: dict[str, int] = {}
        self._held = 0

    def writes(self) -> Iterator[Write]:
        for choice in range(len(self._answer.texts)):
            yield self._chunk(choice, {"role": "assistant", "content": ""})
        for token in self._answer.tokens():
            yield from self._writes_of(token)
        yield Write(b"data: [DONE]\n\n", events=1, is_end_mark=True)

    def _writes_of(self, token: StreamToken) -> Iterator[Write]:
        match token:
            case TextDelta() | RefusalDelta():
                yield self._chunk(token.choice, {"content": token.text}, tokens=1)
            case ReasoningDelta() if token.text or token.signature:
                is_first = token.choice not in self._thinking
                if is_first:
                    self._thinking.add(token.choice)
                    yield self._chunk(token.choice, {"content": ""})
                part = _thought(token, closed=not is_first)
                yield self._chunk(token.choice, {"content": [part]}, tokens=int(bool(token.text)))
            case ToolCallStart():
                id = token.id or _call_id(self._turn, token.key)
                self._calls[token.key] = {"id": id, "name": token.name, "arguments": ""}
                self._choices[token.key] = token.choice
            case ToolCallDelta():
                self._calls[token.key]["arguments"] += token.arguments
                self._held += 1
            case StreamEnd():
                yield self._end(token)
            case _:
                return

    def _end(self, end: StreamEnd) -> Write:
        """The last chunk of a choice: its calls, why it ends, and beside the last of all the usage."""
        calls = [call for key, call in self._calls.items() if self._choices[key] == end.choice]
        delta: dict[str, Json] = {"content": ""}
        if calls:
            delta = {"tool_calls": [_call(place, call) for place, call in enumerate(calls)]}
        self._ends += 1
        usage = {"usage": _usage(self._answer.usage)} if self._ends == len(self._answer.texts) else {}
        tokens, self._held = self._held, 0
        reason = end.raw_reason or FINISH_REASONS.get(end.reason, "stop")
        return self._chunk(end.choice, delta, reason, tokens=tokens, **usage)

    def _chunk(
        self, choice: int, delta: dict[str, Json], reason: str | None = None, *, tokens: int = 0, **more: Json
    ) -> Write:
        said = {**self._common, "choices": [{"index": choice, "delta": delta, "finish_reason": reason}], **more}
        if self._turn.wants_padding and "role" not in delta:
            said["p"] = PADDING[: self._padding.randint(1, 40)]
        return Write(b"data: %b\n\n" % to_json(said), tokens, events=1)


def _thought(token: ReasoningDelta, *, closed: bool) -> Json:
    said: list[Json] = [{"type": "text", "text": token.text}] if token.text else []
    part: dict[str, Json] = {"type": "thinking", "thinking": said}
    part |= {"closed": True} if closed else {}
    return {**part, "signature": token.signature} if token.signature else part


def _call(place: int, call: Mapping[str, str]) -> Json:
    function = {"name": call["name"], "arguments": call["arguments"]}
    return {"id": call["id"], "type": "function", "function": function, "index": place}


def _call_id(turn: Turn, key: str) -> str:
    return letters(turn.chance(f"call {key}"), 9)


def _identity(turn: Turn, kind: str) -> dict[str, Json]:
    id = letters(turn.chance("id"), 32, "0123456789abcdef")
    return {"id": id, "object": kind, "created": turn.at, "model": turn.model}


def _usage(usage: Usage) -> Json:
    return {
        "prompt_tokens": usage.input_tokens,
        "total_tokens": usage.total_tokens,
        "completion_tokens": usage.output_tokens,
        "prompt_tokens_details": {"cached_tokens": usage.cached_input_tokens or 0},
        "service_tier": "standard",
    }


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one `chat.completion`."""
    choices: list[Json] = []
    for choice, text in enumerate(answer.texts):
        content: Json = "".join([*text, *answer.refusal])
        if answer.reasoning:
            thought = _thought(ReasoningDelta("".join(answer.reasoning), signature=answer.signature), closed=True)
            content = [thought, {"type": "text", "text": content}]
        calls = [
            _call(
                place,
                {
                    "id": call.id or _call_id(turn, f"{choice}/{place}"),
                    "name": call.name,
                    "arguments": "".join(call.arguments),
                },
            )
            for place, call in enumerate(answer.calls)
        ]
        message = {"role": "assistant", "content": content, "tool_calls": calls or None}
        reason = answer.raw_finish or FINISH_REASONS.get(answer.finish, "stop")
        choices.append({"index": choice, "message": message, "finish_reason": reason})
    return to_json({**_identity(turn, "chat.completion"), "choices": choices, "usage": _usage(answer.usage)})


def headers(turn: Turn) -> dict[str, str]:
    """Return the headers of a good answer."""
    id = letters(turn.chance("headers"), 32, "0123456789abcdef")
    left = str(max(0, TOKENS_A_MINUTE - turn.input_tokens))
    return {
        "date": formatdate(turn.at, usegmt=True),
        "mistral-correlation-id": id,
        "x-kong-request-id": id,
        "ratelimitbysize-limit": str(TOKENS_A_MINUTE),
        "ratelimitbysize-remaining": left,
        "ratelimitbysize-reset": "43",
        "ratelimitbysize-query-cost": str(turn.input_tokens),
        "x-ratelimitbysize-limit-minute": str(TOKENS_A_MINUTE),
        "x-ratelimitbysize-remaining-minute": left,
    }


def refuse(refusal: Refusal, turn: Turn) -> Said:
    """Write a refusal down; a wrong key is refused by a gateway, which has words of its own."""
    said = {**headers(turn), "content-type": "application/json"}
    if refusal.status == 401:
        return Said(401, said, to_json({"detail": refusal.message or "Invalid API Key"}))
    kind, code, message = ERRORS.get(refusal.status, ERRORS[400 if refusal.status < 500 else 500])
    error = {
        "object": "error",
        "message": message.format(model=turn.model) if refusal.message is None else refusal.message,
        "type": refusal.kind or kind,
        "param": None,
        "code": refusal.code or code,
    }
    return Said(refusal.status, said, to_json(error))


def error_event(fault: ErrorEvent) -> bytes:
    """Return an error as it comes inside a stream."""
    kind, code, message = ERRORS[500]
    error = {
        "object": "error",
        "message": fault.message or message,
        "type": fault.kind or kind,
        "param": None,
        "code": fault.code or code,
    }
    return b"data: %b\n\n" % to_json(error)


def models(names: Sequence[str], turn: Turn) -> bytes:
    """Write a list of models down."""
    abilities = {"completion_chat": True, "function_calling": True, "completion_fim": False, "fine_tuning": False}
    common = {"object": "model", "created": turn.at, "owned_by": "rxstream", "type": "base", "capabilities": abilities}
    data = [{"id": name, **common} for name in names]
    return to_json({"object": "list", "data": data})


API = Api(
    name="mistral.chat",
    paths=("POST /mistral/v1/chat/completions", "GET /mistral/v1/models"),
    base_path="/mistral/v1",
    answers=lambda asked: asked.path.endswith("/mistral/v1/chat/completions"),
    lists_models=lambda asked: asked.path.endswith("/mistral/v1/models"),
    key_of=openai_chat.key_of,
    read=read,
    stream=stream,
    whole=whole,
    headers=headers,
    refuse=refuse,
    error_event=error_event,
    models=models,
    ping=b": keep-alive\n\n",
    garbage=b'data: {"choices": [\xff\xfe\x00 no JSON, no UTF-8\n\n',
    has_choices=True,
)
