"""What is fuzzed keeps its laws on our own fixtures, and on a fixed number of changed ones.

The changes are the same on every run. Longer, and led by what they reach: `python -m tests.fuzz`.
"""

import random

import pytest

from rxstream.dialects import dialects
from tests.fuzz.targets import TARGETS, Target, words_of

CHANGED = 200
"""How many changed inputs are tried for each target."""
MAX_BYTES = 600
"""How much of a fixture is changed."""

each_target = pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))


def test_every_dialect_is_fuzzed() -> None:
    assert set(dialects()) <= set(TARGETS)


@each_target
def test_our_own_fixtures_keep_the_laws(target: Target) -> None:
    seeds = target.seeds()

    assert seeds != []
    for seed in seeds:
        target.check(seed)


@each_target
def test_changed_fixtures_keep_the_laws(target: Target) -> None:
    chance = random.Random(target.name)
    seeds = target.seeds()
    words = sorted(words_of(seeds))

    for _ in range(CHANGED):
        data = changed(chance, chance.choice(seeds), words)
        try:
            target.check(data)
        except BaseException as error:
            error.add_note(f"the input: {data!r}")
            raise


def changed(chance: random.Random, data: bytes, words: list[bytes]) -> bytes:
    """Return a part of `data` with up to eight things changed."""
    start = chance.randrange(max(1, len(data) - MAX_BYTES // 2)) if chance.random() < 0.3 else 0
    data = data[start : start + MAX_BYTES]
    for _ in range(chance.randint(1, 8)):
        at, length = chance.randrange(len(data) + 1), chance.choice((0, 0, 1, 4, 16, 64))
        other = chance.choice(
            (b"", b"\n", b"\n\n", bytes([chance.randrange(256)]), chance.choice(words), data[at:][:40])
        )
        data = data[:at] + other + data[at + length :]
    return data
