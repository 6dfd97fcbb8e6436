"""`guard`: what is never shown, what is taken back, and what a check costs the stream."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import reactivex
import structlog
from hypothesis import given, settings
from hypothesis import strategies as st
from reactivex import operators as ops

from rxstream.errors import BufferOverflowError, ContentBlockedError, StreamError
from rxstream.flow import Gate
from rxstream.messages import AssembledMessage, MessageAssembler
from rxstream.operators import Verdict, guard
from rxstream.schedulers import FlowScheduler
from rxstream.sources import from_async_iterable
from rxstream.tokens import (
    FinishReason,
    LogProbs,
    ReasoningDelta,
    Retract,
    StreamEnd,
    StreamToken,
    TextDelta,
    ToolCallStart,
    UsageReport,
    merge_deltas,
)
from tests.demand import Faucet, turns
from tests.strategies import token_lists
from tests.virtual_loop import run_virtual, virtual_time

BOOM = OSError("boom")
BAD = "bad"
END = StreamEnd(FinishReason.STOP, "stop")
MODES = ["hold", "optimistic", "sampled"]
letters = st.lists(st.sampled_from(["b", "a", "d", "ba", "ad", "bad", " ", "so "]), max_size=4).map("".join)
texts = st.lists(letters.map(TextDelta) | st.just(LogProbs()), max_size=15)
answers = st.lists(letters.map(TextDelta) | st.just(ReasoningDelta("hm")) | st.just(LogProbs()), max_size=15)
sizes = st.tuples(st.integers(1, 9), st.integers(0, 5)).map(lambda pair: (sum(pair), pair[1]))
"""Window and overlap."""


class Guarded:
    """What came of a guarded stream on the running loop."""

    def __init__(self, stream: reactivex.Observable[StreamToken], gate: Gate | None = None) -> None:
        self.loop = asyncio.get_running_loop()
        self.tokens: list[StreamToken] = []
        self.times: list[float] = []
        self.end: asyncio.Future[Exception | None] = self.loop.create_future()
        self.subscription = stream.subscribe(
            self._hear, self.end.set_result, lambda: self.end.set_result(None), scheduler=FlowScheduler(self.loop, gate)
        )

    @property
    def text(self) -> str:
        """The text that was ever shown, taken back or not."""
        return "".join(token.text for token in self.tokens if isinstance(token, TextDelta))

    @property
    def message(self) -> AssembledMessage:
        """What it added up to."""
        assembler = MessageAssembler()
        assembler.extend(self.tokens)
        return assembler.message()

    def _hear(self, token: StreamToken) -> None:
        assert not self.end.done()
        self.tokens.append(token)
        self.times.append(self.loop.time())


class Check:
    """Refuses text with a word in it, after so many seconds, and knows what it saw."""

    def __init__(self, word: str = BAD, seconds: float = 0.0) -> None:
        self.word, self.seconds = word, seconds
        self.seen: list[str] = []
        self.at_once = self.most = self.cancelled = 0

    async def __call__(self, text: str) -> bool:
        self.seen.append(text)
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(self.seconds)
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        finally:
            self.at_once -= 1
        return self.word not in text


def guarded(tokens: list[Any], check: Callable[[str], Awaitable[Any]], **options: Any) -> tuple[Guarded, Any]:
    """What comes of `tokens` when they are guarded, and the error, in virtual time."""

    async def main() -> tuple[Guarded, Any]:
        heard = Guarded(from_async_iterable(tokens).pipe(guard(check, **options)))
        return heard, await heard.end

    return run_virtual(main())


def text_of(tokens: list[Any]) -> str:
    return "".join(token.text for token in tokens if isinstance(token, TextDelta))


# Laws


@given(token_lists, sizes, st.sampled_from(MODES), st.integers(1, 3))
@settings(max_examples=50)
def test_an_answer_that_passes_stays_as_it_is(
    tokens: list[StreamToken], size: tuple[int, int], mode: str, at_once: int
) -> None:
    check = Check("nothing like it")

    heard, error = guarded(tokens, check, window=size[0], overlap=size[1], mode=mode, max_concurrency=at_once)

    assert error is None
    assert merge_deltas(heard.tokens) == merge_deltas(tokens)
    assert check.most <= at_once


@given(texts, sizes, st.integers(1, 3))
@settings(max_examples=50)
def test_of_what_is_held_no_part_of_a_bad_word_is_ever_shown(
    tokens: list[Any], size: tuple[int, int], at_once: int
) -> None:
    window, overlap = size[0] + len(BAD), size[1] + len(BAD) - 1  # the word fits into the overlap and one more
    text = text_of(tokens)

    heard, error = guarded([*tokens, END], Check(), window=window, overlap=overlap, max_concurrency=at_once)

    assert isinstance(error, ContentBlockedError) == (BAD in text)
    assert text.startswith(heard.text)
    assert len(heard.text) <= (text + BAD).index(BAD)


@given(answers, sizes, st.sampled_from(["hold", "optimistic"]))
@settings(max_examples=50)
def test_what_stays_has_all_passed(tokens: list[Any], size: tuple[int, int], mode: str) -> None:
    window, overlap = size
    check = Check()

    heard, error = guarded([*tokens, END], check, window=window, overlap=overlap, mode=mode)

    text = text_of(tokens)
    stays = heard.message.text
    assert text.startswith(stays)
    refused = [seen for seen in check.seen if BAD in seen]
    assert bool(refused) == isinstance(error, ContentBlockedError)
    if error is None:
        assert stays == text
        assert heard.tokens[-1] == END
    else:
        assert error.partial is not None
        assert (error.partial.text, error.partial.complete) == (stays, False)
        assert END not in heard.tokens
        assert len(stays) <= text.rindex(refused[0]) + len(refused[0]) - 1


@given(answers, sizes)
@settings(max_examples=50)
def test_every_run_of_an_overlap_and_one_more_is_seen_whole(tokens: list[Any], size: tuple[int, int]) -> None:
    window, overlap = size
    check = Check("nothing like it")

    guarded(tokens, check, window=window, overlap=overlap)

    text = text_of(tokens)
    for at in range(len(text) - overlap):
        assert any(text[at : at + overlap + 1] in seen for seen in check.seen)
    assert all(len(seen) <= window for seen in check.seen)


@given(st.integers(1, 60), st.integers(1, 20))
@settings(max_examples=50)
def test_of_sampled_windows_so_many_are_checked(windows: int, parts: int) -> None:
    check = Check("nothing like it")

    guarded([TextDelta("x" * windows)], check, window=1, overlap=0, mode="sampled", share=1 / parts)

    assert abs(len(check.seen) - windows / parts) <= 1
    assert check.seen


# Hold


def test_text_is_given_when_every_window_that_it_is_in_has_passed() -> None:
    async def main() -> None:
        check, faucet = Check(seconds=1), Faucet[StreamToken]()
        heard = Guarded(faucet.stream.pipe(guard(check, window=5, overlap=2)))

        shown: list[str] = []
        for piece in ("abc", "def", "g"):
            faucet.push(TextDelta(piece))
            await asyncio.sleep(0.5)
            shown.append(heard.text)
            await asyncio.sleep(1)
            shown.append(heard.text)
        faucet.complete()
        await heard.end

        assert shown == ["", "a", "a", "abcd", "abcd", "abcd"]
        assert heard.text == "abcdefg"
        assert check.seen == ["abc", "bcdef", "efg"]

    run_virtual(main())


@virtual_time
async def test_what_a_thought_let_go_of_does_not_let_go_of_what_follows() -> None:
    faucet = Faucet[StreamToken]()
    heard = Guarded(faucet.stream.pipe(guard(Check(), window=5, overlap=2)))

    faucet.push(TextDelta("ab"), ReasoningDelta("hm"), TextDelta("def"))
    await asyncio.sleep(1)

    assert heard.tokens == [TextDelta("ab"), ReasoningDelta("hm"), TextDelta("d")]


def test_a_word_across_two_windows_is_refused_before_any_of_it_is_shown() -> None:
    heard, error = guarded([TextDelta("so ba"), TextDelta("d it is"), END], Check(), window=6, overlap=2)

    assert (heard.text, heard.tokens[-1]) == ("so", TextDelta("so"))
    assert isinstance(error, ContentBlockedError)


def test_what_tells_about_the_text_waits_with_it_and_anything_else_ends_the_window() -> None:
    check = Check()
    tokens = [
        TextDelta("ab"),
        LogProbs(),
        UsageReport(),
        TextDelta("cd"),
        ToolCallStart("k", None, "f"),
        TextDelta("e"),
    ]

    heard, _ = guarded(tokens, check, window=100, overlap=10)

    assert heard.tokens == tokens
    assert check.seen == ["abcd", "abcde"]


def test_one_choice_that_has_stopped_does_not_hold_up_another() -> None:
    tokens = [TextDelta("a", choice=1), *[TextDelta("bcde")] * 3]

    async def main() -> None:
        faucet = Faucet[StreamToken]()
        heard = Guarded(faucet.stream.pipe(guard(Check(), window=4, overlap=0)))

        faucet.push(*tokens)
        await asyncio.sleep(1)

        assert heard.tokens == tokens

    run_virtual(main())


@virtual_time
async def test_while_checks_run_the_source_waits() -> None:
    check, faucet = Check(seconds=1), Faucet[StreamToken]()
    heard = Guarded(faucet.stream.pipe(guard(check, window=4, overlap=0, max_concurrency=2)))

    wanted: list[bool] = []
    for _ in range(3):
        faucet.push(TextDelta("abcd"))
        await turns()
        wanted.append(faucet.is_wanted)
    await asyncio.sleep(1.5)
    wanted.append(faucet.is_wanted)

    assert wanted == [True, False, False, True]
    assert heard.text == "abcd" * 2


# Optimistic


@virtual_time
async def test_text_is_shown_at_once_and_taken_back_when_it_is_refused() -> None:
    faucet = Faucet[StreamToken]()
    heard = Guarded(faucet.stream.pipe(guard(Check(seconds=1), window=6, overlap=2, mode="optimistic")))

    faucet.push(TextDelta("good, "))
    await asyncio.sleep(2)
    faucet.push(TextDelta("bad, b"), TextDelta("y now"))
    await turns()
    shown = heard.text
    error = await heard.end

    assert shown == "good, bad, by now"
    assert heard.tokens[-1] == Retract(6)
    assert isinstance(error, ContentBlockedError)
    assert error.partial is not None
    assert (error.partial.text, error.partial.error) == ("good, ", error.info)
    assert (faucet.disposed, faucet.is_wanted) == (1, True)


@virtual_time
async def test_what_has_not_been_checked_yet_is_taken_back_too() -> None:
    async def check(text: str) -> bool:
        await asyncio.sleep(9 if "slow" in text else 0)
        return BAD not in text

    faucet = Faucet[StreamToken]()
    heard = Guarded(faucet.stream.pipe(guard(check, window=4, overlap=0, mode="optimistic")))

    faucet.push(TextDelta("fine"), TextDelta("slow"), TextDelta("ok", choice=1))
    await turns()
    faucet.push(TextDelta("bad!"))
    await heard.end

    assert heard.tokens[-2:] == [Retract(4), Retract(0, choice=1)]
    assert (heard.message.text, heard.message.choices[1].text) == ("fine", "")


@virtual_time
async def test_the_end_waits_for_the_checks_but_nothing_else_does() -> None:
    faucet = Faucet[StreamToken]()
    heard = Guarded(faucet.stream.pipe(guard(Check(seconds=1), mode="optimistic")))

    faucet.push(TextDelta("fine"), LogProbs(), END, UsageReport())
    await asyncio.sleep(0.5)
    before = list(heard.tokens)
    faucet.complete()
    end = await heard.end

    assert before == [TextDelta("fine"), LogProbs()]
    assert heard.tokens[2:] == [END, UsageReport()]
    assert (end, heard.loop.time()) == (None, 1)


@virtual_time
async def test_an_error_of_the_source_waits_for_the_checks_too() -> None:
    modes: list[Any] = MODES
    for mode in modes:
        check, faucet = Check(seconds=1), Faucet[StreamToken]()
        heard = Guarded(faucet.stream.pipe(guard(check, mode=mode)))

        faucet.push(TextDelta("fine"))
        faucet.fail(BOOM)
        end = await heard.end

        assert (end, heard.text, check.seen) == (BOOM, "fine", ["fine"])


@virtual_time
async def test_while_as_many_checks_run_as_may_the_consumers_own_gate_is_held() -> None:
    check, faucet, gate = Check(seconds=1), Faucet[StreamToken](), Gate()
    Guarded(faucet.stream.pipe(guard(check, window=4, overlap=0, mode="optimistic", max_concurrency=2)), gate)

    wanted: list[bool] = []
    for _ in range(3):
        faucet.push(TextDelta("abcd"))
        wanted.append(faucet.is_wanted)
    await asyncio.sleep(1.5)
    wanted.append(faucet.is_wanted)
    await asyncio.sleep(1)

    assert faucet.gate is gate
    assert wanted == [True, False, False, True]
    assert check.most == 2


@virtual_time
async def test_windows_that_wait_for_a_check_are_bounded() -> None:
    faucet = Faucet[StreamToken](waits=False)
    heard = Guarded(faucet.stream.pipe(guard(Check(seconds=1), window=1, overlap=0, mode="optimistic")))

    faucet.push(TextDelta("x" * 2_000))

    assert isinstance(await heard.end, BufferOverflowError)
    assert faucet.disposed == 1


@virtual_time
async def test_a_source_in_another_thread_is_checked_on_the_loop() -> None:
    faucet, seen = Faucet[StreamToken](), set[str]()

    async def check(text: str) -> bool:
        seen.add(threading.current_thread().name)
        return BAD not in text

    heard = Guarded(faucet.stream.pipe(guard(check, window=4, overlap=0, mode="optimistic")))

    def bring() -> None:
        for _ in range(100):
            faucet.push(TextDelta("fine"))
        faucet.push(TextDelta("bad!"), END)
        faucet.complete()

    await asyncio.to_thread(bring)
    error = await heard.end

    assert isinstance(error, ContentBlockedError)
    assert heard.message.text == "fine" * 100
    assert seen == {threading.current_thread().name}


# Verdicts and failures


@pytest.mark.parametrize("mode", MODES)
def test_a_verdict_says_why(mode: str) -> None:
    async def check(_: str) -> Verdict:
        return Verdict(False, "rude")

    heard, error = guarded([TextDelta("you know who"), END], check, mode=mode)

    assert (error.kind, error.is_retryable, heard.message.text) == ("rude", False, "")
    assert [token.reason for token in heard.tokens if isinstance(token, Retract)] == ["rude"] * (mode != "hold")
    assert "who" not in str(error)


@pytest.mark.parametrize("mode", MODES)
def test_a_check_that_raises_blocks(mode: str) -> None:
    async def check(_: str) -> bool:
        raise BOOM

    heard, error = guarded([TextDelta("hello"), END], check, mode=mode)

    assert isinstance(error, ContentBlockedError)
    assert (error.__cause__, heard.message.text) == (BOOM, "")


@pytest.mark.parametrize("mode", MODES)
def test_a_check_that_raises_may_be_passed_over_but_not_in_silence(mode: str) -> None:
    async def check(_: str) -> bool:
        raise OSError("what the user wrote")

    with structlog.testing.capture_logs() as lines:
        heard, error = guarded([TextDelta("hello"), END], check, mode=mode, on_error="pass")

    assert (error, heard.tokens) == (None, [TextDelta("hello"), END])
    assert lines == [{"event": "guard.check_failed", "log_level": "warning", "error": "OSError"}]


@pytest.mark.parametrize("mode", MODES)
def test_a_check_that_is_cancelled_ends_the_stream(mode: str) -> None:
    async def check(_: str) -> bool:
        raise asyncio.CancelledError

    _, error = guarded([TextDelta("hello"), END], check, mode=mode)

    assert isinstance(error, StreamError)
    assert "cancelled" in str(error)


@pytest.mark.parametrize("mode", MODES)
def test_disposing_cancels_the_checks(mode: Any) -> None:
    async def main() -> None:
        check, faucet = Check(seconds=9), Faucet[StreamToken]()
        heard = Guarded(faucet.stream.pipe(guard(check, window=4, overlap=0, mode=mode, share=1, max_concurrency=2)))
        faucet.push(TextDelta("abcd"), TextDelta("efgh"))
        await turns()
        assert not faucet.is_wanted

        heard.subscription.dispose()
        await turns()

        assert (check.cancelled, faucet.disposed, faucet.is_wanted) == (2, 1, True)
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run_virtual(main())


@pytest.mark.parametrize("mode", MODES)
def test_a_refusal_cancels_the_checks_behind_it(mode: Any) -> None:
    async def check(text: str) -> bool:
        if BAD not in text:
            await asyncio.sleep(60)
        return BAD not in text

    async def main() -> float:
        heard = Guarded(
            from_async_iterable([TextDelta("bad!"), TextDelta("fine")]).pipe(
                guard(check, window=4, overlap=0, mode=mode, share=1)
            )
        )
        await heard.end
        await turns()
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return heard.loop.time()

    assert run_virtual(main()) == 0


@virtual_time
async def test_a_retry_above_is_guarded_anew() -> None:
    attempts = iter([[TextDelta("bad"), END], [TextDelta("good"), END]])
    stream = reactivex.defer(lambda _: from_async_iterable(next(attempts))).pipe(guard(Check()), ops.retry(2))

    heard = Guarded(stream)

    assert await heard.end is None
    assert heard.tokens == [TextDelta("good"), END]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"window": 4, "overlap": 4}, "overlap"),
        ({"overlap": -1}, "overlap"),
        ({"share": 0}, "share"),
        ({"share": 1.1}, "share"),
        ({"max_concurrency": 0}, "concurrency"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        guard(Check(), **options)
