"""How a law is written down: once, and for everything of a kind."""

import asyncio
import functools
from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from tests.loopback import MovableLoop, run_movable
from tests.virtual_loop import run_virtual

S = TypeVar("S")

Law = Callable[[S], None]
"""Is given one subject and raises if it breaks the law."""

PATIENCE = 10.0
"""Real seconds after which something that has to happen does not."""


class Lawbook(Generic[S]):
    """All laws for one kind of subjects, in the order in which they are written down."""

    def __init__(self) -> None:
        self.laws: list[Law[S]] = []

    def in_virtual_time(self, check: Callable[[S], Coroutine[Any, Any, None]]) -> Law[S]:
        """Hold every subject to `check` where time jumps, and where all is the same each time."""

        @functools.wraps(check)
        def law(subject: S) -> None:
            run_virtual(check(subject))

        return self._write_down(law)

    def in_real_time(self, check: Callable[[S], Coroutine[Any, Any, None]]) -> Law[S]:
        """Hold every subject to `check` on an ordinary loop, which tells when a thread uses it as it must not."""

        @functools.wraps(check)
        def law(subject: S) -> None:
            asyncio.run(check(subject), debug=True)

        return self._write_down(law)

    def in_both_times(self, run: Callable[[S], Coroutine[Any, Any, list[Any]]]) -> Law[S]:
        """Hold every subject to giving the same in `run` on an ordinary loop as in virtual time."""

        @functools.wraps(run)
        def law(subject: S) -> None:
            assert asyncio.run(run(subject)) == run_virtual(run(subject))

        return self._write_down(law)

    def over_sockets(self, check: Callable[[S], Coroutine[Any, Any, None]]) -> Law[S]:
        """Hold every subject to `check` on a loop with sockets, which leaves no task behind."""

        @functools.wraps(check)
        def law(subject: S) -> None:
            def run(_: MovableLoop) -> Coroutine[Any, Any, None]:
                return check(subject)

            run_movable(run)

        return self._write_down(law)

    def broken_by(self, subject: S) -> list[str]:
        """Return the names of the laws that `subject` breaks."""
        return [law.__name__ for law in self.laws if _is_broken(law, subject)]

    def _write_down(self, law: Law[S]) -> Law[S]:
        self.laws.append(law)
        return law


def _is_broken(law: Law[S], subject: S) -> bool:
    try:
        law(subject)
    except Exception:  # of whatever kind: a run of the suite would fail with it
        return True
    return False
