"""Amazon Bedrock's InvokeModel, imitated: `POST /model/{id}/invoke-with-response-stream`, `/invoke`.

The answer is in the words of the maker that the model's id names: Anthropic, Nova, Titan
or Llama; of anyone else, in Anthropic's. Titan and Llama say text alone, as they do.
The last event holds Bedrock's own counts beside the model's.
"""

from base64 import b64encode
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from rxstream.dialects._aws import family_of
from rxstream.simulator import anthropic_messages, bedrock_converse
from rxstream.simulator.api import Api, Asked, Refusal, read_json, to_json
from rxstream.simulator.bedrock_converse import Conversation, converse_events, model_of, read_conversation
from rxstream.simulator.event_stream import NOTHING, event, message, padding
from rxstream.simulator.pieces import pieces
from rxstream.simulator.steps import Write
from rxstream.simulator.turn import Answer, Turn
from rxstream.tokens import FinishReason, Json, StreamEnd, StreamStart, TextDelta

METRICS = "amazon-bedrock-invocationMetrics"
TITAN_REASONS = {FinishReason.LENGTH: "LENGTH", FinishReason.CONTENT_FILTER: "CONTENT_FILTERED"}
"""All others are `FINISH`."""
LLAMA_REASONS = {FinishReason.LENGTH: "length"}
"""All others are `stop`."""


class Inner(Struct, frozen=True):
    """An inner event, before it is wrapped and framed."""

    data: bytes
    """A JSON object."""
    tokens: int = 0
    is_end_mark: bool = False
    is_last: bool = False


class _Body(Struct):
    body: bytes
    """In base64 on the wire."""


class _Input(Struct, rename="camel"):
    invoke_model: _Body


class _Counted(Struct):
    input: _Input


class _TitanConfig(Struct, rename="camel"):
    max_token_count: int | None = None
    stop_sequences: list[str] = []


class _TitanBody(Struct, rename="camel"):
    input_text: str
    text_generation_config: _TitanConfig | None = None


class _LlamaBody(Struct):
    prompt: str
    max_gen_len: int | None = None


def read(asked: Asked) -> Turn:
    """Read a request."""
    if bedrock_converse.counts(asked):
        asked = Asked(asked.method, asked.path, asked.headers, read_json(asked.body, _Counted).input.invoke_model.body)
    model, stream = model_of(asked.path), asked.path.endswith("-stream")
    match family_of(model):
        case "amazon.nova":
            return read_conversation(read_json(asked.body, Conversation), model, stream=stream)
        case "amazon.titan":
            titan = read_json(asked.body, _TitanBody)
            config = titan.text_generation_config or _TitanConfig()
            turn = _plain_turn(titan.input_text, model, stream=stream)
            return msgspec.structs.replace(turn, max_tokens=config.max_token_count, stop=tuple(config.stop_sequences))
        case "meta.llama":
            llama = read_json(asked.body, _LlamaBody)
            turn = _plain_turn(llama.prompt, model, stream=stream)
            return msgspec.structs.replace(turn, max_tokens=llama.max_gen_len)
        case _:
            return _read_anthropic(asked, model, stream=stream)


def _plain_turn(prompt: str, model: str, *, stream: bool) -> Turn:
    """A turn that is all text: what was said last, as far as the marks around it are known."""
    said = [line for line in prompt.splitlines() if line.strip() and not line.endswith(("|>", "Bot:"))]
    said += [line.partition("<|eot")[0] for line in prompt.splitlines() if "<|eot" in line]
    last = next((line for line in reversed(said) if line.strip()), "")
    return Turn(model=model, prompt=last.removeprefix("User: "), stream=stream, input_tokens=len(pieces(prompt)))


def _read_anthropic(asked: Asked, model: str, *, stream: bool) -> Turn:
    body = read_json(asked.body, dict[str, Json])
    if "anthropic_version" not in body:
        raise Refusal(400, "anthropic_version: Field required")
    if "model" in body or "stream" in body:
        raise Refusal(400, "model, stream: Extra inputs are not permitted")
    told = to_json({**body, "model": model, "stream": stream})
    return anthropic_messages.read(Asked(asked.method, asked.path, {**asked.headers, "anthropic-version": ""}, told))


def stream(answer: Answer, turn: Turn) -> Iterator[Write]:
    """Write `answer` as messages."""
    chance = turn.chance("padding")
    for inner in _inner_events(answer, turn):
        data = _with_metrics(inner.data, answer) if inner.is_last else inner.data
        payload: dict[str, Json] = {"bytes": b64encode(data).decode()}
        if turn.wants_padding:
            payload["p"] = padding(chance)
        yield Write(event("chunk", payload), inner.tokens, events=1, is_end_mark=inner.is_end_mark)


def _with_metrics(data: bytes, answer: Answer) -> bytes:
    """The last object, with Bedrock's own counts."""
    usage = answer.usage
    counts = {"inputTokenCount": usage.input_tokens, "outputTokenCount": usage.output_tokens}
    metrics = {METRICS: {**counts, "invocationLatency": 753, "firstByteLatency": 58}}
    return data[:-1] + b"," + to_json(metrics)[1:]


def _inner_events(answer: Answer, turn: Turn) -> Iterator[Inner]:
    write = _WRITERS.get(family_of(turn.model) or "", _anthropic_events)
    return write(answer, turn)


def _anthropic_events(answer: Answer, turn: Turn) -> Iterator[Inner]:
    """The events of the Messages API, without pings."""
    for write in anthropic_messages.stream(answer, turn):
        if write.data != anthropic_messages.PING:
            data = write.data.partition(b"\ndata: ")[2].strip()
            yield Inner(data, write.tokens, write.is_end_mark, write.is_end_mark)


def _nova_events(answer: Answer, turn: Turn) -> Iterator[Inner]:
    for each in converse_events(answer, turn):
        yield Inner(to_json({each.kind: each.payload}), each.tokens, each.is_end_mark, each.kind == "metadata")


def _titan_events(answer: Answer, _: Turn) -> Iterator[Inner]:
    usage = answer.usage
    for token in answer.tokens():
        match token:
            case StreamStart():
                yield Inner(_titan("", inputTextTokenCount=usage.input_tokens))
            case TextDelta():
                yield Inner(_titan(token.text), tokens=1)
            case StreamEnd():
                reason = answer.raw_finish or TITAN_REASONS.get(answer.finish, "FINISH")
                ending = _titan("", totalOutputTextTokenCount=usage.output_tokens, completionReason=reason)
                yield Inner(ending, is_end_mark=True, is_last=True)
            case _:
                continue  # Titan has no words for it


def _titan(text: str, **more: str | int | None) -> bytes:
    """A piece of Titan's; its counts are floats."""
    said = {name: float(it) if isinstance(it, int) else it for name, it in more.items() if it is not None}
    return to_json({"outputText": text, "index": 0.0, **said})


def _llama_events(answer: Answer, _: Turn) -> Iterator[Inner]:
    usage = answer.usage
    said = 0
    for token in answer.tokens():
        match token:
            case StreamStart():
                yield Inner(_llama("", usage.input_tokens, 0, None))
            case TextDelta():
                said += 1
                yield Inner(_llama(token.text, None, said, None), tokens=1)
            case StreamEnd():
                reason = answer.raw_finish or LLAMA_REASONS.get(answer.finish, "stop")
                yield Inner(_llama("", None, usage.output_tokens, reason), is_end_mark=True, is_last=True)
            case _:
                continue  # Llama has no words for it


def _llama(text: str, asked: int | None, said: int | None, reason: str | None) -> bytes:
    counts = {"prompt_token_count": asked, "generation_token_count": said}
    return to_json({"generation": text, **counts, "stop_reason": reason})


_WRITERS: dict[str, Callable[[Answer, Turn], Iterator[Inner]]] = {
    "amazon.nova": _nova_events,
    "amazon.titan": _titan_events,
    "meta.llama": _llama_events,
}


def whole(answer: Answer, turn: Turn) -> bytes:
    """Write `answer` as one object."""
    usage, text = answer.usage, "".join(answer.texts[0])
    match family_of(turn.model):
        case "amazon.nova":
            return bedrock_converse.whole(answer, turn)
        case "amazon.titan":
            reason = answer.raw_finish or TITAN_REASONS.get(answer.finish, "FINISH")
            result = {"tokenCount": usage.output_tokens, "outputText": text, "completionReason": reason}
            return to_json({"inputTextTokenCount": usage.input_tokens, "results": [result]})
        case "meta.llama":
            reason = answer.raw_finish or LLAMA_REASONS.get(answer.finish, "stop")
            return _llama(text, usage.input_tokens, usage.output_tokens, reason)
        case _:
            return anthropic_messages.whole(answer, turn)


GARBAGE = message({":event-type": "chunk", ":message-type": "event"}, b'{"bytes": "\xff\xfe\x00 no JSON, no UTF-8')

API = Api(
    name="bedrock.invoke",
    paths=("POST /model/{id}/invoke-with-response-stream", "POST /model/{id}/invoke"),
    base_path="",
    answers=lambda asked: "/model/" in asked.path and asked.path.endswith(("/invoke-with-response-stream", "/invoke")),
    lists_models=bedrock_converse.API.lists_models,
    key_of=bedrock_converse.key_of,
    read=read,
    stream=stream,
    whole=whole,
    headers=bedrock_converse.headers,
    refuse=bedrock_converse.refuse,
    error_event=bedrock_converse.error_event,
    models=bedrock_converse.models,
    ping=NOTHING,
    garbage=GARBAGE,
    counts=lambda asked: bedrock_converse.counts(asked) and b'"invokeModel"' in asked.body,
    count=bedrock_converse.count,
    content_type=bedrock_converse.CONTENT_TYPE,
)
