"""`quietly`: whatever a callback raises is logged and goes no further."""

import asyncio

import pytest
import structlog

from rxstream.taps import quietly


def fail(text: str) -> None:
    raise ZeroDivisionError(text)


def test_what_is_given_reaches_the_callback() -> None:
    given: list[int] = []

    quietly(given.insert)(0, 7)

    assert given == [7]


def test_what_is_raised_is_logged_by_its_class_and_place_but_not_its_text() -> None:
    with structlog.testing.capture_logs() as lines:
        quietly(fail)("what the user wrote")

    (line,) = lines
    assert (line["event"], line["log_level"], line["error"]) == ("tap.failed", "warning", "ZeroDivisionError")
    assert line["at"].startswith("test_quietly.py:")
    assert "user" not in repr(line)


@pytest.mark.parametrize("error", [KeyboardInterrupt, asyncio.CancelledError])
def test_what_is_no_error_of_the_callback_goes_on(error: type[BaseException]) -> None:
    def interrupted() -> None:
        raise error

    with pytest.raises(error):
        quietly(interrupted)()


def test_a_logger_that_is_broken_itself_leaves_a_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(structlog, "get_logger", lambda: fail("logger"))

    quietly(fail)("tap")

    assert "tap.failed" in capsys.readouterr().err
