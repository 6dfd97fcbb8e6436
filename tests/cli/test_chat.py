"""`rxstream chat`, as a program of its own, against the simulator."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from typing import Any

import pytest

from rxstream.simulator import FAST, At, ErrorEvent, Script, ScriptedCall, Settings, Simulator, simulator_in_background

CHAT = [sys.executable, "-m", "rxstream", "chat"]


def environment(**more: str) -> dict[str, str]:
    """The environment without anybody's keys and addresses."""
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "ANTHROPIC_", "GROQ_"))
    }
    return kept | more


def chat(*arguments: str, **options: Any) -> subprocess.CompletedProcess[str]:
    options = {"env": environment()} | options
    return subprocess.run([*CHAT, *arguments], capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def simulator() -> Generator[Simulator]:
    with simulator_in_background(Settings(speed=FAST)) as running:
        yield running


def test_without_a_key_and_a_model_the_simulator_answers_and_says_so() -> None:
    done = chat("Why is the sky blue?")

    assert done.returncode == 0
    assert "simulator" in done.stderr
    assert "sky" in done.stdout


def test_a_key_alone_asks_nobody_and_names_the_next_step() -> None:
    done = chat("hello", env=environment(OPENAI_API_KEY="secret-key"))

    assert done.returncode == 0
    assert "-m openai" in done.stderr
    assert "secret-key" not in done.stderr + done.stdout


@pytest.mark.parametrize("model", ["openai:simulated-fast", "openai.chat:simulated-fast", "anthropic:simulated-fast"])
def test_a_named_model_answers_where_the_environment_says(model: str, simulator: Simulator) -> None:
    addresses = {
        "OPENAI_BASE_URL": simulator.base_url("openai.chat"),
        "ANTHROPIC_BASE_URL": simulator.base_url("anthropic.messages"),
    }

    done = chat("-m", model, "--max-tokens", "50", "hello", env=environment(**addresses))

    assert done.returncode == 0
    assert "hello" in done.stdout
    assert done.stderr == ""  # piped: the bare text and nothing else


def test_the_prompt_may_come_from_standard_input(simulator: Simulator) -> None:
    address = simulator.base_url("openai.chat")

    done = chat("-m", "openai:simulated-fast", "--base-url", address, "-", input="umbrellas", env=environment())

    assert "umbrellas" in done.stdout


@pytest.mark.parametrize(
    ("model", "part"),
    [
        ("gpt-5", "PROVIDER:MODEL"),
        ("opnai:gpt-5", "openai.chat"),
        ("openai:", "PROVIDER:MODEL"),
        ("openai:gpt-5", "OPENAI_API_KEY"),
        ("anthropic:claude", "ANTHROPIC_API_KEY"),
        ("groq:llama-3.3-70b", "GROQ_API_KEY"),
    ],
)
def test_what_is_missing_is_named(model: str, part: str) -> None:
    done = chat("-m", model, "hello")

    assert done.returncode in {1, 2}
    assert part in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_an_address_where_nobody_listens_is_named() -> None:
    with simulator_in_background() as gone:
        address = gone.base_url("openai.chat")

    done = chat("-m", "openai:m", "--base-url", address, "hello", env=environment(OPENAI_API_KEY="secret-key"))

    assert done.returncode == 1
    assert address.split("/")[2] in done.stderr
    assert "secret-key" not in done.stderr


def test_an_error_in_mid_stream_comes_after_what_had_arrived() -> None:
    script = Script(text="one two three four", faults=(ErrorEvent(at=At(tokens=2), message="gave up"),))
    with simulator_in_background(Settings(script=script, speed=FAST)) as simulator:
        done = chat("-m", "openai:m", "--base-url", simulator.base_url("openai.chat"), "hello")

    assert done.returncode == 1
    assert done.stdout.strip() == "one two"
    assert "gave up" in done.stderr


def test_interrupting_closes_the_connection_and_keeps_what_had_arrived() -> None:
    with simulator_in_background() as simulator:
        command = [*CHAT, "-m", "openai:simulated-stalling", "--base-url", simulator.base_url("openai.chat"), "hello"]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(), bufsize=0
        ) as process:
            assert process.stdout
            assert process.stderr
            heard = process.stdout.read(1)
            process.send_signal(signal.SIGINT)
            heard += process.stdout.readall()  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType, reportUnknownVariableType]  # unbuffered, so a RawIOBase
            errors = process.stderr.read()

    assert process.returncode == 130
    assert heard
    assert b"Traceback" not in errors


def test_on_a_terminal_the_figures_are_shown(simulator: Simulator) -> None:
    pty = pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    script = Script(text="one two three", reasoning="hmm", tool_calls=(ScriptedCall("look", {"at": 1}),))
    with simulator_in_background(Settings(script=script, speed=FAST)) as scripted:
        ours, theirs = pty.openpty()
        command = [*CHAT, "-m", "openai:m", "--base-url", scripted.base_url("openai.chat"), "hello"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env=environment()) as process:
            assert process.stdout
            text = process.stdout.read()
        os.close(theirs)
        shown = os.read(ours, 65_536).decode()
        os.close(ours)

    assert text == b"one two three"
    assert "hmm" in shown
    assert "look" in shown
    assert re.search(r"first token \d+ ms", shown)
    assert re.search(r"\d+ in, \d+ out", shown)
