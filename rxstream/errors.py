"""Everything that can go wrong with a stream, as one tree.

    StreamError
    ├── ConfigurationError        the request could not even be made: a name, an address, an option
    ├── TransportError            could not hear: connect, reset, a body that broke off
    │   └── DeadlineError         waited long enough
    │       ├── ConnectTimeoutError
    │       ├── FirstContentTimeoutError
    │       ├── IdleTimeoutError
    │       └── TotalTimeoutError
    ├── FramingError              heard noise: a limit, a checksum, a broken frame
    ├── ProtocolError             heard nonsense: not JSON, or not of this API's shape
    ├── ProviderError             heard "no", in the HTTP status or inside the stream
    │   ├── AuthenticationError       no key, or a wrong one
    │   ├── PermissionDeniedError     a key that may not do this
    │   ├── NotFoundError             no such model or address
    │   ├── InvalidRequestError       the request itself
    │   ├── ContentBlockedError       a filter of the service, or of yours
    │   ├── RateLimitedError          too many requests or tokens
    │   ├── QuotaExceededError        no credit left
    │   ├── OverloadedError           the service has no room now
    │   └── ServerError               the service broke
    ├── TruncatedStreamError      the end came without the mark that this API ends with
    ├── BufferOverflowError       a bounded buffer was full, and its policy was to fail
    └── SubscriberError           not the stream's fault: the subscriber's own code raised

An error ends a stream on `on_error`. What had arrived is `.partial`. Its facts
are attributes; its text never holds a key, a header, a query string or what the
user wrote.
"""

from collections.abc import Mapping
from typing import Any, Literal

from rxstream.messages import AssembledMessage, ErrorInfo


class StreamError(Exception):
    """A stream failed."""

    is_retryable: bool = False
    """Whether the same request may well succeed later."""

    def __init__(
        self,
        message: str,
        *,
        provider: str | None = None,
        status: int | None = None,
        kind: str | None = None,
        code: str | int | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        is_retryable: bool | None = None,
        partial: AssembledMessage | None = None,
        completed: list[Any] | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        """What happened, alone; `str()` adds the facts."""
        self.provider = provider
        """The dialect, such as `openai.chat`."""
        self.status = status
        """The HTTP status."""
        self.kind = kind
        """The service's word for the kind of error (`type` in most APIs)."""
        self.code = code
        """The service's code."""
        self.request_id = request_id
        """What to quote to the service's support."""
        self.retry_after = retry_after
        """Seconds to wait before a retry, where the service said."""
        if is_retryable is not None:
            self.is_retryable = is_retryable
        self.partial = partial
        """What had arrived."""
        self.resume_after: int | None = None
        """The number of the last event that came, where the API can go on after it: see `AiProvider.resume`."""
        self.completed: list[Any] = completed or []
        """What the machine that raised this had completed; it is delivered before the error."""

    def __str__(self) -> str:
        facts = [
            f"HTTP {self.status}" if self.status is not None else None,
            str(self.kind) if self.kind is not None else None,
            str(self.code) if self.code is not None and self.code != self.kind else None,
            f"request {self.request_id}" if self.request_id else None,
            f"retry after {self.retry_after:g} s" if self.retry_after is not None else None,
        ]
        said = ", ".join(fact for fact in facts if fact)
        return f"{self.provider + ': ' if self.provider else ''}{self.message}{f' ({said})' if said else ''}"

    @property
    def info(self) -> ErrorInfo:
        """The error as a value: the service's words where it spoke, else the name of this class."""
        return ErrorInfo(type(self).__name__, self.code, self.message)


class ConfigurationError(StreamError, ValueError):
    """The request could not be made from what was given."""


class TransportError(StreamError):
    """The answer could not be heard, or not to its end."""

    is_retryable = True


class DeadlineError(TransportError):
    """A deadline passed."""

    deadline: Literal["connect", "first_content", "idle", "total"]


class ConnectTimeoutError(DeadlineError):
    """No connection within the deadline."""

    deadline = "connect"


class FirstContentTimeoutError(DeadlineError):
    """No content within the deadline; pings and comments are not content."""

    deadline = "first_content"


class IdleTimeoutError(DeadlineError):
    """No progress for the length of the deadline; pings and comments are not progress."""

    deadline = "idle"


class TotalTimeoutError(DeadlineError):
    """The stream as a whole took longer than allowed."""

    deadline = "total"


class FramingError(StreamError):
    """The bytes are no frames of this format, or a frame is larger than allowed."""

    def __init__(self, message: str, *, limit: Literal["line", "event"] | None = None, **facts: Any) -> None:
        super().__init__(message, **facts)
        self.limit: Literal["line", "event"] | None = limit
        """Which limit was passed, if it was one."""

    @property
    def frames(self) -> list[Any]:
        """What the same chunk had already completed."""
        return self.completed


class ProtocolError(StreamError):
    """A frame is not JSON, or not what this API sends."""


class ProviderError(StreamError):
    """The service refused or gave up."""

    @property
    def info(self) -> ErrorInfo:
        return ErrorInfo(self.kind, self.code, self.message)


class AuthenticationError(ProviderError):
    """There is no key, or the service does not accept it."""


class PermissionDeniedError(ProviderError):
    """The key is good but may not do this."""


class NotFoundError(ProviderError):
    """There is no such model or address."""


class InvalidRequestError(ProviderError):
    """The service finds the request wrong."""


class ContentBlockedError(ProviderError):
    """A filter refused the prompt or the answer."""


class RateLimitedError(ProviderError):
    """Too many requests or tokens for now."""

    is_retryable = True


class QuotaExceededError(ProviderError):
    """The account has no credit left; waiting does not help."""


class OverloadedError(ProviderError):
    """The service has no room for the request now."""

    is_retryable = True


class ServerError(ProviderError):
    """The service broke."""

    is_retryable = True


class TruncatedStreamError(StreamError):
    """The body ended without the mark that this API ends a stream with."""

    is_retryable = True


class BufferOverflowError(StreamError):
    """A bounded buffer was full, and its policy was to fail."""


class SubscriberError(StreamError):
    """The subscriber's own `on_next` raised; what it raised is the cause."""


_BY_STATUS: Mapping[int, type[ProviderError]] = {
    401: AuthenticationError,
    402: QuotaExceededError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitedError,
    503: OverloadedError,
    529: OverloadedError,
}
_RETRIED = frozenset({408, 409})


def provider_error(
    message: str,
    *,
    status: int | None = None,
    kind: str | None = None,
    code: str | int | None = None,
    words: Mapping[str, type[ProviderError]] | None = None,
    **facts: Any,
) -> ProviderError:
    """Return the `ProviderError` of the right class for what a service said.

    `words` maps the service's kinds and codes to classes and goes before the status,
    since they say more: a 429 may be a rate that passes or a quota that does not.
    """
    words = words or {}
    for word in (code, kind):
        if isinstance(word, str) and word in words:
            chosen = words[word]
            break
    else:
        number = status if status is not None else _as_status(code)
        if number is None or number in _BY_STATUS:
            chosen = _BY_STATUS.get(number or 0, ProviderError)
        else:
            chosen = ServerError if number >= 500 else InvalidRequestError
        if number in _RETRIED:
            facts.setdefault("is_retryable", True)
    return chosen(message, status=status, kind=kind, code=code, **facts)


def _as_status(code: str | int | None) -> int | None:
    """A code that is really an HTTP status, as several services send."""
    number = int(code) if isinstance(code, str) and code.isdecimal() and len(code) == 3 else code
    return number if isinstance(number, int) and 400 <= number < 600 else None
