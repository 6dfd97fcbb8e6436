"""What `rxstream chat` can be told, where no terminal matters."""

import io
import json
import sys
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from rxstream.cli import main
from rxstream.simulator import FAST, At, ErrorEvent, HttpError, Script, Settings, Simulator, simulator_in_background
from rxstream.sources import recordings

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Generator[Simulator]:
    """A simulator that says `one two three`, where the environment has OpenAI."""
    with simulator_in_background(Settings(script=Script(text="one two three"), speed=FAST)) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url("openai.chat"))
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        yield running


def chat(*arguments: str) -> int:
    return main(["chat", "-m", "openai:m", *arguments])


def body(simulator: Simulator) -> Any:
    return simulator.requests[0].body


def refusal(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What is said to arguments that can't be: a usage error, or one that names what is wrong."""
    try:
        status = main(["chat", *arguments])
    except SystemExit as exit:
        status = exit.code
    assert status == 2
    said = capfd.readouterr()
    assert said.out == ""
    return said.err


def test_json_is_every_token_as_a_line(simulator: Simulator, capfd: pytest.CaptureFixture[str]) -> None:
    assert chat("--json", "hello") == 0

    tokens = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
    assert tokens[0]["type"] == "StreamStart"
    assert "".join(token["text"] for token in tokens if token["type"] == "TextDelta") == "one two three"
    assert tokens[-1]["type"] == "StreamEnd" or tokens[-1]["type"] == "UsageReport"


def test_json_ends_in_the_error(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    script = Script(text="one two three", faults=(ErrorEvent(at=At(tokens=2), message="gave up"),))
    with simulator_in_background(Settings(script=script, speed=FAST)) as broken:
        monkeypatch.setenv("OPENAI_BASE_URL", broken.base_url("openai.chat"))
        status = chat("--json", "hello")

    assert status == 1
    last = json.loads(capfd.readouterr().out.splitlines()[-1])
    assert (last["type"], last["error"]["message"]) == ("Error", "gave up")


def test_metrics_are_printed_beside_the_answer(simulator: Simulator, capfd: pytest.CaptureFixture[str]) -> None:
    assert chat("--metrics", "hello") == 0

    said = capfd.readouterr()
    assert said.out == "one two three"
    figures = dict(line.strip().split("  ", 1) for line in said.err.splitlines() if line.strip())
    assert figures["ended"] == "completed (stop)"
    assert figures["output tokens"] == "3"
    assert figures["model"] == "m"


def test_a_system_text_goes_first(simulator: Simulator) -> None:
    chat("--system", "Be brief.", "hello")

    assert [turn["content"] for turn in body(simulator)["messages"]] == ["Be brief.", "hello"]


def test_images_are_files_or_addresses(simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "image"
    file.write_bytes(PNG)

    assert chat("-i", str(file), "--image", "https://example.org/a.jpg", "What is it?") == 0

    first, second, text = body(simulator)["messages"][0]["content"]
    assert first["image_url"]["url"].startswith("data:image/png;base64,")
    assert second["image_url"]["url"] == "https://example.org/a.jpg"
    assert text["text"] == "What is it?"


@pytest.mark.parametrize(
    "described",
    [
        {"name": "look", "description": "Look.", "parameters": {"type": "object", "properties": {"at": {}}}},
        [{"name": "look", "description": "Look.", "input_schema": {"type": "object", "properties": {"at": {}}}}],
        {
            "type": "function",
            "function": {
                "name": "look",
                "description": "Look.",
                "parameters": {"type": "object", "properties": {"at": {}}},
            },
        },
    ],
    ids=["own", "anthropic", "openai"],
)
def test_tools_are_offered_as_any_service_writes_them(described: Any, simulator: Simulator, tmp_path: Path) -> None:
    file = tmp_path / "tools.json"
    file.write_text(json.dumps(described))

    assert chat("--tool", str(file), "hello") == 0

    [tool] = body(simulator)["tools"]
    assert tool["function"]["name"] == "look"
    assert tool["function"]["description"] == "Look."
    assert tool["function"]["parameters"] == {"type": "object", "properties": {"at": {}}}


def test_what_is_recorded_is_replayed(simulator: Simulator, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "answer.rec"

    statuses = chat("--record", str(file), "hello"), main(["chat", "--replay", str(file), "--speed", "0"])

    assert statuses == (0, 0)
    assert capfd.readouterr().out == "one two three" * 2
    [recording] = recordings(file)
    assert (recording.api, recording.model, recording.holds) == ("openai.chat", "m", "chunks")


def test_a_request_is_tried_again_while_it_is_recorded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    script = Script(text="one two", faults=(HttpError(status=503, retry_after=0.01, times=1),))
    with simulator_in_background(Settings(script=script, speed=FAST)) as flaky:
        monkeypatch.setenv("OPENAI_BASE_URL", flaky.base_url("openai.chat"))
        status = chat("--record", str(tmp_path / "answer.rec"), "hello")

    assert status == 0
    assert capfd.readouterr().out == "one two"
    assert main(["chat", "--replay", str(tmp_path / "answer.rec")]) == 0
    assert capfd.readouterr().out == "one two"


def test_standard_input_is_the_prompt_where_none_is_given(
    simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("umbrellas"))

    assert chat() == 0

    assert body(simulator)["messages"][0]["content"] == "umbrellas"


def test_the_simulator_can_be_asked_by_name(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["chat", "-m", "simulator:simulated-refusing", "hello"]) == 0

    assert "I can't help" in capfd.readouterr().out


def test_what_cannot_be_is_refused_and_says_what_can(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    text = tmp_path / "text.txt"
    text.write_text("not JSON")
    asked = ["-m", "simulator:simulated-fast", "hello"]

    assert "cannot read" in refusal(capfd, *asked, "--image", str(tmp_path / "none.png"))
    assert "PNG, JPEG" in refusal(capfd, *asked, "--image", str(text))
    assert '"name": "get_weather"' in refusal(capfd, *asked, "--tool", str(text))
    assert "cannot write" in refusal(capfd, *asked, "--record", str(tmp_path / "none" / "answer.rec"))
    assert "takes no PROMPT" in refusal(capfd, "--replay", str(text), "hello")
    assert "--replay FILE" in refusal(capfd, *asked, "--speed", "2")
    assert "nothing to ask" in refusal(capfd, " ")
    assert "cannot read" in refusal(capfd, "--replay", str(tmp_path / "none.rec"))


@pytest.mark.parametrize(
    ("fault", "step"),
    [
        (HttpError(status=401), "OPENAI_API_KEY"),
        (HttpError(status=404), "name of the model"),
        (HttpError(status=429, retry_after=900), "in 900 s"),
    ],
    ids=["key", "model", "rate"],
)
def test_an_error_names_the_next_step(
    fault: HttpError, step: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    with simulator_in_background(Settings(script=Script(faults=(fault,)), speed=FAST)) as refusing:
        monkeypatch.setenv("OPENAI_BASE_URL", refusing.base_url("openai.chat"))
        status = chat("hello")

    assert status == 1
    assert step in capfd.readouterr().err.split("next: ")[1]
