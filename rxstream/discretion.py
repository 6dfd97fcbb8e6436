"""What an error may say: neither a secret of the request nor another library's words about it.

Exceptions of other libraries hold more than they seem to: aiohttp's have the request's
headers among their arguments, and what was no UTF-8 is kept whole by its `UnicodeDecodeError`.
So in the chain of a `StreamError` each of them is replaced by a `WithheldError`, which has its class
and its traceback. What the caller's own code raised is the caller's, and stays.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NoReturn, TypeVar
from urllib.parse import unquote, urlsplit

from msgspec.structs import replace

from rxstream.errors import StreamError, SubscriberError
from rxstream.messages import ChatRequest, ImagePart, Part, ReasoningPart, TextPart, ToolCallPart, ToolResultPart

E = TypeVar("E", bound=StreamError)

MASK = "***"

SHORTEST_KEY = 4
"""Characters of the shortest key or password that is masked; `x` is a word for none."""
SHORTEST_TEXT = 8
"""Characters of the shortest line of a user, value of a query or of a header that is masked: shorter ones are in
any sentence."""
SHORTEST_PART = 20
"""Characters of the shortest part of a signature that is masked; the shortest of AWS has as many."""
PUBLIC_PARAMETERS = frozenset({"alt", "api-version"})
"""Parameters of an address that say which API is meant, and may be quoted."""

_SYSTEM = frozenset({"builtins", "socket", "ssl"})
"""Modules whose `OSError`s say what the system said, and no more."""


class WithheldError(Exception):
    """In place of another library's exception: its class, and where it was raised, but not its words."""


def raise_alone(error: BaseException) -> NoReturn:
    """Raise `error` with the cause that it has, and without what is just being handled as its context."""
    try:
        raise error
    finally:
        error.__context__ = None


def discreet(error: E, secrets: Iterable[str] = ()) -> E:
    """Return `error`, which then says none of `secrets`, and nothing of other libraries' exceptions but their classes.

    What a subscriber raised stays as it is. The message so far, `.partial`, is what it is about and stays too.
    """
    hidden = sorted({secret for secret in secrets if len(secret) >= SHORTEST_KEY}, key=len, reverse=True)
    _mask(error, hidden)
    if not isinstance(error, SubscriberError):
        _tidy(error, hidden, {id(error)})
    return error


def _mask(error: StreamError, secrets: list[str]) -> None:
    """Mask `secrets` in what `error` says; what a repr shows is then the same."""

    def masked(text: str) -> str:
        for secret in secrets:
            text = text.replace(secret, MASK)
        return text

    error.message = masked(error.message)
    error.kind = error.kind and masked(error.kind)
    error.code = masked(error.code) if isinstance(error.code, str) else error.code
    error.request_id = error.request_id and masked(error.request_id)
    error.args = (error.message,)
    if secrets and error.partial is not None and error.partial.error is not None:
        error.partial = replace(error.partial, error=error.info)


def _tidy(error: BaseException, secrets: list[str], seen: set[int]) -> None:
    """Make the chain of `error` discreet; `seen` are those that are, since a chain may be a ring."""
    cause, context = error.__cause__, error.__context__
    suppressed = error.__suppress_context__
    error.__cause__ = _chained(cause, secrets, seen)
    error.__context__ = error.__cause__ if context is cause else _chained(context, secrets, seen)
    error.__suppress_context__ = suppressed


def _chained(error: BaseException | None, secrets: list[str], seen: set[int]) -> BaseException | None:
    """What stands in a chain for `error`."""
    if error is None or id(error) in seen or isinstance(error, WithheldError):
        return error
    seen.add(id(error))
    if isinstance(error, StreamError):
        _mask(error, secrets)
    elif not _says_little(error):
        withheld = WithheldError(_named(error)).with_traceback(error.__traceback__)
        withheld.__cause__, withheld.__context__ = error.__cause__, error.__context__
        withheld.__suppress_context__ = error.__suppress_context__
        error = withheld
    if not isinstance(error, SubscriberError):
        _tidy(error, secrets, seen)
    return error


def _says_little(error: BaseException) -> bool:
    is_of_system = type(error).__module__ in _SYSTEM and isinstance(error, OSError) and isinstance(error.errno, int)
    return is_of_system or not (error.args or getattr(error, "__dict__", None))


def _named(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    return f"{name}: {error.strerror}" if isinstance(error, OSError) and error.strerror else name


def secrets_of_headers(headers: Mapping[str, str]) -> Iterator[str]:
    """Give what is secret in headers that carry credentials: values, what follows `Bearer`, parts of a signature."""
    for value in headers.values():
        yield from (part for part in (value, value.partition(" ")[2]) if len(part) >= SHORTEST_TEXT)
        yield from (part for part in re.split(r"[\s,=/]+", value) if len(part) >= SHORTEST_PART)


def secrets_of_address(url: str) -> Iterator[str]:
    """Give what is secret in an address: its account, also as a header has it, and its query."""
    parts = urlsplit(url)
    account = unquote(parts.netloc.rpartition("@")[0])
    if account:
        yield from (account, account.partition(":")[2], b64encode(account.encode()).decode())
    for parameter in parts.query.split("&"):
        name, _, value = parameter.partition("=")
        if name not in PUBLIC_PARAMETERS and len(value) >= SHORTEST_TEXT:
            yield from (value, unquote(value))


def secrets_of_request(request: ChatRequest) -> Iterator[str]:
    """Give what people wrote in `request`, line by line: a service may quote a part of it, or escape the line ends."""
    for message in request.messages:
        for part in message.parts:
            lines = map(str.strip, _text(part).splitlines())
            yield from (line for line in lines if len(line) >= SHORTEST_TEXT)


def _text(part: Part) -> str:
    match part:
        case TextPart(text=text) | ReasoningPart(text=text) | ToolResultPart(content=text):
            return text
        case ToolCallPart(arguments=arguments):
            return arguments
        case ImagePart(url=url):
            return url or ""


def address_shown(url: str) -> str:
    """Return `url` without what it may have beside scheme, host, port and path."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "an unreadable address"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


Secrets = Callable[[], Iterable[str]]
"""Gives what must not be said, when there is an error to say something."""
