"""`rxstream providers`: what can be asked, and never a key."""

import io
import json
import sys
from importlib.metadata import EntryPoint
from typing import Any

import pytest

from rxstream.cli import main
from rxstream.cli.providers import COLUMNS, rows, table
from rxstream.dialect import Capabilities
from rxstream.dialects import dialect, dialects, presets

KEY = "sk-very-secret"


@pytest.fixture
def other_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other packages add: an API or a preset, a broken one, and one whose name is ours."""
    values = {
        "acme": "rxstream.dialects.openai_chat:OPENAI_CHAT",
        "acme.broken": "acme.nowhere:DIALECT",
        "groq": "acme.nowhere:DIALECT",
    }
    points = [EntryPoint(name, value, "rxstream.dialects") for name, value in values.items()]

    def entry_points(*, group: str) -> list[EntryPoint]:
        return [point for point in points if point.group == group]

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)


def listed(*arguments: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["providers", *arguments]) == 0
    return capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for row in json.loads(listed("--json", capsys=capsys))}


def test_everything_that_can_be_asked_is_listed(capsys: pytest.CaptureFixture[str]) -> None:
    firsts = [line.split(" ")[0] for line in listed(capsys=capsys).splitlines()]

    names = [*dialects(), *presets()]
    assert [first for first in firsts if first in names] == names


def test_the_table_fits_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert max(map(len, listed(capsys=capsys).splitlines())) <= 100


def test_a_key_is_found_and_never_shown(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GROQ_API_KEY", KEY)
    monkeypatch.delenv("XAI_API_KEY", raising=False)

    said, rows = listed(capsys=capsys), as_json(capsys)

    assert KEY not in said
    assert KEY not in json.dumps(rows)
    assert {name: rows[name]["key"] for name in ("groq", "xai")} == {"groq": "found", "xai": "missing"}
    assert [line.split()[1] for line in said.splitlines() if line.startswith(("groq", "xai"))] == ["✓", "✗"]


def test_a_server_on_this_machine_needs_no_key() -> None:
    [row] = [row for row in rows({}) if row.name == "vllm"]

    assert (row.key, row.key_variable) == ("not needed", "VLLM_API_KEY")


def test_an_empty_variable_is_no_key() -> None:
    assert {row.key for row in rows({"GROQ_API_KEY": ""}) if row.name == "groq"} == {"missing"}


def test_the_list_as_json_says_what_each_can_do(capsys: pytest.CaptureFixture[str]) -> None:
    row = as_json(capsys)["perplexity"]

    assert (row["kind"], row["base_url"]) == ("preset", "https://api.perplexity.ai")
    assert row["capabilities"]["images"]
    assert not row["capabilities"]["tools"]


def test_every_capability_has_its_column() -> None:
    assert set(COLUMNS) == set(Capabilities.__struct_fields__)


@pytest.mark.usefixtures("other_packages")
def test_what_other_packages_add_is_listed_apart(capsys: pytest.CaptureFixture[str]) -> None:
    rows = as_json(capsys)
    said = listed(capsys=capsys)

    assert (rows["acme"]["kind"], rows["acme"]["key_variable"]) == ("other package", "OPENAI_API_KEY")
    assert rows["groq"]["kind"] == "preset"
    assert "other packages" in said


@pytest.mark.usefixtures("other_packages")
def test_a_broken_package_is_named_and_the_others_are_listed(capsys: pytest.CaptureFixture[str]) -> None:
    said = listed(capsys=capsys)

    assert "acme.broken" in said
    assert "can't be loaded from acme.nowhere:DIALECT" in said
    assert dialect("acme").base_url in [row.base_url for row in rows({})]


def test_colours_are_for_terminals(capsys: pytest.CaptureFixture[str]) -> None:
    found = list(rows({"GROQ_API_KEY": KEY}))

    assert "\x1b[" not in listed(capsys=capsys)
    assert any("\x1b[32m✓" in line for line in table(found, in_colour=True))


def test_a_terminal_without_such_marks_gets_others(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="cp1252")
    monkeypatch.delenv("GROQ_API_KEY", raising=False)
    monkeypatch.setattr(sys, "stdout", terminal)

    assert main(["providers"]) == 0

    terminal.seek(0)
    said = terminal.read()
    assert "! GROQ_API_KEY" in said
