"""Amazon Bedrock's Converse API: one vocabulary for the models of every maker.

| event               | becomes                                                                  |
| ------------------- | ------------------------------------------------------------------------ |
| `messageStart`      | `StreamStart`; it names neither the answer nor the model                  |
| `contentBlockStart` | `ToolCallStart`; blocks of text and reasoning have none                   |
| `contentBlockDelta` | `TextDelta`, `ReasoningDelta`, `ToolCallDelta`, `Citation`, `Media`       |
| `contentBlockStop`  | `ToolCall`, or `ToolCallTruncated`                                        |
| `messageStop`       | its stop reason is kept: the end mark, without which the stream was cut   |
| `metadata`          | `UsageReport`, then `StreamEnd`: nothing comes after it                   |
| an exception        | a `ProviderError`, as is a message of the type `error`                    |
| anything else       | a `RawEvent`, if asked for                                                |

What is odd about it:

- Usage comes after the stop reason. A body that ends between the two is whole all the same.
- Indexes of blocks have gaps, and a delta may be empty.
- A tool without arguments has no argument text. When a limit cuts the answer right after the name it
  looks the same, so such a call waits for what comes next before it counts as whole.
- Tools that the server runs stream like the caller's. They are no calls to answer, only `RawEvent`s.
- Failures in mid-stream are messages of a type of their own, with small first letters.
- `p` is padding against the analysis of traffic.

Facts: boto/botocore `botocore/data/bedrock-runtime/2023-09-30/service-2.json`,
`botocore/eventstream.py`.
"""

from binascii import a2b_base64
from collections.abc import Mapping
from itertools import groupby
from typing import Literal, assert_never

from msgspec import Struct

from rxstream.dialect import Capabilities, Decoder, Dialect, HttpRequest
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
from rxstream.dialects._tool_calls import ToolCalls
from rxstream.dialects._values import as_count, as_objects, as_text, is_shallow, within
from rxstream.errors import ProviderError, TruncatedStreamError
from rxstream.framing import AwsEventStreamParser, AwsMessage, JsonReader
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
    Media,
    RawEvent,
    ReasoningDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    UsageReport,
)

NAME = "bedrock.converse"

FINISH_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "tool_use": FinishReason.TOOL_CALLS,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "guardrail_intervened": FinishReason.CONTENT_FILTER,
    "content_filtered": FinishReason.CONTENT_FILTER,
    "malformed_model_output": FinishReason.ERROR,
    "malformed_tool_use": FinishReason.ERROR,
}
CUT_SHORT = frozenset({FinishReason.LENGTH, FinishReason.CONTENT_FILTER, FinishReason.ERROR})
"""Where the answer stopped before the model was done: what was open then is not whole."""

COUNTED = frozenset({"messages", "system", "toolConfig", "additionalModelRequestFields"})
"""What of a request the counting of its tokens takes."""
IMAGES = {"image/png": "png", "image/jpeg": "jpeg", "image/jpg": "jpeg", "image/gif": "gif", "image/webp": "webp"}
"""The service's word for each media type that it takes."""


class Start(Struct, gc=False, rename="camel"):
    """What a content block is, as far as it is known when it begins."""

    tool_use: dict[str, Json] | None = None
    image: Json = None


class Reasoning(Struct, gc=False, rename="camel"):
    """A piece of thinking; one of the three."""

    text: str | None = None
    signature: str | None = None
    redacted_content: str | None = None
    """In base64."""


class Input(Struct, gc=False):
    """A piece of a call's arguments."""

    input: Json = None


class Delta(Struct, gc=False, rename="camel"):
    """The next piece of a content block; one of these."""

    text: str | None = None
    tool_use: Input | None = None
    reasoning_content: Reasoning | None = None
    citation: dict[str, Json] | None = None
    image: Json = None


class Event(Struct, gc=False, rename="camel"):
    """Any event of the stream; only what is read of it."""

    content_block_index: int = 0
    delta: Delta | None = None
    start: Start | None = None
    stop_reason: str | None = None
    additional_model_response_fields: Json = None
    usage: dict[str, Json] | None = None
    trace: Json = None


class ConverseEvents:
    """What the events of Converse become, however they are framed."""

    def __init__(self, provider: str) -> None:
        self._provider = provider
        self.ended = False
        self.finish_reason: str | None = None
        self.waiting: dict[int, None] = {}
        """Calls without arguments whose block has ended; what comes next says whether they are whole."""
        self._has_started = False
        self._has_stopped = False
        self._calls = ToolCalls()  # by the index of their block
        self._bare: set[int] = set()  # open calls whose argument text has not begun
        self._images: dict[int, str] = {}  # the format of each block that is an image
        self._end_details: dict[str, Json] = {}

    def take(self, kind: str, event: Event) -> list[StreamToken] | None:
        """Return what an event becomes; `None` if no rule maps it."""
        match kind:
            case "contentBlockDelta" if event.delta is not None:
                return self._add(event.content_block_index, event.delta)
            case "contentBlockStart" if event.start is not None:
                return self._open(event.content_block_index, event.start)
            case "contentBlockStop":
                return self._close(event.content_block_index)
            case "messageStart" if not self._has_started:
                self._has_started = True
                return [StreamStart(None, None, self._provider)]
            case "messageStop":
                return self._stop(event)
            case "metadata":
                return self._note_usage(event) + (self._end() if self._has_stopped else [])
            case _:
                return None

    def finish(self) -> list[StreamToken]:
        """Return what a clean end of the body completes; raises `TruncatedStreamError` before `messageStop`."""
        if self.ended:
            return []
        if not self._has_stopped:
            raise TruncatedStreamError("the stream ended without messageStop")
        return self._end()

    def cut(self) -> list[StreamToken]:
        """Return the calls that stay unfinished: the stream broke."""
        return self._calls.cut()

    def _settle(self, *, cut_short: bool = False) -> list[StreamToken]:
        """Finish the calls that waited to see whether the answer went on after them."""
        waiting, self.waiting = self.waiting, {}
        return [token for index in waiting for token in self._calls.finish(index, cut_short=cut_short)]

    def _open(self, index: int, start: Start) -> list[StreamToken] | None:
        made = self._settle()
        image_format = as_text(within(start.image, "format"))
        if image_format is not None:
            self._images[index] = image_format
            return made
        if start.tool_use is None or start.tool_use.get("type") == "server_tool_use":
            return made or None
        made += self._close(index) + self._settle()
        self._bare.add(index)
        id, name = as_text(start.tool_use.get("toolUseId")), as_text(start.tool_use.get("name"))
        return made + self._calls.begin_or_update(index, id=id, name=name)

    def _add(self, index: int, delta: Delta) -> list[StreamToken] | None:
        made = self._settle()
        thought = delta.reasoning_content
        if delta.text is not None:
            return [*made, TextDelta(delta.text, index)] if delta.text else made
        if thought is not None:
            return made + _reasoning(thought, index)
        if delta.tool_use is not None and index in self._calls:
            return made + self._add_input(index, delta.tool_use.input)
        if delta.citation is not None:
            return [*made, _citation(delta.citation, index)]
        if (data := _image_data(delta.image)) is not None:
            return [*made, Media(f"image/{self._images.get(index, '*')}", data, index)]
        return made or None  # new, or the arguments or results of a tool that the server runs

    def _add_input(self, index: int, value: Json) -> list[StreamToken]:
        if value is None or value == "":
            return []
        self._bare.discard(index)
        return self._calls.add(index, value) if isinstance(value, str) else self._calls.give(index, value)

    def _close(self, index: int) -> list[StreamToken]:
        if index in self._bare:
            self._bare.discard(index)
            self.waiting[index] = None
            return []
        return [] if index in self.waiting else self._calls.finish(index)

    def _stop(self, event: Event) -> list[StreamToken]:
        self._has_stopped = True
        self.finish_reason = event.stop_reason or self.finish_reason
        self._note_details(additionalModelResponseFields=event.additional_model_response_fields)
        cut_short = self._reason in CUT_SHORT
        return self._settle(cut_short=cut_short) + self._calls.finish_all(cut_short=cut_short)

    def _note_usage(self, event: Event) -> list[StreamToken]:
        self._note_details(trace=event.trace)
        usage = event.usage
        if usage is None:
            return []
        report = UsageReport(
            input_tokens=as_count(usage.get("inputTokens")),
            output_tokens=as_count(usage.get("outputTokens")),
            cached_input_tokens=_count(usage, "cacheReadInputTokens", "cacheReadInputTokenCount"),
            cache_write_tokens=_count(usage, "cacheWriteInputTokens", "cacheWriteInputTokenCount"),
            total_tokens=as_count(usage.get("totalTokens")),
            raw=usage if is_shallow(usage) else None,
        )
        return [report]

    def _note_details(self, **details: Json) -> None:
        self._end_details |= {name: it for name, it in details.items() if it is not None and is_shallow(it)}

    def _end(self) -> list[StreamToken]:
        self.ended = True
        return [*self.cut(), StreamEnd(self._reason, self.finish_reason, details=self._end_details or None)]

    @property
    def _reason(self) -> FinishReason:
        return FINISH_REASONS.get(self.finish_reason or "", FinishReason.OTHER)


def _count(usage: dict[str, Json], name: str, novas_name: str) -> int | None:
    """A count under either name. Nova's own comes with 0 also where nothing can be cached, so that 0 says nothing."""
    count = as_count(usage.get(name))
    return count if count is not None else as_count(usage.get(novas_name)) or None


def _reasoning(thought: Reasoning, index: int) -> list[StreamToken]:
    if not (thought.text or thought.signature or thought.redacted_content):
        return []
    signature, redacted = thought.signature or None, thought.redacted_content or None
    return [ReasoningDelta(thought.text or "", index, signature=signature, redacted=redacted)]


def _citation(raw: dict[str, Json], index: int) -> Citation:
    """A citation. Its positions are places in the source, not in the answer: they stay in `raw`."""
    said = [text for content in as_objects(raw.get("sourceContent")) if (text := as_text(content.get("text")))]
    return Citation(
        url=as_text(within(within(raw.get("location"), "web"), "url")),
        title=as_text(raw.get("title")) or as_text(raw.get("source")),
        text="".join(said) or None,
        index=index,
        raw=raw if is_shallow(raw) else None,
    )


def _image_data(image: Json) -> bytes | None:
    data = as_text(within(within(image, "source"), "bytes"))
    try:
        return None if data is None else a2b_base64(data, strict_mode=True)
    except ValueError:
        return None


class ConverseDecoder(Decoder[AwsMessage]):
    """Messages of ConverseStream in, stream tokens out."""

    def __init__(self, raw_events: bool = False) -> None:
        self.ended = False
        self._raw_events = raw_events
        self._json = JsonReader(Event)
        self._read = self._json.read
        self._events = ConverseEvents(NAME)

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: AwsMessage, /) -> list[StreamToken]:
        if self.ended:
            return []
        kind = frame.headers.get(":event-type")
        if not isinstance(kind, str):
            if frame.headers.get(":message-type") in FAILED:
                raise read_failure(NAME, frame)
            return []
        event = self._read(frame.payload)
        events = self._events
        delta = event.delta
        if delta is not None and delta.text and kind == "contentBlockDelta" and not events.waiting:  # the usual event
            return [TextDelta(delta.text, event.content_block_index)]
        made = events.take(kind, event)
        self.ended, self.finish_reason = events.ended, events.finish_reason
        if made is None:
            return [RawEvent(kind, frame.text)] if self._raw_events else []
        return made

    def flush(self) -> list[StreamToken]:
        return self._events.finish()

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # whatever broke the stream
        return self._events.cut()


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Return the error that a refused request was answered with; header names are lower case."""
    return read_aws_refusal(NAME, status, headers, body)


class ConverseWriter:
    """Writes requests in the words of Converse, which Nova shares."""

    def __init__(self, provider: str) -> None:
        self.write = RequestWriter(provider)

    def refuse_what_is_lacking(self, request: ChatRequest) -> None:
        """Raise `ConfigurationError` for what can't be asked in these words."""
        asked = {
            "seed": request.seed is not None,
            "n": request.n not in {None, 1},
            "logprobs": request.logprobs is not None,
            "presence_penalty": request.presence_penalty is not None,
            "frequency_penalty": request.frequency_penalty is not None,
            "parallel_tool_calls=False": request.parallel_tool_calls is False,
            'tool_choice="none"': request.tool_choice == "none",
            'response_format="json"': request.response_format == "json",
        }
        self.write.refuse_lacking(asked)

    def conversation(self, request: ChatRequest) -> dict[str, Json]:
        """Return what was said, and the tools there are."""
        system = [part for message in request.messages if _is_system(message) for part in message.parts]
        body: dict[str, Json] = {
            "system": [{"text": self._system_text(part)} for part in system],
            "messages": self._turns([message for message in request.messages if not _is_system(message)]),
            "toolConfig": self._tool_config(request),
        }
        return stated(body)

    def inference(self, request: ChatRequest) -> dict[str, Json]:
        """Return how the answer is to be made."""
        options: dict[str, Json] = {
            "maxTokens": request.max_tokens,
            "temperature": request.temperature,
            "topP": request.top_p,
            "stopSequences": request.stop,
        }
        return stated(options)

    def _system_text(self, part: Part) -> str:
        if isinstance(part, TextPart):
            return part.text
        raise self.write.unable("a system message holds text only")

    def _turns(self, messages: list[Message]) -> list[Json]:
        """Messages as turns: whoever speaks twice in a row, or brings results, has one turn for it."""
        turns: list[Json] = []
        for role, group in groupby(messages, key=_role):
            content = [block for message in group for block in self._blocks(message)]
            turns += [{"role": role, "content": content}] if content else []
        return turns

    def _blocks(self, message: Message) -> list[Json]:
        if message.name is not None:
            raise self.write.unable("messages have no name; write who speaks into the text")
        return [block for part in message.parts if (block := self._block(part)) is not None]

    def _block(self, part: Part) -> Json:
        """A part of a message as a content block; `None` for one that can't go back."""
        match part:
            case TextPart():
                return {"text": part.text} if part.text else None
            case ImagePart():
                return {"image": self._image(part)}
            case ReasoningPart(redacted=str(data)):
                return {"reasoningContent": {"redactedContent": data}}
            case ReasoningPart(signature=str(signature)):
                return {"reasoningContent": {"reasoningText": {"text": part.text, "signature": signature}}}
            case ReasoningPart():
                return None
            case ToolCallPart():
                call = {"toolUseId": part.id, "name": part.name, "input": self.write.arguments(part)}
                return {"toolUse": call}
            case ToolResultPart():
                result = {"toolUseId": part.id, "content": [{"text": part.content}]}
                return {"toolResult": {**result, "status": "error"} if part.is_error else result}
            case _:
                assert_never(part)

    def _image(self, image: ImagePart) -> Json:
        if image.data is not None:
            if image.media_type not in IMAGES:
                raise self.write.unable(f"images are {', '.join(sorted(set(IMAGES.values())))}")
            return {"format": IMAGES[image.media_type], "source": {"bytes": base64_text(image.data)}}
        url = image.url or ""
        image_format = IMAGES.get(image.media_type or f"image/{url.rpartition('.')[2].lower()}")
        if not url.startswith("s3://") or image_format is None:
            raise self.write.unable("an image is given as data, or as an s3:// address with its media type")
        return {"format": image_format, "source": {"s3Location": {"uri": url}}}

    def _tool_config(self, request: ChatRequest) -> Json:
        if not request.tools:
            return None
        choice: Json = None
        match request.tool_choice:
            case "required":
                choice = {"any": {}}
            case ToolNamed(name=name):
                choice = {"tool": {"name": name}}
            case "auto":
                choice = {"auto": {}}
            case _:
                pass  # nothing asked; "none" was refused
        return stated({"tools": [{"toolSpec": _tool(tool)} for tool in request.tools], "toolChoice": choice})


def _is_system(message: Message) -> bool:
    return message.role in {"system", "developer"}


def _role(message: Message) -> Literal["user", "assistant"]:
    return "assistant" if message.role == "assistant" else "user"


def _tool(tool: Tool) -> dict[str, Json]:
    described = {"name": tool.name, "description": tool.description or None, "strict": tool.strict}
    return stated({**described, "inputSchema": {"json": tool.parameters}})


_words = ConverseWriter(NAME)


def build_request(request: ChatRequest) -> HttpRequest:
    """Write `request` down as the API wants it.

    - Messages of the roles `system` and `developer` become `system`, wherever they stand.
    - Turns of one role in a row become one, since the API wants them to alternate.
    - Thinking without a signature can't go back: it came from another service, and is left out.
    - An image goes as data, or as an `s3://` address.
    - `top_k` and `reasoning` have other words for each maker's models, and go into
      `additionalModelRequestFields` for those whose words are known: Anthropic's and Nova (both), gpt-oss
      (`reasoning.effort`).

    Raises `ConfigurationError` for what the API can't be asked.
    """
    body = _words.write.json(_body(request) | request.extra)
    return HttpRequest(model_path(request.model, "converse-stream"), body, HEADERS)


def count_request(request: ChatRequest) -> HttpRequest:
    """Write down the question how many tokens `request` is: what of it is input, and nothing else."""
    asked = {name: value for name, value in _body(request).items() if name in COUNTED}
    body = _words.write.json({"input": {"converse": asked}})
    return HttpRequest(model_path(request.model, "count-tokens"), body, HEADERS | {"accept": "application/json"})


def _body(request: ChatRequest) -> dict[str, Json]:
    _words.refuse_what_is_lacking(request)
    more: dict[str, Json] = {
        "inferenceConfig": _words.inference(request) or None,
        "additionalModelRequestFields": {**_top_k(request), **_thinking(request)} or None,
        "outputConfig": _output_config(request) or None,
    }
    return _words.conversation(request) | stated(more)


def _top_k(request: ChatRequest) -> dict[str, Json]:
    if request.top_k is None:
        return {}
    match family_of(request.model):
        case "anthropic":
            return {"top_k": request.top_k}
        case "amazon.nova":
            return {"inferenceConfig": {"topK": request.top_k}}
        case _:
            raise _words.write.unable(f"top_k has no known name for this model; {_ELSEWHERE}")


def _thinking(request: ChatRequest) -> dict[str, Json]:
    reasoning = request.reasoning
    if reasoning is None:
        return {}
    match family_of(request.model), reasoning.effort, reasoning.budget_tokens:
        case "anthropic", "none", _:
            return {"thinking": {"type": "disabled"}}
        case "anthropic", _, int(budget):
            return {"thinking": {"type": "enabled", "budget_tokens": budget}}
        case "anthropic", _, _:
            return {"thinking": {"type": "adaptive"}}
        case "amazon.nova", "none", None:
            return {"reasoningConfig": {"type": "disabled"}}
        case "amazon.nova", str(effort), None:
            return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
        case "openai", str(effort), None:
            return {"reasoning_effort": effort}
        case _:
            raise _words.write.unable(f"reasoning in these words is not known for this model; {_ELSEWHERE}")


_ELSEWHERE = "put what its maker calls it into extra, as additionalModelRequestFields"


def _output_config(request: ChatRequest) -> dict[str, Json]:
    config: dict[str, Json] = {}
    effort = request.reasoning and request.reasoning.effort
    if effort not in {None, "none"} and family_of(request.model) == "anthropic":
        config["effort"] = effort
    if isinstance(request.response_format, JsonSchema):
        schema = _words.write.json(request.response_format.schema).decode()
        structure = {"jsonSchema": {"schema": schema, "name": request.response_format.name}}
        config["textFormat"] = {"type": "json_schema", "structure": structure}
    return config


BEDROCK_CONVERSE = Dialect[AwsMessage](
    name=NAME,
    base_url=BASE_URL,
    base_url_variable=BASE_URL_VARIABLE,
    find_base_url=find_base_url,
    key_variable=KEY_VARIABLE,
    build_request=build_request,
    authorize=authorize,
    sign=sign,
    parser=AwsEventStreamParser,
    decoder=ConverseDecoder,
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
