"""What writing a request down has in common, whichever the API."""

from base64 import b64encode
from collections.abc import Mapping
from typing import cast

import msgspec

from rxstream.errors import ConfigurationError
from rxstream.messages import Message, ToolCallPart
from rxstream.tokens import Json, read_arguments


class RequestWriter:
    """Writes requests of one API, and says what can't be written."""

    def __init__(self, provider: str) -> None:
        self._provider = provider

    def unable(self, message: str) -> ConfigurationError:
        """Return the error for what the API can't be asked."""
        return ConfigurationError(message, provider=self._provider)

    def refuse_lacking(self, asked: Mapping[str, bool]) -> None:
        """Raise the error for the first option that is asked for; `asked` names those that the API lacks."""
        for option, is_asked in asked.items():
            if is_asked:
                raise self.unable(f"the API has no {option}; if this server takes one, put it into extra")

    def json(self, body: Mapping[str, Json]) -> bytes:
        """Return `body` as JSON; raises `ConfigurationError` if it can't be written."""
        try:
            return msgspec.json.encode(body)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise self.unable(f"the request can't be written as JSON ({type(error).__name__})") from error

    def arguments(self, call: ToolCallPart) -> dict[str, Json]:
        """Return the arguments of an earlier call as the object that they stand for."""
        try:
            arguments = read_arguments(call.arguments)
        except (ValueError, RecursionError) as error:
            raise self.unable(f"the arguments of the earlier call of {call.name} are not JSON") from error
        if not isinstance(arguments, dict):
            raise self.unable(f"the arguments of the earlier call of {call.name} are no JSON object")
        return cast(dict[str, Json], arguments)


def stated(options: Mapping[str, Json]) -> dict[str, Json]:
    """Return the options that say something: neither `None` nor an empty list."""
    return {name: value for name, value in options.items() if value is not None and value != []}


def laid_over(body: dict[str, Json], extra: dict[str, Json]) -> dict[str, Json]:
    """Return `extra` over `body`, member by member where both have an object."""
    both: dict[str, Json] = {}
    for name, value in extra.items():
        are_objects = isinstance(value, dict) and isinstance(body.get(name), dict)
        both[name] = laid_over(body[name], cast(dict[str, Json], value)) if are_objects else value
    return body | both


def tools_called(messages: list[Message]) -> dict[str, str]:
    """Return the names of the tools that were called, by the ids of the calls: some services match results by name."""
    calls = [part for message in messages for part in message.parts if isinstance(part, ToolCallPart)]
    return {call.id: call.name for call in calls if call.id is not None}


def base64_text(data: bytes) -> str:
    """Return `data` in base64, as JSON carries bytes."""
    return b64encode(data).decode()


def data_url(media_type: str | None, data: bytes) -> str:
    """Return `data` as an address that holds it."""
    return f"data:{media_type};base64,{base64_text(data)}"
