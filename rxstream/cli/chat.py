"""`rxstream chat`: an answer, streamed to the terminal; without a prompt, a conversation.

On a terminal the answer is set as Markdown while it comes. Anywhere else its text goes to
standard output as it comes and is all that goes there; what is worth knowing about it goes to
standard error, when that is a terminal.
"""

import argparse
import asyncio
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import cast

from reactivex import Observable
from reactivex import operators as ops

from rxstream.cli._asking import SIMULATOR, Models, tools, user_message
from rxstream.cli._display import Answer, AsJson, AsText, Display, show_figures
from rxstream.dialects import FAMILIES, dialects, presets
from rxstream.errors import ConfigurationError
from rxstream.messages import ChatRequest, Message
from rxstream.operators import decode, retry_before_content
from rxstream.providers import AiProvider
from rxstream.sources import recordings, replay
from rxstream.taps import record
from rxstream.tokens import Json, StreamToken

NAME = "chat"
SUMMARY = "stream an answer to the terminal"
DESCRIPTION = (
    "Stream an answer to the terminal. Without a model, a simulator on this machine answers. "
    "Without a prompt, a conversation begins; if standard input is no terminal, it is the prompt."
)
EPILOG = (
    "Tools are offered to the model and its calls are shown; nothing is ever run. "
    f"The simulator can be asked by name too, as in -m {SIMULATOR}:simulated-tools."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add what the command takes."""
    parser.add_argument(
        "-m",
        "--model",
        metavar="PROVIDER:MODEL",
        help="such as openai:gpt-5; a provider is a service ("
        + ", ".join([*FAMILIES, *presets()])
        + ") or one API of: "
        + ", ".join(dialects()),
    )
    parser.add_argument("--base-url", metavar="URL", help="where the API is, for compatible and local servers")
    parser.add_argument("-s", "--system", metavar="TEXT", help="what the model is told first")
    parser.add_argument(
        "-i", "--image", action="append", default=[], metavar="FILE|URL", help="an image to ask about; may be repeated"
    )
    parser.add_argument(
        "--tool", action="append", default=[], metavar="FILE", help="a tool, or a list, as JSON; may be repeated"
    )
    parser.add_argument("--max-tokens", type=int, metavar="N", help="the longest answer to ask for, in tokens")
    parser.add_argument("--json", action="store_true", help="print each token as a line of JSON")
    parser.add_argument("--plain", action="store_true", help="print the text as it is, without Markdown")
    parser.add_argument("--metrics", action="store_true", help="print a table of figures at the end")
    parser.add_argument("--record", type=Path, metavar="FILE", help="append the answer's bytes, and when they came")
    parser.add_argument("--replay", type=Path, metavar="FILE", help="show the last recording of a file; ask nobody")
    parser.add_argument(
        "--speed", type=float, metavar="N", help="replay N times as fast; 0 is as fast as it goes (default: 1)"
    )
    parser.add_argument("--no-history", action="store_true", help="keep nothing of what is typed in a conversation")
    parser.add_argument("prompt", nargs="?", metavar="PROMPT", help="what to ask; - reads it from standard input")
    parser.set_defaults(refuse=parser.error)


def run(options: argparse.Namespace) -> int:
    """Ask what `options` say; return the exit status."""
    if isinstance(out := cast("object", sys.stdout), TextIOWrapper):
        cast("TextIOWrapper", out).reconfigure(errors="replace")  # a locale may lack what models like to say
    if options.replay is not None:
        return _replay(options)
    if options.speed is not None:
        options.refuse("--speed is of a replay: it goes with --replay FILE")
    if options.prompt is None and sys.stdin.isatty():
        if options.json or not sys.stdout.isatty():
            options.refuse("a conversation needs a terminal: pass a PROMPT, or - to read it from standard input")
        from rxstream.cli._conversation import converse  # it is for terminals, and so is what it imports

        return converse(options)
    given: str | None = options.prompt
    prompt = sys.stdin.read() if given is None or given == "-" else given
    if not prompt.strip() and not options.image:
        options.refuse("there is nothing to ask: the PROMPT is empty")
    return asyncio.run(_ask(prompt, options))


async def _ask(prompt: str, options: argparse.Namespace) -> int:
    asked = [user_message(prompt, options.image)]
    messages = [Message("system", options.system), *asked] if options.system else asked
    chosen = choices(options)
    async with Models(options.base_url) as models:
        provider, model = await models.open(options.model)
        request = ChatRequest(model=model, messages=messages, **chosen)
        await show(answer(provider, request, options.record), options)
    return 0


def _replay(options: argparse.Namespace) -> int:
    if options.prompt is not None or options.model is not None or options.record is not None:
        options.refuse("--replay asks nobody: it takes no PROMPT, no --model and no --record")
    if options.speed is not None and options.speed < 0:
        options.refuse("--speed must be at least 0")
    speed = 1.0 if options.speed is None else options.speed or None
    recording = recordings(options.replay)[-1]
    stream = replay(options.replay, speed=speed)
    if recording.holds != "tokens":
        if recording.api is None:
            raise ConfigurationError(
                "the recording does not say which API it is of; `rxstream decode --api API` reads it all the same"
            )
        stream = stream.pipe(decode(recording.api))
    asyncio.run(show(stream, options))
    return 0


def choices(options: argparse.Namespace) -> dict[str, Json]:
    """Return the fields of the request that `options` set."""
    chosen: dict[str, Json] = {"tools": tools(options.tool)}
    return chosen if options.max_tokens is None else {**chosen, "max_tokens": options.max_tokens}


def answer(provider: AiProvider, request: ChatRequest, file: Path | None) -> Observable[StreamToken]:
    """Return the answer to `request`; with a `file`, its bytes are recorded there.

    Raises `ConfigurationError` if that file can't be written.
    """
    if file is None:
        return provider.stream(request)
    try:
        file.open("ab").close()  # a recording that fails is only logged, and here it was asked for
    except OSError as error:
        raise ConfigurationError(f"cannot write {file}: {error.strerror}") from error
    recorded = record(file, api=provider.dialect.name, model=request.model)
    chunks: Observable[bytes] = provider.chunks(request).pipe(recorded)
    tokens: Observable[StreamToken] = chunks.pipe(decode(provider.dialect))
    return tokens.pipe(ops.do_action(on_error=provider.conceal), retry_before_content(provider.retry))


async def show(stream: Observable[StreamToken], options: argparse.Namespace) -> None:
    """Show `stream` as `options` say, and its figures at the end.

    Raises the `StreamError` that the stream ends in, after what came before it.
    """
    shown = Answer()
    try:
        await shown.show(stream, display(options))
    finally:
        show_figures(shown.metrics.summary(), table=options.metrics)


def display(options: argparse.Namespace) -> Display:
    """Return what shows one answer, as `options` and the terminal allow."""
    if options.json:
        return AsJson()
    if not options.plain and sys.stdout.isatty():
        from rxstream.cli._rendered import Rendered, console_for_answers  # only a terminal needs what it imports

        if console := console_for_answers():
            return Rendered(console)
    return AsText()
