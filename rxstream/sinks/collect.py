"""A whole answer."""

import asyncio

from reactivex import Observable

from rxstream.errors import StreamError
from rxstream.flow import wake
from rxstream.messages import AssembledMessage, MessageAssembler
from rxstream.schedulers import FlowScheduler
from rxstream.tokens import StreamToken


async def collect(source: Observable[StreamToken]) -> AssembledMessage:
    """Return what the tokens of `source` add up to, when it is complete.

    Raises the error that the stream ends in; a `StreamError` has what had arrived as
    `.partial`. Cancelling disposes of the subscription.
    """
    loop = asyncio.get_running_loop()
    is_over = loop.create_future()
    assembler = MessageAssembler()
    errors: list[Exception] = []

    def end() -> None:
        wake(loop, is_over)

    def fail(error: Exception) -> None:
        errors.append(error)
        end()

    subscription = source.subscribe(assembler.add, fail, end, scheduler=FlowScheduler(loop))
    try:
        await is_over
    finally:
        subscription.dispose()
    for error in errors:
        if isinstance(error, StreamError) and error.partial is None:
            error.partial = assembler.message(error=error.info)
        raise error
    return assembler.message()
