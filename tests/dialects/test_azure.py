"""Azure's two: addresses and keys as its SDK uses them, and what its filters say."""

import json
from typing import Any

import pytest

from rxstream.dialects import dialect
from rxstream.dialects._azure import address, authorize, find_base_url
from rxstream.errors import AuthenticationError, ConfigurationError, ContentBlockedError, NotFoundError
from rxstream.flow import RetryPolicy
from rxstream.providers import AiProvider
from rxstream.sinks import collect
from rxstream.tokens import FinishReason, StreamEnd, StreamStart
from tests.dialects.reading import read
from tests.loopback import HEAD, Exchange, serving
from tests.shared import SHARED, needs_shared

HOME = "https://r.openai.azure.com"
DATED = "2024-10-21"
TOKEN = "eyJhbGciOiJub25lIn0.e30."
CHAT_END = b"data: [DONE]\n\n"
RESPONSES_END = b'data: {"type":"response.completed","sequence_number":0,"response":{"output":[]}}\n\n'


class Recorder:
    """Answers every request with `body`, and keeps its head."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        self.heads: list[bytes] = []

    async def __call__(self, exchange: Exchange) -> None:
        assert await exchange.read_request()
        self.heads.append(exchange.head)
        await exchange.send(HEAD + b"connection: close\r\n\r\n" + self.body)

    @property
    def asked(self) -> list[tuple[str, list[str]]]:
        """Path and credential headers of each request."""
        lines = [head.decode().split("\r\n") for head in self.heads]
        return [(head[0].split()[1], [line for line in head if line.startswith(CREDENTIALS)]) for head in lines]


CREDENTIALS = ("api-key:", "authorization:")


@pytest.mark.parametrize(
    ("base_url", "chat", "responses"),
    [
        (HOME, f"{HOME}/openai/v1/chat/completions", f"{HOME}/openai/v1/responses"),
        (f"{HOME}/openai/v1", f"{HOME}/openai/v1/chat/completions", f"{HOME}/openai/v1/responses"),
        (f"{HOME}/openai", f"{HOME}/openai/deployments/d/chat/completions", f"{HOME}/openai/responses"),
        (
            f"{HOME}/openai/deployments/mine",
            f"{HOME}/openai/deployments/mine/chat/completions",
            f"{HOME}/openai/responses",
        ),
        (f"{HOME}/models", f"{HOME}/models/chat/completions", f"{HOME}/models/responses"),
    ],
)
def test_every_form_of_a_base_url_leads_where_it_should(base_url: str, chat: str, responses: str) -> None:
    assert address(base_url, "/deployments/d/chat/completions") == chat
    assert address(base_url, "/responses") == responses


@pytest.mark.parametrize(
    ("environment", "base_url"),
    [
        ({}, None),
        ({"OPENAI_API_VERSION": DATED}, None),
        ({"AZURE_OPENAI_ENDPOINT": f"{HOME}/"}, f"{HOME}/openai/v1"),
        ({"AZURE_OPENAI_ENDPOINT": HOME, "OPENAI_API_VERSION": DATED}, f"{HOME}/openai?api-version={DATED}"),
        ({"AZURE_OPENAI_ENDPOINT": HOME, "OPENAI_API_VERSION": "preview"}, f"{HOME}/openai/v1?api-version=preview"),
        ({"AZURE_OPENAI_ENDPOINT": f"{HOME}/openai/v1/"}, f"{HOME}/openai/v1"),
    ],
)
def test_the_environment_says_where_the_service_is(environment: dict[str, str], base_url: str | None) -> None:
    assert find_base_url(environment) == base_url


def test_a_key_and_a_token_have_headers_of_their_own() -> None:
    assert authorize("0123abc") == {"api-key": "0123abc"}
    assert authorize(TOKEN) == {"authorization": f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("name", "key"), [("azure", "k"), ("azure", TOKEN), ("azure.responses", "k"), ("azure.responses", TOKEN)]
)
async def test_the_vendors_sdk_asks_at_the_same_address_with_the_same_credential(name: str, key: str) -> None:
    openai = pytest.importorskip("openai")
    recorder = Recorder(CHAT_END if name == "azure" else RESPONSES_END)
    credential: Any = {"azure_ad_token": key} if key == TOKEN else {"api_key": key}

    async with serving(recorder) as server:
        async with openai.AsyncAzureOpenAI(
            azure_endpoint=server, api_version=DATED, max_retries=0, **credential
        ) as client:
            if name == "azure":
                asked: Any = [{"role": "user", "content": "Hi"}]
                stream = await client.chat.completions.create(model="d", messages=asked, stream=True)
            else:
                stream = await client.responses.create(model="d", input="Hi", stream=True)
            async for _ in stream:
                pass
        async with AiProvider(name, base_url=f"{server}/openai?api-version={DATED}", api_key=key) as azure:
            await collect(azure.stream("Hi", model="d"))

    theirs, ours = recorder.asked
    assert ours == theirs
    assert len(ours[1]) == 1


async def test_a_deployment_in_the_address_takes_every_request() -> None:
    recorder = Recorder(CHAT_END)

    async with serving(recorder) as server:
        base_url = f"{server}/openai/deployments/d?api-version={DATED}"
        async with AiProvider("azure", base_url=base_url, api_key="k") as azure:
            await collect(azure.stream("Hi", model="gpt/5"))
            await azure.check_health()

    assert [path for path, _ in recorder.asked] == [
        f"/openai/deployments/d/chat/completions?api-version={DATED}",
        f"/openai/models?api-version={DATED}",
    ]


async def test_a_token_is_asked_for_before_each_request() -> None:
    recorder = Recorder(CHAT_END)
    tokens = iter([TOKEN + "1", TOKEN + "2"])

    async with serving(recorder) as server, AiProvider("azure", base_url=server, api_key=lambda: next(tokens)) as azure:
        for _ in range(2):
            await collect(azure.stream("Hi", model="d"))

    assert [credentials for _, credentials in recorder.asked] == [
        [f"authorization: bearer {TOKEN.lower()}{number}"] for number in (1, 2)
    ]


async def test_an_address_that_nobody_named_is_missed_before_any_request(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("AZURE_OPENAI_BASE_URL", "AZURE_OPENAI_ENDPOINT", "AZURE_OPENAI_API_KEY"):
        monkeypatch.delenv(variable, raising=False)

    async with AiProvider("azure", api_key="k") as azure, AiProvider("azure.responses") as keyless:
        with pytest.raises(ConfigurationError, match="AZURE_OPENAI_BASE_URL"):
            await collect(azure.stream("Hi", model="d"))
        with pytest.raises(AuthenticationError, match="AZURE_OPENAI_API_KEY"):
            await collect(keyless.stream("Hi", model="d"))

    assert "azure" in repr(azure)


async def test_the_environment_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder(RESPONSES_END)

    async with serving(recorder) as server:
        monkeypatch.delenv("AZURE_OPENAI_BASE_URL", raising=False)
        monkeypatch.delenv("OPENAI_API_VERSION", raising=False)
        monkeypatch.setenv("AZURE_OPENAI_ENDPOINT", server)
        monkeypatch.setenv("AZURE_OPENAI_API_KEY", "k")
        async with AiProvider("azure.responses") as azure:
            message = await collect(azure.stream("Hi", model="d"))

    assert recorder.asked == [("/openai/v1/responses", ["api-key: k"])]
    assert message.provider == "azure.responses"


async def test_models_and_counts_are_not_to_be_had() -> None:
    async with AiProvider("azure.responses", base_url=HOME, api_key="k") as azure:
        with pytest.raises(ConfigurationError, match="no list of models"):
            await azure.list_models()
        with pytest.raises(ConfigurationError, match="does not count tokens"):
            await azure.count_tokens("Hi", model="d")

    assert not azure.capabilities.token_counting


@pytest.mark.parametrize("name", ["azure", "azure.responses"])
async def test_a_blocked_prompt_is_called_that(name: str) -> None:
    refusal = {"error": {"code": "content_filter", "message": "The prompt was filtered.", "param": "prompt"}}

    async def refuse(exchange: Exchange) -> None:
        assert await exchange.read_request()
        body = json.dumps(refusal).encode()
        await exchange.send(b"HTTP/1.1 400 Bad Request\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))

    async with (
        serving(refuse) as server,
        AiProvider(name, base_url=server, api_key="k", retry=RetryPolicy(retries=0)) as azure,
    ):
        with pytest.raises(ContentBlockedError) as caught:
            await collect(azure.stream("Hi", model="d"))

    assert caught.value.provider == name


def chunk(**members: Any) -> bytes:
    return f"data: {json.dumps(members)}\n\n".encode()


def piece(text: str, **verdicts: Any) -> bytes:
    choice = {"index": 0, "delta": {"content": text}, "content_filter_results": verdicts}
    return chunk(id="x", model="m", choices=[choice])


def hate(severity: str, *, filtered: bool = False) -> dict[str, Any]:
    return {"filtered": filtered, "severity": severity}


def test_the_gravest_verdicts_on_an_answer_are_at_its_end() -> None:
    prompt = [{"prompt_index": 0, "content_filter_results": {"jailbreak": {"detected": False, "filtered": False}}}]
    wire = [
        chunk(id="", model="", object="", created=0, choices=[], prompt_filter_results=prompt),
        piece("a", hate=hate("safe"), violence=hate("safe")),
        piece("b"),
        piece("c", hate=hate("medium"), protected_material_text={"detected": True, "filtered": False}),
        piece("d", hate=hate("low"), violence=hate("low"), protected_material_text={"detected": False}),
        piece("e", sexual=hate("low", filtered=True)),
        piece("f", sexual=hate("high")),
        chunk(id="x", model="m", choices=[{"index": 0, "finish_reason": "content_filter"}]),
        CHAT_END,
    ]

    outcome = read(dialect("azure"), wire)

    assert outcome.tokens[0] == StreamStart("x", "m", "azure")
    assert outcome.message.text == "abcdef"
    assert outcome.tokens[-1] == StreamEnd(
        FinishReason.CONTENT_FILTER,
        "content_filter",
        details={
            "prompt_filter_results": prompt,
            "content_filter_results": {
                "hate": hate("medium"),
                "violence": hate("low"),
                "protected_material_text": {"detected": True, "filtered": False},
                "sexual": hate("low", filtered=True),
            },
        },
    )


@pytest.mark.parametrize("odd", [7, [], {"hate": 7}, {"hate": {"severity": 7}}, {"hate": {"severity": ["safe"]}}])
def test_verdicts_that_are_none_break_nothing(odd: Any) -> None:
    wire = chunk(id="x", choices=[{"index": 0, "delta": {"content": "a"}, "content_filter_results": odd}])

    outcome = read(dialect("azure"), [wire, wire, CHAT_END])

    assert outcome.error is None
    assert outcome.message.text == "aa"


@needs_shared
@pytest.mark.parametrize(
    ("capture", "name", "verdicts"),
    [
        ("chat-content-filter-emoji", "azure", {"prompt_filter_results", "content_filter_results"}),
        ("responses-text", "azure.responses", {"content_filters"}),
    ],
)
def test_the_verdicts_of_the_captures_survive(capture: str, name: str, verdicts: set[str]) -> None:
    wire = (SHARED / "captures" / "azure" / f"{capture}.sse").read_bytes()

    end = read(dialect(name), [wire]).tokens[-1]

    assert isinstance(end, StreamEnd)
    assert set(end.details or {}) == verdicts


def test_a_deployment_that_is_not_there_is_not_found() -> None:
    body = b'{"error": {"code": "DeploymentNotFound", "message": "The API deployment does not exist."}}'

    error = dialect("azure.responses").read_error(404, {"apim-request-id": "a"}, body)

    assert type(error) is NotFoundError
    assert (error.provider, error.request_id) == ("azure.responses", "a")
