"""How one service is imitated: a value with pure functions, one file for each.

A file of this package that ends in a value named `API` is found by itself; its
service is then spoken by the server. It reads requests into a `Turn`, and writes
an `Answer` in the events, names and headers of its service.
"""

import importlib
import json
import pkgutil
import random
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias, TypeVar

import msgspec
from msgspec import Struct

import rxstream.simulator
from rxstream.errors import ConfigurationError
from rxstream.simulator.faults import ErrorEvent
from rxstream.simulator.steps import Write
from rxstream.simulator.turn import Answer, Turn
from rxstream.tokens import Json

T = TypeVar("T")


class Asked(Struct, frozen=True):
    """An HTTP request, as it came."""

    method: str
    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    query: Mapping[str, str] = {}


class Resumption(Struct, frozen=True):
    """What asks for an earlier answer again."""

    id: str
    """The service's name for that answer."""
    after: int
    """The number of the last event that is not wanted again."""
    stream: bool


class Refusal(Exception):  # noqa: N818  # what the service says, not what went wrong here
    """A request is refused; the service has its own words for it."""

    def __init__(
        self, status: int, message: str | None = None, *, kind: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code = status, message, kind, code


class Said(Struct, frozen=True):
    """A whole HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, kw_only=True)
class Api:
    """How one service is imitated."""

    name: str
    """The dialect, such as `openai.chat`."""
    paths: tuple[str, ...]
    """What people may ask, for messages: `POST /v1/messages`."""
    base_path: str
    """What follows the server's address in the base URL of a client."""
    answers: Callable[[Asked], bool]
    """Whether a POST is for this service to answer."""
    lists_models: Callable[[Asked], bool]
    """Whether a GET asks this service for its models."""
    key_of: Callable[[Mapping[str, str]], str | None]
    """The key that a request brings."""
    read: Callable[[Asked], Turn]
    """Read a request; raises `Refusal`."""
    stream: Callable[[Answer, Turn], Iterator[Write]]
    """Write an answer as a stream, an event in each `Write`."""
    whole: Callable[[Answer, Turn], bytes]
    """Write an answer as one JSON object."""
    headers: Callable[[Turn], dict[str, str]]
    """What stands in the head of every good answer: request id, rate limits."""
    refuse: Callable[[Refusal, Turn], Said]
    """Write a refusal down."""
    error_event: Callable[[ErrorEvent], bytes]
    models: Callable[[Sequence[str], Turn], bytes]
    """Write a list of models down."""
    ping: bytes
    """What keeps a connection alive."""
    garbage: bytes
    """An event that nobody can read."""
    counts: Callable[[Asked], bool] = lambda _: False
    """Whether a POST only asks how many tokens a request is; it is not among `answers`."""
    count: Callable[[Turn], bytes] = lambda turn: to_json(turn.input_tokens)
    """Write that number down."""
    answer_id: Callable[[Turn], str] | None = None
    """The name of an answer that may be asked for again."""
    resumes: Callable[[Asked], Resumption | None] = lambda _: None
    """Which earlier answer a GET asks for; `None` if it asks for none."""
    content_type: str = "text/event-stream; charset=utf-8"
    """Of a stream."""
    has_choices: bool = False
    """Whether several answers to one request exist."""


@cache
def apis() -> Mapping[str, Api]:
    """Return every service that the simulator speaks, by name."""
    found: dict[str, Api] = {}
    for module in pkgutil.iter_modules(rxstream.simulator.__path__, "rxstream.simulator."):
        api = getattr(importlib.import_module(module.name), "API", None)
        if isinstance(api, Api):
            found[api.name] = api
    return dict(sorted(found.items()))


def api_named(name: str) -> Api:
    """Return the service called `name`; raises `ConfigurationError` that names those there are."""
    try:
        return apis()[name]
    except KeyError:
        raise ConfigurationError(f"the simulator does not speak {name!r}, only {', '.join(apis())}") from None


def to_json(value: Json) -> bytes:
    """Return `value` as compact JSON; text cut inside a surrogate pair is escaped, as some servers send it."""
    try:
        return msgspec.json.encode(value)
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def read_json(body: bytes, shape: type[T]) -> T:
    """Read a request's body; raises a `Refusal` that says what is wrong with it."""
    try:
        return msgspec.json.decode(body, type=shape)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refusal(400, str(error) or "the body is nested too deeply") from error


class Part(Struct):
    """A part of a message, as far as its text matters."""

    type: str | None = None
    text: str | None = None
    content: "Content" = None


Content: TypeAlias = str | list[Part] | dict[str, Json] | None
"""The content of a message or of a tool's result."""


def text_of(content: Content) -> str:
    """Return the text of `content`, joined with nothing between."""
    if isinstance(content, list):
        return "".join(part.text for part in content if part.text)
    return content if isinstance(content, str) else ""


def letters(chance: random.Random, count: int, alphabet: str = string.ascii_letters + string.digits) -> str:
    """Return `count` random letters, as ids and padding are made of."""
    return "".join(chance.choices(alphabet, k=count))
