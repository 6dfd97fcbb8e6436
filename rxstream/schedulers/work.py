"""One scheduled action, for the schedulers that keep a queue of their own."""

from collections.abc import Callable
from typing import Any

from reactivex import abc, typing


class Work(abc.DisposableBase):
    """An action and its state, run at most once, and not at all after `dispose`.

    Disposal is safe from any thread and lets go of action and state at once, so
    that a queue may keep the empty shell. What the action returned is disposed too.
    `on_drop` is called when disposal came before the run: the queue has one less.
    """

    __slots__ = ("_action", "_on_drop", "_returned", "_scheduler", "_state", "is_disposed")

    def __init__(
        self,
        scheduler: abc.SchedulerBase,
        action: typing.ScheduledAction[Any],
        state: Any,
        on_drop: Callable[["Work"], None],
    ) -> None:
        self._scheduler = scheduler
        self._action: typing.ScheduledAction[Any] | None = action
        self._state: Any = state
        self._on_drop = on_drop
        self._returned: abc.DisposableBase | None = None
        self.is_disposed = False

    def run(self) -> None:
        """Call the action, unless it was called or disposed before."""
        action, state = self._action, self._state
        self._action = self._state = None
        if action is None:
            return
        returned = action(self._scheduler, state)
        if isinstance(returned, abc.DisposableBase):
            # Set, then look; `dispose` marks, then takes: whoever is second sees what the other did.
            self._returned = returned
            if self.is_disposed:
                returned.dispose()

    def dispose(self) -> None:
        self.is_disposed = True
        waited, self._action, self._state = self._action is not None, None, None
        returned, self._returned = self._returned, None
        if waited:
            self._on_drop(self)
        if returned is not None:
            returned.dispose()
