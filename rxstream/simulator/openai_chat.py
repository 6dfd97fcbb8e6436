"""OpenAI Chat Completions, imitated: `POST /v1/chat/completions`, `GET /v1/models`.

Order of events, fields and headers are those of api.openai.com: the role comes in
a chunk of its own (or with a single tool call), the finish reason in one with an
empty delta, the usage after it and only if asked for. `obfuscation` fills each
chunk up to a multiple of 16 bytes, plus one, as the service does.
"""

from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate
from itertools import count

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
    RefusalDelta,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCallDelta,
    ToolCallStart,
    UsageReport,
)

FINISH_REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "tool_calls",
    FinishReason.CONTENT_FILTER: "content_filter",
    FinishReason.REFUSAL: "stop",
    FinishReason.PAUSE: "stop",
    FinishReason.ERROR: "error",
    FinishReason.OTHER: "other",
}
ERRORS: Mapping[int, tuple[str, str | None, str]] = {
    400: ("invalid_request_error", None, "We could not parse the JSON body of your request."),
    401: ("invalid_request_error", "invalid_api_key", "Incorrect API key provided."),
    403: (
        "invalid_request_error",
        "unsupported_country_region_territory",
        "Country, region, or territory not supported",
    ),
    404: (
        "invalid_request_error",
        "model_not_found",
        "The model `{model}` does not exist or you do not have access to it.",
    ),
    429: (
        "requests",
        "rate_limit_exceeded",
        "Rate limit reached for {model} on requests per min (RPM): Limit 3, Used 3.",
    ),
    500: ("server_error", None, "The server had an error while processing your request. Sorry about that!"),
    503: ("server_error", None, "The engine is currently overloaded, please try again later"),
}
"""What the service says for a status: type, code, message."""
TOKENS_A_MINUTE = 200_000
REQUESTS_A_DAY = 10_000


class _StreamOptions(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class _Function(Struct):
    name: str
    parameters: dict[str, Json] | None = None


class _Tool(Struct):
    function: _Function | None = None


class _Message(Struct):
    role: str
    content: Content = None


class _Body(Struct):
    model: str
    messages: list[_Message]
    stream: bool | None = None
    stream_options: _StreamOptions | None = None
    n: int | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    stop: str | list[str] | None = None
    tools: list[_Tool] | None = None
    logprobs: bool | None = None


def read(asked: Asked) -> Turn:
    """Read a request."""
    body = read_json(asked.body, _Body)
    if body.n is not None and not 1 <= body.n <= 128:
        raise Refusal(
            400, f"Invalid 'n': expected a value from 1 to 128, but got {body.n} instead.", code="integer_range"
        )
    options = body.stream_options or _StreamOptions()
    said_last = max((place for place, each in enumerate(body.messages) if each.role == "assistant"), default=-1)
    prompts = [text_of(each.content) for each in body.messages if each.role == "user"]
    return Turn(
        model=body.model,
        prompt=prompts[-1] if prompts else "",
        stream=bool(body.stream),
        choices=body.n or 1,
        max_tokens=body.max_completion_tokens if body.max_tokens is None else body.max_tokens,
        stop=tuple([body.stop] if isinstance(body.stop, str) else body.stop or ()),
        tools=tuple(
            OfferedTool(tool.function.name, tool.function.parameters or {})
            for tool in body.tools or ()
            if tool.function
        ),
        tool_results=tuple(text_of(each.content) for each in body.messages[said_last + 1 :] if each.role == "tool"),
        input_tokens=sum(3 + len(pieces(text_of(each.content))) for each in body.messages) + 3,
        wants_usage=bool(options.include_usage),
        wants_logprobs=bool(body.logprobs),
        wants_padding=options.include_obfuscation is not False,
    )


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as chunks."""
    return _Writer(answer, turn).writes()


class _Writer:
    """Stream tokens in, chunks out."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer, self._turn = answer, turn
        self._padding = turn.chance("obfuscation")
        self._begun: set[int] = set()
        self._places: dict[str, tuple[int, int]] = {}
        """The choice and index of each tool call."""
        self._next_place = [count() for _ in answer.texts]
        self._common = _identity(turn, "chat.completion.chunk")
        self._usage: dict[str, Json] = {"usage": None} if turn.wants_usage else {}

    def writes(self) -> Iterator[Write]:
        for token in self._answer.tokens():
            if isinstance(token, UsageReport):
                if self._turn.wants_usage:
                    yield self._event({**self._common, "choices": [], "usage": _usage(token)})
                continue
            chunk = self._chunk(token)
            if chunk is None:
                continue
            choice, delta, finish_reason = chunk
            if choice not in self._begun:
                self._begun.add(choice)
                role = self._first_delta(token)
                if isinstance(token, ToolCallStart) and len(self._answer.calls) == 1:
                    delta = {**role, **delta, "refusal": None}  # a single call comes with the role
                else:
                    yield self._choice(choice, role, None, [] if self._turn.wants_logprobs else None)
            yield self._choice(choice, delta, finish_reason, self._logprobs(token), tokens=_counts(token))
        yield Write(b"data: [DONE]\n\n", events=1, is_end_mark=True)

    def _first_delta(self, token: StreamToken) -> dict[str, Json]:
        """The delta with the role, which already knows what kind of answer is to come."""
        if isinstance(token, ToolCallStart):
            return {"role": "assistant", "content": None}
        if isinstance(token, RefusalDelta):
            return {"role": "assistant", "content": None, "refusal": ""}
        if isinstance(token, ReasoningDelta):
            return {"role": "assistant", "content": None, self._answer.reasoning_field: ""}
        return {"role": "assistant", "content": "", "refusal": None}

    def _chunk(self, token: StreamToken) -> tuple[int, dict[str, Json], str | None] | None:
        """The choice, delta and finish reason that say `token`, if it is said at all."""
        match token:
            case TextDelta():
                return token.choice, {"content": token.text}, None
            case RefusalDelta():
                return token.choice, {"refusal": token.text}, None
            case ReasoningDelta():
                if not token.text or self._answer.reasoning_field == "hidden":
                    return None
                return token.choice, {self._answer.reasoning_field: token.text}, None
            case ToolCallStart():
                place = next(self._next_place[token.choice])
                self._places[token.key] = token.choice, place
                id = token.id or _call_id(self._turn, token.key)
                function = {"name": token.name, "arguments": ""}
                return token.choice, _tool_call(index=place, id=id, type="function", function=function), None
            case ToolCallDelta():
                choice, place = self._places[token.key]
                return choice, _tool_call(index=place, function={"arguments": token.arguments}), None
            case StreamEnd():
                return token.choice, {}, token.raw_reason or FINISH_REASONS[token.reason]
            case _:
                return None

    def _logprobs(self, token: StreamToken) -> list[Json] | None:
        if not self._turn.wants_logprobs or not isinstance(token, TextDelta):
            return None
        likely = -round(self._padding.random() ** 4, 8)
        bytes = list(token.text.encode("utf-8", "replace"))
        return [{"token": token.text, "logprob": likely, "bytes": bytes, "top_logprobs": []}]

    def _choice(
        self,
        choice: int,
        delta: dict[str, Json],
        finish_reason: str | None,
        logprobs: list[Json] | None,
        *,
        tokens: int = 0,
    ) -> Write:
        said = {
            "index": choice,
            "delta": delta,
            "logprobs": None if logprobs is None else {"content": logprobs, "refusal": None},
            "finish_reason": finish_reason,
        }
        return self._event({**self._common, "choices": [said], **self._usage}, tokens)

    def _event(self, chunk: dict[str, Json], tokens: int = 0) -> Write:
        data = to_json(chunk)
        if self._turn.wants_padding:
            bare = len(data) + len(b',"obfuscation":""')
            data = b'%b,"obfuscation":"%b"}' % (data[:-1], letters(self._padding, (1 - bare) % 16).encode())
        return Write(b"data: %b\n\n" % data, tokens, events=1)


def _tool_call(**fields: Json) -> dict[str, Json]:
    return {"tool_calls": [fields]}


def _counts(token: StreamToken) -> int:
    """1 if `token` is one of the model's own."""
    return int(isinstance(token, TextDelta | ReasoningDelta | RefusalDelta | ToolCallDelta))


def _identity(turn: Turn, kind: str) -> dict[str, Json]:
    chance = turn.chance("id")
    return {
        "id": f"chatcmpl-{letters(chance, 29)}",
        "object": kind,
        "created": turn.at,
        "model": turn.model,
        "service_tier": "default",
        "system_fingerprint": f"fp_{letters(chance, 10, '0123456789abcdef')}",
    }


def _call_id(turn: Turn, key: str) -> str:
    return f"call_{letters(turn.chance(f'call {key}'), 24)}"


def _usage(report: UsageReport | Usage) -> dict[str, Json]:
    return {
        "prompt_tokens": report.input_tokens,
        "completion_tokens": report.output_tokens,
        "total_tokens": report.total_tokens,
        "prompt_tokens_details": {"cached_tokens": report.cached_input_tokens or 0, "audio_tokens": 0},
        "completion_tokens_details": {
            "reasoning_tokens": report.reasoning_tokens or 0,
            "audio_tokens": 0,
            "accepted_prediction_tokens": 0,
            "rejected_prediction_tokens": 0,
        },
    }


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one `chat.completion`."""
    choices: list[Json] = []
    for choice, text in enumerate(answer.texts):
        message: dict[str, Json] = {
            "role": "assistant",
            "content": "".join(text) or None,
            "refusal": "".join(answer.refusal) or None,
            "annotations": [],
        }
        if answer.reasoning and answer.reasoning_field != "hidden":
            message[answer.reasoning_field] = "".join(answer.reasoning)
        if answer.calls:
            message["tool_calls"] = [
                {
                    "id": call.id or _call_id(turn, f"{choice}/{place}"),
                    "type": "function",
                    "function": {"name": call.name, "arguments": "".join(call.arguments)},
                }
                for place, call in enumerate(answer.calls)
            ]
        reason = answer.raw_finish or FINISH_REASONS[answer.finish]
        choices.append({"index": choice, "message": message, "logprobs": None, "finish_reason": reason})
    completion = {**_identity(turn, "chat.completion"), "choices": choices, "usage": _usage(answer.usage)}
    return msgspec.json.format(to_json(completion), indent=2) + b"\n"


def headers(turn: Turn) -> dict[str, str]:
    """Return the headers of a good answer."""
    chance = turn.chance("headers")
    return {
        "date": formatdate(turn.at, usegmt=True),
        "openai-organization": "rxstream-simulator",
        "openai-processing-ms": str(chance.randint(90, 900)),
        "openai-version": "2020-10-01",
        "x-ratelimit-limit-requests": str(REQUESTS_A_DAY),
        "x-ratelimit-limit-tokens": str(TOKENS_A_MINUTE),
        "x-ratelimit-remaining-requests": str(REQUESTS_A_DAY - 1),
        "x-ratelimit-remaining-tokens": str(max(0, TOKENS_A_MINUTE - turn.input_tokens)),
        "x-ratelimit-reset-requests": f"{86_400 / REQUESTS_A_DAY:g}s",
        "x-ratelimit-reset-tokens": f"{round(60_000 * turn.input_tokens / TOKENS_A_MINUTE)}ms",
        "x-request-id": f"req_{letters(chance, 32, '0123456789abcdef')}",
        "server": "rxstream-simulator",
    }


def refuse(refusal: Refusal, turn: Turn) -> Said:
    """Write a refusal down, pretty-printed as the service does."""
    kind, code, message = ERRORS.get(refusal.status, ERRORS[400 if refusal.status < 500 else 500])
    said = {
        "message": message.format(model=turn.model) if refusal.message is None else refusal.message,
        "type": refusal.kind or kind,
        "param": None,
        "code": refusal.code or (code if refusal.kind is None else None),
    }
    others = headers(turn)
    if refusal.status == 429:
        others["x-ratelimit-remaining-requests"] = "0"
    body = msgspec.json.format(to_json({"error": said}), indent=2)
    return Said(refusal.status, {**others, "content-type": "application/json; charset=utf-8"}, body)


def error_event(fault: ErrorEvent) -> bytes:
    """Return an error as it comes inside a stream."""
    error = {
        "message": fault.message or ERRORS[500][2],
        "type": fault.kind or "server_error",
        "param": None,
        "code": fault.code,
    }
    return b"data: %b\n\n" % to_json({"error": error})


def models(names: Sequence[str], turn: Turn) -> bytes:
    """Write a list of models down."""
    data = [{"id": name, "object": "model", "created": turn.at, "owned_by": "rxstream"} for name in names]
    return msgspec.json.format(to_json({"object": "list", "data": data}), indent=2)


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key that a request brings: `Authorization: Bearer`, or Azure's `api-key`."""
    scheme, _, key = headers.get("authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else headers.get("api-key")


API = Api(
    name="openai.chat",
    paths=("POST /v1/chat/completions", "GET /v1/models"),
    base_path="/v1",
    answers=lambda asked: asked.path.endswith("/chat/completions"),
    lists_models=lambda asked: asked.path.endswith("/models") and "anthropic-version" not in asked.headers,
    key_of=key_of,
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
