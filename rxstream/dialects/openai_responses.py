"""OpenAI's Responses API, and the servers that speak it.

An answer is a list of items (messages, thinking, calls), each with its place, the `output_index`:

| event (after `response.`)                                  | becomes                                      |
| ---------------------------------------------------------- | -------------------------------------------- |
| `created`, or the first event with a `response`            | `StreamStart`; the first content, without it |
| `output_text.delta`, `audio.transcript.delta`              | `TextDelta`, `LogProbs`                      |
| `output_text.annotation.added`                             | `Citation`                                   |
| `refusal.delta`                                            | `RefusalDelta`                               |
| `reasoning_summary_text.delta`, `reasoning_text.delta`     | `ReasoningDelta`                             |
| `output_item.added`                                        | `ToolCallStart`                              |
| `function_call_arguments.delta`, `custom_tool_call_input.delta` | `ToolCallDelta`                         |
| `output_item.done`                                         | `ToolCall`, `ToolCallTruncated`; `Media`; the signature |
| `audio.delta`                                              | `Media`                                      |
| `completed`, `incomplete`                                  | `UsageReport`, `StreamEnd`: the end mark     |
| `failed`, `cancelled`, and `error`                         | a `ProviderError`                            |
| other `.done` events, `.added` parts                       | nothing: they repeat                         |
| anything else                                              | nothing; a `RawEvent`, if asked for          |

What is odd about it:

- Pieces belong together by their `output_index`; ids of items may change from event to event. Two items may
  be open at once. The index of a token is that of its item.
- Tools that the service runs itself (search, code, MCP) and its own tools that the caller runs (computer,
  shell, patches) are items of other kinds: no calls of functions, only `RawEvent`s.
- What a custom tool gets is free text, not JSON: see `ToolCall.is_free_text`.
- What was not told piece by piece is told when its item is done, or at the end, which repeats everything. A
  stream that is resumed is the rest and leaves out what came before; but a call that it ends is whole.
- After `error`, `response.failed` tells the same again, with the status: the stream ends in the later one.
- The encrypted thinking of an item is whole when the item is done; it is the signature of the thinking.
- There is no finish reason but the status, and what holds the answer back in `incomplete_details`.

Facts: openai/openai-python `src/openai/types/responses`; vercel/ai `packages/openai/src/responses`.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, cast

from msgspec import Struct

from rxstream.dialect import Capabilities, Decoder, Dialect
from rxstream.dialects._answers import read_complaint, read_limits, read_models, read_number, read_refusal
from rxstream.dialects._openai import (
    ERROR_WORDS,
    ERROR_WORDS_IN_STREAM,
    REQUEST_ID_HEADERS,
    authorize,
    error_in,
    heed_odd_frame,
    read_annotation,
    token_logprobs,
)
from rxstream.dialects._responses_requests import ResponsesWriter, resume_request
from rxstream.dialects._tool_calls import ToolCalls, real
from rxstream.dialects._values import as_count, as_objects, as_text, is_shallow, within
from rxstream.errors import (
    ContentBlockedError,
    InvalidRequestError,
    ProtocolError,
    ProviderError,
    ServerError,
    TruncatedStreamError,
    provider_error,
)
from rxstream.framing.sse import SseEvent, SseParser
from rxstream.framing.tolerant_json import JsonReader
from rxstream.surrogates import mend_value
from rxstream.tokens import (
    Citation,
    FinishReason,
    Json,
    LogProbs,
    Media,
    RawEvent,
    ReasoningDelta,
    RefusalDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
    UsageReport,
)

NAME = "openai.responses"

INCOMPLETE_REASONS = {
    "max_output_tokens": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "content_filter": FinishReason.CONTENT_FILTER,
}
"""Why an answer is incomplete."""

FAILURE_WORDS: Mapping[str, type[ProviderError]] = {
    **ERROR_WORDS_IN_STREAM,
    "invalid_prompt": InvalidRequestError,
    "data_residency_mismatch": InvalidRequestError,
    "bio_policy": ContentBlockedError,
    "misalignment_policy_violation": ContentBlockedError,
    "image_content_policy_violation": ContentBlockedError,
    "vector_store_timeout": ServerError,
    "invalid_image": InvalidRequestError,
    "invalid_image_format": InvalidRequestError,
    "invalid_base64_image": InvalidRequestError,
    "invalid_image_url": InvalidRequestError,
    "invalid_image_mode": InvalidRequestError,
    "image_too_large": InvalidRequestError,
    "image_too_small": InvalidRequestError,
    "image_parse_error": InvalidRequestError,
    "image_file_too_large": InvalidRequestError,
    "image_file_not_found": InvalidRequestError,
    "unsupported_image_media_type": InvalidRequestError,
    "empty_image_file": InvalidRequestError,
    "failed_to_download_image": InvalidRequestError,
}
"""The codes of a failed response (openai-python `response_error.py`)."""

TEXT_DELTA = "response.output_text.delta"
CALLS = frozenset({"function_call", "custom_tool_call"})
OUR_ITEMS = frozenset({"message", "reasoning", "image_generation_call", *CALLS})
"""Items that become tokens. Those of tools that are no functions, and what is new, do not."""
FAILURES = {"failed": "the service gave up and did not say why", "cancelled": "the response was cancelled"}
"""How an answer ends that is no answer, and what to say of it if the service does not."""
ENDS = frozenset({"response.completed", "response.incomplete", "response.failed", "response.cancelled"})
AUDIO = "audio/*"
"""The API does not say which format its audio has; the request does."""


class Item(Struct, gc=False):
    """An item of the answer; only what is read of it."""

    type: str = ""
    id: Json = None
    call_id: Json = None
    name: Json = None
    arguments: Json = None
    input: Json = None
    status: Json = None
    content: Json = None
    summary: Json = None
    encrypted_content: Json = None
    result: Json = None
    output_format: Json = None


class Response(Struct, gc=False):
    """The answer so far, or all of it."""

    id: Json = None
    model: Json = None
    status: Json = None
    output: list[Item] | None = None
    usage: Json = None
    error: Json = None
    incomplete_details: Json = None
    content_filters: Json = None
    """Azure's judgement of prompt and answer."""


class Event(Struct, gc=False):
    """Any event of the stream; only what is read of it."""

    type: str = ""
    sequence_number: int | None = None
    output_index: int = 0
    delta: Json = None
    logprobs: Json = None
    item: Item | None = None
    response: Response | None = None
    name: Json = None
    arguments: Json = None
    input: Json = None
    annotation: dict[str, Json] | None = None
    error: Json = None


class ResponsesDecoder(Decoder[SseEvent]):
    """Events of the Responses API in, stream tokens out."""

    def __init__(self, raw_events: bool = False, *, provider: str = NAME) -> None:
        self.ended = False
        self._provider = provider
        self._raw_events = raw_events
        self._json = JsonReader(Event)
        self._read = self._json.read
        self._plain = -1  # the item that gave the text before: nothing is left to note for more of it
        self._has_started = False
        self._is_resumed: bool | None = None  # until the first event
        self._told: dict[int, set[type[StreamToken]]] = {}  # what was told piece by piece, of which item
        self._calls = ToolCalls()  # by the index of their item
        self._open: dict[int, Json] = {}  # what each open call began with, for servers that tell no more of it
        self._done: set[int] = set()  # items
        self._seen: set[str] = set()  # kinds of items of which anything was told
        self._has_called = False

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: SseEvent, /) -> list[StreamToken]:
        if self.ended:
            return []
        if frame.data[:1] != b"{" or not frame.event:
            return self._feed_odd(frame)
        try:
            event = self._read(frame.data)
        except ProtocolError:
            if frame.event == "error":
                raise error_in(frame) from None
            raise
        if event.type == TEXT_DELTA and event.output_index == self._plain and not (event.logprobs or event.error):
            delta = event.delta  # the usual event goes the short way
            if type(delta) is str:
                if event.sequence_number is not None:
                    self.resume_after = event.sequence_number
                return [TextDelta(delta, event.output_index)] if delta else []
        return self._take(event, frame)

    def flush(self) -> list[StreamToken]:
        if self.ended:
            return []
        if self.refusal is not None:
            raise self.refusal
        raise TruncatedStreamError("the stream ended without response.completed, .incomplete or .failed")

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # whatever broke the stream
        return self._calls.cut()

    def _feed_odd(self, frame: SseEvent) -> list[StreamToken]:
        """Take a frame that does not look like an event: a mark of other APIs, an error, or what no rule maps."""
        if frame.is_done or not frame.data.strip():
            return []
        heed_odd_frame(frame, whole_has="output")
        if frame.event == "message" or frame.event.startswith("response."):
            return self._take(self._read(frame.data), frame)
        return self._unmapped(frame.event, frame)

    def _take(self, event: Event, frame: SseEvent) -> list[StreamToken]:
        """Take any event."""
        kind = event.type or frame.event
        if event.sequence_number is not None:
            self.resume_after = event.sequence_number
        if self._is_resumed is None:
            self._is_resumed = (event.sequence_number or 0) > 0 and kind != "response.created"
        made: list[StreamToken] = []
        if kind == "error" or event.error:
            self.refusal = error_in(frame)
        elif kind in ENDS:
            made = self._end(kind, event.response or Response())
        else:
            made = self._tokens_of(kind, event, frame)
        return self._started(event.response, made)

    def _started(self, response: Response | None, made: list[StreamToken]) -> list[StreamToken]:
        """`made`, after the start of the stream if there was none."""
        if self._has_started:
            return made
        response = response or Response()
        id, model = _real(response.id), _real(response.model)
        if id is model is None and all(isinstance(token, RawEvent) for token in made):
            return made
        self._has_started = True
        return [StreamStart(id, model, self._provider), *made]

    def _tokens_of(self, kind: str, event: Event, frame: SseEvent) -> list[StreamToken]:
        index = event.output_index
        match kind:
            case "response.output_text.delta" | "response.audio.transcript.delta":
                made = self._tell(TextDelta, index, event.delta)
                logprobs = token_logprobs(event.logprobs)
                return [*made, LogProbs(logprobs)] if logprobs else made
            case "response.reasoning_summary_text.delta" | "response.reasoning_text.delta":
                return self._tell(ReasoningDelta, index, event.delta)
            case "response.refusal.delta":
                return self._tell(RefusalDelta, index, event.delta)
            case "response.function_call_arguments.delta" | "response.custom_tool_call_input.delta":
                return self._add_to_call(index, event.delta)
            case "response.function_call_arguments.done" | "response.custom_tool_call_input.done":
                if index not in self._calls:
                    return []
                made = self._calls.begin_or_update(index, name=as_text(event.name))
                return made + self._complete(index, event.arguments if event.input is None else event.input)
            case "response.output_text.annotation.added" if event.annotation is not None:
                return self._cite(index, [event.annotation])
            case "response.output_item.added" if event.item is not None:
                made = self._begin(index, event.item)
                return made if event.item.type in OUR_ITEMS else made + self._unmapped(kind, frame)
            case "response.output_item.done" if event.item is not None:
                made = self._finish(index, event.item)
                return made if event.item.type in OUR_ITEMS else made + self._unmapped(kind, frame)
            case "response.audio.delta":
                return _media(AUDIO, event.delta, index) or self._unmapped(kind, frame)
            case (
                "response.created"
                | "response.queued"
                | "response.in_progress"
                | "response.content_part.added"
                | "response.content_part.done"
                | "response.output_text.done"
                | "response.refusal.done"
                | "response.reasoning_summary_part.added"
                | "response.reasoning_summary_part.done"
                | "response.reasoning_summary_text.done"
                | "response.reasoning_text.done"
                | "response.audio.done"
                | "response.audio.transcript.done"
            ):
                return []  # what they say comes again when the item is done
            case _:
                return self._unmapped(kind, frame)

    def _tell(self, kind: type[TextDelta | ReasoningDelta | RefusalDelta], index: int, text: Json) -> list[StreamToken]:
        """Tell a piece of the item at `index`."""
        if not isinstance(text, str) or not text:
            return []
        self._told.setdefault(index, set()).add(kind)
        self._seen.add("reasoning" if kind is ReasoningDelta else "message")
        if kind is RefusalDelta:
            return [RefusalDelta(text)]
        if kind is ReasoningDelta:
            return [ReasoningDelta(text, index)]
        self._plain = index
        return [TextDelta(text, index)]

    def _tell_unless_told(
        self, kind: type[TextDelta | ReasoningDelta | RefusalDelta], index: int, texts: list[Json]
    ) -> list[StreamToken]:
        """Tell what is known at the end of the item at `index`, if none of it came in pieces."""
        if kind in self._told.get(index, ()) or self._is_resumed:
            return []
        return [token for text in texts for token in self._tell(kind, index, text)]

    def _cite(self, index: int, annotations: list[dict[str, Json]]) -> list[StreamToken]:
        if annotations:
            self._told.setdefault(index, set()).add(Citation)
        return [read_annotation(annotation, index=index) for annotation in annotations]

    def _begin(self, index: int, item: Item) -> list[StreamToken]:
        """Begin the item at `index`; a server that has one index for all of them is done with the one before."""
        made: list[StreamToken] = []
        if index in self._done or (index in self._calls and self._calls.id(index) != _real(item.call_id)):
            made = self._finish_call(index)
            self._done.discard(index)
            self._told.pop(index, None)
            self._plain = -1
        return made + self._begin_call(index, item) if item.type in CALLS else made

    def _begin_call(self, index: int, item: Item) -> list[StreamToken]:
        self._seen |= CALLS
        self._open.setdefault(index, _given_to(item))
        return self._calls.begin_or_update(
            index,
            id=_real(item.call_id) or _real(item.id),
            name=_real(item.name),
            item_id=_real(item.id),
            is_free_text=item.type == "custom_tool_call",
        )

    def _add_to_call(self, index: int, piece: Json) -> list[StreamToken]:
        if index not in self._calls or not isinstance(piece, str):
            return []  # the beginning was missed: the call is told when it is done
        return self._calls.add(index, piece)

    def _complete(self, index: int, given: Json) -> list[StreamToken]:
        """Add to the call of the item at `index` what of `given`, all of its arguments, did not come in pieces."""
        told = self._calls.text(index)
        if isinstance(given, str):
            is_more = len(given) > len(told) and given.startswith(told)
            return self._add_to_call(index, given[len(told) :]) if is_more else []
        return [] if given is None or told else self._calls.give(index, given)

    def _finish_call(self, index: int, *, cut_short: bool = False) -> list[StreamToken]:
        made = self._complete(index, self._open.pop(index, None))
        finished = self._calls.finish(index, cut_short=cut_short)
        self._has_called = self._has_called or any(isinstance(token, ToolCall) for token in finished)
        return made + finished

    def _finish(self, index: int, item: Item) -> list[StreamToken]:
        """Finish the item at `index`: tell what of it was not told yet."""
        if index in self._done:
            return []
        self._done.add(index)
        self._seen.add(item.type)
        match item.type:
            case "message":
                return self._finish_message(index, item)
            case "reasoning":
                return self._finish_reasoning(index, item)
            case "function_call" | "custom_tool_call":
                made = self._begin_call(index, item) + self._complete(index, _given_to(item))
                return made + self._finish_call(index, cut_short=item.status == "incomplete")
            case "image_generation_call":
                return _media(f"image/{as_text(item.output_format) or 'png'}", item.result, index)
            case _:
                return []

    def _finish_message(self, index: int, item: Item) -> list[StreamToken]:
        parts = as_objects(item.content)
        texts = [part.get("text") for part in parts if part.get("type") == "output_text"]
        refusals = [part.get("refusal") for part in parts if part.get("type") == "refusal"]
        made = self._tell_unless_told(TextDelta, index, texts) + self._tell_unless_told(RefusalDelta, index, refusals)
        citations = [annotation for part in parts for annotation in as_objects(part.get("annotations"))]
        is_told = Citation in self._told.get(index, ()) or self._is_resumed
        return made if is_told else made + self._cite(index, citations)

    def _finish_reasoning(self, index: int, item: Item) -> list[StreamToken]:
        texts = [part.get("text") for part in [*as_objects(item.summary), *as_objects(item.content)]]
        made = self._tell_unless_told(ReasoningDelta, index, texts)
        proof = as_text(item.encrypted_content)
        return [*made, ReasoningDelta("", index, signature=proof, item_id=_real(item.id))] if proof else made

    def _end(self, kind: str, response: Response) -> list[StreamToken]:
        """Take the event that ends the answer, whichever way."""
        self.finish_reason = status = as_text(response.status) or kind.removeprefix("response.")
        usage = _usage_report(response.usage)
        if status in FAILURES or self.refusal is not None:
            error = self._failure(status, response.error)
            error.completed = self._started(response, usage)
            raise error
        self.ended = True
        output = response.output or []
        made = [*self._rest(output), *self._finish_calls(output, cut_short=status != "completed"), *usage]
        if self._is_resumed:
            self._has_called = self._has_called or any(item.type in CALLS for item in output)
        return [*made, StreamEnd(self._reason(status, response), status, details=_details(response))]

    def _failure(self, status: str, error: Json) -> ProviderError:
        """What the answer failed of: what its end says, or else an earlier event."""
        complaint = read_complaint({"error": mend_value(error) if is_shallow(error) else None})
        if self.refusal is not None and (status not in FAILURES or complaint.message is None):
            return self.refusal
        return provider_error(
            complaint.message or FAILURES[status],
            kind=complaint.kind,
            code=complaint.code,
            words=FAILURE_WORDS,
        )

    def _rest(self, output: list[Item]) -> list[StreamToken]:
        """The items of kinds of which nothing was told before the end: all of them, for some servers."""
        if self._is_resumed:
            return []
        untold = [(index, item) for index, item in enumerate(output) if item.type not in self._seen]
        return [token for index, item in untold for token in self._finish(index, item)]

    def _finish_calls(self, output: list[Item], *, cut_short: bool) -> list[StreamToken]:
        """Finish the calls that nothing finished, with the arguments that the whole answer gives them."""
        given = {_real(item.call_id): _given_to(item) for item in output if item.type in CALLS}
        made: list[StreamToken] = []
        for index in list(self._open):
            made += self._complete(index, given.get(self._calls.id(index)))
            made += self._finish_call(index, cut_short=cut_short)
        return made

    def _reason(self, status: str, response: Response) -> FinishReason:
        if status == "incomplete":
            reason = as_text(within(response.incomplete_details, "reason"))
            return INCOMPLETE_REASONS.get(reason or "", FinishReason.OTHER)
        if status != "completed":
            return FinishReason.OTHER
        if self._has_called:
            return FinishReason.TOOL_CALLS
        has_refused = any(RefusalDelta in kinds for kinds in self._told.values())
        return FinishReason.REFUSAL if has_refused else FinishReason.STOP

    def _unmapped(self, kind: str, frame: SseEvent) -> list[StreamToken]:
        return [RawEvent(kind, frame.text)] if self._raw_events else []


def _real(word: Json) -> str | None:
    return real(word) if isinstance(word, str) else None


def _given_to(item: Item) -> Json:
    """The arguments of a call, or the text that a custom tool gets."""
    return item.input if item.type == "custom_tool_call" else item.arguments


def _media(media_type: str, data: Json, index: int) -> list[StreamToken]:
    """An image or a piece of audio in base64; nothing if it is not."""
    try:
        decoded = b64decode(data, validate=True) if isinstance(data, str) else b""
    except ValueError:  # a `binascii.Error` too
        return []
    return [Media(media_type, decoded, index)] if decoded else []


def _usage_report(usage: Json) -> list[StreamToken]:
    if not isinstance(usage, dict) or not usage or not is_shallow(usage):
        return []
    counts = cast(dict[str, Json], usage)
    inputs, outputs = counts.get("input_tokens_details"), counts.get("output_tokens_details")
    return [
        UsageReport(
            input_tokens=as_count(counts.get("input_tokens")),
            output_tokens=as_count(counts.get("output_tokens")),
            reasoning_tokens=as_count(within(outputs, "reasoning_tokens")),
            cached_input_tokens=as_count(within(inputs, "cached_tokens")),
            cache_write_tokens=as_count(within(inputs, "cache_write_tokens")) or None,  # 0 where it is not counted
            total_tokens=as_count(counts.get("total_tokens")),
            raw=counts,
        )
    ]


def _details(response: Response) -> dict[str, Json] | None:
    """Why the answer is incomplete, and Azure's judgement of it."""
    said = {"incomplete_details": response.incomplete_details, "content_filters": response.content_filters}
    return {name: value for name, value in said.items() if value and is_shallow(value)} or None


def read_error(status: int, headers: Mapping[str, str], body: bytes, *, provider: str = NAME) -> ProviderError:
    """Return the error that a refused request was answered with; header names are lower case."""
    return read_refusal(provider, status, headers, body, words=ERROR_WORDS, request_id_headers=REQUEST_ID_HEADERS)


_writer = ResponsesWriter(NAME)
build_request = _writer.build_request
count_request = _writer.count_request

OPENAI_RESPONSES = Dialect[SseEvent](
    name=NAME,
    base_url="https://api.openai.com/v1",
    base_url_variable="OPENAI_BASE_URL",
    key_variable="OPENAI_API_KEY",
    build_request=build_request,
    authorize=authorize,
    parser=lambda: SseParser(lenient="whole", keep_unknown=True),
    decoder=ResponsesDecoder,
    read_error=read_error,
    read_limits=read_limits,
    request_id_headers=REQUEST_ID_HEADERS,
    models_path="/models",
    read_models=read_models,
    count_request=count_request,
    read_count=lambda body: read_number(body, "input_tokens"),
    resume_request=resume_request,
    capabilities=Capabilities(
        images=True,
        tools=True,
        parallel_tools=True,
        free_text_tools=True,
        reasoning=True,
        structured_output=True,
        logprobs=True,
        token_counting=True,
        resume=True,
    ),
)


def responses_dialect(name: str, **facts: Any) -> Dialect[SseEvent]:
    """Return the dialect of another server that speaks this API, with `facts` as fields of it."""
    writer = ResponsesWriter(name)
    own: dict[str, Any] = {
        "base_url_variable": None,
        "build_request": writer.build_request,
        "count_request": writer.count_request,
        "decoder": partial(ResponsesDecoder, provider=name),
        "read_error": partial(read_error, provider=name),
    }
    return replace(OPENAI_RESPONSES, name=name, **own | facts)
