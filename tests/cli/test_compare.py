"""`rxstream compare`: several models side by side, and one after the other where there is no terminal."""

import json
import re
from collections.abc import Generator

import pytest

from rxstream.cli import main
from rxstream.simulator import FAST, Settings, Simulator, simulator_in_background
from rxstream.simulator.small_talk import reply

MODELS = ["-m", "simulator:simulated-fast", "-m", "openai:simulated-refusing"]


@pytest.fixture
def simulator(monkeypatch: pytest.MonkeyPatch) -> Generator[Simulator]:
    with simulator_in_background(Settings(speed=FAST)) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.base_url("openai.chat"))
        monkeypatch.delenv("OPENAI_API_KEY", raising=False)
        yield running


def test_without_a_terminal_the_answers_come_in_the_order_of_the_models(
    simulator: Simulator, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *MODELS, "umbrellas"]) == 0

    first, second = capfd.readouterr().out.strip().split("\n\n")
    assert re.match(r"== simulator:simulated-fast · first token \d+ ms · \d+ tokens at \d+/s.*\n.*umbrellas", first)
    assert re.match(r"== openai:simulated-refusing · first token \d+ ms", second)
    assert second.endswith("\nI'm sorry, but I can't help with that.")


def test_json_is_a_line_for_each(simulator: Simulator, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", *MODELS, "--json", "umbrellas"]) == 0

    first, second = map(json.loads, capfd.readouterr().out.splitlines())
    assert "umbrellas" in first["message"]["text"]
    assert second["model"] == "openai:simulated-refusing"
    assert second["metrics"]["outcome"] == "completed"


def test_one_that_fails_leaves_the_others_alone(simulator: Simulator, capfd: pytest.CaptureFixture[str]) -> None:
    models = ["-m", "openai:simulated-error", "-m", "simulator:simulated-fast"]

    statuses = main(["compare", *models, "umbrellas"]), main(["compare", *models, "--json", "umbrellas"])

    assert statuses == (1, 1)
    text, first, second = capfd.readouterr().out.rsplit("\n", 3)[:3]
    assert "== openai:simulated-error · failed: " in text
    assert "== simulator:simulated-fast · first token" in text
    assert json.loads(first)["message"]["error"] is not None
    assert json.loads(second)["message"]["complete"] is True


def test_one_model_is_nothing_to_compare(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["compare", "-m", "openai:m", "umbrellas"])

    assert exit.value.code == 2
    assert "another -m" in capfd.readouterr().err


def test_on_a_terminal_the_answers_stand_side_by_side(simulator: Simulator) -> None:
    pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    from tests.terminal import rxstream

    models = ["-m", "simulator:simulated-fast", "-m", "simulator:simulated-refusing"]
    with rxstream("compare", *models, "umbrellas", size=(30, 100)) as terminal:
        status = terminal.wait_for_end()

    assert status == 0
    head, figures, rule, first, *rest = terminal.text.splitlines()
    assert re.fullmatch(r"simulator:simulated-fast +│ simulator:simulated-refusing", head)
    assert re.fullmatch(r"\d+ ms · \d+/s · \d+ tokens +│ \d+ ms · \d+/s · \d+ tokens", figures)
    assert rule == f"{'─' * 48} │ {'─' * 48}"
    assert first.index("│") == 49
    assert first.endswith("│ I'm sorry, but I can't help with that.")
    assert all("│" in line for line in rest)


def test_a_window_too_narrow_for_columns_gets_one_after_the_other() -> None:
    pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    from tests.terminal import rxstream

    models = ["-m", "simulator:simulated-fast", "-m", "simulator:simulated-refusing"]
    with rxstream("compare", *models, "umbrellas", size=(30, 30)) as terminal:
        status = terminal.wait_for_end()

    assert status == 0
    assert "== simulator:simulated-fast" in terminal.text


def test_a_window_that_gets_narrower_and_ctrl_c_leave_what_had_arrived() -> None:
    pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    from tests.terminal import rxstream

    models = ["-m", "simulator:simulated-stalling", "-m", "simulator:simulated-fast"]
    with rxstream("compare", *models, "umbrellas", size=(30, 100)) as terminal:
        terminal.wait_for("umbrellas.*│.*umbrellas")
        terminal.resize(30, 60)
        terminal.type("\x03")
        status = terminal.wait_for_end()

    assert status == 130
    assert f"{'─' * 28} │ {'─' * 28}" in terminal.text
    shown = "".join(line.partition("│")[2] for line in terminal.text.splitlines()).split()
    assert {word for word in "".join(reply("umbrellas")).split() if word.isalpha() and word.isascii()} <= set(shown)
    assert "Traceback" not in terminal.text


def test_on_a_terminal_what_failed_is_told_whole_beneath(simulator: Simulator) -> None:
    pytest.importorskip("pty", reason="there are no pseudo-terminals here")
    from tests.terminal import rxstream

    models = ["-m", "simulator:simulated-fast", "-m", "openai:gpt-5"]
    with rxstream("compare", *models, "umbrellas", variables={"OPENAI_BASE_URL": ""}) as terminal:
        status = terminal.wait_for_end()

    assert status == 1
    assert re.search(r"(?s)\nrxstream: openai:gpt-5: .*OPENAI_API_KEY", terminal.text)
