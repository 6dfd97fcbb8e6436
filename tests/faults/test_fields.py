"""A wrong value in every declared field gives tokens or one `StreamError`; the matrix is in `fields.py`."""

import random
from collections.abc import Iterable
from itertools import chain
from typing import Any

import pytest

from rxstream.dialect import Dialect
from rxstream.tokens import RawEvent
from tests.dialects.laws import assert_same, hold_together
from tests.dialects.reading import Outcome, cut, read
from tests.faults.bodies import DIALECTS
from tests.faults.fields import EVERY, FieldCase, declared_by, field_cases, portion_of

CASES = {dialect.name: field_cases(dialect) for dialect in DIALECTS}

each_dialect = pytest.mark.parametrize(
    "dialect",
    DIALECTS,
    ids=[f"{each.name}: {len(portion_of(CASES[each.name]))} of {len(CASES[each.name])} cases" for each in DIALECTS],
)


@each_dialect
def test_any_value_anywhere_gives_tokens_or_one_error_wherever_it_is_cut(dialect: Dialect[Any]) -> None:
    for case in portion_of(CASES[dialect.name]):
        wire = b"".join(case.chunks())
        cuts = random.Random(len(wire)).choices(range(len(wire)), k=3)

        whole = read_or_name(case, case.chunks())

        before = case.body.given[case.event]
        mapped = [token for token in whole.tokens if not isinstance(token, RawEvent)]
        assert mapped[: len(before)] == before, case.name
        assert_same(read_or_name(case, cut(wire, cuts)), whole, case.name)


@each_dialect
def test_every_field_that_is_declared_is_tried(dialect: Dialect[Any]) -> None:
    cases = CASES[dialect.name]

    tried = {case.spot for case in cases}
    in_portion = {case.spot for case in cases[::EVERY]}

    bodies = {case.body for case in cases}
    assert set(chain.from_iterable(map(declared_by, bodies))) <= tried
    assert len(in_portion) > len(tried) / 3
    assert {case.value for case in cases[::EVERY]} == {case.value for case in cases}


def read_or_name(case: FieldCase, chunks: Iterable[bytes]) -> Outcome:
    try:
        outcome = read(case.body.dialect, chunks, raw_events=True)
        hold_together(outcome)
    except Exception as error:
        error.add_note(case.name)
        raise
    return outcome
