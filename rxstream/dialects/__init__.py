"""How each API is asked, framed and decoded: one file for each, found by its name.

`openai.chat` lives in `openai_chat.py`, which ends in its `Dialect` value; a file
put here is a dialect. Other packages add theirs as entry points of the group
`rxstream.dialects`, each a name and where its `Dialect` value lies. Nothing is
imported before it is asked for by name.
"""

from difflib import get_close_matches
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pkgutil import iter_modules
from typing import Any, cast

from rxstream.dialect import Dialect
from rxstream.errors import ConfigurationError

__all__ = ["dialect", "dialects"]

GROUP = "rxstream.dialects"
"""The group of entry points by which other packages add dialects."""


def dialects() -> list[str]:
    """Return the names of all dialects, sorted; nothing is imported for it."""
    return sorted({*_modules(), *(point.name for point in _entry_points())})


def dialect(name: str | Dialect[Any]) -> Dialect[Any]:
    """Return the dialect of that name; a `Dialect` is returned as it is.

    A dialect of rxstream goes before another package's of the same name. Raises
    `ConfigurationError` for a name that nobody has, or whose package is broken.
    """
    if isinstance(name, Dialect):
        return name
    if name in _modules():
        return _load(name)
    for point in _entry_points():
        if point.name == name:
            return _load_point(point)
    raise ConfigurationError(_unknown(name))


@cache
def _modules() -> dict[str, str]:
    """The dialects of this package: the module of each, by name."""
    public = (module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    return {module.replace("_", ".", 1): module for module in public}


@cache
def _load(name: str) -> Dialect[Any]:
    module = import_module(f"{__name__}.{_modules()[name]}")
    values: list[Any] = [value for value in vars(module).values() if isinstance(value, Dialect)]
    return next(value for value in values if value.name == name)


def _entry_points() -> list[EntryPoint]:
    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def _load_point(point: EntryPoint) -> Dialect[Any]:
    try:
        value: Any = point.load()
    except Exception as error:
        raise ConfigurationError(f"the dialect {point.name!r} can't be loaded from {point.value}") from error
    if not isinstance(value, Dialect):
        raise ConfigurationError(f"the dialect {point.name!r} is no Dialect: {point.value} is a {type(value).__name__}")
    return cast(Dialect[Any], value)


def _unknown(name: str) -> str:
    known, wanted = dialects(), name.strip().lower()
    begin_so = [candidate for candidate in known if wanted and candidate.startswith(wanted)]
    guesses = begin_so or get_close_matches(wanted, known, n=1)
    guess = f". Did you mean {guesses[0]}?" if guesses else ""
    return f"there is no dialect {name!r}; known are {', '.join(known)}{guess}"
