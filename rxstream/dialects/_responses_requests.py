"""Requests in the words of OpenAI's Responses API.

- Every part of a message becomes an item of its own or part of one, in their order. Messages have no name.
- Thinking goes back with its signature, the encrypted content; without one it can't, and is left out. It is
  asked for where the request asks for thinking. A summary for people is not: `extra={"reasoning":
  {"effort": "low", "summary": "auto"}}` asks for one.
- A tool is strict only if it says so: left to itself, the API holds every tool to its schema.
- The API has no mark for a tool result that is an error: its text begins with `Error: ` instead.
- Tools of the service, and the grammar of a custom tool, go into `extra`.

Facts: openai/openai-python `src/openai/types/responses/*_param.py`; vercel/ai
`packages/openai/src/responses/convert-to-openai-responses-input.ts`.
"""

from itertools import groupby
from urllib.parse import quote

from rxstream.dialect import HttpRequest
from rxstream.dialects._requests import RequestWriter, data_url, stated
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
from rxstream.tokens import Json, read_arguments

COUNTED = frozenset(
    {
        *("model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "reasoning", "text"),
        *("truncation", "conversation", "previous_response_id"),
    }
)
"""What of a request the counting of its tokens takes (openai-python `input_token_count_params.py`)."""

_HEADERS = {"content-type": "application/json", "accept": "text/event-stream"}


class ResponsesWriter:
    """Writes requests down as a server of the Responses API wants them."""

    def __init__(self, provider: str) -> None:
        self._write = RequestWriter(provider)

    def build_request(self, request: ChatRequest) -> HttpRequest:
        """Write `request` down; raises `ConfigurationError` for what the API can't be asked."""
        return HttpRequest(
            "/responses", self._write.json(self._body(request) | {"stream": True} | request.extra), _HEADERS
        )

    def count_request(self, request: ChatRequest) -> HttpRequest:
        """Write down the question how many tokens `request` is: what of it is input, and nothing else."""
        body = {name: value for name, value in (self._body(request) | request.extra).items() if name in COUNTED}
        return HttpRequest("/responses/input_tokens", self._write.json(body), _HEADERS | {"accept": "application/json"})

    def _body(self, request: ChatRequest) -> dict[str, Json]:
        self._refuse_what_is_lacking(request)
        free_text = {
            part.id
            for message in request.messages
            for part in message.parts
            if isinstance(part, ToolCallPart) and part.is_free_text
        }
        options: dict[str, Json] = {
            "tools": [_tool(tool) for tool in request.tools],
            "tool_choice": _tool_choice(request),
            "parallel_tool_calls": request.parallel_tool_calls,
            "text": _text_options(request.response_format),
            "max_output_tokens": request.max_tokens,
            "temperature": request.temperature,
            "top_p": request.top_p,
            "top_logprobs": request.logprobs or None,
            "reasoning": _reasoning_options(request),
            "include": _included(request),
        }
        return {
            "model": request.model,
            "input": [item for message in request.messages for item in self._items(message, free_text)],
            **stated(options),
        }

    def _refuse_what_is_lacking(self, request: ChatRequest) -> None:
        reasoning = request.reasoning
        asked = {
            "top_k": request.top_k is not None,
            "stop": bool(request.stop),
            "seed": request.seed is not None,
            "presence_penalty": request.presence_penalty is not None,
            "frequency_penalty": request.frequency_penalty is not None,
            "n": request.n not in {None, 1},
            "reasoning.budget_tokens": reasoning is not None and reasoning.budget_tokens is not None,
        }
        self._write.refuse_lacking(asked)

    def _items(self, message: Message, free_text: set[str | None]) -> list[Json]:
        """A turn as items: neighbouring texts and images are one, everything else is one of its own."""
        if message.name is not None:
            raise self._write.unable("messages have no name; write who speaks into the text")
        if isinstance(message.content, str) and message.role != "tool":
            return [{"role": message.role, "content": message.content}]
        items: list[Json] = []
        for is_said, parts in groupby(message.parts, key=lambda part: isinstance(part, TextPart | ImagePart)):
            if is_said:
                items.append(
                    self._said(message.role, [part for part in parts if isinstance(part, TextPart | ImagePart)])
                )
            else:
                items += [item for part in parts if (item := self._item(message.role, part, free_text)) is not None]
        return items

    def _said(self, role: str, parts: list[TextPart | ImagePart]) -> Json:
        if role == "tool":
            raise self._write.unable(
                "a tool message holds tool results only; make it with Message.tool_result(id, content)"
            )
        texts = [part.text for part in parts if isinstance(part, TextPart)]
        if len(texts) < len(parts) and role != "user":
            raise self._write.unable(f"a {role} message can't hold images; only the user shows them")
        if len(parts) == 1 and texts:
            return {"role": role, "content": texts[0]}
        if role == "assistant":
            return {"role": role, "content": "".join(texts)}
        return {"role": role, "content": [_part(part) for part in parts]}

    def _item(self, role: str, part: Part, free_text: set[str | None]) -> Json:
        """Any other part; `None` for thinking that can't go back."""
        match part:
            case ToolCallPart() if role != "assistant":
                raise self._write.unable(f"a {role} message can't hold tool calls; only the assistant makes them")
            case ToolCallPart(id=None):
                raise self._write.unable(f"the earlier call of {part.name} has no id to answer by")
            case ToolCallPart():
                return self._call(part)
            case ToolResultPart():
                kind = "custom_tool_call_output" if part.id in free_text else "function_call_output"
                output = f"Error: {part.content}" if part.is_error else part.content
                return {"type": kind, "call_id": part.id, "output": output}
            case ReasoningPart(signature=str(proof)):
                summary = [{"type": "summary_text", "text": part.text}] if part.text else []
                thinking: dict[str, Json] = {"type": "reasoning", "summary": summary, "encrypted_content": proof}
                return thinking if part.item_id is None else {"id": part.item_id, **thinking}
            case _:
                return None

    def _call(self, call: ToolCallPart) -> Json:
        named: dict[str, Json] = {} if call.item_id is None else {"id": call.item_id}
        if call.is_free_text:
            said = {"type": "custom_tool_call", "call_id": call.id, "name": call.name, "input": self._free_text(call)}
        else:
            arguments = call.arguments if call.arguments.strip() else "{}"
            said = {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments}
        return {**named, **said}

    def _free_text(self, call: ToolCallPart) -> str:
        try:
            text = read_arguments(call.arguments)
        except ValueError as error:
            raise self._write.unable(f"what the earlier call of {call.name} got is no JSON string") from error
        if not isinstance(text, str):
            raise self._write.unable(f"what the earlier call of {call.name} got is no JSON string")
        return text


def _part(part: TextPart | ImagePart) -> Json:
    if isinstance(part, TextPart):
        return {"type": "input_text", "text": part.text}
    url = part.url if part.data is None else data_url(part.media_type, part.data)
    return {"type": "input_image", "image_url": url, "detail": part.detail or "auto"}


def _tool(tool: Tool) -> Json:
    described: dict[str, Json] = {} if tool.description is None else {"description": tool.description}
    if tool.takes_free_text:
        return {"type": "custom", "name": tool.name, **described}
    return {
        "type": "function",
        "name": tool.name,
        **described,
        "parameters": tool.parameters,
        "strict": bool(tool.strict),
    }


def _tool_choice(request: ChatRequest) -> Json:
    choice = request.tool_choice
    if not isinstance(choice, ToolNamed):
        return choice
    takes_text = any(tool.takes_free_text for tool in request.tools if tool.name == choice.name)
    return {"type": "custom" if takes_text else "function", "name": choice.name}


def _text_options(wanted: str | JsonSchema | None) -> Json:
    match wanted:
        case JsonSchema(name=name, schema=schema, strict=strict):
            return {"format": {"type": "json_schema", "name": name, "schema": schema, "strict": strict}}
        case "json":
            return {"format": {"type": "json_object"}}
        case _:
            return wanted and {"format": {"type": wanted}}


def _reasoning_options(request: ChatRequest) -> Json:
    effort = request.reasoning and request.reasoning.effort
    return effort and {"effort": effort}


def _included(request: ChatRequest) -> list[Json]:
    """What the answer holds only if it is asked for."""
    included: list[Json] = []
    if request.reasoning is not None and request.reasoning.effort != "none":
        included.append("reasoning.encrypted_content")
    if request.logprobs is not None:
        included.append("message.output_text.logprobs")
    return included


def resume_request(response_id: str, after: int) -> HttpRequest:
    """Ask for the rest of the stream of that response, after the event of that number."""
    path = f"/responses/{quote(response_id, safe='')}?stream=true&starting_after={after}"
    return HttpRequest(path, b"", {"accept": "text/event-stream"}, method="GET")
