"""What the chat windows have in common as programs: who answers, and that it ends with them."""

import threading

import pytest

from rxstream.messages import Message
from rxstream.sinks import collect
from rxstream.ui.program import answerer
from tests.demand import turns
from tests.end_to_end.background import on_background


def test_without_a_model_a_simulator_answers_for_as_long_as_the_window_is_open() -> None:
    on_background(turns())
    threads = set(threading.enumerate())

    with answerer("toy", []) as who:
        message = on_background(collect(who.ask([Message("user", "Why is the sky blue?")])))

    assert who.name == "simulator"
    assert message.complete
    assert set(threading.enumerate()) == threads


def test_a_model_is_named_with_its_provider(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    with answerer("toy", ["-m", "openai:gpt-5", "--base-url", "http://127.0.0.1:9/v1"]) as who:
        assert who.name == "openai:gpt-5"


@pytest.mark.parametrize("arguments", [["-m", "nobody:x"], ["-m", "openai"], ["--base-url", "http://127.0.0.1:9"]])
def test_a_command_line_that_makes_no_sense_is_explained(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left, answerer("toy", arguments):
        pytest.fail("nobody can answer")

    assert left.value.code == 2
    assert "python -m toy: error:" in capsys.readouterr().err
