"""`collect`: a whole answer, or the error with what had arrived."""

import asyncio

import pytest
import reactivex
from hypothesis import given
from reactivex import operators as ops
from reactivex.scheduler import NewThreadScheduler

from rxstream.errors import OverloadedError, StreamError
from rxstream.messages import MessageAssembler
from rxstream.sinks import collect
from rxstream.sources import from_async_iterable
from rxstream.tokens import FinishReason, StreamEnd, StreamToken, TextDelta
from tests.demand import Faucet, turns
from tests.strategies import token_lists
from tests.virtual_loop import run_virtual, virtual_time

END = StreamEnd(FinishReason.STOP, "stop")


@given(token_lists)
def test_it_is_what_the_tokens_add_up_to(tokens: list[StreamToken]) -> None:
    assembler = MessageAssembler()
    assembler.extend(tokens)

    assert run_virtual(collect(from_async_iterable(tokens))) == assembler.message()


@virtual_time
async def test_an_error_carries_what_had_arrived() -> None:
    busy = OverloadedError("busy", kind="overloaded_error")
    tokens = from_async_iterable([TextDelta("so "), TextDelta("far")])

    with pytest.raises(OverloadedError) as caught:
        await collect(tokens.pipe(ops.concat(reactivex.throw(busy))))

    assert caught.value is busy
    assert busy.partial is not None
    assert (busy.partial.text, busy.partial.complete) == ("so far", False)
    assert busy.partial.error == busy.info


@virtual_time
async def test_an_error_that_knows_what_had_arrived_keeps_it() -> None:
    known = MessageAssembler().message()
    error = StreamError("broken", partial=known)

    with pytest.raises(StreamError):
        await collect(reactivex.throw(error))

    assert error.partial is known


@virtual_time
async def test_an_error_that_is_not_ours_is_raised_as_it_is() -> None:
    with pytest.raises(OSError, match="boom"):
        await collect(reactivex.throw(OSError("boom")))


@virtual_time
async def test_cancelling_disposes_of_the_subscription() -> None:
    faucet = Faucet[StreamToken]()
    collecting = asyncio.create_task(collect(faucet.stream))
    await turns()

    collecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await collecting

    assert faucet.disposed == 1


async def test_the_source_may_run_in_another_thread() -> None:
    source = reactivex.from_iterable([TextDelta("a"), END], NewThreadScheduler())

    message = await collect(source)

    assert (message.text, message.complete) == ("a", True)
