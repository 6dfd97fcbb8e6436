"""The tree of everything that can go wrong: facts as attributes, the right class for what a service said."""

import inspect
from collections.abc import Mapping

import pytest

from rxstream import errors
from rxstream.errors import (
    AuthenticationError,
    BufferOverflowError,
    ConfigurationError,
    ConnectTimeoutError,
    DeadlineError,
    FirstContentTimeoutError,
    FramingError,
    IdleTimeoutError,
    InvalidRequestError,
    NotFoundError,
    OverloadedError,
    PermissionDeniedError,
    ProtocolError,
    ProviderError,
    QuotaExceededError,
    RateLimitedError,
    ServerError,
    StreamError,
    TotalTimeoutError,
    TransportError,
    TruncatedStreamError,
    provider_error,
)
from rxstream.messages import AssembledMessage, ErrorInfo

EVERY = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, StreamError)]
WORDS: Mapping[str, type[ProviderError]] = {"quota": QuotaExceededError, "busy": OverloadedError}


def drawn_tree() -> dict[str, str | None]:
    """Each class of the drawing in the module's docstring, with the one that it hangs from."""
    parents: dict[str, str | None] = {}
    above: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None or not line.startswith("    ") or name in parents:
            continue
        column = line.index(name)
        above = [(other, parent) for other, parent in above if other < column]
        parents[name] = above[-1][1] if above else None
        above.append((column, name))
    return parents


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    in_code = {kind.__name__: next((base.__name__ for base in kind.__bases__ if base in EVERY), None) for kind in EVERY}

    assert drawn_tree() == in_code


def test_an_error_says_what_happened_and_its_facts() -> None:
    error = RateLimitedError(
        "slow down",
        provider="test",
        status=429,
        kind="rate_limit_error",
        code="rpm",
        request_id="req-1",
        retry_after=1.5,
    )

    assert str(error) == "test: slow down (HTTP 429, rate_limit_error, rpm, request req-1, retry after 1.5 s)"
    assert error.message == "slow down"


def test_a_code_that_repeats_the_kind_is_said_once() -> None:
    assert str(ProviderError("no", kind="quota", code="quota")) == "no (quota)"


def test_an_error_without_facts_is_its_message() -> None:
    assert str(StreamError("no")) == "no"


@pytest.mark.parametrize(
    ("kind", "is_retryable"),
    [
        (ConfigurationError, False),
        (TransportError, True),
        (DeadlineError, True),
        (FramingError, False),
        (ProtocolError, False),
        (ProviderError, False),
        (AuthenticationError, False),
        (RateLimitedError, True),
        (QuotaExceededError, False),
        (OverloadedError, True),
        (ServerError, True),
        (TruncatedStreamError, True),
        (BufferOverflowError, False),
    ],
)
def test_a_class_says_whether_a_retry_may_help_and_a_service_may_know_better(
    kind: type[StreamError], is_retryable: bool
) -> None:
    assert kind("no").is_retryable is is_retryable
    assert kind("no", is_retryable=not is_retryable).is_retryable is not is_retryable
    assert kind("no").is_retryable is is_retryable


def test_completed_tokens_are_never_shared_between_errors() -> None:
    first, second = StreamError("a"), StreamError("b")

    first.completed.append(1)

    assert second.completed == []
    assert StreamError("c", completed=[1]).completed == [1]


def test_what_had_arrived_stays_with_the_error() -> None:
    message = AssembledMessage(text="Hel")

    assert StreamError("no", partial=message).partial is message
    assert StreamError("no").partial is None


def test_the_error_of_a_service_is_told_in_its_own_words() -> None:
    error = OverloadedError("no room", kind="overloaded_error", code=529)

    assert error.info == ErrorInfo("overloaded_error", 529, "no room")


def test_our_own_error_is_told_by_its_class() -> None:
    assert TruncatedStreamError("cut").info == ErrorInfo("TruncatedStreamError", None, "cut")


def test_a_wrong_request_is_a_value_error_too() -> None:
    assert issubclass(ConfigurationError, ValueError)


def test_a_framing_error_names_its_limit_and_the_frames_before_it() -> None:
    error = FramingError("too long", limit="line", completed=[b"a"])

    assert (error.limit, error.frames) == ("line", [b"a"])


def test_each_deadline_has_its_name() -> None:
    deadlines = (ConnectTimeoutError, FirstContentTimeoutError, IdleTimeoutError, TotalTimeoutError)

    assert [kind("late").deadline for kind in deadlines] == ["connect", "first_content", "idle", "total"]


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidRequestError),
        (401, AuthenticationError),
        (402, QuotaExceededError),
        (403, PermissionDeniedError),
        (404, NotFoundError),
        (413, InvalidRequestError),
        (422, InvalidRequestError),
        (429, RateLimitedError),
        (500, ServerError),
        (503, OverloadedError),
        (504, ServerError),
        (529, OverloadedError),
        (None, ProviderError),
    ],
)
def test_a_status_decides_where_the_service_says_no_word_that_we_know(
    status: int | None, kind: type[ProviderError]
) -> None:
    assert type(provider_error("no", status=status, kind="unheard", words=WORDS)) is kind


@pytest.mark.parametrize(("status", "is_retryable"), [(400, False), (408, True), (409, True), (500, True)])
def test_some_refusals_of_the_request_may_pass(status: int, is_retryable: bool) -> None:
    assert provider_error("no", status=status).is_retryable is is_retryable


@pytest.mark.parametrize(
    ("code", "kind", "chosen"),
    [
        ("quota", None, QuotaExceededError),
        (None, "quota", QuotaExceededError),
        ("quota", "busy", QuotaExceededError),
        ("unheard", "busy", OverloadedError),
        (7, "busy", OverloadedError),
    ],
)
def test_a_word_of_the_service_says_more_than_the_status(
    code: str | int | None, kind: str | None, chosen: type[ProviderError]
) -> None:
    error = provider_error("no", status=429, code=code, kind=kind, words=WORDS)

    assert type(error) is chosen
    assert (error.status, error.code, error.kind) == (429, code, kind)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("401", AuthenticationError),
        (429, RateLimitedError),
        (503, OverloadedError),
        (7, ProviderError),
        ("99999", ProviderError),
    ],
)
def test_a_code_inside_a_stream_may_be_a_status(code: str | int, kind: type[ProviderError]) -> None:
    assert type(provider_error("no", code=code)) is kind


def test_facts_reach_the_error() -> None:
    error = provider_error("no", status=429, retry_after=2.0, request_id="req-1", provider="test")

    assert (error.retry_after, error.request_id, error.provider) == (2.0, "req-1", "test")
