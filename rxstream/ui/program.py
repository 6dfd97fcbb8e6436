"""What the chat windows have in common as programs: who answers."""

import argparse
import asyncio
from collections.abc import Awaitable, Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from rxstream.dialects import dialect_and_model
from rxstream.errors import ConfigurationError
from rxstream.providers import AiProvider
from rxstream.simulator import simulator_in_background
from rxstream.ui.conversation import Ask

SIMULATED_API = "openai.chat"


@dataclass(frozen=True)
class Answerer:
    """Who answers."""

    name: str
    """Such as `openai:gpt-5`, for the title of the window."""
    ask: Ask
    aclose: Callable[[], Awaitable[None]]
    """Closes the connections: for a program with a loop of its own, before that ends."""


@contextmanager
def answerer(program: str, arguments: Sequence[str] | None = None) -> Generator[Answerer]:
    """Give whom the command line of `program` names, the simulator if nobody; close its connections at the end.

    Exits with status 2 where the command line makes no sense.
    """
    parser = argparse.ArgumentParser(
        prog=f"python -m {program}", description="A chat window. Without a model, a simulator on this machine answers."
    )
    parser.add_argument("-m", "--model", metavar="PROVIDER:MODEL", help="such as openai:gpt-5")
    parser.add_argument("--base-url", metavar="URL", help="where the API is, for compatible and local servers")
    options = parser.parse_args(arguments)
    with ExitStack() as stack:
        if options.model is None and options.base_url is None:
            simulator = stack.enter_context(simulator_in_background())
            provider = AiProvider(SIMULATED_API, base_url=simulator.base_url(SIMULATED_API), api_key=None)
            model, name = "simulator", "simulator"
        else:
            name: str = options.model or ""
            try:
                dialect, model = dialect_and_model(name)
                provider = AiProvider(dialect, base_url=options.base_url)
            except ConfigurationError as error:
                parser.error(str(error))
        stack.callback(lambda: asyncio.run(provider.aclose()))
        yield Answerer(name, lambda messages: provider.stream(messages, model=model), provider.aclose)
