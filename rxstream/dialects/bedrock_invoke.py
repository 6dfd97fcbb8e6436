"""Amazon Bedrock's InvokeModel: the model maker's own words, in Bedrock's framing.

Whose words those are is told by the id of the model where a request is written, and
by the first event where an answer is read.

| family      | asked with                           | answers with                                    |
| ----------- | ------------------------------------ | ----------------------------------------------- |
| Anthropic   | the Messages body, without the model | the events of the Messages API                  |
| Nova        | nearly the body of Converse          | the events of Converse, each within its name    |
| Titan       | `inputText`, a conversation as text  | `outputText`, at last `completionReason`        |
| Llama       | `prompt`, in the template of Llama   | `generation`, at last `stop_reason`             |

Every event is a message `chunk`, `{"bytes": base64 of the inner JSON, "p": padding}`.
The last inner object also holds `amazon-bedrock-invocationMetrics`, whose counts are
not always the model's own; those of the model are reported.

What is odd about it:

- Titan's counts are floats. With a guardrail it may end without a reason, and says
  `amazon-bedrock-guardrailAction` instead.
- Titan and Llama take text alone: what else a request asks for is refused by name.

Facts: boto/botocore `botocore/data/bedrock-runtime/2023-09-30/service-2.json`; the model
parameters of the Bedrock user guide; meta-llama `llama_models/llama3/prompt_format.md`.
"""

from collections.abc import Mapping

import msgspec
from msgspec import Struct

from rxstream.dialect import Capabilities, Decoder, Dialect, HttpRequest
from rxstream.dialects import anthropic_messages
from rxstream.dialects._answers import read_limits, read_number
from rxstream.dialects._aws import (
    BASE_URL,
    BASE_URL_VARIABLE,
    FAILED,
    HEADERS,
    KEY_VARIABLE,
    MODELS_PATH,
    REQUEST_ID_HEADERS,
    authorize,
    family_of,
    find_base_url,
    model_path,
    models_base_url,
    read_aws_refusal,
    read_failure,
    read_models,
    sign,
)
from rxstream.dialects._requests import RequestWriter, base64_text, stated
from rxstream.dialects._values import as_count
from rxstream.dialects.bedrock_converse import ConverseEvents, ConverseWriter, Event
from rxstream.errors import ConfigurationError, ProviderError, TruncatedStreamError
from rxstream.framing import AwsEventStreamParser, AwsMessage, JsonReader, SseEvent
from rxstream.messages import ChatRequest, ImagePart, Message, TextPart
from rxstream.tokens import (
    FinishReason,
    Json,
    RawEvent,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    UsageReport,
)

NAME = "bedrock.invoke"
ANTHROPIC_VERSION = "bedrock-2023-05-31"
METRICS = "amazon-bedrock-invocationMetrics"
GUARDRAIL = "amazon-bedrock-guardrailAction"

FINISH_REASONS = {
    "FINISH": FinishReason.STOP,
    "FINISHED": FinishReason.STOP,
    "STOP_CRITERIA_MET": FinishReason.STOP,
    "LENGTH": FinishReason.LENGTH,
    "CONTENT_FILTERED": FinishReason.CONTENT_FILTER,
    "RAG_QUERY_WHEN_RAG_DISABLED": FinishReason.ERROR,
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
}
"""The words of Titan and of Llama."""

_write = RequestWriter(NAME)
_converse = ConverseWriter(NAME)


class Chunk(Struct, gc=False):
    """The payload of an event."""

    data: bytes | None = msgspec.field(name="bytes", default=None)
    """In base64 on the wire."""


class Told(Struct, gc=False, rename="camel"):
    """What tells whose words an inner event is in: each of these is one family's alone."""

    type: Json = None
    message_start: Json = None
    content_block_start: Json = None
    content_block_delta: Json = None
    output_text: Json = None
    generation: Json = None


class NovaEvent(Struct, gc=False, rename="camel"):
    """An event of Nova: one of these."""

    message_start: Event | None = None
    content_block_start: Event | None = None
    content_block_delta: Event | None = None
    content_block_stop: Event | None = None
    message_stop: Event | None = None
    metadata: Event | None = None


_NOVA_EVENTS = list(zip(NovaEvent.__struct_fields__, NovaEvent.__struct_encode_fields__, strict=True))
"""The fields of `NovaEvent`, and what the service calls them."""


class Completion(Struct, gc=False, rename="camel"):
    """A piece of an answer of Titan or of Llama."""

    output_text: str | None = None
    completion_reason: str | None = None
    input_text_token_count: Json = None
    total_output_text_token_count: Json = None
    generation: str | None = None
    stop_reason: str | None = msgspec.field(name="stop_reason", default=None)
    prompt_token_count: Json = msgspec.field(name="prompt_token_count", default=None)
    generation_token_count: Json = msgspec.field(name="generation_token_count", default=None)
    guardrail_action: str | None = msgspec.field(name=GUARDRAIL, default=None)
    metrics: Json = msgspec.field(name=METRICS, default=None)


class InvokeDecoder(Decoder[AwsMessage]):
    """Messages of InvokeModelWithResponseStream in, stream tokens out."""

    def __init__(self, raw_events: bool = False) -> None:
        self.ended = False
        self._raw_events = raw_events
        self._chunks = JsonReader(Chunk)
        self._read_chunk = self._chunks.read
        self._inner: Decoder[bytes] | None = None

    @property
    def has_surrogates(self) -> bool:
        return self._inner is not None and self._inner.has_surrogates

    def feed(self, frame: AwsMessage, /) -> list[StreamToken]:
        if self.ended:
            return []
        kind = frame.headers.get(":event-type")
        if not isinstance(kind, str):
            if frame.headers.get(":message-type") in FAILED:
                raise read_failure(NAME, frame)
            return []
        if kind != "chunk":
            return self._unmapped(kind, frame.payload)
        data = self._read_chunk(frame.payload).data
        if data is None:  # some servers leave the wrapper out
            data = frame.payload
        inner = self._inner or self._inside(data)
        if inner is None:
            return self._unmapped(kind, data)
        try:
            return inner.feed(data)
        finally:
            self.ended, self.finish_reason = inner.ended, inner.finish_reason

    def flush(self) -> list[StreamToken]:
        if self._inner is None:
            raise TruncatedStreamError("the stream ended before it said anything")
        made = self._inner.flush()
        self.finish_reason = self._inner.finish_reason
        return made

    def fail(self, error: Exception, /) -> list[StreamToken]:
        return self._inner.fail(error) if self._inner is not None else []

    def _unmapped(self, kind: str, data: bytes) -> list[StreamToken]:
        return [RawEvent(kind, data.decode("utf-8", "replace"))] if self._raw_events else []

    def _inside(self, data: bytes) -> Decoder[bytes] | None:
        """The decoder for the family whose first event `data` is; `None` if it is nobody's."""
        told = _told.read(data)
        if told.type is not None:
            self._inner = AnthropicInside(self._raw_events)
        elif told.output_text is not None or told.generation is not None:
            self._inner = CompletionInside()
        elif (told.message_start or told.content_block_start or told.content_block_delta) is not None:
            self._inner = NovaInside(self._raw_events)
        return self._inner


_told = JsonReader(Told)


class AnthropicInside(Decoder[bytes]):
    """Events of Anthropic's Messages API in, without their frame; stream tokens out."""

    def __init__(self, raw_events: bool) -> None:
        self.ended = False
        self._decoder = anthropic_messages.MessagesDecoder(raw_events, NAME)

    @property
    def has_surrogates(self) -> bool:
        return self._decoder.has_surrogates

    def feed(self, frame: bytes, /) -> list[StreamToken]:
        made = self._decoder.feed(SseEvent("", frame))
        self.ended, self.finish_reason = self._decoder.ended, self._decoder.finish_reason
        return made

    def flush(self) -> list[StreamToken]:
        return self._decoder.flush()

    def fail(self, error: Exception, /) -> list[StreamToken]:
        return self._decoder.fail(error)


class NovaInside(Decoder[bytes]):
    """Events of Nova in, stream tokens out."""

    def __init__(self, raw_events: bool) -> None:
        self.ended = False
        self._raw_events = raw_events
        self._json = JsonReader(NovaEvent)
        self._read = self._json.read
        self._events = ConverseEvents(NAME)

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: bytes, /) -> list[StreamToken]:
        read = self._read(frame)
        events, piece = self._events, read.content_block_delta
        if piece is not None and piece.delta is not None and piece.delta.text and not events.waiting:  # the usual event
            return [TextDelta(piece.delta.text, piece.content_block_index)]
        named = [(kind, event) for name, kind in _NOVA_EVENTS if (event := getattr(read, name)) is not None]
        taken = [events.take(kind, event) for kind, event in named]
        made = [token for tokens in taken for token in tokens or []]
        if self._raw_events and (not taken or None in taken):
            made.append(RawEvent("chunk", frame.decode("utf-8", "replace")))
        self.ended, self.finish_reason = events.ended, events.finish_reason
        return made

    def flush(self) -> list[StreamToken]:
        return self._events.finish()

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # whatever broke the stream
        return self._events.cut()


class CompletionInside(Decoder[bytes]):
    """Pieces of an answer of Titan or of Llama in, stream tokens out."""

    def __init__(self) -> None:
        self.ended = False
        self._json = JsonReader(Completion)
        self._read = self._json.read
        self._has_started = False
        self._usage: dict[str, Json] = {}
        self._guardrail_action: str | None = None

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: bytes, /) -> list[StreamToken]:
        piece = self._read(frame)
        made: list[StreamToken] = []
        if not self._has_started:
            self._has_started = True
            made.append(StreamStart(None, None, NAME))
        if text := piece.output_text or piece.generation:
            made.append(TextDelta(text))
        if piece.generation_token_count is not None:  # Llama's, in every piece
            self._usage["generation_token_count"] = piece.generation_token_count
        if piece.prompt_token_count is not None:
            self._usage["prompt_token_count"] = piece.prompt_token_count
        if piece.output_text is not None:
            self._note_titan(piece)
        if piece.stop_reason:
            self.finish_reason = piece.stop_reason
        return made + self._end() if piece.metrics is not None else made

    def flush(self) -> list[StreamToken]:
        if self.ended:
            return []
        if self.finish_reason is None:
            raise TruncatedStreamError("the stream ended without a reason")
        return self._end()

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # nothing stays open
        return []

    def _note_titan(self, piece: Completion) -> None:
        if piece.input_text_token_count is not None:
            self._usage["inputTextTokenCount"] = piece.input_text_token_count
        if piece.total_output_text_token_count is not None:
            self._usage["totalOutputTextTokenCount"] = piece.total_output_text_token_count
        self._guardrail_action = piece.guardrail_action or self._guardrail_action
        self.finish_reason = piece.completion_reason or self.finish_reason

    def _end(self) -> list[StreamToken]:
        self.ended = True
        usage = {name: count for name, count in self._usage.items() if as_count(count) is not None}
        report = UsageReport(
            input_tokens=as_count(usage.get("inputTextTokenCount", usage.get("prompt_token_count"))),
            output_tokens=as_count(usage.get("totalOutputTextTokenCount", usage.get("generation_token_count"))),
            raw=usage,
        )
        details = {"guardrail_action": self._guardrail_action} if self._guardrail_action else None
        end = StreamEnd(self._reason, self.finish_reason, details=details)
        return [report, end] if usage else [end]

    @property
    def _reason(self) -> FinishReason:
        if self.finish_reason is None and self._guardrail_action == "INTERVENED":
            return FinishReason.CONTENT_FILTER
        return FINISH_REASONS.get(self.finish_reason or "", FinishReason.OTHER)


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Return the error that a refused request was answered with; header names are lower case."""
    return read_aws_refusal(NAME, status, headers, body)


def build_request(request: ChatRequest) -> HttpRequest:
    """Write `request` down as the maker of its model wants it.

    - Anthropic: as `anthropic.messages` has it, but images are given as data.
    - Nova: as `bedrock.converse` has it, with `top_k` beside the other options.
    - Titan: one message is its text; several become lines that begin with `User: ` or `Bot: `.
    - Llama: the template of Llama 3, or that of Llama 4.

    Raises `ConfigurationError` for a model whose id does not tell its family, and for what can't be asked.
    """
    body = _write.json(_body(request) | request.extra)
    return HttpRequest(model_path(request.model, "invoke-with-response-stream"), body, HEADERS)


def count_request(request: ChatRequest) -> HttpRequest:
    """Write down the question how many tokens `request` is."""
    body = base64_text(_write.json(_body(request) | request.extra))
    asked = _write.json({"input": {"invokeModel": {"body": body}}})
    return HttpRequest(model_path(request.model, "count-tokens"), asked, HEADERS | {"accept": "application/json"})


def _body(request: ChatRequest) -> dict[str, Json]:
    match family_of(request.model):
        case "anthropic":
            return _anthropic_body(request)
        case "amazon.nova":
            return _nova_body(request)
        case "amazon.titan":
            return _titan_body(request)
        case "meta.llama":
            return _llama_body(request)
        case _:
            raise _write.unable(
                "the id of the model is of no family whose words are known (anthropic, amazon.nova, amazon.titan, "
                "meta.llama); bedrock.converse has the same words for every model"
            )


def _anthropic_body(request: ChatRequest) -> dict[str, Json]:
    parts = [part for message in request.messages for part in message.parts]
    if any(isinstance(part, ImagePart) and part.data is None for part in parts):
        raise _write.unable("an image is given as data: Bedrock fetches none")
    try:
        body = anthropic_messages.write_body(request)
    except ConfigurationError as error:
        error.provider = NAME
        raise
    told_by_the_path = {"model", "stream"}
    asked = {name: value for name, value in body.items() if name not in told_by_the_path}
    return {"anthropic_version": ANTHROPIC_VERSION, **asked}


def _nova_body(request: ChatRequest) -> dict[str, Json]:
    _converse.refuse_what_is_lacking(request)
    _write.refuse_lacking({"reasoning": request.reasoning is not None, "response_format": not _is_plain(request)})
    options = stated({**_converse.inference(request), "topK": request.top_k})
    more = {"inferenceConfig": options} if options else {}
    return {"schemaVersion": "messages-v1", **_converse.conversation(request), **more}


def _titan_body(request: ChatRequest) -> dict[str, Json]:
    _refuse_all_but_text(request)
    options: dict[str, Json] = {
        "maxTokenCount": request.max_tokens,
        "temperature": request.temperature,
        "topP": request.top_p,
        "stopSequences": request.stop,
    }
    config = stated(options)
    more = {"textGenerationConfig": config} if config else {}
    return {"inputText": _as_lines(request.messages), **more}


def _llama_body(request: ChatRequest) -> dict[str, Json]:
    _refuse_all_but_text(request)
    _write.refuse_lacking({"stop": bool(request.stop)})
    marks = _LLAMA_4 if "llama4" in request.model else _LLAMA_3
    options: dict[str, Json] = {
        "max_gen_len": request.max_tokens,
        "temperature": request.temperature,
        "top_p": request.top_p,
    }
    return {"prompt": _as_prompt(request.messages, marks), **stated(options)}


def _refuse_all_but_text(request: ChatRequest) -> None:
    """Raise `ConfigurationError` for what goes beyond a conversation of texts."""
    asked = {
        "tools": bool(request.tools),
        "reasoning": request.reasoning is not None,
        "response_format": not _is_plain(request),
        "top_k": request.top_k is not None,
        "seed": request.seed is not None,
        "n": request.n not in {None, 1},
        "logprobs": request.logprobs is not None,
        "presence_penalty": request.presence_penalty is not None,
        "frequency_penalty": request.frequency_penalty is not None,
    }
    _write.refuse_lacking(asked)
    for message in request.messages:
        if message.name is not None or any(not isinstance(part, TextPart) for part in message.parts):
            raise _write.unable("messages to this model are text alone, without names")


def _is_plain(request: ChatRequest) -> bool:
    return request.response_format is None or request.response_format == "text"


def _as_lines(messages: list[Message]) -> str:
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].text
    speakers = {"user": "User: ", "assistant": "Bot: "}
    lines = [speakers.get(message.role, "") + message.text for message in messages]
    return "\n".join([*lines, "Bot:"])


class _Marks(Struct, frozen=True):
    """How a template of Llama marks who speaks."""

    before: str
    after: str
    end: str


_LLAMA_3 = _Marks("<|start_header_id|>", "<|end_header_id|>\n\n", "<|eot_id|>")
_LLAMA_4 = _Marks("<|header_start|>", "<|header_end|>\n\n", "<|eot|>")


def _as_prompt(messages: list[Message], marks: _Marks) -> str:
    speakers = {"developer": "system"}
    turns = [
        f"{marks.before}{speakers.get(message.role, message.role)}{marks.after}{message.text}{marks.end}"
        for message in messages
    ]
    return "".join(["<|begin_of_text|>", *turns, f"{marks.before}assistant{marks.after}"])


BEDROCK_INVOKE = Dialect[AwsMessage](
    name=NAME,
    base_url=BASE_URL,
    base_url_variable=BASE_URL_VARIABLE,
    find_base_url=find_base_url,
    key_variable=KEY_VARIABLE,
    build_request=build_request,
    authorize=authorize,
    sign=sign,
    parser=AwsEventStreamParser,
    decoder=InvokeDecoder,
    read_error=read_error,
    read_limits=read_limits,
    request_id_headers=REQUEST_ID_HEADERS,
    models_path=MODELS_PATH,
    models_base_url=models_base_url,
    read_models=read_models,
    count_request=count_request,
    read_count=lambda body: read_number(body, "inputTokens"),
    capabilities=Capabilities(
        images=True, tools=True, parallel_tools=True, reasoning=True, structured_output=True, token_counting=True
    ),
)
