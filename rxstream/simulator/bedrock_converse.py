"""Amazon Bedrock's Converse, imitated: `POST /model/{id}/converse-stream`, `/converse`, `/count-tokens`.

Order of events, fields and headers are those of the service: text and thinking have no
start of their block, each block is closed, usage comes in the last event, after the stop
reason. Each event is padded with a piece of the alphabet, as the service does. A
refusal's words go where a model's own words go, `additionalModelResponseFields`.

`converse_events` and `read_conversation` are also Nova's, which InvokeModel speaks.
"""

import random
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from email.utils import formatdate
from urllib.parse import unquote
from uuid import UUID

import msgspec
from msgspec import Struct

from rxstream.messages import Usage
from rxstream.simulator.api import Api, Asked, Refusal, Said, letters, read_json, to_json
from rxstream.simulator.event_stream import NOTHING, event, exception, message, padding
from rxstream.simulator.faults import ErrorEvent
from rxstream.simulator.pieces import pieces
from rxstream.simulator.small_talk import as_object
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

CONTENT_TYPE = "application/vnd.amazon.eventstream"
STOP_REASONS = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "content_filtered",
    FinishReason.REFUSAL: "guardrail_intervened",
    FinishReason.PAUSE: "pause",
    FinishReason.ERROR: "malformed_model_output",
    FinishReason.OTHER: "other",
}
ERRORS: Mapping[int, tuple[str, str]] = {
    400: ("ValidationException", "The provided request is not valid"),
    401: ("UnrecognizedClientException", "The security token included in the request is invalid."),
    403: ("AccessDeniedException", "You don't have access to the model with the specified model ID."),
    404: ("ResourceNotFoundException", "The model {model} could not be found"),
    408: ("ModelTimeoutException", "Model has timed out in processing the request. Try your request again."),
    424: ("ModelErrorException", "The model returned an error."),
    429: ("ThrottlingException", "Too many requests, please wait before trying again."),
    500: ("InternalServerException", "The system encountered an unexpected error during processing."),
    503: ("ServiceUnavailableException", "Bedrock is unable to process your request."),
}
"""What the service says for a status: kind, message."""
METRICS = {"latencyMs": 753}


class _ToolResult(Struct):
    content: "list[_Block]" = []


class _Block(Struct, rename="camel"):
    text: str | None = None
    tool_result: _ToolResult | None = None


class _Message(Struct):
    role: str
    content: list[_Block]


class _Schema(Struct):
    json: dict[str, Json] = {}


class _ToolSpec(Struct, rename="camel"):
    name: str
    input_schema: _Schema


class _Tool(Struct, rename="camel"):
    tool_spec: _ToolSpec | None = None


class _ToolConfig(Struct):
    tools: list[_Tool] = []


class _Inference(Struct, rename="camel"):
    max_tokens: int | None = None
    stop_sequences: list[str] = []


class Conversation(Struct, rename="camel"):
    """A request in the words of Converse, or of Nova."""

    messages: list[_Message]
    system: list[_Block] = []
    inference_config: _Inference | None = None
    tool_config: _ToolConfig | None = None
    additional_model_request_fields: dict[str, Json] = {}


class _Input(Struct):
    converse: Conversation


class _Counted(Struct):
    input: _Input


def model_of(path: str) -> str:
    """Return the model that a path names."""
    return unquote(path.partition("/model/")[2].rpartition("/")[0])


def read(asked: Asked) -> Turn:
    """Read a request."""
    is_count = asked.path.endswith("/count-tokens")
    body = read_json(asked.body, _Counted).input.converse if is_count else read_json(asked.body, Conversation)
    more = body.additional_model_request_fields
    thinking = as_object(more.get("thinking") or more.get("reasoningConfig"))
    wants_reasoning = "reasoning_effort" in more or thinking.get("type") in {"enabled", "adaptive"}
    turn = read_conversation(body, model_of(asked.path), stream=asked.path.endswith("-stream"))
    return msgspec.structs.replace(turn, wants_reasoning=wants_reasoning)


def read_conversation(body: Conversation, model: str, *, stream: bool) -> Turn:
    """Return what a conversation asks."""
    inference = body.inference_config or _Inference()
    if inference.max_tokens is not None and inference.max_tokens < 1:
        raise Refusal(400, "Value at 'inferenceConfig.maxTokens' failed to satisfy constraint: at least 1")
    said = [_text_of(body.system), *(_text_of(message.content) for message in body.messages)]
    prompts = [text for message in body.messages if message.role == "user" and (text := _text_of(message.content))]
    last = body.messages[-1].content if body.messages else []
    specs = [tool.tool_spec for tool in (body.tool_config or _ToolConfig()).tools]
    return Turn(
        model=model,
        prompt=prompts[-1] if prompts else "",
        stream=stream,
        max_tokens=inference.max_tokens,
        stop=tuple(inference.stop_sequences),
        tools=tuple(OfferedTool(spec.name, spec.input_schema.json) for spec in specs if spec is not None),
        tool_results=tuple(_text_of(block.tool_result.content) for block in last if block.tool_result is not None),
        input_tokens=sum(3 + len(pieces(text)) for text in said) + 4,
    )


def _text_of(blocks: list[_Block]) -> str:
    return "".join(block.text for block in blocks if block.text)


class Event(Struct, frozen=True):
    """An event of an answer, before it is framed."""

    kind: str
    payload: dict[str, Json]
    tokens: int = 0
    is_end_mark: bool = False


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as messages."""
    chance = turn.chance("padding")
    for each in converse_events(answer, turn):
        padded = {**each.payload, "p": padding(chance)} if turn.wants_padding else each.payload
        yield Write(event(each.kind, padded), each.tokens, events=1, is_end_mark=each.is_end_mark)


def converse_events(answer: Answer, turn: Turn) -> Iterator[Event]:
    """Give the events of `answer`; the end mark is the last two."""
    return _Writer(answer, turn).events()


class _Writer:
    """Stream tokens in, events out."""

    def __init__(self, answer: Answer, turn: Turn) -> None:
        self._answer, self._turn = answer, turn
        self._indexes: dict[object, int] = {}
        """The index of each block, by what is in it."""
        self._text_block: object = None
        """The block of text or thinking that is open."""

    def events(self) -> Iterator[Event]:
        yield Event("messageStart", {"role": "assistant"})
        for token in self._answer.tokens():
            yield from self._events_of(token)
        yield Event("metadata", {"usage": usage_of(self._answer.usage), "metrics": METRICS}, is_end_mark=True)

    def _events_of(self, token: StreamToken) -> Iterator[Event]:
        match token:
            case ReasoningDelta(redacted=str() as redacted):
                yield from self._switch_to(token)
                yield self._delta(token, {"reasoningContent": {"redactedContent": _blob(redacted)}})
            case ReasoningDelta(signature=None):
                yield from self._switch_to(("thinking", token.index))
                yield self._delta(self._text_block, {"reasoningContent": {"text": token.text}}, tokens=1)
            case ReasoningDelta():
                signature = token.signature or _signature(self._turn)
                yield self._delta(self._text_block, {"reasoningContent": {"signature": signature}})
            case TextDelta():
                yield from self._switch_to(("text", token.index))
                yield self._delta(self._text_block, {"text": token.text}, tokens=1)
            case ToolCallStart():
                yield from self._end_text()
                start = {"toolUseId": token.id or _call_id(self._turn, token.key), "name": token.name}
                payload = {"contentBlockIndex": self._index(token.key), "start": {"toolUse": start}}
                yield Event("contentBlockStart", payload)
            case ToolCallDelta():
                yield self._delta(token.key, {"toolUse": {"input": token.arguments}}, tokens=1)
            case ToolCall():
                yield self._stop(token.key)
            case StreamEnd():
                yield from self._end_text()
                yield Event("messageStop", _ending(self._answer), is_end_mark=True)
            case _:
                return  # a refusal's words are in the ending

    def _switch_to(self, block: object) -> Iterator[Event]:
        if block != self._text_block:
            yield from self._end_text()
            self._text_block = block

    def _end_text(self) -> Iterator[Event]:
        if self._text_block is not None:
            yield self._stop(self._text_block)
            self._text_block = None

    def _index(self, block: object) -> int:
        return self._indexes.setdefault(block, len(self._indexes))

    def _delta(self, block: object, delta: dict[str, Json], *, tokens: int = 0) -> Event:
        return Event("contentBlockDelta", {"contentBlockIndex": self._index(block), "delta": delta}, tokens)

    def _stop(self, block: object) -> Event:
        return Event("contentBlockStop", {"contentBlockIndex": self._index(block)})


def _blob(data: str) -> str:
    """Bytes as the service has them in JSON."""
    return b64encode(data.encode()).decode()


def _signature(turn: Turn) -> str:
    return f"{letters(turn.chance('signature'), 198)}=="


def _call_id(turn: Turn, key: str) -> str:
    return f"tooluse_{letters(turn.chance(f'call {key}'), 22)}"


def _ending(answer: Answer) -> dict[str, Json]:
    """Why the message ends."""
    reason = STOP_REASONS[answer.finish]
    if answer.finish is FinishReason.STOP and answer.stop_sequence is not None:
        reason = "stop_sequence"
    more = {"stop_sequence": answer.stop_sequence, "refusal": "".join(answer.refusal) or None}
    told = {name: value for name, value in more.items() if value is not None}
    return {"stopReason": answer.raw_finish or reason} | ({"additionalModelResponseFields": told} if told else {})


def usage_of(usage: Usage) -> dict[str, Json]:
    """Return `usage` in the words of Converse."""
    counts = {
        "inputTokens": usage.input_tokens,
        "outputTokens": usage.output_tokens,
        "totalTokens": usage.total_tokens,
        "cacheReadInputTokens": usage.cached_input_tokens or None,
        "cacheWriteInputTokens": usage.cache_write_tokens or None,
    }
    return {name: count for name, count in counts.items() if count is not None}


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one message."""
    content: list[Json] = []
    if answer.redacted is not None:
        content.append({"reasoningContent": {"redactedContent": _blob(answer.redacted)}})
    if answer.reasoning:
        thought = {"text": "".join(answer.reasoning), "signature": answer.signature or _signature(turn)}
        content.append({"reasoningContent": {"reasoningText": thought}})
    if answer.texts[0]:
        content.append({"text": "".join(answer.texts[0])})
    for place, call in enumerate(answer.calls):
        id = call.id or _call_id(turn, f"0/{place}")
        content.append({"toolUse": {"toolUseId": id, "name": call.name, "input": _input("".join(call.arguments))}})
    said = {"output": {"message": {"role": "assistant", "content": content}}, **_ending(answer)}
    return to_json({**said, "usage": usage_of(answer.usage), "metrics": METRICS})


def _input(arguments: str) -> dict[str, Json]:
    """The arguments as the object that a whole message holds; `{}` where their text is none."""
    try:
        return msgspec.json.decode(arguments, type=dict[str, Json])
    except msgspec.DecodeError:
        return {}


def headers(turn: Turn) -> dict[str, str]:
    """Return the headers of a good answer."""
    return {
        "date": formatdate(turn.at, usegmt=True),
        "x-amzn-requestid": _request_id(turn.chance("headers")),
        "server": "rxstream-simulator",
    }


def _request_id(chance: random.Random) -> str:
    return str(UUID(int=chance.getrandbits(128), version=4))


def refuse(refusal: Refusal, turn: Turn) -> Said:
    """Write a refusal down."""
    kind, text = ERRORS.get(refusal.status, ERRORS[400 if refusal.status < 500 else 500])
    said = text.format(model=turn.model) if refusal.message is None else refusal.message
    error_type = f"{refusal.kind or kind}:http://internal.amazon.com/coral/com.amazon.bedrock/"
    others = headers(turn) | {"content-type": "application/json", "x-amzn-errortype": error_type}
    return Said(refusal.status, others, to_json({"message": said}))


def error_event(fault: ErrorEvent) -> bytes:
    """Return an error as it comes inside a stream."""
    return exception(fault.kind or "modelStreamErrorException", fault.message or "The model stopped in mid-stream.")


def models(names: Sequence[str], turn: Turn) -> bytes:  # noqa: ARG001  # each service has the same form
    """Write a list of models down."""
    summaries: list[Json] = [
        {
            "modelArn": f"arn:aws:bedrock:us-east-1::foundation-model/{name}",
            "modelId": name,
            "modelName": name,
            "providerName": "rxstream",
            "inputModalities": ["TEXT"],
            "outputModalities": ["TEXT"],
            "responseStreamingSupported": True,
        }
        for name in names
    ]
    return to_json({"modelSummaries": summaries})


def counts(asked: Asked) -> bool:
    """Whether a POST asks how many tokens a request is, of this API or of InvokeModel."""
    return "/model/" in asked.path and asked.path.endswith("/count-tokens")


def count(turn: Turn) -> bytes:
    """Write down how many that is."""
    return to_json({"inputTokens": turn.input_tokens})


def key_of(headers: Mapping[str, str]) -> str | None:
    """Return the key that a request brings: `Authorization: Bearer`, or the id of the key that it is signed with."""
    scheme, _, rest = headers.get("authorization", "").partition(" ")
    if scheme == "AWS4-HMAC-SHA256":
        return rest.partition("Credential=")[2].partition("/")[0] or None
    return rest.strip() if scheme.lower() == "bearer" else None


GARBAGE = message(
    {":event-type": "contentBlockDelta", ":message-type": "event"}, b'{"delta": [\xff\xfe\x00 no JSON, no UTF-8'
)

API = Api(
    name="bedrock.converse",
    paths=(
        "POST /model/{id}/converse-stream",
        "POST /model/{id}/converse",
        "POST /model/{id}/count-tokens",
        "GET /foundation-models",
    ),
    base_path="",
    answers=lambda asked: "/model/" in asked.path and asked.path.endswith(("/converse-stream", "/converse")),
    lists_models=lambda asked: asked.path.endswith("/foundation-models"),
    key_of=key_of,
    read=read,
    stream=stream,
    whole=whole,
    headers=headers,
    refuse=refuse,
    error_event=error_event,
    models=models,
    ping=NOTHING,
    garbage=GARBAGE,
    counts=lambda asked: counts(asked) and b'"invokeModel"' not in asked.body,
    count=count,
    content_type=CONTENT_TYPE,
)
