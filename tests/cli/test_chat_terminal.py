"""`rxstream chat` on a real pseudo-terminal, against the simulator: what somebody before it sees."""

import re
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from rxstream.simulator import (
    FAST,
    FLOOD,
    At,
    ErrorEvent,
    Script,
    ScriptedCall,
    Settings,
    Stall,
    simulator_in_background,
)

pytest.importorskip("pty", reason="there are no pseudo-terminals here")

from tests.terminal import Terminal, rxstream

ANSWER = """# Blue

Short waves scatter **more**, see `1/x` or vector<int>.

```python
print("hi")
```

- one
- two

| colour | nm |
| --- | ---: |
| red | 700 |
"""
SHOWN = """\
Blue

Short waves scatter more, see 1/x or vector<int>.

print("hi")

 • one
 • two

 colour   nm
 ───────────
 red     700"""


@contextmanager
def chat(script: Script, *arguments: str, **more: str) -> Generator[Terminal]:
    """A chat on a terminal of 80 columns with a simulator that says `script`."""
    with simulator_in_background(Settings(script=script, speed=FAST)) as simulator:
        address = simulator.base_url("openai.chat")
        with rxstream("chat", "-m", "openai:m", "--base-url", address, *arguments, variables=more) as terminal:
            yield terminal


def test_markdown_is_set_and_the_figures_come_beneath() -> None:
    with chat(Script(text=ANSWER, reasoning="Let me think."), "why?") as terminal:
        status = terminal.wait_for_end()

    assert status == 0
    shown, figures = terminal.text.rsplit("\n", 1)
    assert _without_margins(shown) == _without_margins(f"Let me think.\n\n{SHOWN}")
    assert "first token" in figures


def _without_margins(text: str) -> str:
    """The text without spaces and rules: releases of rich differ in what they put between the columns of a table."""
    return re.sub(r"[ ─━]+", "", text)


def test_a_flood_is_kept_up_with_and_loses_nothing() -> None:
    script = Script(length=4_000, writes=FLOOD)
    with chat(script, "--plain", "why?") as plain, chat(script, "why?") as terminal:
        statuses = plain.wait_for_end(), terminal.wait_for_end()

    assert statuses == (0, 0)
    said, shown = ([line for line in one.text.splitlines() if line][:-1] for one in (plain, terminal))
    assert "".join(said).replace(" ", "") == "".join(shown).replace(" ", "")
    assert terminal.frames < 40


def test_a_narrow_window_that_gets_narrower_shows_every_word_once() -> None:
    words = " ".join(f"word{number}" for number in range(60))
    script = Script(text=words, faults=(Stall(at=At(tokens=60)),))
    with chat(script, "why?") as terminal:
        terminal.wait_for("word20")
        terminal.resize(30, 20)
        terminal.type("\x03")
        status = terminal.wait_for_end()

    assert status == 130
    shown = terminal.raw.decode().rsplit("\x1b[J", 1)[1]
    assert [f"word{number}" for number in range(20)] == [word for word in shown.split() if word[4:].isdigit()][:20]


def test_escape_sequences_of_a_model_are_shown_and_not_obeyed() -> None:
    for arguments in (), ("--plain",):
        with chat(Script(text="before \x1b]0;owned\x07 \x1b[2J after"), "why?", *arguments) as terminal:
            terminal.wait_for_end()

        assert b"\x1b]0;" not in terminal.raw
        assert b"\x1b[2J" not in terminal.raw
        assert "before ␛]0;owned␇ ␛[2J after" in terminal.text


def test_a_call_is_shown_and_not_run() -> None:
    script = Script(text="Let me look.", tool_calls=(ScriptedCall("look", {"at": "Oslo"}),))
    with chat(script, "why?") as terminal:
        terminal.wait_for_end()

    assert 'Let me look.\n\n→ look({"at":"Oslo"})' in terminal.text


def test_ctrl_c_stops_the_answer_and_keeps_what_had_arrived() -> None:
    with chat(Script(text="one two three", faults=(Stall(at=At(tokens=2)),)), "why?") as terminal:
        terminal.wait_for("one two")
        terminal.type("\x03")
        status = terminal.wait_for_end()

    assert status == 130
    assert "one two" in terminal.text
    assert "Traceback" not in terminal.text


def test_an_error_comes_after_what_had_arrived_with_the_next_step() -> None:
    script = Script(text="one two three", faults=(ErrorEvent(at=At(tokens=2), message="gave up"),))
    with chat(script, "why?") as terminal:
        status = terminal.wait_for_end()

    assert status == 1
    assert terminal.text.index("one two") < terminal.text.index("gave up")


def test_a_terminal_that_can_do_nothing_gets_the_text_as_it_is() -> None:
    with chat(Script(text="# Blue"), "why?", TERM="dumb") as terminal:
        terminal.wait_for_end()

    assert terminal.frames == 0
    assert "# Blue" in terminal.text


def test_metrics_are_a_table() -> None:
    with chat(Script(text="one two three"), "why?", "--metrics") as terminal:
        terminal.wait_for_end()

    assert "\n        ended  completed (stop)\n" in terminal.text
    assert "\nfirst token" in terminal.text.replace("  first", "first")
