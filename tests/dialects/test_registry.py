import subprocess
import sys
from importlib.metadata import EntryPoint

import pytest

from rxstream.dialect import Dialect
from rxstream.dialects import FAMILIES, dialect, dialect_and_model, dialects, presets
from rxstream.dialects.openai_chat import OPENAI_CHAT
from rxstream.errors import ConfigurationError

BUILT_IN = dialects()


@pytest.fixture
def other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other packages add: one good, one broken, one that clashes, one that is none."""
    values = {
        "acme.good": "rxstream.dialects.openai_chat:OPENAI_CHAT",
        "acme.broken": "acme.nowhere:DIALECT",
        "acme.wrong": "rxstream.dialects.openai_chat:NAME",
        "openai.chat": "acme.nowhere:DIALECT",
    }
    points = [EntryPoint(name, value, "rxstream.dialects") for name, value in values.items()]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_dialect_is_found_by_its_own_name(name: str) -> None:
    found = dialect(name)

    assert isinstance(found, Dialect)
    assert found.name == name
    assert dialect(name) is found


def test_the_names_are_sorted() -> None:
    assert sorted(BUILT_IN) == BUILT_IN
    assert {"anthropic.messages", "openai.chat"} <= set(BUILT_IN)


def test_a_value_is_returned_as_it_is() -> None:
    assert dialect(OPENAI_CHAT) is OPENAI_CHAT


def test_nothing_is_imported_before_it_is_asked_for() -> None:
    program = (
        "import sys; from rxstream.dialects import dialect, dialects, presets; dialects();"
        "assert not [m for m in sys.modules if m.startswith('rxstream.dialects.')];"
        "dialect('openai.chat'); dialect('openai'); dialect('groq'); presets();"
        "assert 'rxstream.dialects.anthropic_messages' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", program], check=True)


@pytest.mark.parametrize(
    ("name", "guess"),
    [
        ("openai.", "Did you mean openai.chat?"),
        ("opnai", "Did you mean openai?"),
        ("grok", "Did you mean groq?"),
        ("OpenAI.Chat", "Did you mean openai.chat?"),
        ("antropic.messages", "Did you mean anthropic.messages?"),
        ("no such thing", "known are anthropic.messages, "),
        ("", "there is no dialect ''; known are anthropic.messages, "),
    ],
)
def test_an_unknown_name_is_told_what_there_is(name: str, guess: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        dialect(name)

    assert guess in str(caught.value)
    assert all(known in str(caught.value) for known in [*BUILT_IN, *presets()])


@pytest.mark.usefixtures("other_packages")
def test_other_packages_add_dialects_by_entry_point() -> None:
    assert set(dialects()) == {*BUILT_IN, "acme.good", "acme.broken", "acme.wrong"}
    assert dialect("acme.good") is OPENAI_CHAT


@pytest.mark.usefixtures("other_packages")
def test_a_dialect_of_rxstream_goes_before_another_package() -> None:
    assert dialect("openai.chat") is OPENAI_CHAT


@pytest.mark.usefixtures("other_packages")
@pytest.mark.parametrize(
    ("name", "complaint"),
    [("acme.broken", "can't be loaded from acme.nowhere:DIALECT"), ("acme.wrong", "is no Dialect")],
)
def test_a_broken_package_is_named(name: str, complaint: str) -> None:
    with pytest.raises(ConfigurationError, match=complaint):
        dialect(name)


def test_a_file_without_its_dialect_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rxstream.dialects._modules", lambda: {"acme.half": "_values"})

    with pytest.raises(ConfigurationError, match=r"rxstream\.dialects\._values has no Dialect named 'acme\.half'"):
        dialect("acme.half")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_is_the_api_that_is_usually_meant(family: str) -> None:
    assert dialect(family) is dialect(FAMILIES[family])


@pytest.mark.parametrize(
    ("name", "found", "model"),
    [
        ("openai:gpt-5", "openai.chat", "gpt-5"),
        ("openai.chat:gpt-5", "openai.chat", "gpt-5"),
        ("groq:llama-3.3-70b", "groq", "llama-3.3-70b"),
        ("lmstudio:qwen3:8b", "lmstudio", "qwen3:8b"),
    ],
)
def test_a_provider_and_a_model_are_named_in_one(name: str, found: str, model: str) -> None:
    assert dialect_and_model(name) == (dialect(found), model)


@pytest.mark.parametrize("name", ["", "gpt-5", "openai:", ":gpt-5"])
def test_who_names_only_one_of_them_is_told_how(name: str) -> None:
    with pytest.raises(ConfigurationError, match=r"PROVIDER:MODEL, such as openai:gpt-5; providers: .*groq"):
        dialect_and_model(name)
