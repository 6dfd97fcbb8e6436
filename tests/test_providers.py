"""`AiProvider` beside the stream itself: credentials, addresses, models, token counts, resuming.

What a stream does over a socket is in sources/test_http.py.
"""

import json
import threading
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import pytest

from rxstream.dialect import Capabilities, Dialect, HttpRequest, ModelPage, ToSign
from rxstream.errors import (
    AuthenticationError,
    ConfigurationError,
    FirstContentTimeoutError,
    ProtocolError,
    StreamError,
)
from rxstream.flow import RetryPolicy
from rxstream.messages import ChatRequest, ImagePart, JsonSchema, Message, Reasoning, Tool
from rxstream.providers import FROM_ENVIRONMENT, AiProvider
from rxstream.sinks import collect
from rxstream.sources import Deadlines
from tests.loopback import CHUNKED, Exchange, MovableLoop, run_movable, serving, turns
from tests.toy import TOY

BODY = b"start\ntext a\nend\n"
ALL = Capabilities(
    images=True,
    tools=True,
    parallel_tools=True,
    free_text_tools=True,
    reasoning=True,
    structured_output=True,
    logprobs=True,
    choices=True,
)


def read_page(body: bytes) -> ModelPage:
    answer = json.loads(body)
    return ModelPage(answer["models"], answer.get("next"))


def count_request(request: ChatRequest) -> HttpRequest:
    return HttpRequest("/count", request.messages[-1].text.encode(), {})


def resume_request(response_id: str, after: int) -> HttpRequest:
    return HttpRequest(f"/toy/{response_id}?after={after}", b"", {}, method="GET")


ABLE: Dialect[bytes] = replace(
    TOY,
    read_models=read_page,
    count_request=count_request,
    read_count=int,
    resume_request=resume_request,
    capabilities=ALL,
)


class Server:
    """Answers each request with the body that `answers` has for its path; a path it does not know is 404."""

    def __init__(self, answers: Mapping[str, bytes]) -> None:
        self.answers = answers
        self.heads: list[str] = []
        self.bodies: list[bytes] = []

    async def __call__(self, exchange: Exchange) -> None:
        while await exchange.read_request():
            self.heads.append(exchange.head.decode())
            self.bodies.append(exchange.body)
            answer = self.answers.get(exchange.head.split(b" ")[1].decode())
            if answer is None:
                await exchange.send(b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
            else:
                await exchange.send(CHUNKED)
                await exchange.send_chunk(answer)
                await exchange.send_chunk(b"")

    def header(self, name: str) -> list[str | None]:
        """What each request had as header `name`."""
        return [
            next((line.partition(": ")[2] for line in head.split("\r\n") if line.startswith(f"{name}: ")), None)
            for head in self.heads
        ]


def asking(
    answers: Mapping[str, bytes], dialect: Dialect[Any] = ABLE, *, query: str = "", **options: Any
) -> Callable[[Callable[[AiProvider], Awaitable[None]]], Server]:
    """Run what is decorated with a provider of `dialect` in front of a server; give the server."""

    def run(test: Callable[[AiProvider], Awaitable[None]]) -> Server:
        server = Server(answers)
        chosen: dict[str, Any] = {"api_key": "secret-key", "retry": RetryPolicy(retries=0)} | options

        async def ask(_: MovableLoop) -> None:
            async with serving(server) as url, AiProvider(dialect, base_url=url + query, **chosen) as provider:
                await test(provider)
            await turns()

        run_movable(ask)
        return server

    return run


async def ask_once(provider: AiProvider) -> None:
    assert (await collect(provider.stream("?", model="toy"))).text == "a"


# Credentials


def test_a_function_is_asked_for_the_key_before_each_request_and_off_the_loop() -> None:
    threads: list[int] = []

    def key() -> str:
        threads.append(threading.get_ident())
        return f"key-{len(threads)}"

    @asking({"/toy": BODY}, api_key=key)
    async def server(provider: AiProvider) -> None:
        await ask_once(provider)
        await ask_once(provider)

    assert server.header("authorization") == ["bearer key-1", "bearer key-2"]
    assert threading.get_ident() not in threads


def test_a_coroutine_function_may_give_the_key() -> None:
    async def key() -> str:
        return "key"

    @asking({"/toy": BODY}, api_key=key)
    async def server(provider: AiProvider) -> None:
        await ask_once(provider)

    assert server.header("authorization") == ["bearer key"]


def test_a_function_that_fails_to_give_a_key_is_named_and_nothing_is_asked() -> None:
    def key() -> str:
        raise OSError("no such vault: secret")

    @asking({"/toy": BODY}, api_key=key)
    async def server(provider: AiProvider) -> None:
        with pytest.raises(AuthenticationError, match="the function for the key raised OSError") as caught:
            await ask_once(provider)
        assert "secret" not in str(caught.value)

    assert server.heads == []


def test_a_request_without_a_key_is_signed_off_the_loop() -> None:
    seen: list[ToSign] = []
    threads: list[int] = []

    def sign(request: ToSign) -> Mapping[str, str]:
        threads.append(threading.get_ident())
        seen.append(request)
        return {"authorization": "signed"}

    @asking(
        {"/toy?version=1": BODY},
        replace(ABLE, key_variable=None, sign=sign),
        query="?version=1",
        api_key=FROM_ENVIRONMENT,
    )
    async def server(provider: AiProvider) -> None:
        await ask_once(provider)

    assert server.header("authorization") == ["signed"]
    assert threading.get_ident() not in threads
    assert [(one.method, one.url.partition("/toy")[1:], one.body) for one in seen] == [
        ("POST", ("/toy", "?version=1"), b"?")
    ]


def test_a_key_goes_before_a_signature() -> None:
    def sign(_: ToSign) -> Mapping[str, str]:
        raise AssertionError("a key was given")

    @asking({"/toy": BODY}, replace(ABLE, sign=sign))
    async def server(provider: AiProvider) -> None:
        await ask_once(provider)

    assert server.header("authorization") == ["bearer secret-key"]


def test_no_key_at_all_means_neither_key_nor_signature() -> None:
    def sign(_: ToSign) -> Mapping[str, str]:
        raise AssertionError("no credential was wanted")

    @asking({"/toy": BODY}, replace(ABLE, sign=sign), api_key=None)
    async def server(provider: AiProvider) -> None:
        await ask_once(provider)

    assert server.header("authorization") == [None]


# Addresses


def of_region(told: Mapping[str, str]) -> str | None:
    return f"https://{told['TOY_REGION']}.toy.invalid/" if "TOY_REGION" in told else None


def test_what_the_environment_implies_is_the_address_unless_another_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    regional = replace(
        ABLE,
        base_url_variable="TOY_BASE_URL",
        find_base_url=of_region,
    )
    monkeypatch.delenv("TOY_BASE_URL", raising=False)
    monkeypatch.delenv("TOY_REGION", raising=False)

    assert AiProvider(regional).base_url == "http://toy.invalid"
    monkeypatch.setenv("TOY_REGION", "north")
    assert AiProvider(regional).base_url == "https://north.toy.invalid"
    monkeypatch.setenv("TOY_BASE_URL", "http://told.invalid/")
    assert AiProvider(regional).base_url == "http://told.invalid"
    assert AiProvider(regional, base_url="http://given.invalid").base_url == "http://given.invalid"


def test_the_implied_address_wants_a_key_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TOY_API_KEY", raising=False)
    monkeypatch.setenv("TOY_REGION", "north")
    regional = AiProvider(replace(ABLE, find_base_url=of_region))

    async def ask(_: MovableLoop) -> None:
        with pytest.raises(AuthenticationError, match="TOY_API_KEY"):
            await collect(regional.stream("?", model="toy"))

    run_movable(ask)


def test_a_query_of_the_address_goes_into_every_request() -> None:
    @asking(
        {
            "/toy?v=1": BODY,
            "/models?v=1": b'{"models":["a"],"next":"/models?p=2"}',
            "/models?p=2&v=1": b'{"models":["b"]}',
        },
        query="/?v=1",
    )
    async def versioned(provider: AiProvider) -> None:
        await ask_once(provider)
        assert await provider.list_models() == ["a", "b"]

    assert len(versioned.heads) == 3


def test_a_dialect_may_join_its_addresses_in_its_own_way() -> None:
    def address(base_url: str, path: str) -> str:
        return f"{base_url}/here{path}"

    joining = replace(ABLE, address=address)

    @asking({"/here/toy?v=1": BODY}, joining, query="?v=1")
    async def server(provider: AiProvider) -> None:
        await ask_once(provider)

    assert server.heads[0].startswith("post /here/toy?v=1 ")


def test_an_address_that_only_the_caller_can_know_is_missed_before_any_request() -> None:
    async def ask(_: MovableLoop) -> None:
        for variable, hint in ((None, "pass base_url=$"), ("TOY_ADDRESS", "set the environment variable TOY_ADDRESS")):
            homeless = AiProvider(replace(ABLE, base_url="", base_url_variable=variable), api_key="k")
            with pytest.raises(ConfigurationError, match=hint):
                await collect(homeless.stream("?", model="toy"))

    run_movable(ask)


def test_the_headers_of_the_dialect_go_with_every_request() -> None:
    @asking({"/toy": BODY, "/models": b'{"models":["a"]}'}, replace(ABLE, headers={"toy-version": "7"}))
    async def server(provider: AiProvider) -> None:
        await ask_once(provider)
        await provider.list_models()

    assert server.header("toy-version") == ["7", "7"]


# Models and counts


def test_a_list_of_models_is_read_page_by_page() -> None:
    @asking({"/models": b'{"models":["a","b"],"next":"/models?page=2"}', "/models?page=2": b'{"models":["c"]}'})
    async def server(provider: AiProvider) -> None:
        assert await provider.list_models() == ["a", "b", "c"]

    assert server.header("authorization") == ["bearer secret-key"] * 2


def test_a_list_of_models_without_an_end_is_given_up() -> None:
    @asking({"/models": b'{"models":["a"],"next":"/models"}'})
    async def server(provider: AiProvider) -> None:
        with pytest.raises(ProtocolError, match="more than 100 pages"):
            await provider.list_models()

    assert len(server.heads) == 100


def test_models_may_be_listed_elsewhere() -> None:
    def control(base_url: str) -> str:
        return base_url + "/control"

    @asking({"/control/models": b'{"models":["a"]}'}, replace(ABLE, models_base_url=control))
    async def _(provider: AiProvider) -> None:
        assert await provider.list_models() == ["a"]
        assert (await provider.check_health()).is_healthy


def test_the_service_counts_the_tokens_of_a_request() -> None:
    @asking({"/count": b"42"})
    async def server(provider: AiProvider) -> None:
        assert await provider.count_tokens("how many?", model="toy") == 42

    assert server.bodies == [b"how many?"]


def test_a_count_that_is_refused_is_the_services_error() -> None:
    @asking({})
    async def _(provider: AiProvider) -> None:
        with pytest.raises(StreamError) as caught:
            await provider.count_tokens("how many?", model="toy")
        assert caught.value.status == 404


def test_an_answer_that_never_comes_has_its_deadline() -> None:
    async def ask(loop: MovableLoop) -> None:
        async def handle(exchange: Exchange) -> None:
            await exchange.read_request()
            loop.move(11)
            await exchange.wait_closed_by_client()

        deadlines = Deadlines(first_content=10)
        async with (
            serving(handle) as url,
            AiProvider(ABLE, base_url=url, api_key=None, deadlines=deadlines) as provider,
        ):
            with pytest.raises(FirstContentTimeoutError, match="no answer within 10 s"):
                await provider.count_tokens("?", model="toy")
            health = await provider.check_health()
            assert (health.problem, health.message) == ("service", "no answer in time")
        await turns()

    run_movable(ask)


@pytest.mark.parametrize("model", ["gpt-5", "gpt-5-2025-08-07", "openai/gpt-5-mini", "gpt-5-mini", "nova-pro", "qwen"])
def test_a_model_that_the_service_lists_is_healthy(model: str) -> None:
    @asking({"/models": b'{"models":["gpt-5-2025-08-07","openai/gpt-5-mini","nova-pro-v1:0","qwen:4b"]}'})
    async def _(provider: AiProvider) -> None:
        assert (await provider.check_health(model)).is_healthy


@pytest.mark.parametrize("model", ["gpt", "gpt-5-2025", "gpt-6", "azure/gpt-5-mini"])
def test_a_model_that_the_service_does_not_list_is_what_is_wrong(model: str) -> None:
    @asking({"/models": b'{"models":["gpt-5-2025-08-07","openai/gpt-5-mini"]}'})
    async def _(provider: AiProvider) -> None:
        health = await provider.check_health(model)
        assert (health.is_healthy, health.problem) == (False, "model")


def test_a_model_is_not_looked_at_where_there_is_no_list() -> None:
    @asking({"/models": b"no list"}, TOY)
    async def _(provider: AiProvider) -> None:
        assert (await provider.check_health("gpt-6")).is_healthy


def test_what_goes_wrong_outside_of_a_stream_names_the_provider() -> None:
    def refuse(_: bytes) -> int:
        raise ProtocolError("the answer has no count")

    @asking({"/count": b"{}"}, replace(ABLE, read_count=refuse))
    async def _(provider: AiProvider) -> None:
        with pytest.raises(ProtocolError, match="toy: the answer has no count"):
            await provider.count_tokens("?", model="toy")


async def count(provider: AiProvider) -> int:
    return await provider.count_tokens("?", model="toy")


@pytest.mark.parametrize("ask", [AiProvider.list_models, count])
def test_what_the_api_does_not_have_is_said_before_any_request(ask: Callable[[AiProvider], Awaitable[Any]]) -> None:
    @asking({}, TOY)
    async def server(provider: AiProvider) -> None:
        with pytest.raises(ConfigurationError, match=r"toy: the API (has no list of models|does not count tokens)"):
            await ask(provider)

    assert server.heads == []


# What can't be done


def image() -> Message:
    return Message("user", [ImagePart("https://images.invalid/1.png")])


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (ChatRequest(model="m", messages=[image()]), "images"),
        (ChatRequest.of("?", model="m", tools=[Tool("add")]), "tools"),
        (ChatRequest.of("?", model="m", tools=[Tool("add")], parallel_tool_calls=True), "tools, parallel tool calls"),
        (
            ChatRequest.of("?", model="m", tools=[Tool("sql", takes_free_text=True)]),
            "tools, tools that take free text",
        ),
        (ChatRequest.of("?", model="m", reasoning=Reasoning("low")), "reasoning"),
        (ChatRequest.of("?", model="m", response_format="json"), "structured output"),
        (ChatRequest.of("?", model="m", response_format=JsonSchema("s", {})), "structured output"),
        (ChatRequest.of("?", model="m", logprobs=0), "log probabilities"),
        (ChatRequest.of("?", model="m", n=2), "several choices"),
    ],
)
def test_what_the_api_cannot_do_is_said_before_any_request(request_: ChatRequest, words: str) -> None:
    @asking({"/toy": BODY}, replace(ABLE, capabilities=Capabilities()))
    async def server(provider: AiProvider) -> None:
        with pytest.raises(ConfigurationError, match=f"toy: the request asks for {words}, which this API can't do"):
            await collect(provider.stream(request_))

    assert server.heads == []
    ABLE.check(request_)


def test_a_plain_request_asks_for_nothing_special() -> None:
    plain = ChatRequest.of("?", model="m", response_format="text", n=1, parallel_tool_calls=True)

    replace(ABLE, capabilities=Capabilities()).check(plain)


# Resuming


def test_the_rest_of_a_stream_is_asked_for_by_its_id_and_number() -> None:
    @asking({"/toy/id-1?after=7": BODY})
    async def server(provider: AiProvider) -> None:
        assert (await collect(provider.resume("id-1", after=7))).text == "a"

    assert server.heads[0].startswith("get /toy/id-1?after=7 ")


def test_an_api_that_cannot_resume_says_so() -> None:
    with pytest.raises(ConfigurationError, match="can't go on with a stream that broke"):
        AiProvider(TOY, api_key=None).resume("id-1", after=7)
