"""JSON values as services send them: readers that take what is there, and nothing for what is not."""

from typing import cast

from rxstream.tokens import Json

MAX_DEPTH = 128
"""How deep a value that goes on to others may nest. Writing or reading it again must not fail later,
however deep in its own calls whoever does so stands."""


def as_text(value: Json) -> str | None:
    """Return a text that says something; `None` for anything else."""
    return value if isinstance(value, str) and value else None


def as_count(value: Json) -> int | None:
    """Return a count as services state it, a whole float too; `None` for anything else."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def as_list(value: Json) -> list[Json]:
    """Return a list; an empty one for anything else."""
    return cast(list[Json], value) if isinstance(value, list) else []


def as_objects(value: Json) -> list[dict[str, Json]]:
    """Return the objects in a list."""
    return [cast(dict[str, Json], item) for item in as_list(value) if isinstance(item, dict)]


def within(value: Json, name: str) -> Json:
    """Return the member `name` of an object; `None` if it has none, or is none."""
    return cast(dict[str, Json], value).get(name) if isinstance(value, dict) else None


def passed_on(value: dict[str, Json]) -> dict[str, Json] | None:
    """Return the service's own object, if there is something in it, and whoever gets it can write it down."""
    return value if value and is_shallow(value) else None


def is_shallow(value: Json) -> bool:
    """Return whether `value` nests at most `MAX_DEPTH` deep."""
    level = _containers([value])
    for _ in range(MAX_DEPTH):
        if not level:
            return True
        level = [inner for outer in level for inner in _containers(_inside(outer))]
    return not level


def _containers(values: list[Json]) -> list[Json]:
    return [value for value in values if isinstance(value, dict | list)]


def _inside(container: Json) -> list[Json]:
    return list(cast(dict[str, Json], container).values()) if isinstance(container, dict) else container
