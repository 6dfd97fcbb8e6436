"""What a stream costs grows as the stream does, whatever differs from event to event; see `growth.py`."""

from typing import Any

import pytest

from rxstream.dialect import Dialect
from tests.faults.bodies import DIALECTS
from tests.faults.growth import EVENTS, portion_of

STREAMS = {each.name: portion_of(each) for each in DIALECTS}


@pytest.mark.parametrize(
    "dialect",
    DIALECTS,
    ids=[f"{name}: {len(streams)} of {of_all} streams" for name, (streams, of_all) in STREAMS.items()],
)
def test_twice_as_many_events_cost_no_more_than_twice_as_much(dialect: Dialect[Any]) -> None:
    for stream in STREAMS[dialect.name][0]:
        lines, written = stream.cost(EVENTS)
        more_lines, more_written = stream.cost(2 * EVENTS)

        assert more_lines < 2.3 * lines + 1_000, stream.name
        assert more_written < 2.3 * written + 1_000, stream.name
