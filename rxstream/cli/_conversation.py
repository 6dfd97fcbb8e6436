"""`rxstream chat` without a prompt: one question after the other, each with all that was said before.

Ctrl-C stops an answer, closes its connection and comes back here; what had arrived stays part
of the conversation. Ctrl-D, or /quit, ends it.
"""

import argparse
import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from rxstream.cli import chat
from rxstream.cli._advice import explain
from rxstream.cli._asking import Models, user_message
from rxstream.cli._display import DIM, PLAIN, Answer, show_figures
from rxstream.cli._history import LineEditor, history_file
from rxstream.errors import ConfigurationError, StreamError
from rxstream.messages import AssembledMessage, AssembledToolCall, ChatRequest, Message, TextPart
from rxstream.providers import AiProvider

PROMPT, MORE = "> ", "… "
BLOCK = '"""'
COMMANDS = {
    "/new": ("", "forget what was said and begin again"),
    "/model": ("PROVIDER:MODEL", "ask another model from now on"),
    "/system": ("TEXT", "tell the model something first; without TEXT, no more"),
    "/image": ("FILE|URL", "an image for the next question"),
    "/retry": ("", "ask the last question again"),
    "/metrics": ("", "show the figures as a table, or in a line again"),
    "/save": ("FILE", "write it down: Markdown, or JSON if FILE ends in .json"),
    "/help": ("", "show this"),
    "/quit": ("", "end the conversation, as Ctrl-D does"),
}


NOT_RUN = "The tool was not run."


def converse(options: argparse.Namespace) -> int:
    """Hold a conversation at the terminal; return the exit status."""
    file = None if options.no_history else history_file(os.environ)
    with asyncio.Runner() as runner:
        models = Models(options.base_url)
        try:
            conversation = runner.run(_begin(options, models))
            editor = LineEditor(file, list(COMMANDS))
            while not conversation.is_over and (said := _read(editor, conversation.prompt)) is not None:
                try:
                    runner.run(conversation.take(said))
                except KeyboardInterrupt:
                    _say("stopped")
                except StreamError as error:
                    explain(error)
        finally:
            runner.run(models.aclose())
    return 0


async def _begin(options: argparse.Namespace, models: Models) -> "Conversation":
    provider, model = await models.open(options.model)
    conversation = Conversation(options, models, provider, model)
    _say(f"{conversation.name} · /help shows what else can be said · Ctrl-D ends")
    return conversation


def _read(editor: LineEditor, prompt: str) -> str | None:
    '''Read what the user says: a line, a paste, or lines between """ and """; `None` at the end.'''
    try:
        said = editor.read(prompt)
        if said.lstrip().startswith(BLOCK):
            while not said.rstrip().endswith(BLOCK) or said.strip() == BLOCK:
                said += "\n" + editor.read(MORE)
            said = said.strip().removeprefix(BLOCK).removesuffix(BLOCK).strip("\n")
    except EOFError:
        print()
        return None
    except KeyboardInterrupt:  # the line is given up, not the conversation
        print()
        return ""
    return said


class Conversation:
    """What was said so far, and what the next line does to it."""

    def __init__(self, options: argparse.Namespace, models: Models, provider: AiProvider, model: str) -> None:
        self.is_over = False
        self._options = options
        self._models, self._provider, self._model = models, provider, model
        self._system: str | None = options.system
        self._chosen = chat.choices(options)
        self._images: list[str] = options.image
        self._messages: list[Message] = []
        self._asked: Message | None = None
        self._asked_at = 0  # how much had been said before it
        self._calls: list[AssembledToolCall] = []  # of the last answer, whose results are still to be told
        self._commands: dict[str, Callable[[str], Awaitable[None]]] = {
            "/new": self._new,
            "/model": self._change_model,
            "/system": self._change_system,
            "/image": self._add_image,
            "/retry": self._retry,
            "/metrics": self._switch_metrics,
            "/save": self._save,
            "/help": self._help,
            "/quit": self._quit,
        }

    @property
    def name(self) -> str:
        """Who answers."""
        return f"{self._provider.dialect.name}:{self._model}"

    @property
    def prompt(self) -> str:
        """What to show before the next line: whether a question is wanted, or what a tool gave."""
        return f"result of {self._calls[0].name}> " if self._calls else PROMPT

    async def take(self, said: str) -> None:
        """Do what a line says. Raises the `StreamError` that an answer ends in."""
        command, _, rest = said.strip().partition(" ")
        if command.startswith("/"):
            if command not in self._commands:
                _say(f"there is no {command}; /help shows what there is. A space before it makes it a question")
            elif not rest and COMMANDS[command][0] and command != "/system":
                _say(f"{command} {COMMANDS[command][0]}: {COMMANDS[command][1]}")
            else:
                await self._commands[command](rest.strip())
        elif self._calls:
            await self._tell(said)
        elif said.strip():
            images, self._images = self._images, []
            await self._ask(user_message(said, images))

    async def _ask(self, question: Message) -> None:
        self._asked, self._asked_at = question, len(self._messages)
        await self._answer([question])

    async def _tell(self, result: str) -> None:
        """Take what a tool gave; once all have, let the model go on."""
        call = self._calls.pop(0)
        told = Message.tool_result(call.id, result or NOT_RUN, is_error=not result, name=call.name)
        self._messages.append(told)
        if not self._calls:
            await self._answer([])

    async def _answer(self, added: list[Message]) -> None:
        instructions = [Message("system", self._system)] if self._system else []
        messages = [*instructions, *self._messages, *added]
        request = ChatRequest(model=self._model, messages=messages, **self._chosen)
        shown = Answer()
        print()
        try:
            stream = chat.answer(self._provider, request, self._options.record)
            await shown.show(stream, chat.display(self._options))
        finally:
            if said := _as_said(shown.message):
                self._messages += [*added, said]
            show_figures(shown.metrics.summary(), table=self._options.metrics)
            print()
        self._calls = shown.message.tool_calls
        if self._calls:
            _say("type what each tool gives; an empty line says that it was not run")

    async def _new(self, _: str) -> None:
        self._messages, self._calls, self._asked = [], [], None
        _say("forgotten")

    async def _change_model(self, name: str) -> None:
        self._provider, self._model = await self._models.open(name)
        _say(f"{self.name} answers from now on")

    async def _change_system(self, text: str) -> None:
        self._system = text or None
        _say("the model is told that first" if text else "the model is told nothing first")

    async def _add_image(self, name: str) -> None:
        user_message("", [name])  # it can be read
        self._images = [*self._images, name]
        _say(f"{len(self._images)} for the next question")

    async def _retry(self, _: str) -> None:
        if self._asked is None:
            _say("nothing was asked yet")
            return
        self._messages, self._calls = self._messages[: self._asked_at], []
        await self._answer([self._asked])

    async def _switch_metrics(self, _: str) -> None:
        self._options.metrics = not self._options.metrics
        _say(f"the figures are {'shown as a table' if self._options.metrics else 'shown in a line'}")

    async def _save(self, name: str) -> None:
        await asyncio.to_thread(_write, Path(name), self._messages)
        _say(f"written to {name}")

    async def _help(self, _: str) -> None:
        for name, (takes, does) in COMMANDS.items():
            print(f"  {f'{name} {takes}':24}{does}")
        print(f"  {BLOCK:24}several lines, to the next {BLOCK}; a paste needs none")
        print(f"  {'Ctrl-C':24}stop the answer")

    async def _quit(self, _: str) -> None:
        self.is_over = True


def _write(path: Path, messages: list[Message]) -> None:
    """Write a conversation to a new file. Raises `ConfigurationError` if that can't be done."""
    file = path.expanduser()
    if file.suffix == ".json":
        said = msgspec.json.format(msgspec.json.encode(messages), indent=2)
    else:
        said = "\n\n".join(f"## {turn.role}\n\n{_as_text(turn)}" for turn in messages).encode() + b"\n"
    try:
        with file.open("xb") as opened:
            opened.write(said)
    except FileExistsError as error:
        raise ConfigurationError(f"there is a {file} already: name another") from error
    except OSError as error:
        raise ConfigurationError(f"cannot write {file}: {error.strerror}") from error


def _as_said(answer: AssembledMessage) -> Message | None:
    """Return an answer as it goes back; of one that was cut short only the text, since no service takes half a call."""
    if answer.complete:
        return answer.as_message()
    parts = [part for part in answer.parts if isinstance(part, TextPart)]
    return Message("assistant", list(parts)) if parts else None


def _as_text(turn: Message) -> str:
    """Return a turn for people; what is no text is named."""
    return "\n\n".join(part.text if isinstance(part, TextPart) else f"({type(part).__name__})" for part in turn.parts)


def _say(words: str) -> None:
    print(f"{DIM}{words}{PLAIN}")
