"""Requests in the words of OpenAI's Chat Completions, as each server that took them over wants them.

Servers agree on tools, calls and images, and differ in what they call an option and in
which they have. What differs is data: a server's `Quirks`.

- `max_tokens` goes by that name, which every server knows, except for models of OpenAI that refuse it
  (`NEEDS_COMPLETION_TOKENS`): there it is `max_completion_tokens`. Where the guess is wrong, as with an
  Azure deployment of any name, leave it out and put the right one into `extra`.
- Content of text alone goes as a string, which every server reads.
- Thinking goes back where the server has a place for it, else it is left out.
- The API has no mark for a tool result that is an error: its text begins with `Error: ` instead.
"""

import re
from collections.abc import Mapping
from typing import Literal

from msgspec import Struct

from rxstream.dialect import HttpRequest
from rxstream.dialects._requests import RequestWriter, data_url, stated
from rxstream.dialects._values import within
from rxstream.messages import (
    ChatRequest,
    ImagePart,
    JsonSchema,
    Message,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
    ToolNamed,
    ToolResultPart,
)
from rxstream.tokens import Json

NEEDS_COMPLETION_TOKENS = re.compile(r"(?:.*[/:])?(?:o\d|gpt-[5-9](?!\d)|gpt-1\d)", re.ASCII)
"""Models that refuse `max_tokens`: OpenAI's o-series, and GPT from 5 on, also behind a router or fine-tuned."""

HEADERS = {"content-type": "application/json", "accept": "text/event-stream"}


class Quirks(Struct, frozen=True, kw_only=True):
    """How a server wants requests that are not quite OpenAI's."""

    options: Mapping[str, str | None] = {}
    """What an option is called there, by OpenAI's name for it, if that is another; `None` if there is none.
    Parts of one are named as `response_format.json_schema`, `messages[].name`."""
    asks_for_usage: bool = True
    """Whether to ask for the usage with `stream_options`; the others send it unasked, and may refuse the field."""
    developer_role: str = "developer"
    """What the role of that name is called."""
    thinking: Literal["reasoning_content", "reasoning_details", "parts", "text_parts"] | None = None
    """Where thinking goes back: `reasoning_content` beside calls (who wants it wants it there, and may refuse it
    elsewhere), `reasoning_details` beside the content, or parts of the content, with parts or with text in them."""
    reasoning_is_object: bool = False
    """Whether effort and budget go into one object, `reasoning`."""
    logprobs_is_count: bool = False
    """Whether `logprobs` is the number of likely tokens itself."""


class ChatWriter:
    """Writes the requests of one server; `provider` is what its errors call it."""

    def __init__(self, provider: str, quirks: Quirks | None = None) -> None:
        self._write = RequestWriter(provider)
        self._quirks = quirks or Quirks()

    def build_request(self, request: ChatRequest) -> HttpRequest:
        """Write `request` down; raises `ConfigurationError` for what the server can't be asked."""
        body: dict[str, Json] = {
            "model": request.model,
            "messages": self.messages(request),
            "stream": True,
        }
        if self._quirks.asks_for_usage:
            body["stream_options"] = {"include_usage": True}
        body |= self._options(request) | request.extra
        return HttpRequest("/chat/completions", self._write.json(body), HEADERS)

    def messages(self, request: ChatRequest) -> list[Json]:
        """Write the messages down; raises `ConfigurationError` for what the server can't be told."""
        return [line for message in request.messages for line in self._lines(message)]

    def _options(self, request: ChatRequest) -> dict[str, Json]:
        names = self._names(request.model)
        lacking = {option for option, name in names.items() if name is None}
        parallel, count = request.parallel_tool_calls, request.n
        if parallel and "parallel_tool_calls" in lacking:
            parallel = None  # as it is anyway
        if count == 1 and "n" in lacking:
            count = None
        options = stated(
            {
                "tools": [_tool(tool) for tool in request.tools],
                "tool_choice": _tool_choice(request.tool_choice),
                "parallel_tool_calls": parallel,
                "response_format": _response_format(request.response_format),
                "max_tokens": request.max_tokens,
                "temperature": request.temperature,
                "top_p": request.top_p,
                "top_k": request.top_k,
                "stop": request.stop,
                "seed": request.seed,
                "presence_penalty": request.presence_penalty,
                "frequency_penalty": request.frequency_penalty,
                "n": count,
                **self._logprobs(request),
                **self._reasoning(request),
            }
        )
        wanted = [*options, f"response_format.{within(options.get('response_format'), 'type')}"]
        self._write.refuse_lacking({option: option in lacking for option in wanted})
        return {names.get(option) or option: value for option, value in options.items()}

    @property
    def _knows_names(self) -> bool:
        return self._quirks.options.get("messages[].name", "name") is not None

    def _names(self, model: str) -> dict[str, str | None]:
        """What each option is called that the server calls otherwise; `None` is one that it lacks."""
        limit = "max_completion_tokens" if NEEDS_COMPLETION_TOKENS.match(model) else "max_tokens"
        return {"max_tokens": limit, "top_k": None, "reasoning.budget_tokens": None, **self._quirks.options}

    def _logprobs(self, request: ChatRequest) -> dict[str, Json]:
        if self._quirks.logprobs_is_count:
            return {"logprobs": request.logprobs}
        return {"logprobs": None if request.logprobs is None else True, "top_logprobs": request.logprobs or None}

    def _reasoning(self, request: ChatRequest) -> dict[str, Json]:
        if request.reasoning is None:
            return {}
        effort, budget = request.reasoning.effort, request.reasoning.budget_tokens
        if self._quirks.reasoning_is_object:
            return {"reasoning": dict[str, Json](stated({"effort": effort, "max_tokens": budget}))}
        return {"reasoning_effort": effort, "reasoning.budget_tokens": budget}

    def _lines(self, message: Message) -> list[Json]:
        """A turn as the API's messages: each tool result is one of its own, before the rest."""
        results = [part for part in message.parts if isinstance(part, ToolResultPart)]
        calls = [part for part in message.parts if isinstance(part, ToolCallPart)]
        others = [part for part in message.parts if isinstance(part, TextPart | ImagePart)]
        thoughts = [part for part in message.parts if isinstance(part, ReasoningPart)]
        if message.role == "tool" and (others or calls or not results):
            raise self._write.unable(
                "a tool message holds tool results only; make it with Message.tool_result(id, content)"
            )
        if calls and message.role != "assistant":
            raise self._write.unable(f"a {message.role} message can't hold tool calls; only the assistant makes them")
        written: list[Json] = [_result(result) for result in results]
        if others or calls or thoughts or not results:
            role = self._quirks.developer_role if message.role == "developer" else message.role
            self._write.refuse_lacking({"messages[].name": message.name is not None and not self._knows_names})
            named = {} if message.name is None else {"name": message.name}
            said = self._said(message.role, others, calls)
            written.append({"role": role, **named, **_with_thoughts(said, thoughts, self._quirks.thinking)})
        return written

    def _said(self, role: str, parts: list[TextPart | ImagePart], calls: list[ToolCallPart]) -> dict[str, Json]:
        """Content and tool calls of a message."""
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        content: Json
        if len(texts) < len(parts):
            if role != "user":
                raise self._write.unable(f"a {role} message can't hold images; only the user shows them")
            content = [_part(part) for part in parts]
        elif role == "user" and len(texts) > 1:
            content = [_part(part) for part in parts]
        else:
            content = "".join(texts)
        if not calls:
            return {"content": content}
        return {"content": content or None, "tool_calls": [_call(call) for call in calls]}


def _with_thoughts(said: dict[str, Json], thoughts: list[ReasoningPart], place: str | None) -> dict[str, Json]:
    """A message with the thinking before it, where the server has a place for that."""
    if not thoughts or place is None:
        return said
    if place == "reasoning_content":
        return {**said, place: "".join(thought.text for thought in thoughts)} if "tool_calls" in said else said
    if place == "reasoning_details":
        return {**said, place: [detail for thought in thoughts for detail in _details(thought)]}
    content = said.get("content")
    text: list[Json] = [{"type": "text", "text": content}] if content else []
    write = _thinking_text if place == "text_parts" else _thinking_part
    return {**said, "content": [*(write(thought) for thought in thoughts if thought.text), *text]}


def _details(thought: ReasoningPart) -> list[Json]:
    """Thinking as OpenRouter takes it back: text with its signature, and what only the model can read."""
    text: dict[str, Json] = {"type": "reasoning.text", "text": thought.text}
    proof: dict[str, Json] = {} if thought.signature is None else {"signature": thought.signature}
    readable: list[Json] = [text | proof] if thought.text or proof else []
    hidden: list[Json] = [] if thought.redacted is None else [{"type": "reasoning.encrypted", "data": thought.redacted}]
    return readable + hidden


def _thinking_text(thought: ReasoningPart) -> Json:
    return {"type": "thinking", "thinking": thought.text}


def _thinking_part(thought: ReasoningPart) -> Json:
    signature: dict[str, Json] = {} if thought.signature is None else {"signature": thought.signature}
    return {"type": "thinking", "thinking": [{"type": "text", "text": thought.text}], **signature}


def _result(result: ToolResultPart) -> Json:
    content = f"Error: {result.content}" if result.is_error else result.content
    called: dict[str, Json] = {} if result.id is None else {"tool_call_id": result.id}
    return {"role": "tool", **called, "content": content}


def _part(part: TextPart | ImagePart) -> Json:
    if isinstance(part, TextPart):
        return {"type": "text", "text": part.text}
    address: dict[str, Json] = {"url": part.url if part.data is None else data_url(part.media_type, part.data)}
    return {"type": "image_url", "image_url": address if part.detail is None else {**address, "detail": part.detail}}


def _call(call: ToolCallPart) -> Json:
    named: dict[str, Json] = {} if call.id is None else {"id": call.id}  # a server that gives no id wants none
    arguments = call.arguments if call.arguments.strip() else "{}"
    return {**named, "type": "function", "function": {"name": call.name, "arguments": arguments}}


def _tool(tool: Tool) -> Json:
    described = {"description": tool.description, "parameters": tool.parameters, "strict": tool.strict}
    stated = {name: value for name, value in described.items() if value is not None}
    return {"type": "function", "function": {"name": tool.name, **stated}}


def _tool_choice(choice: str | ToolNamed | None) -> Json:
    return {"type": "function", "function": {"name": choice.name}} if isinstance(choice, ToolNamed) else choice


def _response_format(wanted: str | JsonSchema | None) -> Json:
    match wanted:
        case JsonSchema(name=name, schema=schema, strict=strict):
            return {"type": "json_schema", "json_schema": {"name": name, "schema": schema, "strict": strict}}
        case "json":
            return {"type": "json_object"}
        case _:
            return wanted and {"type": wanted}
