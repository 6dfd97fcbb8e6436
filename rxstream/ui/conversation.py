"""Turn after turn: what a chat window is besides its looks."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

from reactivex import Observable, abc
from reactivex.disposable import SingleAssignmentDisposable

from rxstream.messages import Message
from rxstream.tokens import StreamToken
from rxstream.ui.show import PERIOD, show
from rxstream.ui.view import AnswerView, Phase

Ask: TypeAlias = Callable[[list[Message]], Observable[StreamToken]]
"""Messages in, the stream of the answer out: `lambda messages: provider.stream(messages, model="gpt-5")`."""


class Conversation:
    """The turns so far, and the answer that is being given.

    `ask` makes the stream of an answer, with whatever pipeline; `on_view` draws it. All else
    is as with `show`. For one thread, that of the UI.
    """

    def __init__(
        self,
        ask: Ask,
        on_view: Callable[[AnswerView], object],
        *,
        messages: Iterable[Message] = (),
        scheduler: abc.SchedulerBase | None = None,
        period: timedelta = PERIOD,
    ) -> None:
        self.messages = list(messages)
        """What the next question is asked after; a turn that got no answer is not among them."""
        self.view = AnswerView()
        """The last view."""
        self._ask, self._on_view = ask, on_view
        self._scheduler, self._period = scheduler, period
        self._answering: SingleAssignmentDisposable | None = None
        self._turn: list[Message] = []

    @property
    def is_answering(self) -> bool:
        """Whether an answer is being given: there is something to stop."""
        return self._answering is not None

    def ask(self, prompt: str | list[Message]) -> None:
        """Ask, after stopping what is still being answered; a list may bring results of tools."""
        self.stop()
        self._turn = [Message("user", prompt)] if isinstance(prompt, str) else prompt
        answering = self._answering = SingleAssignmentDisposable()

        def on_view(view: AnswerView) -> None:
            if answering is self._answering:
                self._see(view)

        stream = self._ask([*self.messages, *self._turn])
        answering.disposable = show(stream, on_view, scheduler=self._scheduler, period=self._period)

    def stop(self) -> None:
        """Stop the answer, if there is one, and close its connection; what came stays."""
        if self._answering is not None:
            self._answering.dispose()
            self._see(replace(self.view, phase=Phase.STOPPED))

    def close(self) -> None:
        """Stop without a word: the window is gone."""
        answering, self._answering = self._answering, None
        if answering is not None:
            answering.dispose()

    def _see(self, view: AnswerView) -> None:
        self.view = view
        if view.is_over:
            self._answering = None  # before anybody hears of it, who may ask on at once
            self._remember(view)
        self._on_view(view)

    def _remember(self, view: AnswerView) -> None:
        if view.phase is Phase.DONE and view.message.parts:
            self.messages += [*self._turn, view.message.as_message()]
        elif view.text:  # half an answer has no proofs and no calls that a service would take back
            self.messages += [*self._turn, Message("assistant", view.text)]
