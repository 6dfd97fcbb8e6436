"""`rxstream chat` without a prompt: a conversation on a pseudo-terminal, against the simulator."""

import json
import stat
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rxstream.cli._history import history_file
from rxstream.simulator import FAST, At, Script, Settings, Simulator, Stall, simulator_in_background

pytest.importorskip("pty", reason="there are no pseudo-terminals here")

from tests.terminal import Terminal, rxstream


@contextmanager
def conversation(state: Path, script: Script, *arguments: str) -> Generator[tuple[Terminal, Simulator]]:
    with simulator_in_background(Settings(script=script, speed=FAST)) as simulator:
        address = simulator.base_url("openai.chat")
        options = ["-m", "openai:m", "--base-url", address, *arguments]
        with rxstream("chat", *options, variables={"XDG_STATE_HOME": str(state)}) as terminal:
            terminal.wait_for("^>$")
            yield terminal, simulator


def say(terminal: Terminal, line: str, expected: str, *, prompt: str = ">") -> None:
    """Say a line; wait for what comes and, since keys before it may get lost, for the next prompt."""
    terminal.type(line + "\r")
    terminal.wait_for(rf"(?s)(?:{expected}).*\n{prompt}\Z")


def asked(simulator: Simulator, number: int) -> list[dict[str, Any]]:
    return simulator.requests[number].body["messages"]


def test_a_question_comes_with_all_that_was_said_before(tmp_path: Path) -> None:
    with conversation(tmp_path, Script(text="An *answer*."), "--system", "Be brief.") as (terminal, simulator):
        say(terminal, "first", r"An answer\.\n.*first token")
        say(terminal, "second", r"second\n\nAn answer\.\n.*first token")
        say(terminal, "/new", "forgotten")
        say(terminal, "third", r"third\n\nAn answer\.\n.*first token")
        terminal.type("\x04")
        status = terminal.wait_for_end()

    assert status == 0
    turns = [[turn["content"] for turn in asked(simulator, number)] for number in range(3)]
    assert turns == [
        ["Be brief.", "first"],
        ["Be brief.", "first", "An *answer*.", "second"],
        ["Be brief.", "third"],
    ]


def test_ctrl_c_stops_the_answer_closes_the_connection_and_comes_back(tmp_path: Path) -> None:
    script = Script(text="one two three", faults=(Stall(at=At(tokens=2)),))
    with conversation(tmp_path, script) as (terminal, simulator):
        terminal.type("first\r")
        terminal.wait_for("one two")
        terminal.type("\x03")
        terminal.wait_for("stopped\n> ?$")
        terminal.type("second\r")
        terminal.wait_for(r"second\n\none two")
        terminal.type("\x03")
        terminal.wait_for(r"(?s)second.*stopped\n> ?$")
        terminal.type("/quit\r")
        status = terminal.wait_for_end()

    assert status == 0
    assert simulator.requests[0].outcome == "client left"
    assert [turn["content"] for turn in asked(simulator, 1)] == ["first", "one two", "second"]


def test_a_paste_of_several_lines_and_a_block_between_quotes_are_one_question(tmp_path: Path) -> None:
    with conversation(tmp_path, Script(text="ok.")) as (terminal, simulator):
        say(terminal, "\x1b[200~def f():\n    return 1\x1b[201~", r"ok\.\n.*first token")
        say(terminal, '"""one', "one", prompt="…")
        say(terminal, 'two"""', r"two\"\"\"\n\nok\.\n.*first token")
        terminal.type("\x04")
        terminal.wait_for_end()

    assert b"\x1b[?2004h" in terminal.raw  # the terminal is asked to say where a paste begins and ends
    assert asked(simulator, 0)[-1]["content"] == "def f():\n    return 1"
    assert asked(simulator, 1)[-1]["content"] == "one\ntwo"


def test_the_person_says_what_a_tool_gave(tmp_path: Path) -> None:
    tool = tmp_path / "look.json"
    tool.write_text(json.dumps({"name": "look", "input_schema": {"type": "object", "properties": {}}}))
    script = Script(call_tools=True)
    with conversation(tmp_path, script, "--tool", str(tool)) as (terminal, simulator):
        say(terminal, "what is there?", "look", prompt="result of look>")
        say(terminal, "a cat", r"The tools have answered.*first token")
        terminal.type("\x04")
        terminal.wait_for_end()

    assert asked(simulator, 1)[-1]["content"] == "a cat"


def test_what_was_typed_is_there_the_next_time(tmp_path: Path) -> None:
    for question in ("first", "\x1b[A"):
        with conversation(tmp_path, Script(text="ok.")) as (terminal, simulator):
            say(terminal, question, r"ok\.\n.*first token")
            terminal.type("\x04")
            terminal.wait_for_end()

        assert asked(simulator, 0)[-1]["content"] == "first"
    file = tmp_path / "rxstream" / "history"
    assert file.read_text() == "first\nfirst\n"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_history_that_cannot_be_kept_is_told_and_harms_nothing(tmp_path: Path) -> None:
    (tmp_path / "rxstream").write_text("no folder")
    with conversation(tmp_path, Script(text="ok.")) as (terminal, _):
        say(terminal, "first", r"nothing is kept.*ok\.\n.*first token")
        terminal.type("\x04")
        status = terminal.wait_for_end()

    assert status == 0


def test_commands_say_what_they_did(tmp_path: Path) -> None:
    saved = tmp_path / "talk.md"
    with conversation(tmp_path, Script(text="ok."), "--no-history") as (terminal, _):
        say(terminal, "/help", "/save FILE")
        say(terminal, "/nonsense", "there is no /nonsense")
        say(terminal, "/model", "/model PROVIDER:MODEL: ask")
        say(terminal, "/model opnai:x", "there is no dialect 'opnai'")
        say(terminal, "/model simulator:simulated-fast", "openai.chat:simulated-fast answers from now on")
        say(terminal, "umbrellas", r"umbrellas.*first token")
        say(terminal, f"/save {saved}", "written to")
        say(terminal, f"/save {saved}", r"there is a .* already")
        terminal.type("\x04")
        status = terminal.wait_for_end()

    assert status == 0
    assert saved.read_text().startswith("## user\n\numbrellas\n\n## assistant\n\n")
    assert not (tmp_path / "rxstream").exists()


def test_the_history_lies_where_the_xdg_base_directories_have_it() -> None:
    assert history_file({"XDG_STATE_HOME": "/state"}) == Path("/state/rxstream/history")
    assert history_file({"XDG_STATE_HOME": "relative"}) == history_file({})
    assert history_file({}).parts[-2:] == ("rxstream", "history")
