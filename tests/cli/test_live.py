"""The part of a terminal that is drawn again: what the screen shows after each frame."""

import io
from typing import Any

import pyte
from rich.console import Console
from rich.segment import Segment

from rxstream.cli._live import LiveArea
from rxstream.cli._markdown import Row


def rows(*texts: str) -> list[Row]:
    return [[Segment(text)] for text in texts]


def area() -> tuple[LiveArea, Console, io.StringIO]:
    output = io.StringIO()
    console = Console(file=output, force_terminal=True, width=20, height=6)
    return LiveArea(console), console, output


def screen(output: io.StringIO) -> list[str]:
    shown: Any = pyte.Screen(20, 6)
    stream: Any = pyte.Stream(shown)
    stream.feed(output.getvalue().replace("\n", "\r\n"))
    return [line.rstrip() for line in shown.display if line.strip()]


def test_a_frame_takes_the_place_of_the_one_before() -> None:
    live, _, output = area()

    live.show([], rows("long first row", "second"))
    live.show(rows("settled"), rows("short"))

    assert screen(output) == ["settled", "short"]


def test_in_the_end_only_what_is_settled_is_left() -> None:
    live, _, output = area()

    live.show([], rows("waiting", "for it"))
    live.show(rows("the answer"))
    live.show(rows("and more"))

    assert screen(output) == ["the answer", "and more"]


def test_of_live_rows_the_last_that_the_screen_takes_are_shown() -> None:
    live, _, output = area()

    live.show([], rows(*"abcdefgh"))
    live.show([], rows(*"ABCDEFGH"))

    assert screen(output) == list("DEFGH")


def test_a_frame_that_changes_nothing_is_not_written() -> None:
    live, _, output = area()
    live.show([], rows("same"))
    before = output.getvalue()

    live.show([], rows("same"))

    assert output.getvalue() == before


def test_rows_that_a_narrower_window_has_wrapped_are_erased_whole() -> None:
    live, console, output = area()
    live.show([], rows("x" * 18, "y"))

    console.width = 10
    live.show([], rows("z"))

    assert "\r\x1b[2A\x1b[J" in output.getvalue()
