"""`once`: one subscription, whoever is first, and an error for the others."""

import threading
from typing import Any

import pytest
import reactivex
from reactivex import Observable
from reactivex import operators as ops

from rxstream.errors import ConfigurationError
from rxstream.operators import buffered, fan_out, once
from tests.demand import Consumer, Faucet, quick_switches


def counting() -> tuple[Observable[int], list[int]]:
    """Return a stream, and what grows with each request that it makes."""
    requests: list[int] = []

    def ask(_: Any) -> Observable[int]:
        requests.append(1)
        return reactivex.of(1, 2)

    return reactivex.defer(ask), requests


@pytest.mark.parametrize("first_one", ["runs", "has ended", "was let go of"])
def test_a_second_subscription_is_an_error_and_no_second_request(first_one: str) -> None:
    faucet = Faucet[int]()
    stream = faucet.stream.pipe(once())
    heard: list[int] = []
    errors: list[Exception] = []
    subscription = stream.subscribe(heard.append)
    if first_one == "has ended":
        faucet.complete()
    elif first_one == "was let go of":
        subscription.dispose()

    stream.subscribe(heard.append, errors.append).dispose()
    faucet.push(*[1] * (first_one == "runs"))

    (error,) = errors
    assert isinstance(error, ConfigurationError)
    assert "only once" in error.message
    assert "fan_out()" in error.message
    assert not error.is_retryable
    assert faucet.subscribed == 1
    assert heard == [1] * (first_one == "runs")


def test_of_many_threads_one_is_first() -> None:
    source, requests = counting()
    stream = source.pipe(once())
    ready = threading.Barrier(16)
    ends: list[Any] = []

    def subscribe() -> None:
        ready.wait()
        stream.subscribe(None, lambda error: ends.append(type(error)), lambda: ends.append(None))

    with quick_switches():
        threads = [threading.Thread(target=subscribe) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert len(requests) == 1
    assert (ends.count(None), ends.count(ConfigurationError)) == (1, 15)


def test_one_operator_lets_each_of_its_streams_be_subscribed_to() -> None:
    (first, first_requests), (second, second_requests) = counting(), counting()
    lets_one = once()

    for stream in (first.pipe(lets_one), second.pipe(lets_one)):
        stream.subscribe()

    assert (first_requests, second_requests) == ([1], [1])


def test_what_is_upstream_may_try_again() -> None:
    attempts: list[int] = []

    def ask(_: Any) -> Observable[int]:
        attempts.append(1)
        return reactivex.throw(OSError("boom")) if len(attempts) < 3 else reactivex.of(7)

    heard: list[int] = []
    reactivex.defer(ask).pipe(ops.retry(5), once()).subscribe(heard.append)

    assert heard == [7]


def test_a_retry_downstream_is_told_and_asks_no_more() -> None:
    attempts: list[int] = []
    errors: list[Exception] = []

    def ask(_: Any) -> Observable[int]:
        attempts.append(1)
        return reactivex.throw(OSError("boom"))

    reactivex.defer(ask).pipe(once(), ops.retry(3)).subscribe(on_error=errors.append)

    assert len(attempts) == 1
    assert isinstance(errors[0], ConfigurationError)


def test_several_consumers_of_one_subscription_are_what_fan_out_is_for() -> None:
    faucet = Faucet[int]()
    shared = faucet.stream.pipe(once(), fan_out(4, consumers=2))

    consumers = [Consumer(shared) for _ in range(2)]
    faucet.push(1, 2)
    faucet.complete()
    for consumer in consumers:
        consumer.turn()

    assert [consumer.heard for consumer in consumers] == [[1, 2]] * 2


def test_the_error_is_heard_behind_a_queue() -> None:
    stream = Faucet[int]().stream.pipe(once(), buffered(4))

    Consumer(stream)
    second = Consumer(stream)
    second.turn()

    assert isinstance(second.error, ConfigurationError)
    assert "only once" in str(second.error)
