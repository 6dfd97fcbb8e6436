"""HTML as notebooks show it: a few small pieces, in which everything that is given as text is escaped."""

from collections.abc import Iterable, Mapping

LINES = "border:1px solid rgba(128,128,128,.4);border-radius:6px;padding:.3em .6em"
"""The style of a box: grey lines that are seen on a light and on a dark page."""


def text(value: object) -> str:
    """Return `value` as text of a page."""
    from html import escape  # it brings a table of all entities, which only notebooks need

    return escape(str(value), quote=True)


def plain(value: object) -> str:
    """Return `value` as a paragraph that keeps its line ends."""
    return f'<div style="white-space:pre-wrap">{text(value)}</div>'


def code(value: object) -> str:
    """Return `value` as a block of code."""
    return f'<pre style="margin:.3em 0;white-space:pre-wrap">{text(value)}</pre>'


def box(inner: str, style: str = "") -> str:
    """Return HTML with lines around it."""
    return f'<div style="{LINES};margin:.4em 0;{style}">{inner}</div>'


def quiet(inner: str) -> str:
    """Return HTML as a line that steps back behind the rest."""
    return f'<div style="opacity:.7;font-size:90%;margin:.2em 0">{inner}</div>'


def folded(summary: object, inner: str, *, is_open: bool = False) -> str:
    """Return HTML that a click on `summary` shows and hides."""
    return f"<details{' open' if is_open else ''}><summary>{text(summary)}</summary>{inner}</details>"


def table(rows: Iterable[tuple[object, object]]) -> str:
    """Return names and values as a table."""
    cells = "".join(
        f'<tr><th style="text-align:left">{text(name)}</th><td style="text-align:left">{text(value)}</td></tr>'
        for name, value in rows
    )
    return f"<table><tbody>{cells}</tbody></table>"


def figures(named: Mapping[str, object]) -> str:
    """Return figures as a table of those that are known."""
    known = ((name.replace("_", " "), value) for name, value in named.items() if value is not None)
    return table((name, f"{value:.4g}" if isinstance(value, float) else value) for name, value in known)


def chain(names: Iterable[object]) -> str:
    """Return `names` as boxes with arrows between them."""
    boxes = (f'<span style="{LINES};white-space:nowrap">{text(name)}</span>' for name in names)
    return f'<div style="line-height:2.4">{" → ".join(boxes)}</div>'
