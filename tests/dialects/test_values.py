"""What values may be repeated with token after token."""

import json

from hypothesis import given
from hypothesis import strategies as st

from rxstream.dialects._values import MAX_FACTS, is_light, laid_together
from rxstream.tokens import Json
from tests.strategies import json_objects

counts = st.dictionaries(st.sampled_from(["given", "made", "other", "odd"]), st.integers(0, 99) | st.none() | st.text())


@given(value=json_objects)
def test_what_is_light_is_small_when_written(value: dict[str, Json]) -> None:
    written = len(json.dumps(value, ensure_ascii=False))

    assert is_light(value, written)
    assert not is_light([value, "x" * 100], 100)


def test_weight_is_counted_no_further_than_it_matters() -> None:
    shared: Json = ["x" * 10] * 10
    for _ in range(40):
        shared = [shared, shared]  # as much as no memory holds, if it were written down

    assert not is_light(shared)


@given(first=counts, second=counts)
def test_a_little_usage_is_laid_together_whole(first: dict[str, Json], second: dict[str, Json]) -> None:
    assert laid_together(first, second, ()) == {**first, **second}


def test_usage_without_end_is_not_followed_but_its_counts_are() -> None:
    known: dict[str, Json] = {}
    for number in range(1_000):
        known = laid_together(known, {f"new {number}": number, "given": number, "made": "much"}, ("given", "made"))

    assert len(known) <= MAX_FACTS + 2
    assert known["given"] == 999


def test_a_heavy_fact_is_not_repeated() -> None:
    known = laid_together({"given": 1}, {"given": 2, "story": "x" * 100_000}, ("given",))

    assert known == {"given": 2}
