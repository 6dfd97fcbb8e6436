"""HTML as notebooks show it."""

from collections.abc import Callable
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream import markup


class Reader(HTMLParser):
    """Reads the tags and the text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, list[tuple[str, str | None]]]] = []
        self.said = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, attrs))

    def handle_data(self, data: str) -> None:
        self.said += data


PIECES: dict[str, Callable[[str], str]] = {
    "text": markup.text,
    "plain": markup.plain,
    "code": markup.code,
    "folded": lambda text: markup.folded(text, ""),
    "table": lambda text: markup.table([(text, text)]),
    "figures": lambda text: markup.figures({"it": text}),
    "chain": lambda text: markup.chain([text, text]),
}


@pytest.mark.parametrize("piece", PIECES.values(), ids=PIECES)
@given(text=st.text(alphabet="<>&\"'/!-=;#x ab"))
def test_text_stays_text(piece: Callable[[str], str], text: str) -> None:
    page = Reader(piece(text))

    assert text in page.said
    assert page.tags == Reader(piece("")).tags


def test_what_is_folded_may_be_open() -> None:
    assert markup.folded("more", "<p>it</p>", is_open=True).startswith("<details open><summary>more</summary><p>it")
    assert markup.folded("more", "").startswith("<details><summary>")


def test_a_chain_has_an_arrow_between_two() -> None:
    assert Reader(markup.chain(["a", "b", "c"])).said == "a → b → c"


def test_figures_leave_out_what_is_not_known() -> None:
    assert Reader(markup.figures({"time_to_it": 0.123456, "count": 3, "rest": None})).said == "time to it0.1235count3"
