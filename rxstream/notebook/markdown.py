"""The Markdown of an answer as HTML that is safe to show.

The text is a stranger's. HTML in it is shown as text; addresses that run scripts are no
links; and an image is shown as its words, since to load one tells its server what an
answer said.
"""

from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from markdown_it import MarkdownIt


def to_html(markdown: str) -> str:
    """Return `markdown`, which may end anywhere, as HTML."""
    return _renderer().render(markdown)


@cache
def _renderer() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"]).disable("image")
