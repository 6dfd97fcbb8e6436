"""Markdown that grows: what is settled is what setting all of it in one go gives."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from rxstream.cli._markdown import LARGEST, Row, Typesetter, markdown_rows, printable

CONSOLE = Console(width=40, force_terminal=True)
BLOCKS = [
    "# A heading",
    "Words *and* more `words` with vector<int> and [a link](https://example.org).",
    "One line\nand a lazy one **in bold\nover two**",
    "- one\n- two\n\n  still two\n  - deeper",
    "3. three\n4. four",
    "```python\ndef f():\n\n    return '''a\nb'''\n```",
    "~~~\nno language\n~~~",
    "    indented code",
    "> quoted\n> twice",
    "| a | b |\n| --- | ---: |\n| 1 | 2 |\n| 3 | 4 |",
    "---",
    "setext\n===",
    "「一歩一歩」 ☕ e\u0301 naïve",
    "#hashtag\n#\n-\n- \n1.",
    "\x1b]0;owned\x07 \x9b2J \ud800",
]
blocks = st.sampled_from(BLOCKS) | st.text(max_size=40)
documents = st.lists(st.tuples(blocks, st.sampled_from(["\n", "\n\n"])).map("".join), max_size=8).map("".join)


def rows(source: str) -> list[Row]:
    return markdown_rows(CONSOLE, 40, source)


def set_in_pieces(pieces: list[str], most_rows: int) -> list[Row]:
    """Set the pieces, looking at the open rows after each as frames do."""
    setter = Typesetter(rows, lambda: most_rows)
    settled: list[Row] = []
    for piece in pieces:
        settled += setter.feed(piece)
        setter.open_rows()
    return settled + setter.flush()


def cut(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in cuts)})
    return [text[begin:end] for begin, end in pairwise(places)]


def words(found: list[Row]) -> str:
    return "".join("".join(segment.text for segment in row).replace(" ", "") for row in found)


@given(document=documents, cuts=st.lists(st.integers(0, 1_000)))
def test_where_the_text_is_cut_does_not_matter(document: str, cuts: list[int]) -> None:
    assert set_in_pieces(cut(document, cuts), 1_000) == set_in_pieces([document], 1_000)


def test_half_a_line_ends_no_block() -> None:
    assert set_in_pieces(["words\n#", "hashtag"], 10) == rows("words\n#hashtag")


@pytest.mark.parametrize("block", BLOCKS[:9], ids=range(9))
def test_a_block_longer_than_the_screen_is_cut_where_it_cannot_be_seen(block: str) -> None:
    long = (block.replace("\n```", "\nx = 1" * 100 + "\n```") + " ") * (1 if "```" in block else 50)

    found = set_in_pieces(cut(long, list(range(0, len(long), 97))), 8)

    assert found == rows(long)


def test_what_is_open_stays_small_however_long_the_paragraph() -> None:
    setter = Typesetter(rows, lambda: 10)
    open_rows: list[int] = []
    settled: list[Row] = []
    text = "Some **bold** words of a paragraph that never ends. " * 2_000

    for piece in cut(text, list(range(0, len(text), 5_000))):
        settled += setter.feed(piece)
        open_rows.append(len(setter.open_rows()))

    assert max(open_rows) <= 10
    assert settled + setter.flush() == rows(text)


@pytest.mark.parametrize("text", ["x" * 50_000, "**" + "bold " * 20_000, "> quote " * 10_000, "一" * 20_000])
def test_what_cannot_be_cut_unseen_is_cut_all_the_same_and_stays_whole(text: str) -> None:
    setter = Typesetter(rows, lambda: 10)

    settled = setter.feed(text)
    left = setter.open_rows()

    assert sum(len("".join(segment.text for segment in row)) for row in left) <= 2 * LARGEST
    assert words(settled + left).replace("▌", "").replace(">", "") == text.replace(" ", "").replace(">", "")


def test_nothing_that_a_terminal_would_obey_comes_through() -> None:
    controls = {chr(code) for code in [*range(0x20), *range(0x7F, 0xA0), 0xD800]} - {"\n", "\t"}

    assert not controls & set(printable("".join(controls)))
    assert printable("a\r\nb\tc 一 🌊") == "a\nb\tc 一 🌊"


def test_a_row_has_no_spaces_at_its_end_that_a_narrower_window_would_wrap() -> None:
    for row in rows("\n\n".join(BLOCKS)):
        text = "".join(segment.text for segment in row)
        assert text == text.rstrip(" ") or any(segment.style and segment.style.bgcolor for segment in row)
