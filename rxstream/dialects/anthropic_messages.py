"""Anthropic's Messages API, and the servers that speak it.

| event                 | becomes                                                                   |
| --------------------- | ------------------------------------------------------------------------- |
| `message_start`       | `StreamStart`, `UsageReport`, and the blocks that it may already hold      |
| `content_block_start` | `ToolCallStart`, redacted thinking, and the text that it may already hold  |
| `content_block_delta` | `TextDelta`, `ReasoningDelta`, `ToolCallDelta`, `Citation`                 |
| `content_block_stop`  | `ToolCall`, or `ToolCallTruncated`                                         |
| `message_delta`       | `UsageReport`; its stop reason is kept                                     |
| `message_stop`        | `StreamEnd`: the end mark, without which the stream was cut                |
| `ping`                | nothing                                                                   |
| `error`               | a `ProviderError`                                                         |
| anything else         | a `RawEvent`, if asked for                                                |

What is odd about it:

- Usage is cumulative: keys of `message_delta` replace those of `message_start`, keys that it lacks stay.
- A tool without arguments has no argument text at all. When `max_tokens` cuts the answer right after
  the name it looks the same, so such a call waits for what comes next before it counts as whole.
- Tools that the server runs stream like the caller's. They are no calls to answer, only `RawEvent`s.
- A `fallback` block says that another model goes on: `StreamStart` is given again, with the same id and
  the new model.
- Gateways send `message_start` twice: the second one says nothing new. One with another id means that
  the gateway lost the answer and began a new one in its place: the first one is truncated.

Facts: anthropics/anthropic-sdk-python `src/anthropic/types/raw_*`, `types/beta/beta_raw_*`,
`types/*_param.py`; vercel/ai `packages/anthropic/src/__fixtures__`.
"""

from collections.abc import Mapping
from itertools import groupby
from typing import assert_never
from urllib.parse import quote

from msgspec import Struct

from rxstream.dialect import Capabilities, Decoder, Dialect, HttpRequest, ModelPage
from rxstream.dialects._answers import (
    listed_models,
    read_answer,
    read_anthropic_limits,
    read_body,
    read_number,
    read_refusal,
)
from rxstream.dialects._requests import RequestWriter, base64_text, stated
from rxstream.dialects._text_run import TextRun
from rxstream.dialects._tool_calls import ToolCalls
from rxstream.dialects._values import as_count, as_text, is_shallow, laid_together, within
from rxstream.errors import (
    AuthenticationError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    TruncatedStreamError,
    provider_error,
)
from rxstream.framing import SseEvent, SseParser
from rxstream.framing.sse import UnknownLines
from rxstream.framing.tolerant_json import JsonReader
from rxstream.messages import (
    ChatRequest,
    ImagePart,
    JsonSchema,
    Message,
    Part,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolNamed,
    ToolResultPart,
)
from rxstream.tokens import (
    Citation,
    FinishReason,
    Json,
    RawEvent,
    ReasoningDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    UsageReport,
)

NAME = "anthropic.messages"
_write = RequestWriter(NAME)
COUNTED = frozenset({"model", "messages", "system", "tools", "tool_choice", "thinking", "output_config"})
"""What of a request the counting of its tokens takes (anthropic-sdk-python `message_count_tokens_params.py`)."""
VERSION = "2023-06-01"
_HEADERS = {"content-type": "application/json", "accept": "text/event-stream"}

DEFAULT_MAX_TOKENS = 4_096
"""Asked for where the request sets no limit, since the API wants one: the most that every model takes."""
DEFAULT_MAX_TOKENS_THINKING = 16_384
"""The same with adaptive thinking, which counts as output; models that think so take more than this."""

FINISH_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "refusal": FinishReason.REFUSAL,
    "pause_turn": FinishReason.PAUSE,
    "compaction": FinishReason.PAUSE,
}
CUT_SHORT = frozenset({FinishReason.LENGTH, FinishReason.REFUSAL})
"""Where the answer stopped before the model was done: what was open then is not whole."""

ERROR_WORDS: Mapping[str, type[ProviderError]] = {
    "authentication_error": AuthenticationError,
    "permission_error": PermissionDeniedError,
    "billing_error": QuotaExceededError,
    "not_found_error": NotFoundError,
    "invalid_request_error": InvalidRequestError,
    "request_too_large": InvalidRequestError,
    "rate_limit_error": RateLimitedError,
    "overloaded_error": OverloadedError,
    "api_error": ServerError,
    "timeout_error": ServerError,
}

COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
"""What of the usage is read."""

OUR_BLOCKS = frozenset({"text", "thinking", "redacted_thinking", "tool_use", "fallback"})
"""Blocks that become tokens. Those of tools that the server runs, and what is new, do not."""


class Piece(Struct, gc=False):
    """The `delta` of a content block, or of the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    signature: str | None = None
    citation: dict[str, Json] | None = None
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Json] | None = None
    container: dict[str, Json] | None = None


class Model(Struct, gc=False):
    """A model, by name."""

    model: str | None = None


class Block(Struct, gc=False):
    """A content block, as far as it is known when it begins."""

    type: str = ""
    text: str | None = None
    citations: list[dict[str, Json]] | None = None
    thinking: str | None = None
    signature: str | None = None
    data: str | None = None
    id: str | None = None
    name: str | None = None
    input: Json = None
    to: Model | None = None
    """The model that goes on after a `fallback`."""


class Answer(Struct, gc=False):
    """The message that `message_start` announces."""

    id: str | None = None
    model: str | None = None
    content: list[Block] = []
    stop_reason: str | None = None
    stop_sequence: str | None = None
    stop_details: dict[str, Json] | None = None
    container: dict[str, Json] | None = None
    usage: dict[str, Json] | None = None


class Event(Struct, gc=False):
    """Any event of the stream; only what is read of it."""

    type: str = ""
    index: int = 0
    delta: Piece | None = None
    content_block: Block | None = None
    message: Answer | str | None = None
    usage: dict[str, Json] | None = None
    error: Json = None


class MessagesDecoder(Decoder[SseEvent]):
    """Events of the Messages API in, stream tokens out."""

    def __init__(self, raw_events: bool = False, provider: str = NAME) -> None:
        self._provider = provider
        self.ended = False
        self._raw_events = raw_events
        self._json = JsonReader(Event)
        self._read = self._json.read
        self._answer: Answer | None = None
        self._calls = ToolCalls()  # by the index of their block
        self._inputs: dict[int, Json] = {}  # what the start of an open call held; until argument text comes
        self._doubtful: list[int] = []  # finished calls without arguments, or cut before the first of them
        self._usage: dict[str, Json] = {}
        self._end_details: dict[str, Json] = {}
        self._run = TextRun(self._read_text, padding=b"")

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: SseEvent, /) -> list[StreamToken]:
        if self.ended:
            return []
        try:
            event = self._read(frame.data)
        except ProtocolError:
            if frame.event == "error" and read_body(frame.data).message:
                raise self._refusal(frame) from None
            if isinstance(frame, UnknownLines) or frame.is_done or not frame.data.strip():
                return []  # nothing that the API sends, and nothing that it says
            raise
        delta = event.delta
        if delta is not None and delta.type == "text_delta":  # the usual event goes the short way
            if not delta.text:
                return []
            self._run.learn(frame, delta.text, event.index)
            return [TextDelta(delta.text, event.index)]
        return self._feed_other(event, frame)

    def flush(self) -> list[StreamToken]:
        if not self.ended:
            raise TruncatedStreamError("the stream ended without message_stop")
        return []

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # whatever broke the stream
        return self._calls.cut()

    def skim(self, made: list[StreamToken], chunk: bytes, start: int, /) -> int:
        return start if self.ended else self._run.skim(made, chunk, start)

    def _read_text(self, data: bytes) -> str | None:
        """The text of an event that is nothing else."""
        delta = self._read(data).delta
        return delta.text if delta is not None and delta.type == "text_delta" else None

    def _feed_other(self, event: Event, frame: SseEvent) -> list[StreamToken]:
        kind = event.type or frame.event
        if event.error or "error" in {event.type, frame.event}:
            raise self._refusal(frame)
        match kind:
            case "content_block_delta" if event.delta is not None:
                return self._add(event.index, event.delta, frame)
            case "content_block_start" if event.content_block is not None:
                made = self._open(event.index, event.content_block)
                return made if event.content_block.type in OUR_BLOCKS else made + self._unmapped(kind, frame)
            case "content_block_stop":
                return self._close(event.index)
            case "message_start" if isinstance(event.message, Answer):
                made = self._start(event.message)
                ours = all(block.type in OUR_BLOCKS for block in event.message.content)
                return made if ours else made + self._unmapped(kind, frame)
            case "message_delta":
                made = self._note_stop(event.delta) if event.delta is not None else []
                return made + self._note_usage(event.usage)
            case "message_stop":
                return self._end()
            case "ping":
                return []
            case _:
                return self._unmapped(kind, frame)

    def _start(self, answer: Answer) -> list[StreamToken]:
        if self._answer is not None:
            if answer.id in {None, self._answer.id}:
                return []
            raise TruncatedStreamError("another answer began in the place of this one before its message_stop")
        self._answer = answer
        made: list[StreamToken] = [StreamStart(answer.id, answer.model, self._provider)]
        for index, block in enumerate(answer.content):
            made += self._open(index, block)
            made += self._close(index)
        return [*made, *self._note_stop(answer), *self._note_usage(answer.usage)]

    def _open(self, index: int, block: Block) -> list[StreamToken]:
        made = self._settle()
        match block.type:
            case "text":
                if block.text:
                    made.append(TextDelta(block.text, index))
                made += [_citation(citation, index) for citation in block.citations or []]
            case "thinking":
                if block.thinking or block.signature:
                    made.append(ReasoningDelta(block.thinking or "", index, signature=block.signature or None))
            case "redacted_thinking":
                if block.data:
                    made.append(ReasoningDelta("", index, redacted=block.data))
            case "tool_use":
                made += self._close(index)
                made += self._settle()
                made += self._calls.begin_or_update(index, id=block.id, name=block.name)
                self._inputs[index] = block.input
            case "fallback":
                if block.to and block.to.model:
                    made.append(StreamStart(self._answer and self._answer.id, block.to.model, self._provider))
            case _:
                pass  # a tool that the server runs, or what is new
        return made

    def _add(self, index: int, delta: Piece, frame: SseEvent) -> list[StreamToken]:
        match delta.type:
            case "thinking_delta":
                return [ReasoningDelta(delta.thinking, index)] if delta.thinking else []
            case "input_json_delta" if index in self._calls:
                if delta.partial_json:
                    self._inputs.pop(index, None)
                return self._calls.add(index, delta.partial_json or "")
            case "signature_delta":
                return [ReasoningDelta("", index, signature=delta.signature)] if delta.signature else []
            case "citations_delta" if delta.citation is not None:
                return [_citation(delta.citation, index)]
            case _:  # new, or the arguments of a tool that the server runs
                return self._unmapped("content_block_delta", frame)

    def _close(self, index: int) -> list[StreamToken]:
        if index not in self._inputs:  # argument text came, or it is no call
            return self._calls.finish(index)
        match self._inputs.pop(index):
            case str(text) if text:
                return self._calls.add(index, text) + self._calls.finish(index)
            case value if value:
                return self._calls.give(index, value) + self._calls.finish(index)
            case _:
                self._doubtful.append(index)
                return []

    def _settle(self, *, cut_short: bool = False) -> list[StreamToken]:
        """Finish the calls that waited to see whether the answer went on after them."""
        waiting, self._doubtful = self._doubtful, []
        return [token for index in waiting for token in self._calls.finish(index, cut_short=cut_short)]

    def _note_stop(self, said: Piece | Answer) -> list[StreamToken]:
        details = {"stop_sequence": said.stop_sequence, "stop_details": said.stop_details, "container": said.container}
        self._end_details |= {name: it for name, it in details.items() if it is not None and is_shallow(it)}
        if said.stop_reason is None:
            return []
        self.finish_reason = said.stop_reason
        return self._settle(cut_short=self._reason in CUT_SHORT)

    def _note_usage(self, usage: dict[str, Json] | None) -> list[StreamToken]:
        known = self._usage
        news = {name: count for name, count in (usage or {}).items() if count is not None or name not in known}
        shallow = {name: count for name, count in news.items() if is_shallow(count)}
        merged = laid_together(known, shallow, COUNTS)
        if merged == known:
            return []
        self._usage = merged
        report = UsageReport(
            input_tokens=as_count(merged.get("input_tokens")),
            output_tokens=as_count(merged.get("output_tokens")),
            reasoning_tokens=as_count(within(merged.get("output_tokens_details"), "thinking_tokens")),
            cached_input_tokens=as_count(merged.get("cache_read_input_tokens")),
            cache_write_tokens=as_count(merged.get("cache_creation_input_tokens")),
            raw=merged,
        )
        return [report]

    def _end(self) -> list[StreamToken]:
        self.ended = True
        cut_short = self._reason in CUT_SHORT
        made = [token for index in list(self._inputs) for token in self._close(index)]
        made += self._settle(cut_short=cut_short)
        made += self._calls.finish_all(cut_short=cut_short)
        return [*made, StreamEnd(self._reason, self.finish_reason, details=self._end_details or None)]

    @property
    def _reason(self) -> FinishReason:
        return FINISH_REASONS.get(self.finish_reason or "", FinishReason.OTHER)

    def _unmapped(self, kind: str, frame: SseEvent) -> list[StreamToken]:
        return [RawEvent(kind, frame.text)] if self._raw_events else []

    def _refusal(self, frame: SseEvent) -> ProviderError:
        complaint = read_body(frame.data)
        return provider_error(
            complaint.message or "the service gave up and did not say why",
            kind=complaint.kind,
            code=complaint.code,
            words=ERROR_WORDS,
            provider=self._provider,
            request_id=complaint.request_id,
        )


def _citation(raw: dict[str, Json], index: int) -> Citation:
    """A citation of any kind. Its positions are places in the source, not in the answer: they stay in `raw`."""
    return Citation(
        url=as_text(raw.get("url")) or as_text(raw.get("source")),
        title=as_text(raw.get("title")) or as_text(raw.get("document_title")),
        text=as_text(raw.get("cited_text")),
        index=index,
        raw=raw if is_shallow(raw) else None,
    )


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Return the error that a refused request was answered with; header names are lower case."""
    return read_refusal(
        NAME, status, headers, body, words=ERROR_WORDS, request_id_headers=ANTHROPIC_MESSAGES.request_id_headers
    )


def build_request(request: ChatRequest) -> HttpRequest:
    """Write `request` down as the API wants it.

    - Messages of the roles `system` and `developer` become `system`, wherever they stand.
    - Neighbouring messages of the role `tool` become one turn of the user.
    - Thinking without a signature can't go back: it came from another service, and is left out.
    - `reasoning.budget_tokens` asks for thinking within that budget; `reasoning.effort` alone for adaptive
      thinking, and is `output_config.effort`; the effort `none` switches thinking off.
    - `max_tokens` is required: see `DEFAULT_MAX_TOKENS`. A thinking budget is added to the default.

    Raises `ConfigurationError` for what the API can't be asked.
    """
    body = write_body(request)
    return HttpRequest("/v1/messages", _write.json(body | request.extra), _HEADERS)


def count_request(request: ChatRequest) -> HttpRequest:
    """Write down the question how many tokens `request` is: what of it is input, and nothing else."""
    body = {name: value for name, value in write_body(request).items() if name in COUNTED}
    return HttpRequest("/v1/messages/count_tokens", _write.json(body), _HEADERS | {"accept": "application/json"})


def write_body(request: ChatRequest) -> dict[str, Json]:
    """Return the body for `request`, its `extra` left out; raises as `build_request`."""
    _refuse_what_is_lacking(request)
    body: dict[str, Json] = {
        "model": request.model,
        "max_tokens": request.max_tokens if request.max_tokens is not None else _default_max_tokens(request),
        "messages": _turns(request.messages),
        "stream": True,
    }
    options: dict[str, Json] = {
        "system": _system(request.messages),
        "tools": [_tool(tool) for tool in request.tools],
        "tool_choice": _tool_choice(request),
        "thinking": _thinking(request),
        "output_config": _output_config(request),
        "stop_sequences": request.stop,
        "temperature": request.temperature,
        "top_p": request.top_p,
        "top_k": request.top_k,
    }
    return body | stated(options)


def read_models(body: bytes) -> ModelPage:
    """Read a page of the list of models."""
    answer = read_answer(body)
    last = as_text(within(answer, "last_id")) if within(answer, "has_more") is True else None
    return ModelPage(listed_models(answer), last and f"/v1/models?limit=1000&after_id={quote(last, safe='')}")


def _refuse_what_is_lacking(request: ChatRequest) -> None:
    asked = {
        "seed": request.seed is not None,
        "n": request.n not in {None, 1},
        "logprobs": request.logprobs is not None,
        "presence_penalty": request.presence_penalty is not None,
        "frequency_penalty": request.frequency_penalty is not None,
        'response_format="json"': request.response_format == "json",
    }
    _write.refuse_lacking(asked)


def _default_max_tokens(request: ChatRequest) -> int:
    reasoning = request.reasoning
    if reasoning is None or reasoning.effort == "none":
        return DEFAULT_MAX_TOKENS
    if reasoning.budget_tokens is not None:
        return DEFAULT_MAX_TOKENS + reasoning.budget_tokens
    return DEFAULT_MAX_TOKENS_THINKING


def _system(messages: list[Message]) -> Json:
    """The system prompt: text where it is one text, else a block for each."""
    parts = [part for message in messages if _is_system(message) for part in message.parts]
    texts = [part.text for part in parts if isinstance(part, TextPart)]
    if len(texts) < len(parts):
        raise _write.unable("a system message holds text only")
    if len(texts) > 1:
        return [{"type": "text", "text": text} for text in texts]
    return texts[0] if texts else None


def _is_system(message: Message) -> bool:
    return message.role in {"system", "developer"}


def _turns(messages: list[Message]) -> list[Json]:
    turns: list[Json] = []
    spoken = [message for message in messages if not _is_system(message)]
    for are_results, group in groupby(spoken, key=lambda message: message.role == "tool"):
        if are_results:
            turns.append({"role": "user", "content": [block for message in group for block in _blocks(message)]})
        else:
            turns += [{"role": message.role, "content": _content(message)} for message in group]
    return [turn for turn in turns if turn["content"] != []]


def _content(message: Message) -> Json:
    if message.name is not None:
        raise _write.unable("messages have no name; write who speaks into the text")
    return message.content if isinstance(message.content, str) else _blocks(message)


def _blocks(message: Message) -> list[Json]:
    return [block for part in message.parts if (block := _block(part)) is not None]


def _block(part: Part) -> Json:
    """A part of a message as a content block; `None` for one that can't go back."""
    match part:
        case TextPart():
            return {"type": "text", "text": part.text}
        case ImagePart():
            return {"type": "image", "source": _image_source(part)}
        case ReasoningPart(redacted=str(data)):
            return {"type": "redacted_thinking", "data": data}
        case ReasoningPart(signature=str(signature)):
            return {"type": "thinking", "thinking": part.text, "signature": signature}
        case ReasoningPart():
            return None
        case ToolCallPart():
            return {"type": "tool_use", "id": part.id, "name": part.name, "input": _write.arguments(part)}
        case ToolResultPart():
            result = {"type": "tool_result", "tool_use_id": part.id, "content": part.content}
            return {**result, "is_error": True} if part.is_error else result
        case _:
            assert_never(part)


def _image_source(image: ImagePart) -> Json:
    if image.data is None:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": image.media_type, "data": base64_text(image.data)}


def _tool(tool: Tool) -> Json:
    described = {"description": tool.description, "strict": tool.strict}
    named: dict[str, Json] = {"name": tool.name, "input_schema": tool.parameters}
    return named | {name: value for name, value in described.items() if value is not None}


def _tool_choice(request: ChatRequest) -> Json:
    choice: dict[str, Json]
    match request.tool_choice:
        case "none":
            return {"type": "none"}
        case "required":
            choice = {"type": "any"}
        case ToolNamed(name=name):
            choice = {"type": "tool", "name": name}
        case "auto":
            choice = {"type": "auto"}
        case None if request.tools and request.parallel_tool_calls is False:
            choice = {"type": "auto"}
        case None:
            return None
    return {**choice, "disable_parallel_tool_use": True} if request.parallel_tool_calls is False else choice


def _thinking(request: ChatRequest) -> Json:
    reasoning = request.reasoning
    if reasoning is None:
        return None
    if reasoning.effort == "none":
        return {"type": "disabled"}
    if reasoning.budget_tokens is not None:
        return {"type": "enabled", "budget_tokens": reasoning.budget_tokens}
    return {"type": "adaptive"}


def _output_config(request: ChatRequest) -> Json:
    config: dict[str, Json] = {}
    if request.reasoning and request.reasoning.effort not in {None, "none"}:
        config["effort"] = request.reasoning.effort
    if isinstance(request.response_format, JsonSchema):
        config["format"] = {"type": "json_schema", "schema": request.response_format.schema}
    return config or None


def authorize(key: str) -> dict[str, str]:
    """Return the header that carries a key."""
    return {"x-api-key": key}


ANTHROPIC_MESSAGES = Dialect[SseEvent](
    name=NAME,
    base_url="https://api.anthropic.com",
    base_url_variable="ANTHROPIC_BASE_URL",
    key_variable="ANTHROPIC_API_KEY",
    build_request=build_request,
    headers={"anthropic-version": VERSION},
    authorize=authorize,
    parser=lambda: SseParser(lenient="whole", keep_unknown=True),
    decoder=MessagesDecoder,
    read_error=read_error,
    read_limits=read_anthropic_limits,
    request_id_headers=("request-id", "x-request-id"),
    models_path="/v1/models?limit=1000",
    read_models=read_models,
    count_request=count_request,
    read_count=lambda body: read_number(body, "input_tokens"),
    capabilities=Capabilities(
        images=True, tools=True, parallel_tools=True, reasoning=True, structured_output=True, token_counting=True
    ),
)
