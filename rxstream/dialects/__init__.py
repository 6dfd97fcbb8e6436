"""How each API is asked, framed and decoded: one file for each, found by its name.

`openai.chat` lives in `openai_chat.py`, which ends in its `Dialect` value; a file
put here is a dialect. A family (`openai`) stands for the API of it that is usually
meant. `presets()` are services that speak another's API (`groq`): rows of a table,
not files. Other packages add either as entry points of the group
`rxstream.dialects`, each a name and where its `Dialect` value lies. Nothing is
imported before it is asked for by name.
"""

from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any, cast

from rxstream.dialect import Dialect
from rxstream.errors import ConfigurationError

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["FAMILIES", "additions", "dialect", "dialect_and_model", "dialects", "presets"]

GROUP = "rxstream.dialects"
"""The group of entry points by which other packages add dialects."""

FAMILIES = {
    "anthropic": "anthropic.messages",
    "bedrock": "bedrock.converse",
    "cohere": "cohere.v2",
    "gemini": "gemini.generate",
    "mistral": "mistral.chat",
    "ollama": "ollama.native",
    "openai": "openai.chat",
}
"""What the first part of a name means by itself."""


def dialects() -> list[str]:
    """Return the names of all dialects, sorted; nothing is imported for it."""
    return sorted({*_modules(), *(point.name for point in _entry_points())})


def presets() -> list[str]:
    """Return the names of all presets, sorted; no dialect is imported for it."""
    from rxstream.dialects import _presets  # when they are asked for

    return _presets.names()


def additions() -> dict[str, str]:
    """Return what other packages add, sorted: by name, the package; nothing is imported for it."""
    ours = {*_modules(), *presets(), *(family for family, api in FAMILIES.items() if api in _modules())}
    points = [point for point in _entry_points() if point.name not in ours]
    return {point.name: point.dist.name if point.dist else point.module for point in points}


def dialect(name: str | Dialect[Any]) -> Dialect[Any]:
    """Return the dialect of that name, family or preset; a `Dialect` is returned as it is.

    A dialect of rxstream goes before another package's of the same name. Raises
    `ConfigurationError` for a name that nobody has, or whose package is broken.
    """
    if isinstance(name, Dialect):
        return name
    api = FAMILIES.get(name, name)
    if api in _modules():
        return _load(api)
    if name in presets():
        return _load_preset(name)
    for point in _entry_points():
        if point.name == name:
            return _load_point(point)
    raise ConfigurationError(_unknown(name))


def dialect_and_model(name: str) -> tuple[Dialect[Any], str]:
    """Return the dialect and the model that `provider:model` names, such as `openai:gpt-5` or `groq:llama-3.3-70b`.

    Raises `ConfigurationError` where one of the two is missing, or nobody has the provider.
    """
    provider, _, model = name.partition(":")
    if not provider or not model:
        raise ConfigurationError(
            f"a model is named PROVIDER:MODEL, such as openai:gpt-5; providers: {', '.join([*FAMILIES, *presets()])}"
        )
    return dialect(provider), model


@cache
def _modules() -> dict[str, str]:
    """The dialects of this package: the module of each, by name."""
    public = (module.name for module in iter_modules(__path__) if not module.name.startswith("_"))
    return {module.replace("_", ".", 1): module for module in public}


@cache
def _load(name: str) -> Dialect[Any]:
    module = import_module(f"{__name__}.{_modules()[name]}")
    for value in vars(module).values():
        if isinstance(value, Dialect) and cast(Dialect[Any], value).name == name:
            return cast(Dialect[Any], value)
    raise ConfigurationError(f"{module.__name__} has no Dialect named {name!r}")


def _load_preset(name: str) -> Dialect[Any]:
    from rxstream.dialects import _presets  # when one is asked for

    return _presets.preset(name)


def _entry_points() -> "list[EntryPoint]":
    from importlib.metadata import entry_points  # slow to import, and our own dialects need none

    return sorted(entry_points(group=GROUP), key=lambda point: point.name)


def _load_point(point: "EntryPoint") -> Dialect[Any]:
    try:
        value: Any = point.load()
    except Exception as error:
        raise ConfigurationError(f"the dialect {point.name!r} can't be loaded from {point.value}") from error
    if not isinstance(value, Dialect):
        raise ConfigurationError(f"the dialect {point.name!r} is no Dialect: {point.value} is a {type(value).__name__}")
    return cast(Dialect[Any], value)


def _unknown(name: str) -> str:
    from difflib import get_close_matches  # where there is something to guess

    known, wanted = dialects(), name.strip().lower()
    names = [*known, *FAMILIES, *presets()]
    begin_so = [candidate for candidate in names if wanted and candidate.startswith(wanted)]
    guesses = begin_so or get_close_matches(wanted, names, n=1)
    guess = f". Did you mean {guesses[0]}?" if guesses else ""
    return f"there is no dialect {name!r}; known are {', '.join(known)}, and the presets {', '.join(presets())}{guess}"
