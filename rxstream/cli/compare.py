"""`rxstream compare`: one question, several models, their answers side by side as they come."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from functools import partial

import msgspec

from rxstream.cli import _figures
from rxstream.cli._advice import explain, next_step
from rxstream.cli._asking import SIMULATOR, Models, user_message
from rxstream.cli._display import Answer, Display
from rxstream.errors import StreamError
from rxstream.messages import ChatRequest, Message
from rxstream.providers import AiProvider
from rxstream.tokens import StreamToken

NAME = "compare"
SUMMARY = "ask several models at once and see their answers side by side"
DESCRIPTION = "Ask several models at once; show their answers side by side, and how soon and how fast they came."
EPILOG = "Where there is no terminal, the answers come one after the other, in the order of the models."

SIMULATED = [f"{SIMULATOR}:simulated", f"{SIMULATOR}:simulated-thinking"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "-m", "--model", action="append", metavar="PROVIDER:MODEL", help="such as openai:gpt-5; two or more of them"
    )
    parser.add_argument("-s", "--system", metavar="TEXT", help="what the models are told first")
    parser.add_argument(
        "-i", "--image", action="append", default=[], metavar="FILE|URL", help="an image to ask about; may be repeated"
    )
    parser.add_argument("--max-tokens", type=int, metavar="N", help="the longest answer to ask for, in tokens")
    parser.add_argument("--json", action="store_true", help="print each message and its figures as a line of JSON")
    parser.add_argument("prompt", metavar="PROMPT", help="what to ask; - reads it from standard input")
    parser.set_defaults(refuse=parser.error)


def run(options: argparse.Namespace) -> int:
    """Ask all of them; return the exit status: 1 if any of the answers failed."""
    if options.model is None:
        print(f"no models named: the simulator answers as {' and '.join(SIMULATED)}", file=sys.stderr)
    elif len(options.model) < 2:
        options.refuse("it takes two models to compare: add another -m")
    prompt: str = sys.stdin.read() if options.prompt == "-" else options.prompt
    return asyncio.run(_compare(options.model or SIMULATED, prompt, options))


async def _compare(names: list[str], prompt: str, options: argparse.Namespace) -> int:
    asked = [user_message(prompt, options.image)]
    messages = [Message("system", options.system), *asked] if options.system else asked
    request = partial(ChatRequest, messages=messages, max_tokens=options.max_tokens)
    async with Models() as models:
        contenders = [Contender(name, *await models.open(name)) for name in names]
        if not options.json and sys.stdout.isatty():
            from rxstream.cli._columns import columns  # only a terminal needs what it imports

            if (view := columns(contenders)) is not None:
                with view:
                    await asyncio.gather(*(one.answer(request, view.column(one)) for one in contenders))
                for one in contenders:
                    if one.error is not None:
                        explain(one.error, who=one.name)
                return _status(contenders)
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one.answer(request, Silent())) for one in contenders]
            for number, (one, task) in enumerate(zip(contenders, tasks, strict=True)):
                await task
                _print(one, as_json=options.json, is_first=number == 0)
    return _status(contenders)


class Contender:
    """One of the models, and what came of it."""

    def __init__(self, name: str, provider: AiProvider, model: str) -> None:
        self.name = name
        self.shown = Answer()
        self.error: StreamError | None = None
        self._provider, self._model = provider, model

    async def answer(self, request: "partial[ChatRequest]", display: Display) -> None:
        """Ask it, and show the answer on `display`; an error is kept, since the others go on."""
        try:
            await self.shown.show(self._provider.stream(request(model=self._model)), display)
        except StreamError as error:
            self.error = error

    @property
    def head(self) -> str:
        """What is to be seen at a glance."""
        return "failed" if self.error is not None else _figures.short(self.shown.metrics.summary())

    @property
    def figures(self) -> str:
        """Its figures in a line, or what went wrong."""
        if self.error is not None:
            return f"failed: {self.error}"
        return _figures.line(self.shown.metrics.summary())


class Silent:
    """Shows nothing: the answer is printed once it is whole."""

    frame = None

    def take(self, tokens: Sequence[StreamToken]) -> None:
        """Leave them to the message."""

    def end(self) -> None:
        """Nothing is left."""

    def fail(self, error: StreamError) -> None:
        """Leave it to whoever prints the answer."""


def _print(one: Contender, *, as_json: bool, is_first: bool) -> None:
    message = one.shown.message
    if as_json:
        failed = msgspec.structs.replace(message, error=one.error.info, complete=False) if one.error else message
        line = {"model": one.name, "message": failed, "metrics": one.shown.metrics.summary()}
        print(msgspec.json.encode(line).decode(), flush=True)
        return
    print(f"{'' if is_first else chr(10)}== {one.name} · {one.figures}")
    if said := message.text or message.refusal:
        print(said)
    for call in message.tool_calls:
        print(f"→ {call.name}({call.arguments_raw or msgspec.json.encode(call.arguments).decode()})")
    if one.error is not None and (step := next_step(one.error)):
        print(f"rxstream: {one.name}: next: {step}", file=sys.stderr)
    sys.stdout.flush()


def _status(contenders: list[Contender]) -> int:
    return 1 if any(one.error for one in contenders) else 0
