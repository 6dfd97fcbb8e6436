"""Every source keeps every law."""

import pytest

from rxstream.errors import TotalTimeoutError
from rxstream.sources import Deadlines, HttpStreamHandler
from tests.contract.lawbook import Law
from tests.contract.probes import Feed, turns
from tests.contract.source_laws import SOURCE_LAWS, Outlet, until
from tests.contract.subjects import SOURCES, Source
from tests.loopback import MovableLoop, run_movable
from tests.toy import TOY


@pytest.mark.parametrize("source", SOURCES.values(), ids=[f"{make.__name__} {how}".strip() for make, how in SOURCES])
@pytest.mark.parametrize("law", SOURCE_LAWS.laws, ids=lambda law: law.__name__)
def test_a_source_keeps_the_law(law: Law[Source], source: Source) -> None:
    law(source)


def test_a_deadline_is_not_held_back_by_a_consumer_that_wants_nothing() -> None:
    async def run(loop: MovableLoop) -> None:
        outlet = paused(Deadlines(total=5))
        await until(lambda: outlet.watch.heard)

        loop.move(10)
        await until(lambda: outlet.watch.is_ended)

        assert isinstance(outlet.watch.error, TotalTimeoutError)
        assert not outlet.feed.readers

    run_movable(run)


def test_waiting_for_ones_own_consumer_is_not_the_servers_silence() -> None:
    async def run(loop: MovableLoop) -> None:
        outlet = paused(Deadlines(first_content=5, idle=5))
        await until(lambda: outlet.watch.heard)

        loop.move(10)
        await turns()
        assert not outlet.watch.is_ended
        outlet.want()
        outlet.put(1)
        await until(lambda: len(outlet.watch.heard) == 2)

        outlet.watch.dispose()
        await turns()

    run_movable(run)


def paused(deadlines: Deadlines) -> Outlet:
    """Subscribe with the first item there, and want no more."""
    feed, source = Feed(), SOURCES[HttpStreamHandler, "of an async iterable"]
    outlet = Outlet(source, feed, HttpStreamHandler(TOY, deadlines=deadlines).into_stream(feed))
    outlet.watch.react = outlet.want_nothing
    outlet.put(1)
    return outlet.subscribe()
