"""What an error may say; that nothing says more is in test_secrets.py."""

import traceback
from collections.abc import Iterator

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from rxstream.discretion import (
    MASK,
    SHORTEST_KEY,
    WithheldError,
    address_shown,
    discreet,
    raise_alone,
    secrets_of_address,
    secrets_of_headers,
    secrets_of_request,
)
from rxstream.errors import ProtocolError, StreamError, SubscriberError, TransportError
from rxstream.messages import AssembledMessage, ChatRequest, ImagePart, Message, TextPart, ToolCallPart

KEY = "sk-secret-4711"

words = st.text("abc-", min_size=SHORTEST_KEY, max_size=8)


def links(error: BaseException | None) -> Iterator[BaseException]:
    """Every exception in the chain of `error`, causes and contexts."""
    todo, seen = [error], list[BaseException]()
    while todo:
        link = todo.pop()
        if link is not None and all(link is not other for other in seen):
            seen.append(link)
            yield link
            todo += [link.__cause__, link.__context__]


def foreign() -> aiohttp.ClientResponseError:
    """An exception whose repr has a key."""
    headers = CIMultiDictProxy(CIMultiDict(authorization=f"Bearer {KEY}"))
    url = URL(f"http://host/?key={KEY}")
    return aiohttp.ClientResponseError(aiohttp.RequestInfo(url, "POST", headers, url), ())


@given(st.lists(words, max_size=4), st.text("abc-", max_size=40))
def test_no_secret_is_left_whichever_holds_which(secrets: list[str], said: str) -> None:
    error = discreet(StreamError(said, kind=said, code=said, request_id=said), secrets)

    for told in (error.message, str(error), repr(error), error.kind, error.code, error.request_id):
        assert not any(secret in str(told) for secret in secrets)


@given(st.text(max_size=40))
def test_what_holds_no_secret_stays_as_it_is(said: str) -> None:
    error = discreet(StreamError(said, code=7), ["not-in-there-at-all" * 3])

    assert (error.message, error.args, error.code) == (said, (said,), 7)


def test_a_word_for_no_key_is_no_secret() -> None:
    assert discreet(StreamError("next, except exit"), ["", "x", "ex"]).message == "next, except exit"


def test_the_error_of_the_message_so_far_is_masked_too() -> None:
    error = StreamError(f"no: {KEY}", partial=AssembledMessage("Hello"))
    error.partial = AssembledMessage("Hello", error=error.info)

    discreet(error, [KEY])

    assert error.partial.text == "Hello"
    assert error.partial.error is not None
    assert error.partial.error.message == f"no: {MASK}"


def test_another_librarys_exception_is_its_class_and_its_place() -> None:
    error = TransportError("it broke")
    try:
        raise foreign()
    except aiohttp.ClientError as cause:
        error.__cause__ = error.__context__ = cause
        trace = cause.__traceback__

    discreet(error)

    assert isinstance(error.__cause__, WithheldError)
    assert error.__cause__ is error.__context__
    assert str(error.__cause__) == "aiohttp.client_exceptions.ClientResponseError"
    assert error.__cause__.__traceback__ is trace
    assert KEY not in "".join(traceback.format_exception(error)) + repr([link.args for link in links(error)])


def test_what_the_system_says_stays() -> None:
    error = TransportError("it broke")
    error.__cause__ = ConnectionResetError(104, "Connection reset by peer")

    assert isinstance(discreet(error).__cause__, ConnectionResetError)


def test_an_error_of_the_system_that_somebody_wrote_is_withheld() -> None:
    error = TransportError("it broke")
    error.__cause__ = OSError(f"no vault for {KEY}")

    assert str(discreet(error).__cause__) == "OSError"


def test_what_a_subscriber_raised_is_the_subscribers() -> None:
    error, raised = SubscriberError("the subscriber raised"), KeyError("their own words")
    error.__cause__ = raised

    assert discreet(error, [KEY]).__cause__ is raised


def test_a_chain_may_be_long_or_a_ring() -> None:
    error, inner, third = (
        TransportError("a"),
        ProtocolError(f"b {KEY}"),
        UnicodeDecodeError("utf-8", KEY.encode(), 0, 1, "x"),
    )
    error.__cause__, inner.__context__, third.__context__ = inner, third, error

    discreet(error, [KEY])

    assert [type(link).__name__ for link in links(error)] == ["TransportError", "ProtocolError", "WithheldError"]
    assert not any(KEY in f"{link!r}" for link in links(error))


def test_raised_alone_an_error_keeps_its_cause_and_no_context() -> None:
    error, cause = TransportError("it broke"), OSError(5, "Input/output error")
    error.__cause__ = cause

    def fail() -> None:
        try:
            raise foreign()
        except aiohttp.ClientError:
            raise_alone(error)

    with pytest.raises(TransportError) as caught:
        fail()

    assert caught.value.__cause__ is cause
    assert caught.value.__context__ is None


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("https://host/v1", "https://host/v1"),
        ("https://me:word@host:8000/v1?key=1#there", "https://host:8000/v1"),
        ("https://a@b@host/", "https://host/"),
        ("https://[::1]:80/v1", "https://[::1]:80/v1"),
        ("https://[::1", "an unreadable address"),
    ],
)
def test_an_address_is_shown_without_what_may_be_secret(url: str, shown: str) -> None:
    assert address_shown(url) == shown


def test_the_secrets_of_an_address_are_its_account_and_its_query() -> None:
    secrets = set(secrets_of_address("https://me:pass%20word@host/v1?sig=abcd%2Fefgh&api-version=2024-10-21&n=1"))

    assert secrets == {"me:pass word", "pass word", "bWU6cGFzcyB3b3Jk", "abcd%2Fefgh", "abcd/efgh"}
    assert set(secrets_of_address("https://host/v1")) == set()


def test_the_secrets_of_headers_are_values_keys_and_signatures() -> None:
    signed = f"AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE, Signature={'5d672d79' * 8}"

    secrets = set(secrets_of_headers({"authorization": f"Bearer {KEY}", "x-signed": signed, "x-short": "on"}))

    assert {KEY, f"Bearer {KEY}", signed, "5d672d79" * 8} <= secrets
    assert not {"on", "AKIDEXAMPLE", "Credential", "AWS4-HMAC-SHA256"} & secrets


def test_the_secrets_of_a_request_are_the_lines_that_people_wrote() -> None:
    request = ChatRequest(
        model="gpt-5",
        messages=[
            Message("system", "Be brief.\n  Answer in French.  \nok"),
            Message("user", [TextPart("Who am I to you?"), ImagePart(url="https://host/secret.png")]),
            Message("assistant", [ToolCallPart("1", "look", '{"at": "the sky"}')]),
            Message.tool_result("1", "It is blue today."),
        ],
    )

    assert list(secrets_of_request(request)) == [
        *("Be brief.", "Answer in French.", "Who am I to you?", "https://host/secret.png", '{"at": "the sky"}'),
        "It is blue today.",
    ]
