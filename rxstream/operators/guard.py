"""A check over the text of an answer while it comes.

The text of each choice is checked in windows, each of which begins with the end of the
one before, so that nothing of up to `overlap + 1` characters goes unseen because a
window ends in it. Three ways to do it:

hold
    A character is given once every window that it is in has passed, so it comes later
    by about a window and the time of a check. Nothing refused is ever given.
optimistic
    Text is given at once. If a check refuses it, `Retract` tells how much of it stays:
    all of that has passed. `StreamEnd` waits for the checks.
sampled
    As optimistic, but only a share of the windows is checked.

Hold is a sentence of three operators. Optimistic is a courier, since what its checks
find comes in between what the source brings.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Literal, NamedTuple

import msgspec
from msgspec import Struct
from reactivex import Observable, abc

from rxstream.errors import BufferOverflowError, ContentBlockedError, StreamError
from rxstream.flow import Gate
from rxstream.messages import MessageAssembler
from rxstream.operators._courier import Courier
from rxstream.operators.map_async import map_async
from rxstream.rx import lift
from rxstream.schedulers import gate_of, loop_for, running_loop
from rxstream.schedulers.gated_scheduler import gated, on_time
from rxstream.tokens import Citation, LogProbs, RawEvent, Retract, StreamEnd, StreamToken, TextDelta, UsageReport

CHECK_FAILED = "guard.check_failed"

_RIDING = (LogProbs, Citation, UsageReport, RawEvent)
"""Tokens about the text around them, which do not end a window."""
SPARE = 1024
"""How many windows may wait for their check where the source cannot."""


class Verdict(Struct, frozen=True):
    """What a check says of a window."""

    passes: bool
    reason: str | None = None
    """A word for why not, such as `violence`: it goes into the error, and so may go into logs."""


Check = Callable[[str], Awaitable[bool | Verdict]]
"""Looks at a window of text; true means that it may be shown."""


def guard(
    check: Check,
    *,
    window: int = 200,
    overlap: int = 40,
    mode: Literal["hold", "optimistic", "sampled"] = "hold",
    share: float = 0.1,
    max_concurrency: int = 4,
    on_error: Literal["block", "pass"] = "block",
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Check the text of an answer, `window` characters at a time, and end it where it may not be shown.

    A refused answer ends in `ContentBlockedError`, whose `.partial` is what stays and whose
    `.kind` is the reason, and not in a `StreamEnd`: nobody should take it for a whole one.
    In `hold` nothing refused was given; in the other two modes a `Retract` comes before the
    error for each choice of which something is to be taken back, also of what had not been
    checked yet. `text()` cannot tell of that, so use it with `hold` only; and whatever changes the
    text goes before the guard, since a `Retract` counts characters as they were given here.

    A window ends early where something else than text comes; what only tells about the text
    (citations, probabilities, usage) waits with it. All tokens keep their order. Thinking,
    refusals and tool calls are not checked. Of `sampled` windows one in `1 / share` is
    checked, the first one always.

    At most `max_concurrency` checks run at a time, as tasks of the subscription's loop; while
    so many do, the source is told to wait. Disposing cancels them. When the source completes
    or fails, what it had brought is checked first. If a check raises, the window counts as
    refused, with what was raised as the cause; with `on_error="pass"` it counts as passed,
    and `guard.check_failed` is logged with the class of the error.

    Raises `ValueError` for a window that is not longer than its overlap, and for a share
    that is not more than 0 and at most 1.
    """
    if not 0 <= overlap < window:
        raise ValueError(f"the overlap must be at least 0 and less than the window ({window}), not {overlap}")
    if not 0 < share <= 1:
        raise ValueError(f"the share must be more than 0 and at most 1, not {share}")
    if max_concurrency < 1:
        raise ValueError(f"the concurrency must be at least 1, not {max_concurrency}")
    judge = _Judge(check, passes_errors=on_error == "pass")
    if mode == "hold":
        return _held(judge, window, overlap, max_concurrency)
    return _optimistic(judge, window, overlap, max_concurrency, share if mode == "sampled" else 1)


# What is checked


class _Window(NamedTuple):
    """Text to be checked."""

    choice: int
    start: int
    """Where it begins in the choice's text."""
    fresh: int
    """Where the text begins that no window before it had."""
    text: str
    number: int = 0

    @property
    def end(self) -> int:
        return self.start + len(self.text)


class _Text:
    """The text of one choice, cut into windows."""

    def __init__(self, choice: int, window: int, overlap: int) -> None:
        self._choice, self._overlap = choice, overlap
        self._stride = window - overlap
        self._before = ""  # the end of the last window, which the next one begins with
        self._fresh: list[str] = []
        self.length = 0
        self.cut = 0  # how much of it has been in a window

    def add(self, text: str) -> list[_Window]:
        """Add `text`; return the windows that are full with it."""
        self._fresh.append(text)
        self.length += len(text)
        if self.length - self.cut < self._stride:
            return []
        fresh = "".join(self._fresh)
        full = len(fresh) // self._stride * self._stride
        self._fresh = [fresh[full:]]
        return [self._window(fresh[at : at + self._stride]) for at in range(0, full, self._stride)]

    def close(self) -> list[_Window]:
        """Return a window of what is left, if anything is."""
        fresh = "".join(self._fresh)
        self._fresh.clear()
        return [self._window(fresh)] if fresh else []

    def _window(self, fresh: str) -> _Window:
        window = _Window(self._choice, self.cut - len(self._before), self.cut, self._before + fresh)
        self.cut += len(fresh)
        self._before = window.text[-self._overlap :] if self._overlap else ""
        return window


class _Texts:
    """The texts of all choices."""

    def __init__(self, window: int, overlap: int) -> None:
        self._window, self._overlap = window, overlap
        self.by_choice: dict[int, _Text] = {}

    def of(self, choice: int) -> _Text:
        """Return the text of `choice`."""
        text = self.by_choice.get(choice)
        if text is None:
            text = self.by_choice[choice] = _Text(choice, self._window, self._overlap)
        return text

    def close(self) -> list[_Window]:
        """Return windows of all that is left."""
        return [window for text in self.by_choice.values() for window in text.close()]


class _Judge:
    """Asks the check, and makes a verdict of whatever comes of it."""

    def __init__(self, check: Check, *, passes_errors: bool) -> None:
        self._check = check
        self._passes_errors = passes_errors

    async def __call__(self, window: _Window) -> ContentBlockedError | None:
        """Return what the stream is to end in, or `None` if the text may be shown."""
        try:
            verdict = await self._check(window.text)
        except Exception as error:
            if self._passes_errors:
                import structlog

                structlog.get_logger().warning(CHECK_FAILED, error=type(error).__qualname__)
                return None
            blocked = ContentBlockedError("the guard's check failed, so the answer was not let through")
            blocked.__cause__ = error
            return blocked
        passes, reason = (verdict.passes, verdict.reason) if isinstance(verdict, Verdict) else (verdict, None)
        return None if passes else ContentBlockedError("the guard refused the answer", kind=reason)


# Hold


class _Step(NamedTuple):
    """A window to be checked, and the tokens that may go once it has passed."""

    window: _Window | None
    tokens: list[StreamToken]
    blocked: ContentBlockedError | None = None


def _held(
    judge: _Judge, window: int, overlap: int, max_concurrency: int
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    async def checked(step: _Step) -> _Step:
        blocked = None if step.window is None else await judge(step.window)
        return step._replace(blocked=blocked) if blocked is not None else step

    def operator(source: Observable[StreamToken]) -> Observable[StreamToken]:
        return source.pipe(
            lift(lambda: _Steps(window, overlap)),
            map_async(checked, max_concurrency),
            lift(_Passed),
        )

    return operator


class _Steps:
    """Tokens in; out come windows to be checked, in order, each with the tokens that wait for it."""

    def __init__(self, window: int, overlap: int) -> None:
        self._overlap = overlap
        self._texts = _Texts(window, overlap)
        self._pending: deque[StreamToken] = deque()
        self._given: dict[int, int] = {}  # by choice, how much of its text has gone into a step

    def feed(self, token: StreamToken) -> list[_Step]:
        self._pending.append(token)
        if isinstance(token, TextDelta):
            steps = [self._step(window) for window in self._texts.of(token.choice).add(token.text)]
            if steps and self._waits_for_another(token.choice):
                steps += self.flush()
            return steps
        if isinstance(token, _RIDING) and len(self._pending) > 1:
            return []
        return self.flush()

    def flush(self) -> list[_Step]:
        """Let all go that waits, once what is left of every text has passed."""
        tokens = list(self._pending)
        self._pending.clear()
        steps = [_Step(window, []) for window in self._texts.close()]
        self._given = {choice: text.length for choice, text in self._texts.by_choice.items()}
        if not steps:
            return [_Step(None, tokens)] if tokens else []
        return [*steps[:-1], steps[-1]._replace(tokens=tokens)]

    def _step(self, window: _Window) -> _Step:
        """What may go when `window` has passed: its end may still be the begin of something."""
        tokens: list[StreamToken] = []
        choice, cleared = window.choice, window.end - self._overlap
        while self._pending:
            head = self._pending[0]
            if isinstance(head, TextDelta):
                given = self._given.get(head.choice, 0)
                room = cleared - given if head.choice == choice else 0
                if room < len(head.text):
                    if room > 0:
                        tokens.append(msgspec.structs.replace(head, text=head.text[:room]))
                        self._pending[0] = msgspec.structs.replace(head, text=head.text[room:])
                        self._given[choice] = cleared
                    break
                self._given[head.choice] = given + len(head.text)
            tokens.append(self._pending.popleft())
        return _Step(window, tokens)

    def _waits_for_another(self, choice: int) -> bool:
        """Whether what comes next is text of another choice: one that has stopped would hold up the rest for ever."""
        head = self._pending[0] if self._pending else None
        return isinstance(head, TextDelta) and head.choice != choice


class _Passed:
    """Gives the tokens of steps that passed; the first that did not is the end."""

    def __init__(self) -> None:
        self._message = MessageAssembler()

    def feed(self, step: _Step) -> list[StreamToken]:
        if step.blocked is not None:
            step.blocked.partial = self._message.message(error=step.blocked.info)
            raise step.blocked
        self._message.extend(step.tokens)
        return step.tokens

    def flush(self) -> list[StreamToken]:
        return []


# Optimistic


def _optimistic(
    judge: _Judge, window: int, overlap: int, max_concurrency: int, share: float
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    def operator(source: Observable[StreamToken]) -> Observable[StreamToken]:
        def subscribe(
            observer: abc.ObserverBase[StreamToken], scheduler: abc.SchedulerBase | None = None
        ) -> abc.DisposableBase:
            demand = gate_of(scheduler)
            carrier = scheduler if scheduler is not None and demand is not None else gated(scheduler, Gate())
            courier = _Optimistic(
                observer,
                on_time(carrier),
                judge,
                _Texts(window, overlap),
                loop=loop_for(carrier),
                gate=demand or gate_of(carrier) or Gate(),
                max_concurrency=max_concurrency,
                share=share,
            )
            courier.source.disposable = source.subscribe(
                courier.receive, courier.source_failed, courier.source_completed, scheduler=carrier
            )
            return courier.disposable()

        return Observable(subscribe)

    return operator


class _Optimistic(Courier[StreamToken]):
    """Hands on what comes, and checks it meanwhile.

    Texts and what is blocked are guarded by the lock; checks are touched on the loop only.
    """

    def __init__(
        self,
        observer: abc.ObserverBase[StreamToken],
        scheduler: abc.SchedulerBase,
        judge: _Judge,
        texts: _Texts,
        *,
        loop: asyncio.AbstractEventLoop,
        gate: Gate,
        max_concurrency: int,
        share: float,
    ) -> None:
        self._tokens: deque[StreamToken] = deque()
        super().__init__(observer, scheduler, self._tokens)
        self._judge, self._texts, self._share = judge, texts, share
        self._loop, self._gate = loop, gate
        self._holder = object()  # holds the gate in our name, but does not hold us
        self._limit = max_concurrency
        self._windows = 0
        self._message = MessageAssembler()
        self._blocked: ContentBlockedError | None = None
        self._is_ending = False  # from the first `StreamEnd` on everything waits for the checks
        self._to_check: deque[_Window] = deque()
        self._checks: set[asyncio.Task[None]] = set()
        self._unpassed: dict[int, _Window] = {}  # by number
        self._held: list[Callable[[], None]] = []  # what waits for the checks

    def receive(self, token: StreamToken) -> None:
        """Take what the source brings."""
        with self._lock:
            if self._blocked is not None:
                return
            windows = self._windows_of(token)
            if not self._is_ending:
                self._tokens.append(token)
        for window in windows:
            self._on_loop(partial(self._begin, window))
        if self._is_ending:
            self._on_loop(partial(self._after_checks, partial(self.on_next, token)))
        else:
            self._look()

    def source_completed(self) -> None:
        """Complete, once what came has been checked."""
        self._end(self.on_completed)

    def source_failed(self, error: Exception) -> None:
        """Fail, once what came has been checked."""
        self._end(partial(self.on_error, error))

    def dispose(self) -> None:
        self._on_loop(self._clear)
        super().dispose()

    def _put(self, item: StreamToken) -> None:
        with self._lock:
            if self._blocked is None:
                self._tokens.append(item)

    def _deliver_next(self) -> None:
        try:
            token = self._tokens.popleft()
        except IndexError:  # disposed of by another thread
            return
        self._message.add(token)
        if isinstance(token, Retract) and self._blocked is not None:
            self._blocked.partial = self._message.message(error=self._blocked.info)
        self._emit(token)

    def _forget(self) -> None:
        self._tokens.clear()
        self._on_loop(self._clear)

    def _windows_of(self, token: StreamToken) -> list[_Window]:
        """The windows that `token` completes, and that are to be checked."""
        if isinstance(token, TextDelta):
            windows = self._texts.of(token.choice).add(token.text)
        else:
            windows = [] if isinstance(token, _RIDING) else self._texts.close()
        self._is_ending = self._is_ending or isinstance(token, StreamEnd)
        return self._sample(windows) if windows else windows

    def _sample(self, windows: list[_Window]) -> list[_Window]:
        """Those of `windows` that are to be checked: evenly spread, the first one always."""
        first, self._windows = self._windows, self._windows + len(windows)
        return [
            window._replace(number=number)
            for number, window in enumerate(windows, first)
            if math.ceil((number + 1) * self._share) > math.ceil(number * self._share)
        ]

    def _end(self, end: Callable[[], None]) -> None:
        with self._lock:
            windows = [] if self._blocked is not None else self._sample(self._texts.close())
        for window in windows:
            self._on_loop(partial(self._begin, window))
        self._on_loop(partial(self._after_checks, end))

    def _on_loop(self, action: Callable[[], None]) -> None:
        if running_loop() is self._loop:
            action()
        elif not self._loop.is_closed():
            self._loop.call_soon_threadsafe(action)

    # On the loop

    def _begin(self, window: _Window) -> None:
        if self._is_over or self._blocked is not None:
            return
        self._unpassed[window.number] = window
        self._to_check.append(window)
        if len(self._to_check) > SPARE:
            self._clear()
            self.fail(BufferOverflowError(f"more than {SPARE} windows wait for their check, and the source does not"))
        self._fill()

    def _fill(self) -> None:
        """Begin the checks that may be begun, and let the source wait while no more may."""
        while self._to_check and len(self._checks) < self._limit:
            check = self._loop.create_task(self._run_check(self._to_check.popleft()))
            self._checks.add(check)
            check.add_done_callback(self._checked)
        if len(self._checks) >= self._limit:
            self._gate.close(self._holder)
        else:
            self._gate.open(self._holder)
        while self._held and not self._unpassed and not self._is_over:
            self._held.pop(0)()

    async def _run_check(self, window: _Window) -> None:
        blocked = await self._judge(window)
        if self._is_over or self._blocked is not None:
            return
        if blocked is not None:
            self._block(blocked, window)
        else:
            del self._unpassed[window.number]

    def _checked(self, check: asyncio.Task[None]) -> None:
        self._checks.discard(check)
        if self._is_over or self._blocked is not None:
            return
        if check.cancelled():  # not by us: what was awaited was cancelled, or the loop comes to its end
            self._clear()
            self.fail(StreamError("a check of the guard was cancelled"))
        else:
            self._fill()

    def _after_checks(self, action: Callable[[], None]) -> None:
        if self._blocked is None:
            self._held.append(action)
            self._fill()

    def _block(self, blocked: ContentBlockedError, refused: _Window) -> None:
        """Take back what was refused and what has not passed, and end."""
        with self._lock:
            self._blocked = blocked
            self._tokens.extend(self._retractions(blocked, refused))
        self._clear()
        self.fail(blocked)

    def _retractions(self, blocked: ContentBlockedError, refused: _Window) -> list[Retract]:
        retractions: list[Retract] = []
        for choice, text in self._texts.by_choice.items():
            doubtful = [window.fresh for window in self._unpassed.values() if window.choice == choice]
            start = min([*doubtful, refused.start if choice == refused.choice else text.cut, text.cut])
            if start < text.length:
                retractions.append(Retract(start, choice, blocked.kind))
        return retractions

    def _clear(self) -> None:
        """Cancel what is under way and let the source go on."""
        for check in self._checks:
            check.cancel()
        self._to_check.clear()
        self._held.clear()
        self._unpassed.clear()
        self._gate.open(self._holder)
