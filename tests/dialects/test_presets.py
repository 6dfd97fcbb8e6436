"""Presets: what each service gets that speaks another's API."""

import json
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from rxstream.dialect import Capabilities, Dialect
from rxstream.dialects import FAMILIES, additions, dialect, dialect_and_model, dialects, presets
from rxstream.dialects._chat_requests import ChatWriter
from rxstream.dialects._presets import PRESETS, Preset
from rxstream.dialects.openai_chat import Quirks, chat_dialect
from rxstream.errors import AuthenticationError, ConfigurationError, RateLimitedError
from rxstream.messages import (
    ChatRequest,
    JsonSchema,
    Message,
    Reasoning,
    ReasoningPart,
    TextPart,
    Tool,
    ToolCallPart,
)
from rxstream.providers import AiProvider
from rxstream.tokens import StreamStart
from tests.dialects.reading import read

ROWS = {name: row for name, row in PRESETS.items() if isinstance(row, Preset)}
HOSTED = sorted(name for name, row in ROWS.items() if row.needs_key)
LOCAL = sorted(set(ROWS) - set(HOSTED))
ALL_OPTIONS: dict[str, Any] = {
    "max_tokens": 5,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 40,
    "stop": ["END"],
    "seed": 7,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.2,
    "n": 2,
    "parallel_tool_calls": False,
    "response_format": "text",
    "logprobs": 3,
    "reasoning": Reasoning(effort="low"),
}

ACME = chat_dialect("acme", Quirks(thinking="parts"), base_url="https://acme.example/v1", key_variable="ACME_KEY")
"""What another package would add as an entry point."""

each_preset = pytest.mark.parametrize("name", presets())


def body(name: str, *messages: Message, **options: Any) -> dict[str, Any]:
    """What a preset sends."""
    request = ChatRequest(model="m", messages=list(messages) or [Message("user", "Hi")], **options)
    return json.loads(dialect(name).build_request(request).body)


@each_preset
def test_every_preset_is_found_by_its_own_name(name: str) -> None:
    found = dialect(name)

    assert isinstance(found, Dialect)
    assert found.name == name
    assert dialect(name) is found


def test_another_package_adds_a_preset_as_a_value(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry_points(*, group: str) -> list[EntryPoint]:
        return [EntryPoint("acme", f"{__name__}:ACME", group)]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)

    found, model = dialect_and_model("acme:large")

    assert (found.name, found.base_url, found.key_variable, model) == (
        *("acme", "https://acme.example/v1", "ACME_KEY"),
        "large",
    )
    assert additions() == {"acme": __name__}
    assert "acme" not in presets()


def test_no_name_means_two_things() -> None:
    assert presets() == sorted(set(presets()) - set(FAMILIES) - set(dialects()))


@pytest.mark.parametrize("name", ROWS)
def test_every_row_is_an_address_a_variable_and_capabilities(name: str) -> None:
    made, row = dialect(name), ROWS[name]

    assert made.base_url.startswith("https://" if row.needs_key else "http://127.0.0.1:")
    assert not made.base_url.endswith("/")
    assert made.key_variable
    assert row.lacks <= set(Capabilities.__struct_fields__)
    assert not any(getattr(made.capabilities, lacking) for lacking in row.lacks)
    assert made.build_request(ChatRequest.of("Hi", model="m")).path == "/chat/completions"


@pytest.mark.parametrize("name", ROWS)
@pytest.mark.parametrize("option", ALL_OPTIONS)
def test_every_option_is_sent_or_refused_by_name(name: str, option: str) -> None:
    build = dialect(name).build_request
    request = ChatRequest.of("Hi", model="m", **{option: ALL_OPTIONS[option]})
    called = {"top_k": None, **ROWS[name].quirks.options}

    if called.get(option, option) is None:
        with pytest.raises(ConfigurationError, match=f"{name}: the API has no {option}"):
            build(request)
    else:
        assert build(request) != build(ChatRequest.of("Hi", model="m"))


@pytest.mark.parametrize("name", ROWS)
def test_a_stream_of_a_preset_and_its_errors_bear_its_name(name: str) -> None:
    chunk = b'data: {"id":"x","model":"m","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n'

    outcome = read(dialect(name), [chunk, b'data: {"error":{"message":"no"}}\n\n'])
    refusal = dialect(name).read_error(429, {}, b'{"error":{"message":"slow down"}}')

    assert outcome.tokens[0] == StreamStart("x", "m", name)
    assert outcome.error is not None
    assert (outcome.error.provider, refusal.provider) == (name, name)
    assert type(refusal) is RateLimitedError


@pytest.mark.parametrize("name", HOSTED)
async def test_a_hosted_service_names_the_variable_of_its_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made = dialect(name)
    for variable in filter(None, (made.key_variable, made.base_url_variable)):
        monkeypatch.delenv(variable, raising=False)

    async with AiProvider(name) as provider:
        health = await provider.check_health()

    assert health.problem == "key"
    assert str(made.key_variable) in health.message


@pytest.mark.parametrize("name", LOCAL)
async def test_a_server_on_this_machine_needs_no_key(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(str(dialect(name).key_variable), raising=False)
    monkeypatch.setenv(str(dialect(name).base_url_variable), "http://127.0.0.1:9")  # nobody listens

    async with AiProvider(name) as provider:
        health = await provider.check_health()

    assert health.problem == "address"


@pytest.mark.parametrize(
    ("name", "options", "sent"),
    [
        ("groq", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("cerebras", {"max_tokens": 5}, {"max_completion_tokens": 5}),
        ("together", {"logprobs": 2}, {"logprobs": 2}),
        ("vllm", {"top_k": 40}, {"top_k": 40}),
        ("openrouter", {"reasoning": Reasoning("low", 100)}, {"reasoning": {"effort": "low", "max_tokens": 100}}),
    ],
)
def test_options_go_by_the_names_of_the_service(name: str, options: dict[str, Any], sent: dict[str, Any]) -> None:
    plain = body(name)

    assert body(name, **options) == {**plain, **sent}


@pytest.mark.parametrize(("name", "asks"), [("groq", True), ("openrouter", True), ("perplexity", False)])
def test_usage_is_asked_for_where_the_service_knows_how(name: str, asks: bool) -> None:
    assert ("stream_options" in body(name)) == asks


@pytest.mark.parametrize(
    ("name", "options", "complaint"),
    [
        ("groq", {"n": 2}, "no n;"),
        ("groq", {"messages": [Message("user", "Hi", name="Ada")]}, r"no messages\[\]\.name"),
        ("deepseek", {"response_format": JsonSchema("a", {})}, r"no response_format\.json_schema"),
        ("perplexity", {"response_format": "json"}, r"no response_format\.json_object"),
        ("cerebras", {"presence_penalty": 0.1}, "no presence_penalty"),
        ("groq", {"top_k": 1}, "no top_k"),
    ],
)
def test_what_a_service_lacks_is_refused_before_a_request(name: str, options: dict[str, Any], complaint: str) -> None:
    asked: dict[str, Any] = {"messages": [Message("user", "Hi")], **options}

    with pytest.raises(ConfigurationError, match=complaint):
        dialect(name).build_request(ChatRequest(model="m", **asked))


def test_what_is_so_anyway_needs_no_option() -> None:
    assert body("groq", n=1) == body("groq")
    assert body("deepseek", parallel_tool_calls=True) == body("deepseek")
    assert body("groq", parallel_tool_calls=True) == {**body("groq"), "parallel_tool_calls": True}


def test_perplexity_has_no_tools() -> None:
    with pytest.raises(ConfigurationError, match="tools, which this API can't do"):
        dialect("perplexity").check(ChatRequest.of("Hi", model="sonar", tools=[Tool("look")]))


@pytest.mark.parametrize(("name", "role"), [("groq", "system"), ("openrouter", "developer"), ("openai", "developer")])
def test_the_developer_speaks_as_the_service_knows_it(name: str, role: str) -> None:
    assert body(name, Message("developer", "Be brief."))["messages"][0]["role"] == role


THOUGHT = ReasoningPart("Hm.", signature="c2ln", redacted="x")
CALLED = Message("assistant", [THOUGHT, ToolCallPart("a", "look", "{}")])
SAID = Message("assistant", [THOUGHT, TextPart("Blue.")])


def test_thinking_goes_back_to_deepseek_beside_calls_alone() -> None:
    called, said = body("deepseek", CALLED, SAID)["messages"]

    assert called["reasoning_content"] == "Hm."
    assert said == {"role": "assistant", "content": "Blue."}


def test_thinking_goes_back_to_openrouter_with_its_signature() -> None:
    [said] = body("openrouter", SAID)["messages"]

    assert said["content"] == "Blue."
    assert said["reasoning_details"] == [
        {"type": "reasoning.text", "text": "Hm.", "signature": "c2ln"},
        {"type": "reasoning.encrypted", "data": "x"},
    ]


def test_thinking_stays_here_where_nobody_wants_it() -> None:
    assert body("groq", CALLED)["messages"] == body("groq", Message("assistant", CALLED.parts[1:]))["messages"]


def test_thinking_may_be_a_part_of_the_content() -> None:
    messages = [Message("assistant", [THOUGHT]), SAID]
    request = ChatRequest(model="m", messages=messages)

    alone, said = ChatWriter("x.y", Quirks(thinking="text_parts")).messages(request)

    assert alone == {"role": "assistant", "content": [{"type": "thinking", "thinking": "Hm."}]}
    assert said == {
        "role": "assistant",
        "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Blue."}],
    }


def test_the_models_of_github_are_listed_beside_the_inference() -> None:
    github = dialect("github")

    assert github.models_base_url is not None
    assert (
        github.models_base_url(github.base_url) + str(github.models_path) == "https://models.github.ai/catalog/models"
    )


def test_a_wrong_key_is_that() -> None:
    assert type(dialect("xai").read_error(401, {}, b'{"code":"x","error":"no"}')) is AuthenticationError
