"""Ollama's own API: `/api/chat`, and the form that `/api/generate` answers in.

One JSON object a line. What a line holds becomes:

| in a line                                    | becomes                                             |
| -------------------------------------------- | --------------------------------------------------- |
| the first `model`                            | `StreamStart`, without an id: there is none         |
| `message.content`, or `response`             | `TextDelta`                                         |
| `message.thinking`, or `thinking`            | `ReasoningDelta`                                    |
| `message.tool_calls`                         | `ToolCallStart`, `ToolCallDelta`, `ToolCall`, whole |
| `message.images`, or `image`                 | `Media`                                             |
| `logprobs`                                   | `LogProbs`                                          |
| `done`                                       | `UsageReport` and `StreamEnd`: the end mark         |
| `error`, a text                              | a `ProviderError`, whatever the HTTP status was     |
| anything else                                | a `RawEvent`, if asked for                          |

What is odd about it:

- A call ends with `stop`. Its arguments are an object; its id came with newer versions.
- Counts that are zero are left out, as when the prompt was cached.
- An image does not say what kind it is: its first bytes do.
- A server on this machine has no key; the hosted service has.

Facts: ollama/ollama `docs/api.md`, `docs/api/errors.mdx`, `api/types.go`; ollama/ollama-python `ollama/_types.py`.
"""

from base64 import b64decode
from collections.abc import Mapping
from urllib.parse import urlsplit

from msgspec import Struct

from rxstream.dialect import Capabilities, Decoder, Dialect, HttpRequest
from rxstream.dialects._answers import read_body, read_limits, read_models, read_refusal
from rxstream.dialects._openai import token_logprobs
from rxstream.dialects._requests import RequestWriter, base64_text, laid_over, stated, tools_called
from rxstream.dialects._tool_calls import ToolCalls, real
from rxstream.dialects._values import as_count, is_shallow
from rxstream.errors import (
    ConfigurationError,
    ProviderError,
    ServerError,
    TruncatedStreamError,
    provider_error,
)
from rxstream.framing.ndjson import NdjsonParser
from rxstream.framing.tolerant_json import JsonReader
from rxstream.messages import (
    ChatRequest,
    ImagePart,
    JsonSchema,
    Message,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
)
from rxstream.tokens import (
    FinishReason,
    Json,
    LogProbs,
    Media,
    RawEvent,
    ReasoningDelta,
    StreamEnd,
    StreamStart,
    StreamToken,
    TextDelta,
    ToolCall,
    UsageReport,
)

NAME = "ollama.native"
MAX_LINE_BYTES = 32 << 20
"""Most in one line: an image is one, in base64."""
PORT = 11434
"""Where Ollama listens unless told otherwise."""
_write = RequestWriter(NAME)

FINISH_REASONS = {"stop": FinishReason.STOP, "length": FinishReason.LENGTH}
"""Not here: `load` and `unload`, which answer no question."""

IMAGES = {b"\x89PNG": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif", b"RIFF": "image/webp"}
"""What kind of image begins so."""


class Function(Struct, gc=False):
    """What to call, and with what."""

    name: Json = None
    arguments: Json = None


class Call(Struct, gc=False):
    """A whole call."""

    id: Json = None
    function: Function | None = None


class Said(Struct, gc=False):
    """The next piece of a chat."""

    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None
    images: list[str] | None = None


class Line(Struct, gc=False):
    """What is read of a line; all else in it is skipped without being built."""

    model: str | None = None
    message: Said | None = None
    response: str | None = None
    thinking: str | None = None
    image: str | None = None
    logprobs: Json = None
    done: bool | None = None
    done_reason: str | None = None
    error: Json = None
    total_duration: Json = None
    load_duration: Json = None
    prompt_eval_count: Json = None
    prompt_eval_duration: Json = None
    eval_count: Json = None
    eval_duration: Json = None


FIGURES = (
    *("total_duration", "load_duration", "prompt_eval_count"),
    *("prompt_eval_duration", "eval_count", "eval_duration"),
)
"""What the last line counts: tokens, and nanoseconds."""


class NativeDecoder(Decoder[bytes]):
    """Lines of Ollama's API in, stream tokens out."""

    def __init__(self, raw_events: bool = False) -> None:
        self.ended = False
        self._raw_events = raw_events
        self._json = JsonReader(Line)
        self._read = self._json.read
        self._has_started = False
        self._calls = ToolCalls()
        self._has_called = False

    @property
    def has_surrogates(self) -> bool:
        return self._json.has_surrogates

    def feed(self, frame: bytes, /) -> list[StreamToken]:
        if self.ended:
            return []
        line = self._read(frame)
        said = line.message
        if (
            said is not None
            and self._has_started
            and said.content
            and said.thinking is said.tool_calls is said.images is line.logprobs is line.error is None
            and not line.done
        ):  # the usual line: text, and nothing else
            return [TextDelta(said.content)]
        return self._take(line, frame)

    def flush(self) -> list[StreamToken]:
        if not self.ended:
            raise TruncatedStreamError("the stream ended without a line that says done")
        return []

    def fail(self, error: Exception, /) -> list[StreamToken]:  # noqa: ARG002  # whatever broke the stream
        return self._calls.cut()

    def _take(self, line: Line, frame: bytes) -> list[StreamToken]:
        said = line.message or Said(line.response, line.thinking, None, [line.image] if line.image else None)
        made: list[StreamToken] = []
        if said.thinking:
            made.append(ReasoningDelta(said.thinking))
        if said.content:
            made.append(TextDelta(said.content))
        for call in said.tool_calls or ():
            made += self._call(call)
        for image in said.images or ():
            made += _media(image)
        if line.logprobs and (logprobs := token_logprobs(line.logprobs)):
            made.append(LogProbs(logprobs))
        if line.done:
            made += self._end(line)
        is_answer = line.model is not None or line.message is not None or line.response is not None
        if not self._has_started and (made or is_answer):
            self._has_started = True
            made = [StreamStart(None, real(line.model), NAME), *made]
        if line.error:
            error = _refusal(frame)
            error.completed = made
            raise error
        return made if made or is_answer else self._unmapped(frame)

    def _call(self, call: Call) -> list[StreamToken]:
        function = call.function or Function()
        slot = None  # every call is whole when it comes, so one place is enough
        id, name = (real(word) if isinstance(word, str) else None for word in (call.id, function.name))
        made = self._calls.begin_or_update(slot, id=id, name=name)
        if name is None and function.arguments is None:
            return made + self._calls.finish(slot)
        made += self._calls.give(slot, {} if function.arguments is None else function.arguments)
        made += self._calls.finish(slot)
        self._has_called = self._has_called or any(isinstance(token, ToolCall) for token in made)
        return made

    def _end(self, line: Line) -> list[StreamToken]:
        self.ended = True
        self.finish_reason = line.done_reason
        reason = FINISH_REASONS.get(line.done_reason or "", FinishReason.OTHER)
        if reason is FinishReason.STOP and self._has_called:
            reason = FinishReason.TOOL_CALLS
        stated_figures: dict[str, Json] = {name: getattr(line, name) for name in FIGURES}
        raw = {name: figure for name, figure in stated_figures.items() if figure is not None and is_shallow(figure)}
        given, produced = as_count(line.prompt_eval_count), as_count(line.eval_count)
        report: list[StreamToken] = [UsageReport(given, produced, raw=raw)] if raw else []
        return [*report, StreamEnd(reason, line.done_reason)]

    def _unmapped(self, frame: bytes) -> list[StreamToken]:
        return [RawEvent("line", frame.decode("utf-8", "replace"))] if self._raw_events else []


def _media(image: str) -> list[StreamToken]:
    try:
        data = b64decode(image, validate=True)
    except ValueError:
        return []
    kind = next((kind for start, kind in IMAGES.items() if data.startswith(start)), "application/octet-stream")
    return [Media(kind, data)] if data else []


def _refusal(frame: bytes) -> ProviderError:
    """The error that a line tells of; one that does not say whose fault it is came while the server was at work."""
    complaint = read_body(frame)
    message = complaint.message or "the service gave up and did not say why"
    if complaint.kind is complaint.code is complaint.status is None:
        return ServerError(message, provider=NAME)
    return provider_error(message, kind=complaint.kind, code=complaint.code, status=complaint.status, provider=NAME)


def read_error(status: int, headers: Mapping[str, str], body: bytes) -> ProviderError:
    """Return the error that a refused request was answered with; header names are lower case."""
    ids = OLLAMA_NATIVE.request_id_headers
    return read_refusal(NAME, status, headers, body, words={}, request_id_headers=ids)


def build_request(request: ChatRequest) -> HttpRequest:
    """Write `request` down for `/api/chat`.

    - Options of the model go into `options`; `extra` is laid over the body, and its `options` over those.
    - `reasoning.effort` is `think`: a level, or for `none` false. Reasoning without an effort is `think: true`.
    - Images go as their bytes; there is no address of one.
    - A tool result names its tool; where it does not, the call of its id says which it was. The API has no mark
      for a result that is an error: its text begins with `Error: ` instead.

    Raises `ConfigurationError` for what the API can't be asked.
    """
    _refuse_what_is_lacking(request)
    names = tools_called(request.messages)
    schema = request.response_format.schema if isinstance(request.response_format, JsonSchema) else None
    body: dict[str, Json] = {
        "model": request.model,
        "messages": [line for message in request.messages for line in _messages(message, names)],
        "stream": True,
    }
    options: dict[str, Json] = {
        "tools": [_tool(tool) for tool in request.tools],
        "format": "json" if request.response_format == "json" else schema,
        "think": _think(request),
        "logprobs": None if request.logprobs is None else True,
        "top_logprobs": request.logprobs or None,
        "options": _model_options(request) or None,
    }
    return HttpRequest(
        "/api/chat",
        _write.json(laid_over(body | stated(options), request.extra)),
        {"content-type": "application/json", "accept": "application/x-ndjson"},
    )


def _refuse_what_is_lacking(request: ChatRequest) -> None:
    asked = {
        "tool_choice": request.tool_choice not in {None, "auto"},
        "parallel_tool_calls=False": request.parallel_tool_calls is False,
        "reasoning.budget_tokens": request.reasoning is not None and request.reasoning.budget_tokens is not None,
        "n": request.n not in {None, 1},
        "messages[].name": any(message.name is not None for message in request.messages),
        "tools[].takes_free_text": any(tool.takes_free_text for tool in request.tools),
    }
    _write.refuse_lacking(asked)


def _model_options(request: ChatRequest) -> dict[str, Json]:
    return stated(
        {
            "num_predict": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_k": request.top_k,
            "stop": request.stop,
            "seed": request.seed,
            "presence_penalty": request.presence_penalty,
            "frequency_penalty": request.frequency_penalty,
        }
    )


def _think(request: ChatRequest) -> Json:
    if request.reasoning is None:
        return None
    match request.reasoning.effort:
        case None:
            return True
        case "none":
            return False
        case effort:
            return effort


def _messages(message: Message, names: Mapping[str, str]) -> list[Json]:
    """A turn as the API's messages: each tool result is one of its own, before the rest."""
    results = [part for part in message.parts if isinstance(part, ToolResultPart)]
    others = [part for part in message.parts if not isinstance(part, ToolResultPart)]
    written: list[Json] = [_result(result, names) for result in results]
    if others or not results:
        written.append(_said("system" if message.role == "developer" else message.role, others))
    return written


def _result(result: ToolResultPart, names: Mapping[str, str]) -> Json:
    known = stated({"tool_name": result.name or names.get(result.id or ""), "tool_call_id": result.id})
    return {"role": "tool", "content": f"Error: {result.content}" if result.is_error else result.content, **known}


def _said(role: str, parts: list[TextPart | ImagePart | ReasoningPart | ToolCallPart]) -> Json:
    message: dict[str, Json] = {
        "thinking": "".join(part.text for part in parts if isinstance(part, ReasoningPart)) or None,
        "images": [_image(part) for part in parts if isinstance(part, ImagePart)],
        "tool_calls": [_call(part) for part in parts if isinstance(part, ToolCallPart)],
    }
    text = "".join(part.text for part in parts if isinstance(part, TextPart))
    return {"role": role, "content": text, **stated(message)}


def _image(image: ImagePart) -> str:
    if image.data is None:
        raise _write.unable("an image goes as its bytes, not as an address")
    return base64_text(image.data)


def _call(call: ToolCallPart) -> Json:
    known: dict[str, Json] = {} if call.id is None else {"id": call.id}
    return {**known, "function": {"name": call.name, "arguments": _write.arguments(call)}}


def _tool(tool: Tool) -> Json:
    described = stated({"description": tool.description, "parameters": tool.parameters})
    return {"type": "function", "function": {"name": tool.name, **described}}


def find_base_url(environment: Mapping[str, str]) -> str | None:
    """Return the address that `OLLAMA_HOST` means: a host, with or without scheme, port and path, as Ollama reads it.

    Raises `ConfigurationError` if it is none.
    """
    told = environment.get("OLLAMA_HOST", "").strip()
    if not told:
        return None
    scheme, mark, rest = told.partition("://")
    if not mark:
        scheme, rest = "http", told
    try:
        parts = urlsplit(f"{scheme}://{rest}")
        port = parts.port or {"http": 80, "https": 443}.get(scheme if mark else "", PORT)
    except ValueError:
        raise ConfigurationError("OLLAMA_HOST is no address", provider=NAME) from None
    host = parts.hostname or LOCAL
    host = LOCAL if host in EVERYWHERE else f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{port}{parts.path.rstrip('/')}"


LOCAL = "127.0.0.1"
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104  # nothing listens here
"""What a server is told, to listen to everybody; a client asks the machine that it is on."""


def authorize(key: str) -> dict[str, str]:
    """Return the header that carries a key, for the hosted service."""
    return {"authorization": f"Bearer {key}"}


OLLAMA_NATIVE = Dialect[bytes](
    name=NAME,
    base_url=f"http://{LOCAL}:{PORT}",
    find_base_url=find_base_url,
    key_variable="OLLAMA_API_KEY",
    needs_key=False,
    build_request=build_request,
    authorize=authorize,
    parser=lambda: NdjsonParser(MAX_LINE_BYTES, lenient="whole"),
    decoder=NativeDecoder,
    read_error=read_error,
    read_limits=read_limits,
    models_path="/api/tags",
    read_models=read_models,
    capabilities=Capabilities(
        images=True, tools=True, parallel_tools=True, reasoning=True, structured_output=True, logprobs=True
    ),
)
