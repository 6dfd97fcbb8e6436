"""`rxstream providers`: what can be asked, with which key, for what.

Of a key it is only told whether one is found, never what it is.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Mapping
from typing import Any, Literal

import msgspec
from msgspec import Struct

from rxstream.dialect import Dialect
from rxstream.dialects import FAMILIES, additions, dialect, dialects, presets
from rxstream.errors import ConfigurationError

NAME = "providers"
SUMMARY = "list what can be asked, and whether a key for it was found"
DESCRIPTION = "List the services that can be asked, the variables that hold their keys, and what each can do."
EPILOG = "Each name goes into `rxstream chat -m NAME:MODEL` and AiProvider(NAME). Keys are never shown."

COLUMNS = {
    "images": ("image", "images in a request"),
    "tools": ("tools", "tools to call"),
    "parallel_tools": ("many", "several tool calls at once"),
    "free_text_tools": ("free", "tools that take free text"),
    "reasoning": ("think", "reasoning on request"),
    "structured_output": ("json", "structured output"),
    "logprobs": ("probs", "log probabilities"),
    "choices": ("n", "several choices"),
    "token_counting": ("count", "counts tokens"),
    "resume": ("cont", "goes on with a broken stream"),
}
"""The head of each capability's column, and what it means."""
YES, NO = "●", "·"
KEYS = {"found": "✓", "missing": "✗", "not needed": "○"}
PLAINER = str.maketrans({YES: "x", NO: "-", "✓": "+", "✗": "!", "○": "o"})
"""The marks where the terminal has no others."""
GREEN, DIM, PLAIN = "\x1b[32m", "\x1b[2m", "\x1b[0m"


class Row(Struct, frozen=True, kw_only=True):
    """What is known of one name."""

    name: str
    kind: Literal["api", "preset", "other package"]
    package: str | None = None
    """The other package."""
    base_url: str | None = None
    base_url_variable: str | None = None
    key_variable: str | None = None
    key: Literal["found", "missing", "not needed"] = "not needed"
    capabilities: Mapping[str, bool] = {}
    error: str | None = None
    """Why it can't be used."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument("--json", action="store_true", help="print a JSON list instead")


def run(options: argparse.Namespace) -> int:
    """Print the list; return the exit status."""
    found = list(rows(os.environ))
    if options.json:
        print(msgspec.json.format(msgspec.json.encode(found), indent=2).decode())
    else:
        lines = table(found, in_colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
        print("\n".join(lines if _can_show(sys.stdout.encoding) else [line.translate(PLAINER) for line in lines]))
    return 0


def _can_show(encoding: str) -> bool:
    try:
        "".join([YES, NO, *KEYS.values()]).encode(encoding)
    except UnicodeEncodeError:
        return False
    return True


def rows(environment: Mapping[str, str]) -> Iterator[Row]:
    """Give every name that can be asked: APIs, presets, and what other packages add."""
    added = additions()
    for name in dialects():
        if name not in added:
            yield _row(dialect(name), environment, name=name, kind="api")
    for name in presets():
        yield _row(dialect(name), environment, name=name, kind="preset")
    for name, package in added.items():
        try:
            loaded = dialect(name)
        except ConfigurationError as error:
            yield Row(name=name, kind="other package", package=package, error=error.message)
        else:
            yield _row(loaded, environment, name=name, kind="other package", package=package)


def _row(dialect: Dialect[Any], environment: Mapping[str, str], **facts: Any) -> Row:
    return Row(
        base_url=dialect.base_url,
        base_url_variable=dialect.base_url_variable,
        key_variable=dialect.key_variable,
        key=_key(dialect, environment),
        capabilities=msgspec.structs.asdict(dialect.capabilities),
        **facts,
    )


def _key(dialect: Dialect[Any], environment: Mapping[str, str]) -> Literal["found", "missing", "not needed"]:
    if dialect.key_variable and environment.get(dialect.key_variable):
        return "found"
    needs_one = dialect.key_variable is not None and dialect.needs_key and dialect.sign is None
    return "missing" if needs_one else "not needed"


def table(found: list[Row], *, in_colour: bool) -> list[str]:
    """Return the lines of a table for people, at most 100 columns wide unless names are long."""
    names = max(len(row.name) for row in found)
    variables = max(len(row.key_variable or "") for row in found)
    heads = [head for head, _ in COLUMNS.values()]
    lines: list[str] = []
    for kind, title in (("api", "APIs"), ("preset", "presets"), ("other package", "other packages")):
        group = [row for row in found if row.kind == kind]
        if group:
            lines += ["", f"{title:{names}}  {'key':{variables + 2}} {' '.join(heads)}"]
            lines += [_line(row, names, variables, in_colour=in_colour) for row in group]
    return [*lines[1:], "", *_legend()]


def _line(row: Row, names: int, variables: int, *, in_colour: bool) -> str:
    if row.error is not None:
        return f"{row.name:{names}}  {row.error}"
    mark, variable = KEYS[row.key], f"{row.key_variable or '':{variables}}"
    if in_colour:
        colour = GREEN if row.key == "found" else DIM
        mark, variable = f"{colour}{mark}{PLAIN}", f"{variable}" if row.key == "found" else f"{DIM}{variable}{PLAIN}"
    marks = [
        (YES if row.capabilities.get(capability) else NO).center(len(head)) for capability, (head, _) in COLUMNS.items()
    ]
    return f"{row.name:{names}}  {mark} {variable} {' '.join(marks)}".rstrip()


def _legend() -> list[str]:
    meanings = [f"{head}: {meaning}" for head, meaning in COLUMNS.values()]
    return [
        " · ".join(f"{mark} key {state}" for state, mark in KEYS.items()),
        *(" · ".join(line) for line in (meanings[place : place + 3] for place in range(0, len(meanings), 3))),
        f"A family stands for one of its APIs: {', '.join(FAMILIES)}.",
    ]
