"""`decode_token_ids`: ids as text."""

from collections.abc import Sequence

import pytest
import reactivex
from reactivex.testing import ReactiveTest, Recorded, TestScheduler

from rxstream.errors import ConfigurationError, ProtocolError
from rxstream.operators import decode_token_ids
from tests.tokenizer.encodings import BYTES

on_next, on_completed = ReactiveTest.on_next, ReactiveTest.on_completed


def marble(time: int, ids: int | Sequence[int]) -> Recorded[int | Sequence[int]]:
    """One id or a batch, as one type."""
    return on_next(time, ids)


def test_ids_become_text_when_their_characters_are_whole() -> None:
    clock = TestScheduler()
    source = clock.create_hot_observable(
        marble(210, 104), marble(220, [0xC3]), marble(230, 0xA9), marble(240, [0xC3]), on_completed(250)
    )

    result = clock.start(lambda: source.pipe(decode_token_ids(BYTES)))

    assert result.messages == [on_next(210, "h"), on_next(230, "é"), on_next(250, "�"), on_completed(250)]


def test_an_unknown_id_ends_the_stream_after_the_text_before_it() -> None:
    given: list[str] = []
    failures: list[Exception] = []
    ids: list[int | Sequence[int]] = [[*b"ok", 999, 33]]

    reactivex.from_iterable(ids).pipe(decode_token_ids(BYTES)).subscribe(given.append, failures.append)

    assert "".join(given) == "ok"
    assert [type(failure) for failure in failures] == [ProtocolError]


def test_each_subscription_has_a_decoder_of_its_own() -> None:
    halves: list[int | Sequence[int]] = [0xC3]
    stream = reactivex.from_iterable(halves).pipe(decode_token_ids(BYTES))

    assert [stream.run(), stream.run()] == ["�", "�"]


def test_an_encoding_that_is_not_there_is_said_when_the_operator_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "")

    with pytest.raises(ConfigurationError, match="rxstream tokens fetch p50k_edit"):
        decode_token_ids("p50k_edit")
