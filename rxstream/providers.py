"""A provider: a dialect, a credential and an HTTP session, alive."""

import asyncio
import inspect
import os
import re
import ssl
import time
from collections.abc import Awaitable, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from types import TracebackType
from typing import Any, Final, Literal, TypeAlias, TypeVar, cast
from urllib.parse import urlsplit

import aiohttp
import reactivex
from msgspec import Struct, structs
from reactivex import Observable

from rxstream import markup
from rxstream._version import __version__
from rxstream.attempts import attempts_at
from rxstream.dialect import BodyReader, Capabilities, Dialect, HttpRequest, RateLimits, ToSign
from rxstream.dialects import dialect as named
from rxstream.discretion import (
    Secrets,
    address_shown,
    discreet,
    raise_alone,
    secrets_of_address,
    secrets_of_headers,
    secrets_of_request,
)
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    ProtocolError,
    QuotaExceededError,
    RateLimitedError,
    StreamError,
    TransportError,
)
from rxstream.flow import RetryPolicy, StreamBackpressureController
from rxstream.messages import ChatRequest, Message
from rxstream.rx import lift_lists
from rxstream.sources.deadlines import Deadlines
from rxstream.sources.http import HttpCall, as_transport_errors, ask, http_chunks, read_whole, unseen_off_the_loop
from rxstream.sources.on_loop import each_on_loop, on_loop
from rxstream.sources.sessions import Sessions
from rxstream.tokens import Json, StreamToken

T = TypeVar("T")

MAX_PAGES = 100
"""Pages of a list of models; the longest seen has a handful."""

USER_AGENT = f"rxstream/{__version__}"

HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
"""RFC 9110, 5.1."""

VERSION_OF_MODEL = re.compile(r"(?:[-@](?:\d{3,}[\d-]*|latest|v\d+:\d+)|:[\w.-]+)?")
"""What services add to the name of a model: `-2025-08-07`, `-001`, `-latest`, `@20250929`, `-v1:0`, `:latest`."""


class _FromEnvironment:
    """The default for a key: the environment variable of the dialect."""

    def __repr__(self) -> str:
        return "FROM_ENVIRONMENT"


FROM_ENVIRONMENT: Final = _FromEnvironment()

Key: TypeAlias = str | Callable[[], str] | Callable[[], Awaitable[str]]
"""A key, or what gives one."""

Problem = Literal["key", "address", "model", "quota", "service"]


class Health(Struct, frozen=True):
    """Whether a provider could be asked right now, and what is wrong if not."""

    is_healthy: bool
    problem: Problem | None = None
    """Which part needs a look."""
    message: str = ""
    seconds: float = 0.0
    """How long the answer took."""


class AiProvider:
    """One service, ready to be asked: makes a stream of tokens of a request.

    `dialect` is a `Dialect` or its name, such as `openai.chat`. `api_key` is taken
    from the dialect's environment variable unless given; `None` sends none. A function
    is asked for the key before each request, for keys that expire: off the loop, unless it
    is a coroutine function.
    `base_url` is taken from the dialect's variable, then from the dialect. `headers` go with
    every request, over those of rxstream; like the key, they go to the origin of `base_url` and to no other.
    Certificates are verified by what the system trusts, or by `ssl_context`. The proxies that the environment
    names (`HTTPS_PROXY` and so on) are used only with `environment_proxies`. A
    `session` that is given stays the caller's to close, is used on its own loop, and has a TLS context
    of its own. `controller` bounds what all streams of the provider, and of whoever else has
    the same one, hold together. Raises `ConfigurationError` for an unknown dialect or an unusable key,
    address or header.

    It may be used on any loop and from any thread at once: each loop has connections of its own, which are
    closed when it shuts down, and a thread without a loop has its streams on the background loop. A fork may ask
    anew, and has a loop and connections of its own; the streams that were open are its parent's and are heard
    only there. A `controller` counts those too, so a fork makes a new one.

    Close it with `aclose()` or `async with`; one that is only dropped closes its
    connections all the same.
    """

    def __init__(
        self,
        dialect: Dialect[Any] | str,
        *,
        api_key: Key | _FromEnvironment | None = FROM_ENVIRONMENT,
        base_url: str | None = None,
        headers: Mapping[str, str] | None = None,
        ssl_context: ssl.SSLContext | None = None,
        environment_proxies: bool = False,
        session: aiohttp.ClientSession | None = None,
        deadlines: Deadlines | None = None,
        retry: RetryPolicy | None = None,
        controller: StreamBackpressureController | None = None,
    ) -> None:
        self.dialect = named(dialect)
        self.deadlines = deadlines or Deadlines()
        self.controller = controller
        self.retry = retry or RetryPolicy()
        self._api_key = _usable_key(api_key, "api_key") if isinstance(api_key, str) else api_key
        self._base_url = None if base_url is None else _usable_address(base_url, "base_url")
        self._headers = _usable_headers(headers or {})
        if session is not None and ssl_context is not None:
            raise ConfigurationError("a session that is given has a TLS context of its own: leave ssl_context= out")
        self._environment_proxies = environment_proxies
        self._given_session = session
        self._rate_limits = RateLimits()
        self._asked_last: Secrets = tuple
        self._sessions = Sessions(ssl_context)

    def __repr__(self) -> str:
        address = address_shown(self.base_url) if self.base_url else ""
        return f"AiProvider({self.dialect.name!r}, base_url={address!r}, key={self._key_source()})"

    def _repr_html_(self) -> str:
        """What a notebook shows; never the key, nor what an address may have beside host and path."""
        able = [name.replace("_", " ") for name, can in structs.asdict(self.capabilities).items() if can]
        return markup.table(
            (
                ("dialect", self.dialect.name),
                ("address", address_shown(self.base_url)),
                ("key", self._key_source()),
                ("can do", ", ".join(able) or "text"),
            )
        )

    async def __aenter__(self) -> "AiProvider":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    @property
    def base_url(self) -> str:
        """Where requests go, without a slash at the end."""
        if self._base_url is not None:
            return self._base_url
        dialect = self.dialect
        if dialect.base_url_variable and (told := os.environ.get(dialect.base_url_variable)):
            return _usable_address(told, dialect.base_url_variable)
        return self._home

    @property
    def _home(self) -> str:
        """Where the service itself is, unless somebody named another address."""
        dialect = self.dialect
        implied = dialect.find_base_url and dialect.find_base_url(os.environ)
        return _usable_address(implied, "what the environment implies") if implied else dialect.base_url

    @property
    def capabilities(self) -> Capabilities:
        """What the dialect can be asked for."""
        return self.dialect.capabilities

    @property
    def rate_limits(self) -> RateLimits:
        """What the last answer's headers said about the account's rate."""
        return self._rate_limits

    def stream(
        self, prompt: str | list[Message] | ChatRequest, *, raw_events: bool = False, **options: Json
    ) -> Observable[StreamToken]:
        """Return the tokens of the answer to `prompt`: cold, so each subscription is a request.

        `options` are fields of `ChatRequest`, such as `model`, which a prompt that is
        no `ChatRequest` needs. The stream ends in one `StreamError` if anything goes
        wrong; what is wrong before the first content and may pass is tried again as
        `retry` says. Raises `TypeError` for an unknown option or a missing model.
        """
        request = ChatRequest.of(prompt, **options)

        return self._tokens(lambda: self._written(request), raw_events=raw_events, asked=request)

    def resume(self, response_id: str, *, after: int, raw_events: bool = False) -> Observable[StreamToken]:
        """Return the rest of a stream that broke: what came after the event of number `after`.

        `error.partial.id` and `error.resume_after` are the two. Raises `ConfigurationError` if the API can't.
        """
        write = self._offered(self.dialect.resume_request, "can't go on with a stream that broke")
        return self._tokens(lambda: write(response_id, after), raw_events=raw_events)

    def chunks(self, prompt: str | list[Message] | ChatRequest, **options: Json) -> Observable[bytes]:
        """Return the bytes of the answer's body as they come, for `decode` or a recording; otherwise as `stream`."""
        request = ChatRequest.of(prompt, **options)
        return on_loop(reactivex.defer(lambda _: self._chunks(self._written(request), None, request)))

    def conceal(self, error: Exception) -> None:
        """Mask in an error what the request before it had that nobody is to be told, should the service quote it.

        The streams of `stream` do so by themselves; what follows `chunks` cannot know it:
        `chunks.pipe(decode(…), do_action(on_error=provider.conceal))`.
        """
        if isinstance(error, StreamError):
            discreet(error, self._asked_last())

    async def count_tokens(self, prompt: str | list[Message] | ChatRequest, **options: Json) -> int:
        """Ask the service how many input tokens a request is; the arguments are those of `stream`.

        Raises `ConfigurationError` if the API can't say; `rxstream.count_text` counts here.
        """
        write = self._offered(self.dialect.count_request, "does not count tokens; rxstream.count_text counts here")
        read = self._offered(self.dialect.read_count, "does not count tokens; rxstream.count_text counts here")
        request = ChatRequest.of(prompt, **options)
        with self._naming_itself():
            self.dialect.check(request)
            return read(await self._read(write(request), asked=request))

    async def list_models(self) -> list[str]:
        """Ask the service which models it offers, named as a request names them, in its own order.

        Raises `ConfigurationError` if the API has no such list.
        """
        path = self._offered(self.dialect.models_path, "has no list of models")
        read = self._offered(self.dialect.read_models, "has no list of models")
        models: list[str] = []
        with self._naming_itself():
            for _ in range(MAX_PAGES):
                page = read(await self._read(_get(path), elsewhere=self.dialect.models_base_url))
                models += page.models
                if page.next_path is None:
                    return models
                path = page.next_path
            raise ProtocolError(f"the list of models has more than {MAX_PAGES} pages")

    async def check_health(self, model: str | None = None) -> Health:
        """Ask the service for something cheap; say whether it answers, and what is wrong if it does not.

        With a `model`, also whether the service lists it, by that name or one that only adds a version or an
        owner to it; where the API has no list, the model is not looked at.
        """
        started = time.perf_counter()
        try:
            async with asyncio.timeout(self.deadlines.first_content):  # outside: a TimeoutError is an OSError too
                found = await self._look_for(model)
        except TimeoutError:
            return Health(False, "service", "no answer in time", time.perf_counter() - started)
        except StreamError as error:
            return Health(False, _problem(error), str(error), time.perf_counter() - started)
        if not found:
            return Health(False, "model", f"the service lists no model {model!r}", time.perf_counter() - started)
        return Health(True, seconds=time.perf_counter() - started)

    async def _look_for(self, model: str | None) -> bool:
        """Ask for something cheap; return whether the service has `model`, as far as it says."""
        if model is not None and self.dialect.models_path is not None and self.dialect.read_models is not None:
            return any(_is_model(model, listed) for listed in await self.list_models())
        call = await self._call(_get(self.dialect.models_path or ""), elsewhere=self.dialect.models_base_url)
        with as_transport_errors(call.url, self.deadlines):
            (await ask(self._session(), call, self.deadlines)).close()
        return True

    async def aclose(self) -> None:
        """Close the connections; streams that still run end in a `TransportError`."""
        await self._sessions.close()

    def _written(self, request: ChatRequest) -> HttpRequest:
        with self._naming_itself():
            self.dialect.check(request)
            return self.dialect.build_request(request)

    def _offered(self, ability: T | None, refusal: str) -> T:
        if ability is None:
            raise ConfigurationError(f"the API {refusal}", provider=self.dialect.name)
        return ability

    @contextmanager
    def _naming_itself(self) -> Generator[None]:
        """Name the provider in what goes wrong outside of a stream."""
        try:
            yield
        except StreamError as error:
            error.provider = error.provider or self.dialect.name
            discreet(error)
            raise

    def _tokens(
        self, write: Callable[[], HttpRequest], *, raw_events: bool, asked: ChatRequest | None = None
    ) -> Observable[StreamToken]:
        """The tokens of the answer to the request that `write` gives, asked for anew by each subscription."""

        def attempt() -> Observable[list[StreamToken]]:
            reader = self.dialect.read_body(raw_events=raw_events)
            return self._chunks(write(), reader, asked).pipe(lift_lists(lambda: reader))

        return each_on_loop(attempts_at(attempt, self.retry))

    def _chunks(
        self, request: HttpRequest, reader: BodyReader[Any] | None, asked: ChatRequest | None
    ) -> Observable[bytes]:
        return http_chunks(
            lambda: self._call(request, reader, asked=asked),
            self._session,
            deadlines=self.deadlines,
            progress=reader,
            controller=self.controller,
        )

    async def _read(
        self,
        request: HttpRequest,
        *,
        elsewhere: Callable[[str], str] | None = None,
        asked: ChatRequest | None = None,
    ) -> bytes:
        """The body of a short answer."""
        call = await self._call(request, elsewhere=elsewhere, asked=asked)
        return await read_whole(self._session(), call, self.deadlines)

    async def _call(
        self,
        request: HttpRequest,
        reader: BodyReader[Any] | None = None,
        *,
        elsewhere: Callable[[str], str] | None = None,
        asked: ChatRequest | None = None,
    ) -> HttpCall:
        key = await self._key()
        base_url = elsewhere(self.base_url) if elsewhere else self.base_url
        if not base_url:
            variable = self.dialect.base_url_variable
            hint = f", or set the environment variable {variable}" if variable else ""
            raise ConfigurationError(f"no address: pass base_url={hint}", provider=self.dialect.name)
        url = _joined(base_url, request.path, self.dialect.address)
        headers = {
            "accept-encoding": "identity",  # a compressed stream comes in lumps
            "user-agent": USER_AGENT,
            **self.dialect.headers,
            **request.headers,
        }
        signed = await self._credentials(key, ToSign(request.method, url, request.headers, request.body))
        credentials = {**_usable_headers(signed), **self._headers}
        if "authorization" in credentials and urlsplit(url).username is not None:
            raise ConfigurationError(
                "the address has a user name, which goes where the key goes: take one of them away (api_key=None)",
                provider=self.dialect.name,
            )
        secrets = self._asked_last = self._secrets(key, base_url, credentials, asked)
        if reader is not None:
            reader.hide(secrets)

        def refuse(status: int, headers: Mapping[str, str], body: bytes) -> StreamError:
            return discreet(self.dialect.read_error(status, headers, body), secrets())

        def heed(headers: Mapping[str, str]) -> None:
            self._rate_limits = self.dialect.read_limits(headers)

        return HttpCall(
            method=request.method,
            url=url,
            headers=_usable_headers(headers),
            credentials=credentials,
            body=request.body,
            by_proxy=self._environment_proxies,
            refuse=refuse,
            heed=heed,
        )

    @staticmethod
    def _secrets(key: str | None, address: str, credentials: Mapping[str, str], asked: ChatRequest | None) -> Secrets:
        """What no error may say, although a service may: some quote the key that they refuse, or what was asked."""

        def secrets() -> Iterator[str]:
            yield key or ""
            yield from secrets_of_headers(credentials)
            yield from secrets_of_address(address)
            if asked is not None:
                yield from secrets_of_request(asked)

        return secrets

    async def _credentials(self, key: str | None, request: ToSign) -> Mapping[str, str]:
        if key:
            return self.dialect.authorize(key)
        if self.dialect.sign is not None and self._api_key is not None:
            return await unseen_off_the_loop(partial(self.dialect.sign, request))
        return {}

    async def _key(self) -> str | None:
        given = self._api_key
        if given is None or isinstance(given, str):
            return given
        if not isinstance(given, _FromEnvironment):
            return _usable_key(await self._asked_for(given), "what the function for the key gave")
        variable = self.dialect.key_variable
        key = os.environ.get(variable) if variable else None
        if key:
            return _usable_key(key, str(variable))
        if variable and self.dialect.needs_key and self.dialect.sign is None and self.base_url == self._home:
            raise AuthenticationError(
                f"no key: set the environment variable {variable}, or pass api_key=", provider=self.dialect.name
            )
        return None

    async def _asked_for(self, give: Callable[[], str] | Callable[[], Awaitable[str]]) -> str:
        try:
            if inspect.iscoroutinefunction(give):
                return await give()
            return await unseen_off_the_loop(cast(Callable[[], str], give))
        except Exception as error:
            failed = AuthenticationError(
                f"the function for the key raised {type(error).__name__}", provider=self.dialect.name
            )
            failed.__cause__ = error
            raise_alone(discreet(failed))  # what it says may be the key

    def _key_source(self) -> str:
        """Where the key comes from, never the key."""
        if not isinstance(self._api_key, _FromEnvironment):
            return "none" if self._api_key is None else "given"
        variable = self.dialect.key_variable
        return f"{variable} ({'set' if variable and os.environ.get(variable) else 'not set'})"

    def _session(self) -> aiohttp.ClientSession:
        """The session for the running loop."""
        return self._given_session or self._sessions.here()


def _usable_key(key: str, where: str) -> str:
    """The key without white space around it; one that no header can carry is refused, unquoted."""
    key = key.strip()
    if not key or not key.isascii() or not key.isprintable():
        raise ConfigurationError(f"{where} holds no usable key: it is empty or has characters that no header can carry")
    return key


def _usable_address(url: str, where: str) -> str:
    """The address without white space around it, or slashes at its end; one that nobody can be asked at is refused."""
    url = url.strip()
    if not url.startswith(("http://", "https://")):
        raise ConfigurationError(f"{where} must begin with http:// or https://")
    try:
        is_readable = url.isprintable() and " " not in url and urlsplit(url).port != 0 and bool(urlsplit(url).hostname)
    except ValueError:
        is_readable = False
    if not is_readable:
        raise ConfigurationError(f"{where} is no usable address: it has characters or a port that no address has")
    return url.rstrip("/")


def _usable_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers with lower-case names; what would be more than one header, or none, is refused, unquoted."""
    for name, value in headers.items():
        if not HEADER_NAME.fullmatch(name):
            raise ConfigurationError("the name of a header has characters that no header can carry")
        if not value.isascii() or not value.isprintable():
            raise ConfigurationError(f"the header {name} has characters that no header can carry")
    return {name.lower(): value for name, value in headers.items()}


def _joined(base_url: str, path: str, join: Callable[[str, str], str] | None = None) -> str:
    """`path` on `base_url`; a query of the latter, such as Azure's `api-version`, goes into each request."""
    base_url, _, query = base_url.partition("?")
    url = join(base_url.rstrip("/"), path) if join else base_url.rstrip("/") + path
    return f"{url}{'?&'['?' in path] if query else ''}{query}"


def _get(path: str) -> HttpRequest:
    return HttpRequest(path, b"", {}, method="GET")


def _is_model(name: str, listed: str) -> bool:
    """Whether a listed model is the one that is meant: `gpt-5` is also `gpt-5-2025-08-07` and `openai/gpt-5`."""
    listed = listed if "/" in name else listed.rpartition("/")[2]
    return listed.startswith(name) and VERSION_OF_MODEL.fullmatch(listed, len(name)) is not None


def _problem(error: StreamError) -> Problem:
    match error:
        case AuthenticationError() | PermissionDeniedError():
            return "key"
        case QuotaExceededError() | RateLimitedError():
            return "quota"
        case TransportError() | NotFoundError() | ConfigurationError():
            return "address"
        case _:
            return "service"
