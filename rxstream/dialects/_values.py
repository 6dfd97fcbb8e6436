"""JSON values as services send them: readers that take what is there, and nothing for what is not."""

from typing import cast

from rxstream.tokens import Json

MAX_DEPTH = 128
"""How deep a value that goes on to others may nest. Writing or reading it again must not fail later,
however deep in its own calls whoever does so stands."""

MAX_WEIGHT = 16_384
"""How many values and characters a value may have that is repeated with token after token."""
MAX_FACTS = 32
"""How many facts about the usage are repeated with each report of it."""


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


def is_light(value: Json, most: int = MAX_WEIGHT) -> bool:
    """Return whether `value` may be repeated with many tokens: its values and characters are `most` at most."""
    waiting = [value]
    while waiting and most >= 0:
        one = waiting.pop()
        most -= 1 + (len(one) if isinstance(one, str) else 0)
        if most >= 0 and isinstance(one, dict | list):
            waiting += cast(dict[str, Json], one) if isinstance(one, dict) else ()
            waiting += _inside(cast(Json, one))
    return most >= 0


def laid_together(known: dict[str, Json], news: dict[str, Json], counts: tuple[str, ...]) -> dict[str, Json]:
    """Return what is known of the usage with the `news`; only news of `counts` if all of it would be too much.

    A report repeats all that is known, so that a service which adds to it for ever must not be followed.
    """
    together = {**known, **news}
    if all(type(count) is int and name in known for name, count in news.items()):  # nothing is added
        return together
    if len(together) <= MAX_FACTS and is_light(together):
        return together
    return {**known, **{name: count for name, count in news.items() if name in counts and as_count(count) is not None}}


def _containers(values: list[Json]) -> list[Json]:
    return [value for value in values if isinstance(value, dict | list)]


def _inside(container: Json) -> list[Json]:
    return list(cast(dict[str, Json], container).values()) if isinstance(container, dict) else container
