"""The server: how a request chooses its script, what is remembered of it, and what is left when it is over."""

import asyncio
import json
from typing import Any

import aiohttp
import msgspec
import pytest

from rxstream.simulator import (
    FAST,
    FLOOD,
    MODELS,
    SCRIPT_HEADER,
    HttpError,
    Script,
    Settings,
    Simulator,
    Speed,
    Stall,
    Writes,
    serve,
    simulator_in_background,
)
from tests.simulator.clients import (
    APIS,
    PATHS,
    Raw,
    ask,
    ask_in,
    body_for,
    headers_for,
    raw,
    read_message,
)
from tests.virtual_loop import virtual_time

QUICK = Settings(speed=FAST)
each_api = pytest.mark.parametrize("api", APIS)


def said(api: str, body: bytes) -> str:
    return read_message(api, body).text


@each_api
async def test_the_built_in_answer_comes_without_any_setting(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api, model="gpt-or-claude")

    message = read_message(api, got.body)
    assert "Why is the sky blue?" in message.text
    assert message.model == "gpt-or-claude"
    assert message.complete
    assert got.headers["content-type"] == "text/event-stream; charset=utf-8"


@each_api
async def test_the_script_of_the_run_answers_every_request(api: str) -> None:
    async with Simulator(Settings(speed=FAST, script=Script(text="Hi"))) as simulator:
        answers = [said(api, (await ask(simulator, api)).body) for _ in range(2)]

    assert answers == ["Hi", "Hi"]


@each_api
async def test_expected_scripts_go_before_it_one_each(api: str) -> None:
    async with Simulator(Settings(speed=FAST, script=Script(text="run"))) as simulator:
        simulator.expect(Script(text="first"), Script(text="second"))
        answers = [said(api, (await ask(simulator, api)).body) for _ in range(3)]

        assert not simulator.expected
    assert answers == ["first", "second", "run"]


@each_api
async def test_a_header_goes_before_what_is_expected(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        simulator.expect(Script(text="expected"))
        asked = await ask(simulator, api, Script(text="asked für"))
        after = await ask(simulator, api)

    assert (said(api, asked.body), said(api, after.body)) == ("asked für", "expected")


@each_api
async def test_the_name_of_a_model_chooses(api: str) -> None:
    async with Simulator(Settings(speed=FAST, script=Script(text="run"))) as simulator:
        got = await ask(simulator, api, model="simulated-thinking")

    assert read_message(api, got.body).reasoning


@each_api
async def test_a_name_that_only_begins_like_one_is_not_found(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api, model="simulated-fats")

    assert got.status == 404
    assert b"simulated-fast" in got.body


@each_api
async def test_a_run_may_leave_requests_no_choice(api: str) -> None:
    async with Simulator(Settings(speed=FAST, script=Script(text="run"), obeys_requests=False)) as simulator:
        got = await ask(simulator, api, Script(text="asked"), model="simulated-thinking")

    assert said(api, got.body) == "run"


@each_api
@pytest.mark.parametrize(
    ("header", "complaint"),
    [("{", "truncated"), ('{"txet": "Hi"}', "txet"), ('{"text": "a", "length": 3}', "give one of them")],
)
async def test_a_header_that_is_no_script_is_refused_with_the_reason(api: str, header: str, complaint: str) -> None:
    async with Simulator(QUICK) as simulator, aiohttp.ClientSession() as session:
        url, headers = simulator.url + PATHS[api], headers_for(api) | {SCRIPT_HEADER: header}
        async with session.post(url, json=body_for(api), headers=headers) as response:
            status, text = response.status, await response.text()

    assert status == 400
    assert complaint in text
    assert SCRIPT_HEADER in text


@each_api
@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"model": None}, "model"),
        ({"model": 3}, "model"),
        ({"messages": None}, "messages"),
        ({"messages": 7}, "messages"),
    ],
    ids=str,
)
async def test_a_request_that_the_service_would_refuse_is_refused(api: str, fields: Any, complaint: str) -> None:
    if api == "openai.responses":
        fields = {name.replace("messages", "input"): value for name, value in fields.items()}
        complaint = complaint.replace("messages", "input")
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api, **fields)

    assert got.status == 400
    error = json.loads(got.body)["error"]
    assert error["type"] == "invalid_request_error"
    assert complaint in error["message"]


async def test_anthropic_needs_its_version_and_a_limit_on_tokens() -> None:
    async with Simulator(QUICK) as simulator, aiohttp.ClientSession() as session:
        url = simulator.url + "/v1/messages"
        async with session.post(url, json=body_for("anthropic.messages")) as response:
            without_version = await response.text()
        limitless = await ask_in(session, simulator, "anthropic.messages", max_tokens=None)

    assert "anthropic-version" in without_version
    assert (limitless.status, b"max_tokens" in limitless.body) == (400, True)


@each_api
async def test_without_stream_the_answer_is_one_json_object(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api, Script(text="Hi there"), stream=None)

    assert got.headers["content-type"] == "application/json"
    assert int(got.headers["content-length"]) == len(got.body)
    assert "Hi there" in json.dumps(json.loads(got.body))


@each_api
async def test_the_headers_of_the_service_come_with_every_answer(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        good, bad = await ask(simulator, api), await ask(simulator, api, Script(faults=(HttpError(status=500),)))

    for got in (good, bad):
        assert got.headers["request-id" if api == "anthropic.messages" else "x-request-id"].startswith("req_")
        assert sum("ratelimit" in name for name in got.headers) >= 6
    assert good.headers["date"]


@pytest.mark.parametrize("api", APIS)
async def test_rate_limits_and_request_id_are_read_by_the_dialect(api: str) -> None:
    from rxstream.dialects import dialect

    async with Simulator(QUICK) as simulator:
        got = await ask(simulator, api)

    limits = dialect(api).read_limits(got.headers)
    assert limits.limit_requests is not None
    assert limits.remaining_requests == limits.limit_requests - 1
    assert limits.limit_tokens is not None
    assert limits.remaining_tokens is not None


async def test_each_service_lists_the_models_in_its_own_shape() -> None:
    async with Simulator(QUICK) as simulator, aiohttp.ClientSession() as session:
        listed: dict[str, Any] = {}
        for api in APIS:
            async with session.get(simulator.url + "/v1/models", headers=headers_for(api)) as response:
                listed[api] = await response.json()

    assert [each["id"] for each in listed["openai.chat"]["data"]] == list(MODELS)
    assert listed["openai.chat"]["object"] == "list"
    assert [each["id"] for each in listed["anthropic.messages"]["data"]] == list(MODELS)
    assert listed["anthropic.messages"]["has_more"] is False


async def test_an_unknown_address_says_which_there_are() -> None:
    async with Simulator(QUICK) as simulator, aiohttp.ClientSession() as session:
        async with session.post(simulator.url + "/v1/complete", json={}) as response:
            status, text = response.status, await response.text()
        async with session.get(simulator.url) as response:
            front_page = await response.text()

    assert status == 404
    assert "POST /v1/messages" in text
    assert all(model in front_page for model in MODELS)


@each_api
async def test_only_the_one_key_is_let_in(api: str) -> None:
    async with Simulator(Settings(speed=FAST, key="right")) as simulator, aiohttp.ClientSession() as session:
        statuses: list[int] = []
        for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Bearer right"}):
            url = simulator.url + PATHS[api]
            async with session.post(url, json=body_for(api), headers=headers_for(api) | headers) as response:
                statuses.append(response.status)
        async with session.get(simulator.url + "/v1/models", headers=headers_for(api)) as response:
            statuses.append(response.status)

    assert statuses == [401, 401, 200, 401]


@each_api
async def test_what_was_asked_is_remembered_and_its_secrets_are_not(api: str) -> None:
    async with Simulator(QUICK) as simulator, aiohttp.ClientSession() as session:
        url = simulator.url + PATHS[api]
        headers = headers_for(api) | {"Authorization": "Bearer sk-secret", "X-Api-Key": "sk-secret"}
        async with session.post(url, json=body_for(api), headers=headers) as response:
            body = await response.read()
        request = await simulator.received()
        await request.ended.wait()

    assert (request.method, request.path, request.api) == ("POST", PATHS[api], api)
    assert request.body == body_for(api)
    assert request.headers["authorization"] == request.headers["x-api-key"] == "(redacted)"
    assert "sk-secret" not in repr(vars(request))
    assert request.outcome == "whole"
    assert request.bytes_sent == request.bytes_written > len(body)


@each_api
async def test_a_fault_that_happens_some_times_is_over_then(api: str) -> None:
    script = Script(text="Hi", faults=(HttpError(status=503, times=2),))
    async with Simulator(Settings(speed=FAST, script=script)) as simulator:
        statuses = [(await ask(simulator, api)).status for _ in range(4)]

    assert statuses == [503, 503, 200, 200]


@each_api
async def test_one_connection_serves_many_requests(api: str) -> None:
    async with Simulator(QUICK) as simulator, aiohttp.ClientSession() as session:
        for _ in range(3):
            await ask_in(session, simulator, api)
        await ask_in(session, simulator, api, stream=None)
        await ask_in(session, simulator, api, Script(faults=(HttpError(status=500),)))

        assert simulator.connections_made == simulator.open_connections == 1
        assert simulator.requests_made == 5


@each_api
async def test_a_client_that_wants_the_connection_closed_gets_it_closed(api: str) -> None:
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, Script(text="Hi"), version="1.0")
        wire, was_reset = await client.rest()

    head, _, body = wire.partition(b"\r\n\r\n")
    assert b"connection: close" in head
    assert b"chunked" not in head
    assert said(api, body) == "Hi"
    assert not was_reset


@each_api
async def test_each_event_is_a_write_of_its_own(api: str) -> None:
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, Script(text="one two three"), version="1.1")
        sizes: list[int] = []
        await client.reader.readuntil(b"\r\n\r\n")
        while size := int(await client.reader.readuntil(b"\r\n"), 16):
            chunk = await client.reader.readexactly(size + 2)
            sizes.append(size)
            assert chunk.count(b"\n\n") == 1
            assert chunk.endswith(b"\n\n\r\n")

    assert len(sizes) >= 5


@each_api
@pytest.mark.parametrize("writes", [Writes(every=1), Writes(every=9, seed=1), FLOOD])
async def test_the_writes_that_a_script_asks_for_are_made(api: str, writes: Writes) -> None:
    text = "日本 " * 20
    async with Simulator(QUICK) as simulator, raw(simulator) as client:
        client.send(api, Script(text=text, writes=writes))
        await client.reader.readuntil(b"\r\n\r\n")
        body, sizes = b"", set[int]()
        while size := int(await client.reader.readuntil(b"\r\n"), 16):
            body += (await client.reader.readexactly(size + 2))[:-2]
            sizes.add(size)

    assert said(api, body) == text
    assert sizes == ({1} if writes.every == 1 else set(range(1, 10)) if writes.seed else {len(body)})


@each_api
async def test_a_reader_in_the_same_loop_gets_its_turn_between_writes(api: str) -> None:
    seen: list[bytes] = []

    class Client(asyncio.Protocol):
        def data_received(self, data: bytes) -> None:
            seen.append(data)

    async with Simulator(QUICK) as simulator:
        loop = asyncio.get_running_loop()
        transport, _ = await loop.create_connection(Client, simulator.host, simulator.port)
        Raw(asyncio.StreamReader(), transport).send(api, Script(text="one two three four five"))
        await (await simulator.received()).ended.wait()
        transport.close()

    assert max(data.count(b"\n\n") for data in seen) <= 2


@virtual_time
async def test_the_model_talks_at_the_speed_it_was_told() -> None:
    loop = asyncio.get_running_loop()
    settings = Settings(speed=Speed(tokens_per_second=10, first_token_after=2))
    async with Simulator(settings) as simulator, raw(simulator) as client:
        began = loop.time()
        client.send("openai.chat", Script(deltas=("a", "b", "c", "d", "e")), version="1.0")
        await client.rest()

        assert loop.time() - began == pytest.approx(2 + 4 / 10)


@each_api
async def test_a_reader_that_stops_stops_the_server(api: str) -> None:
    async with Simulator(Settings(speed=FAST, send_buffer=256 * 1024)) as simulator, raw(simulator) as client:
        client.send(api, Script(length=20_000, writes=Writes(every=4_096)), version="1.0")
        request = await simulator.received()

        await request.blocked()

        stopped_at = request.bytes_sent
        await request.blocked()
        assert request.bytes_sent == stopped_at < request.bytes_written <= stopped_at + 4_096
        assert request.outcome == "answering"
        wire, _ = await client.rest()
        assert len(wire) == request.bytes_sent > stopped_at
        assert request.outcome == "whole"


@each_api
async def test_a_client_that_leaves_is_noticed(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        async with raw(simulator) as client:
            client.send(api, Script(faults=(Stall(),)))
            request = await simulator.received()
            await request.stalled.wait()
            assert simulator.open_connections == 1
        await request.closed.wait()
        await request.ended.wait()
        await simulator.connection_closed()

        assert request.outcome == "client left"
        assert simulator.open_connections == 0


@each_api
async def test_a_client_that_leaves_in_mid_flood_is_noticed(api: str) -> None:
    async with Simulator(QUICK) as simulator:
        async with raw(simulator) as client:
            client.send(api, Script(length=200_000, writes=FLOOD))
            request = await simulator.received()
            await request.blocked()
        await request.ended.wait()

        assert request.outcome == "client left"


@each_api
async def test_nothing_is_left_when_the_run_is_over(api: str) -> None:
    simulator = await Simulator(QUICK).__aenter__()
    async with raw(simulator) as stalled, raw(simulator) as idle, raw(simulator) as silent:
        stalled.send(api, Script(faults=(Stall(),)))
        await (await simulator.received(1)).stalled.wait()
        idle.send(api, Script(text="Hi"))
        await (await simulator.received(2)).ended.wait()
        assert simulator.open_connections == 3

        await simulator.__aexit__(None, None, None)

        assert simulator.open_connections == 0
        assert asyncio.all_tasks() == {asyncio.current_task()}
        assert await silent.rest() == (b"", False)
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(simulator.host, simulator.port)


async def test_an_address_in_use_is_an_error_that_says_so() -> None:
    async with Simulator(QUICK) as simulator:
        with pytest.raises(OSError, match="address already in use"):
            await Simulator(QUICK, port=simulator.port).__aenter__()


async def test_serve_runs_until_it_is_cancelled() -> None:
    started: asyncio.Future[Simulator] = asyncio.get_running_loop().create_future()
    serving = asyncio.create_task(serve(QUICK, started=started.set_result))
    simulator = await started

    got = await ask(simulator, "openai.chat", Script(text="Hi"))
    serving.cancel()
    await asyncio.wait([serving])

    assert said("openai.chat", got.body) == "Hi"
    assert simulator.open_connections == 0


def test_a_program_without_a_loop_runs_it_in_the_background() -> None:
    with simulator_in_background(QUICK) as simulator:
        got = asyncio.run(ask(simulator, "openai.chat", Script(text="Hi")))
        assert simulator.requests_made == 1

    assert said("openai.chat", got.body) == "Hi"
    assert simulator.open_connections == 0


def test_what_goes_wrong_in_the_background_is_raised_in_front() -> None:
    with (
        simulator_in_background(QUICK) as simulator,
        pytest.raises(OSError, match="address already in use"),
        simulator_in_background(QUICK, port=simulator.port),
    ):
        pytest.fail("it cannot listen there")


@pytest.mark.parametrize("model", sorted(MODELS))
@each_api
def test_every_model_is_a_script_that_json_can_say(api: str, model: str) -> None:
    script = MODELS[model]

    assert msgspec.json.decode(msgspec.json.encode(script), type=Script) == script
