"""Pure machines: items in, items out, nothing else.

A machine does no I/O, keeps no clock and knows no Rx. It has two methods:

`feed(item)`
    takes one item and returns the list of what it makes of it, often empty.
`flush()`
    is called once, at a healthy end of the input, and returns what was held back.

A machine that raises is over. If it had completed something before that, the
error carries it as `.completed`, and whoever drives the machine delivers it
before the error: nothing that was good is lost.

A machine may also have `fail(error)`, called instead of `flush` when the input
itself broke. It returns what is still good of what was held back, and may raise
the error to end with in place of `error`. Without it, `flush` is used.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar, cast, runtime_checkable

A = TypeVar("A")
B = TypeVar("B")
C = TypeVar("C")
In = TypeVar("In", contravariant=True)
Out = TypeVar("Out")


class Machine(Protocol[In, Out]):
    """What `lift` makes an operator of."""

    def feed(self, item: In, /) -> list[Out]:
        """Take one item; return what became ready, in order."""
        ...

    def flush(self) -> list[Out]:
        """Return what was held back; called once, at a healthy end."""
        ...


@runtime_checkable
class Breakable(Protocol[Out]):
    """A machine that wants to know that its input broke."""

    def fail(self, error: Exception, /) -> list[Out]:
        """Return what is still good; raise to end with another error than `error`."""
        ...


def finish_broken(machine: Machine[A, B], error: Exception) -> list[B]:
    """End `machine` after its input broke with `error`: by `fail` where it has one, else by `flush`."""
    return cast(Breakable[B], machine).fail(error) if isinstance(machine, Breakable) else machine.flush()


def completed_by(error: Exception) -> list[Any]:
    """Return what the machine that raised `error` had completed before."""
    return getattr(error, "completed", [])


def carrying(error: Exception, completed: list[Any]) -> Exception:
    """Return `error`, with `completed` as what is to be delivered before it."""
    error.completed = completed  # type: ignore[attr-defined]  # any exception may pass through a machine
    return error


class Chain(Machine[A, C]):
    """Two machines as one: what the first makes is fed to the second."""

    def __init__(self, first: Machine[A, B], second: Machine[B, C]) -> None:
        self._first: Machine[A, Any] = first
        self._second: Machine[Any, C] = second

    def feed(self, item: A, /) -> list[C]:
        return self._step(lambda: self._first.feed(item))

    def flush(self) -> list[C]:
        made = self._step(self._first.flush)
        return self._and_then(made, self._second.flush)

    def fail(self, error: Exception, /) -> list[C]:
        made = self._step(lambda: finish_broken(self._first, error))
        return self._and_then(made, lambda: finish_broken(self._second, error))

    def _step(self, step: Callable[[], list[Any]]) -> list[C]:
        """Feed the second machine what `step` of the first one makes, even if it makes it before an error."""
        made: list[C] = []
        try:
            items = step()
        except Exception as error:
            for item in completed_by(error):
                made = self._and_then(made, lambda item=item: self._second.feed(item))
            made = self._and_then(made, lambda error=error: finish_broken(self._second, error))
            raise carrying(error, made) from error.__cause__
        for item in items:
            made = self._and_then(made, lambda item=item: self._second.feed(item))
        return made

    @staticmethod
    def _and_then(made: list[C], step: Callable[[], list[C]]) -> list[C]:
        """Add what `step` makes to `made`; an error of it carries both."""
        try:
            made += step()
        except Exception as error:
            raise carrying(error, made + completed_by(error)) from error.__cause__
        return made


def chain(first: Machine[A, B], second: Machine[B, C]) -> Machine[A, C]:
    """Return one machine that feeds what `first` makes to `second`."""
    return Chain(first, second)
