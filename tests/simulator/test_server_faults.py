"""Every fault, over a real socket, as a client sees it."""

import asyncio
import json
from itertools import pairwise

import aiohttp
import pytest

from rxstream.dialects import dialect
from rxstream.errors import RateLimitedError
from rxstream.simulator import (
    FAST,
    At,
    Disconnect,
    EarlyEnd,
    ErrorEvent,
    ErrorPage,
    Garbage,
    HttpError,
    KeepAlives,
    NoEndMark,
    NotAStream,
    Script,
    Settings,
    Simulator,
    StaleConnection,
    Stall,
    body,
)
from tests.simulator.clients import APIS, ask, ask_in, raw, read_message, unchunked
from tests.virtual_loop import virtual_time

QUICK = Settings(speed=FAST)
each_api = pytest.mark.parametrize("api", APIS)
THREE = ("a", "b", "c")


@each_api
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (401, {"openai.chat": "invalid_request_error", "anthropic.messages": "authentication_error"}),
        (404, {"openai.chat": "invalid_request_error", "anthropic.messages": "not_found_error"}),
        (429, {"openai.chat": "requests", "anthropic.messages": "rate_limit_error"}),
        (500, {"openai.chat": "server_error", "anthropic.messages": "api_error"}),
        (529, {"openai.chat": "server_error", "anthropic.messages": "overloaded_error"}),
    ],
)
async def test_a_status_brings_the_words_of_the_service(api: str, status: int, kind: dict[str, str]) -> None:
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api, Script(faults=(HttpError(status=status),)), model="m-1")

    assert got.status == status
    assert json.loads(got.body)["error"]["type"] == kind.get(api, kind["openai.chat"])
    assert status != 404 or b"m-1" in got.body
    if api == "anthropic.messages":
        assert got.headers["x-should-retry"] == ("true" if status in {429, 500, 529} else "false")
    assert got.headers["content-type"].startswith("application/json")


@each_api
async def test_a_rate_limit_says_when_to_come_back(api: str) -> None:
    fault = HttpError(status=429, retry_after=1.5, message="slow down", headers={"retry-after-ms": "1500"})
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api, Script(faults=(fault,)))

    error = dialect(api).read_error(got.status, got.headers, got.body)
    assert isinstance(error, RateLimitedError)
    assert error.retry_after == 1.5
    assert error.message == "slow down"
    assert error.request_id is not None
    assert dialect(api).read_limits(got.headers).remaining_requests == 0


@each_api
async def test_a_page_of_html_may_come_in_between(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api, Script(faults=(ErrorPage(status=503),)))

    assert (got.status, got.headers["content-type"]) == (503, "text/html")
    assert got.body.startswith(b"<html>")


@each_api
async def test_a_whole_answer_may_come_where_a_stream_was_asked_for(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api, Script(text="Hi there", faults=(NotAStream(),)))

    assert (got.status, got.headers["content-type"]) == (200, "application/json")
    assert "Hi there" in json.dumps(json.loads(got.body))


@each_api
@pytest.mark.parametrize("fault", [ErrorEvent(at=At(tokens=2)), EarlyEnd(at=At(tokens=2)), NoEndMark()], ids=repr)
async def test_a_body_that_breaks_off_in_its_own_words_still_ends_well_for_http(api: str, fault: EarlyEnd) -> None:
    script = Script(deltas=THREE, faults=(fault,))
    async with Simulator(QUICK) as simulator, aiohttp.ClientSession() as session:
        got = await ask_in(session, simulator, api, script)
        await ask_in(session, simulator, api)

        assert simulator.connections_made == 1
    assert got.status == 200
    assert len(got.body) > 0
    assert got.body.count(b"\n\n") < len(body(api, Script(deltas=THREE)).split(b"\n\n"))
    assert (b'"error":{' in got.body) is isinstance(fault, ErrorEvent)


@each_api
@pytest.mark.parametrize("how", ["reset", "close", "half_close"])
async def test_a_connection_breaks_after_some_tokens(api: str, how: str) -> None:
    script = Script(deltas=THREE, faults=(Disconnect(at=At(tokens=2), how=how),))  # type: ignore[arg-type]  # one of three
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, script)
        wire, was_reset = await client.rest()
        request = await simulator.received()

        assert request.outcome == "cut"
        assert (simulator.open_connections == 1) is (how == "half_close")
    _, got, is_over = unchunked(wire)
    assert was_reset is (how == "reset")
    assert not is_over
    reader = dialect(api).read_body()
    reader.feed(got)
    assert reader.message.text == "ab"


@each_api
@pytest.mark.parametrize("count", [0, 1, 100])
async def test_a_connection_breaks_after_some_bytes_of_the_body(api: str, count: int) -> None:
    script = Script(text="Hi there", transfer="close", faults=(Disconnect(at=At(bytes=count), how="close"),))
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, script)
        wire, _ = await client.rest()

    assert len(wire.partition(b"\r\n\r\n")[2]) == count


@each_api
@pytest.mark.parametrize("count", [0, 1, 40])
async def test_a_connection_breaks_in_the_headers(api: str, count: int) -> None:
    script = Script(faults=(Disconnect(at=At(head=count), how="close"),))
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, script)
        wire, _ = await client.rest()

    assert len(wire) == count
    assert b"HTTP/1.1 200 OK\r\n".startswith(wire[:17])


@each_api
async def test_a_connection_breaks_after_the_end_of_the_answer(api: str) -> None:
    script = Script(text="Hi", faults=(Disconnect(at=At(end=True), how="close"),))
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, script)
        wire, _ = await client.rest()

    _, got, is_over = unchunked(wire)
    assert read_message(api, got).text == "Hi"
    assert not is_over


@each_api
@pytest.mark.parametrize("count", [0, 2])
async def test_a_connection_breaks_in_what_ends_the_body(api: str, count: int) -> None:
    script = Script(text="Hi", faults=(Disconnect(at=At(tail=count), how="close"),))
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, script)
        wire, _ = await client.rest()

    assert wire.endswith(b"\n\n\r\n0\r"[: 4 + count])


@each_api
async def test_a_body_may_end_with_its_connection(api: str) -> None:
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, Script(text="Hi", transfer="close"))
        wire, was_reset = await client.rest()

    head, _, got = wire.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert read_message(api, got).text == "Hi"
    assert not was_reset


@each_api
async def test_a_stall_lasts_until_the_client_goes(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        async with raw(simulator) as client:
            client.send(api, Script(deltas=THREE, faults=(Stall(at=At(tokens=1)),)))
            request = await simulator.received()
            await request.stalled.wait()
            wire = await client.reader.readuntil(b'"a"')
        await request.ended.wait()

    assert wire
    assert request.outcome == "client left"


@virtual_time
async def test_a_stall_may_pass_and_headers_may_be_slow() -> None:
    loop = asyncio.get_running_loop()
    faults = (Stall(at=At(head=0), seconds=30), Stall(at=At(tokens=1), seconds=12))
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        began = loop.time()
        client.send("openai.chat", Script(deltas=THREE, transfer="close", faults=faults))
        first = await client.reader.read(1)
        headers_after = loop.time() - began
        wire, _ = await client.rest()

        assert headers_after == pytest.approx(30)
        assert loop.time() - began == pytest.approx(42)
    assert read_message("openai.chat", (first + wire).partition(b"\r\n\r\n")[2]).text == "abc"


@virtual_time
async def test_keep_alives_come_for_ever_and_say_nothing() -> None:
    loop = asyncio.get_running_loop()
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send("openai.chat", Script(faults=(KeepAlives(every=5),)))
        times: list[float] = []
        for _ in range(100):
            await client.reader.readuntil(b": keep-alive\n\n")
            times.append(loop.time())

    assert {round(later - earlier, 6) for earlier, later in pairwise(times)} == {5}


@each_api
async def test_garbage_comes_in_the_middle_and_the_answer_goes_on(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api, Script(deltas=THREE, faults=(Garbage(at=At(tokens=1), data=b"\n\xff\0\n\n"),)))

    assert b"\n\xff\0\n\n" in got.body
    assert got.body.index(b'"a"') < got.body.index(b"\xff") < got.body.index(b'"b"')


@each_api
async def test_a_connection_may_be_stale_after_its_answer(api: str) -> None:
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, Script(text="Hi", faults=(StaleConnection(),)))
        wire, was_reset = await client.rest()

    head, got, is_over = unchunked(wire)
    assert b"connection: keep-alive" in head
    assert is_over
    assert read_message(api, got).text == "Hi"
    assert not was_reset


@each_api
async def test_a_connection_may_turn_out_stale_with_the_next_request(api: str) -> None:
    stale = Script(text="Hi", faults=(StaleConnection(closes="on_next_request"),))
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, stale)
        wire = await client.reader.readuntil(b"\r\n0\r\n\r\n")
        simulator.expect(Script(text="for the one after"))
        client.send(api)
        nothing, _ = await client.rest()
        dropped = await simulator.received(2)

        assert read_message(api, unchunked(wire)[1]).text == "Hi"
        assert nothing == b""
        assert dropped.outcome == "dropped"
        assert len(simulator.expected) == 1


@each_api
async def test_faults_befall_answers_that_are_no_stream_too(api: str) -> None:
    script = Script(text="Hi there", faults=(Disconnect(at=At(bytes=20), how="close"),))
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, script, stream=None)
        wire, _ = await client.rest()

    _, got, is_over = unchunked(wire)
    assert (len(got), is_over) == (20, False)
