"""The controller: one bound for one stream or many. The laws are in test_controller_laws.py."""

import asyncio
import random
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rxstream.flow import BackpressureConfig, StreamBackpressureController, StreamShare
from tests.flow.helpers import HookedLock, leave_behind, turns


def controller_of(items: int, *, now: Callable[[], float] = lambda: 0.0, **config: Any) -> StreamBackpressureController:
    """A controller for so many items; its gate closes when all are held and opens at half."""
    config = {"high_mark": 1.0, "low_mark": 0.5, "maximum_items": items, **config}
    return StreamBackpressureController(BackpressureConfig(**config), now=now)


def is_open(*streams: StreamShare | StreamBackpressureController) -> list[bool]:
    """Which of the gates are open."""
    return [stream.gate.is_open for stream in streams]


# One stream


def test_the_gate_closes_at_the_high_mark_and_opens_at_the_low_one() -> None:
    controller = controller_of(4)

    seen = list[bool]()
    for step in (controller.add, controller.release):
        for _ in range(4):
            step()
            seen.append(controller.gate.is_open)

    assert seen == [True, True, True, False, False, True, True, True]


def test_bytes_close_it_as_items_do_and_both_have_to_go_down() -> None:
    controller = controller_of(4, maximum_bytes=1_000)

    controller.add(1, 1_000)
    assert not controller.gate.is_open
    controller.add(3, 0)
    controller.release(1, 900)
    assert not controller.gate.is_open  # three of four items are left
    controller.release(1)
    assert controller.gate.is_open
    controller.add(1, 900)
    controller.release(2, 400)
    assert not controller.gate.is_open  # 600 of 1,000 bytes are left
    controller.release(0, 100)

    assert controller.gate.is_open


def test_a_mark_is_a_line_not_a_wall() -> None:
    controller = controller_of(4)

    controller.add(1_000)

    assert controller.snapshot().depth == 1_000
    assert not controller.gate.is_open


async def test_a_source_that_waits_goes_on_when_a_consumer_on_another_thread_releases() -> None:
    controller = controller_of(2)
    controller.add(2)
    source = asyncio.create_task(controller.gate.wait())
    await turns()
    assert not source.done()

    consumer = threading.Thread(target=controller.release)
    consumer.start()
    consumer.join()
    await turns()

    assert source.done()


def test_the_snapshot_has_all_the_figures() -> None:
    now = 10.0
    controller = controller_of(4, now=lambda: now)
    controller.add(3, 300)
    controller.add(3, 50)
    now = 12.5
    controller.drop(0, 20)
    controller.drop(1, 30)
    controller.release(4, 200)
    controller.note_read(1_024, 0.0)
    now = 20.0

    figures = controller.snapshot()

    assert msgspec.to_builtins(figures) == {
        "depth": 1,
        "bytes_held": 100,
        "peak_items": 6,
        "peak_bytes": 350,
        "items_in": 6,
        "bytes_in": 350,
        "dropped": 1,
        "bytes_dropped": 50,
        "is_paused": False,
        "times_paused": 1,
        "seconds_paused": 2.5,
        "read_size": 2_048,
        "streams": 0,
        "waiting": 0,
    }
    assert (figures.items_out, figures.bytes_out) == (4, 200)


def test_a_snapshot_while_it_is_paused_counts_up_to_now() -> None:
    now = 10.0
    controller = controller_of(4, now=lambda: now)
    controller.add(4)
    now = 13.0

    figures = controller.snapshot()

    assert figures.is_paused
    assert (figures.times_paused, figures.seconds_paused) == (1, 3.0)


def test_the_read_size_follows_the_processing_time_and_the_depth() -> None:
    controller = controller_of(100, target_seconds=0.010)

    sizes = [controller.note_read(controller.read_size, 0.001) for _ in range(3)]
    sizes.append(controller.note_read(controller.read_size, 0.011))
    controller.add(60)
    sizes.append(controller.note_read(controller.read_size, 0.001))

    assert sizes == [2_048, 4_096, 8_192, 4_096, 2_048]
    assert controller.read_size == 2_048


def test_reads_stay_within_the_configured_buffer() -> None:
    controller = controller_of(100, minimum_buffer=4_096, maximum_buffer=8_192)

    large = [controller.note_read(controller.read_size, 0.0) for _ in range(3)]
    small = [controller.note_read(controller.read_size, 1.0) for _ in range(3)]

    assert (large, small) == ([8_192] * 3, [4_096] * 3)


def test_more_than_is_held_cannot_be_released_and_the_attempt_changes_nothing() -> None:
    controller = controller_of(10)
    controller.add(2, 20)

    for items, size in [(3, 0), (1, 21), (-1, 0), (0, -1)]:
        for step in (controller.release, controller.drop):
            with pytest.raises(ValueError, match=f"{items} items of {size} bytes: 2 items of 20 bytes are held"):
                step(items, size)
    for step in (controller.add, controller.try_acquire):
        with pytest.raises(ValueError, match="neither -1 items nor 5 bytes"):
            step(-1, 5)
        with pytest.raises(ValueError, match="neither 5 items nor -1 bytes"):
            step(5, -1)
    with pytest.raises(ValueError, match="neither 100 items nor -1 bytes"):
        controller.try_acquire(100, -1)

    assert (controller.snapshot().depth, controller.snapshot().bytes_held) == (2, 20)


def test_what_a_stream_holds_cannot_be_released_by_another() -> None:
    controller = controller_of(10)
    stream = controller.stream()
    stream.add(5)

    with pytest.raises(ValueError, match="0 items of 0 bytes are held"):
        controller.release(5)


def test_its_repr_says_how_full_it_is() -> None:
    controller = controller_of(4, maximum_bytes=1_000)
    controller.add(4, 100)

    assert repr(controller) == "StreamBackpressureController(4 of 4 items, 100 of 1000 bytes, closed)"
    controller.release(4, 100)
    assert repr(controller) == "StreamBackpressureController(0 of 4 items, 0 of 1000 bytes, open)"


@pytest.mark.parametrize("is_stream", [True, False], ids=["stream", "controller"])
async def test_one_item_of_no_bytes_is_meant_unless_it_is_said_otherwise(is_stream: bool) -> None:
    controller = controller_of(100)
    counted = controller.stream() if is_stream else controller

    def held() -> tuple[int, int]:
        figures = controller.snapshot()
        return figures.depth, figures.bytes_held

    counted.add(10, 10)
    seen = [held()]
    for step in (counted.add, counted.release, counted.drop, counted.try_acquire):
        step()
        seen.append(held())
    await counted.acquire()
    seen.append(held())
    async with counted.permit():
        seen.append(held())
    async with counted.permit(2, 5):
        seen.append(held())
    seen.append(held())

    assert seen == [(10, 10), (11, 10), (10, 10), (9, 10), (10, 10), (11, 10), (12, 10), (13, 15), (11, 10)]


# Many streams


def test_what_the_streams_hold_together_closes_their_gates() -> None:
    controller = controller_of(4)
    one, other = controller.stream(), controller.stream()

    one.add(2)
    other.add(2)
    assert is_open(controller, one, other) == [False, False, False]
    one.release(1)
    other.release(1)

    assert is_open(controller, one, other) == [True, True, True]


def test_a_stream_that_holds_nothing_is_not_held_back() -> None:
    controller = controller_of(4)
    stalled, quick, late = controller.stream(), controller.stream(), controller.stream()
    quick.add(1)

    stalled.add(100)
    assert is_open(controller, stalled, quick, late) == [False, False, False, True]
    quick.release(1)
    assert is_open(stalled, quick) == [False, True]
    quick.add(3)
    assert is_open(stalled, quick) == [False, False]
    quick.drop(3)

    assert is_open(stalled, quick) == [False, True]
    assert [stream.snapshot().times_paused for stream in (stalled, quick, late)] == [1, 2, 0]


def test_between_the_marks_a_stream_that_comes_to_hold_something_waits_with_the_others() -> None:
    controller = controller_of(10)
    one, other = controller.stream(), controller.stream()
    one.add(10)
    one.release(3)

    other.add(1)

    assert is_open(one, other) == [False, False]


def test_closing_a_stream_releases_all_that_it_held_once() -> None:
    controller = controller_of(4)
    one, other = controller.stream(), controller.stream()
    one.add(3, 30)
    other.add(1, 10)

    one.close()
    one.close()

    assert is_open(controller, one, other) == [True, True, True]
    figures = controller.snapshot()
    assert (figures.depth, figures.bytes_held, figures.items_out, figures.streams) == (1, 10, 3, 1)
    assert one.is_closed
    assert (one.snapshot().depth, one.snapshot().items_out, one.snapshot().streams) == (0, 3, 0)


def test_a_closed_stream_counts_nothing_any_more() -> None:
    controller = controller_of(4)
    stream = controller.stream()
    stream.add(2)
    stream.close()

    stream.add(100, 100)
    stream.release(2)
    stream.drop(7)
    assert stream.try_acquire(1_000)

    assert controller.snapshot().items_in == 2
    assert is_open(controller, stream) == [True, True]


def test_a_stream_is_closed_at_the_end_of_its_block() -> None:
    controller = controller_of(4)

    with controller.stream() as stream:
        stream.add(4)

    assert stream.is_closed
    assert controller.gate.is_open


def test_a_stream_that_closes_when_empty_is_counted_until_all_is_taken() -> None:
    controller = controller_of(4)
    stream = controller.stream()
    stream.add(2, 20)

    stream.close_when_empty()
    seen = [(controller.snapshot().depth, controller.snapshot().streams, stream.is_closed)]
    for _ in range(2):
        stream.release(1, 10)
        seen.append((controller.snapshot().depth, controller.snapshot().streams, stream.is_closed))

    assert seen == [(2, 1, False), (1, 1, False), (0, 0, True)]


def test_a_stream_that_closes_when_empty_leaves_its_gate_open() -> None:
    controller = controller_of(4)
    stream = controller.stream()
    stream.add(4)

    stream.close_when_empty()
    assert is_open(controller, stream) == [False, False]
    stream.release(4)

    assert is_open(controller, stream) == [True, True]


def test_a_stream_that_holds_nothing_closes_at_once_and_for_good_by_close() -> None:
    controller = controller_of(4)
    stream = controller.stream()

    stream.close_when_empty()
    assert (stream.is_closed, controller.snapshot().streams) == (True, 0)
    stream.add(0)
    assert (stream.is_closed, controller.snapshot().streams) == (True, 0)
    stream.add(1)  # it was between two queues
    assert (stream.is_closed, controller.snapshot().streams, controller.snapshot().depth) == (False, 1, 1)
    stream.close()
    stream.add(1)

    assert (stream.is_closed, controller.snapshot().streams, controller.snapshot().depth) == (True, 0, 0)


def test_what_an_ended_stream_still_holds_holds_others_back() -> None:
    controller = controller_of(4)
    ended, other = controller.stream(), controller.stream()
    ended.add(3)
    other.add(1)

    ended.close_when_empty()
    assert not other.gate.is_open
    ended.release(3)

    assert other.gate.is_open


def test_a_stream_that_nobody_has_any_more_releases_what_it_held() -> None:
    controller = controller_of(4)
    abandoned = controller.stream()
    abandoned.add(4)
    abandoned.close_when_empty()

    del abandoned

    assert (controller.snapshot().depth, controller.snapshot().streams) == (0, 0)
    assert controller.gate.is_open


async def test_dropping_lets_a_paused_source_go() -> None:
    controller = controller_of(4)
    controller.add(4)
    source = asyncio.create_task(controller.gate.wait())
    await turns()

    controller.drop(2)
    await turns()

    assert source.done()


async def test_closing_a_stream_lets_its_paused_source_go() -> None:
    controller = controller_of(4)
    stream, other = controller.stream(), controller.stream()
    other.add(100)
    stream.add(1)
    source, other_source = asyncio.create_task(stream.gate.wait()), asyncio.create_task(other.gate.wait())
    await turns()

    stream.close()
    await turns()

    assert source.done()
    assert not other_source.done()
    other.close()
    await turns()
    assert other_source.done()


def test_each_stream_has_a_read_size_of_its_own_and_the_controller_names_the_largest() -> None:
    controller = controller_of(100)
    slow, quick = controller.stream(), controller.stream()

    for _ in range(3):
        quick.note_read(quick.read_size, 0.0)
        slow.note_read(slow.read_size, 1.0)

    assert (slow.read_size, quick.read_size, controller.read_size) == (1_024, 8_192, 1_024)
    assert (slow.snapshot().read_size, quick.snapshot().read_size) == (1_024, 8_192)
    assert controller.snapshot().read_size == 8_192
    quick.close()
    assert controller.snapshot().read_size == 1_024


async def test_a_hundred_streams_do_not_lock_each_other_up_though_only_one_is_consumed() -> None:
    controller = controller_of(50)
    taken = 0

    async def source(stream: StreamShare, chunks: int) -> None:
        for _ in range(chunks):
            await stream.gate.wait()
            stream.add(7)
            await asyncio.sleep(0)

    stalled = [asyncio.create_task(source(controller.stream(), 100)) for _ in range(99)]
    await turns()
    live = controller.stream()
    producer = asyncio.create_task(source(live, 100))
    for _ in range(10_000):
        await asyncio.sleep(0)
        if live.snapshot().depth:
            live.release()
            taken += 1

    assert producer.done()
    assert taken == 700
    assert not any(task.done() for task in stalled)
    assert controller.snapshot().peak_items < 50 + 100 * 7
    for task in stalled:
        task.cancel()


@given(chance=st.randoms(use_true_random=False), chunk=st.integers(1, 9), streams=st.integers(1, 12))
def test_what_all_hold_stays_beneath_the_mark_and_a_chunk_for_each(
    chance: random.Random, chunk: int, streams: int
) -> None:
    controller = controller_of(20)
    shares = [controller.stream() for _ in range(streams)]
    may_read = dict.fromkeys(shares, False)  # a source looks at the gate, and reads later

    for _ in range(200):
        share = chance.choice(shares)
        match chance.choice(["look", "read", "take"]):
            case "look":
                may_read[share] |= share.gate.is_open
            case "read" if may_read[share]:
                may_read[share] = False
                share.add(chunk)
            case _ if share.snapshot().depth:
                share.release()
            case _:
                continue

        assert controller.snapshot().depth < 20 + streams * chunk


# Permits


async def test_permits_are_had_until_the_maximum_and_then_waited_for_in_turn() -> None:
    controller = controller_of(3)
    order = list[int]()

    async def want(number: int, items: int) -> None:
        await controller.acquire(items)
        order.append(number)

    waiting = [asyncio.create_task(want(number, items)) for number, items in enumerate([2, 1, 3, 1])]
    await turns()
    assert order == [0, 1]
    assert controller.snapshot().waiting == 2
    controller.release(1)
    await turns()
    assert order == [0, 1]  # one item is free, but who wants three of them came first
    controller.release(2)
    await turns()
    assert order == [0, 1, 2]
    controller.release(3)
    await turns()

    assert order == [0, 1, 2, 3]
    assert all(task.done() for task in waiting)
    assert controller.snapshot().depth == 1


async def test_bytes_are_waited_for_as_items_are() -> None:
    controller = controller_of(100, maximum_bytes=1_000)
    controller.add(1, 600)

    waiting = asyncio.create_task(controller.acquire(1, 401))
    await turns()
    assert not waiting.done()
    controller.release(0, 1)
    await turns()

    assert waiting.done()
    assert controller.snapshot().bytes_held == 1_000


async def test_what_is_larger_than_the_maximum_goes_when_nothing_else_is_held() -> None:
    controller = controller_of(3)
    controller.add(1)

    waiting = asyncio.create_task(controller.acquire(50))
    await turns()
    assert not waiting.done()
    controller.release(1)
    await turns()

    assert waiting.done()
    assert controller.snapshot().depth == 50


async def test_a_permit_is_held_for_the_length_of_its_block() -> None:
    controller = controller_of(3)
    stream = controller.stream()

    async def fail_with_permits() -> None:
        async with controller.permit(2, 20), stream.permit(size=5):
            assert controller.snapshot().depth == 3
            _ = 1 // 0

    with pytest.raises(ZeroDivisionError):
        await fail_with_permits()

    assert (controller.snapshot().depth, controller.snapshot().bytes_held) == (0, 0)


def test_nobody_is_overtaken_by_who_only_tries() -> None:
    controller = controller_of(3)

    async def play() -> None:
        assert controller.try_acquire(2)
        assert not controller.try_acquire(2)
        waiting = asyncio.create_task(controller.acquire(2))
        await turns()
        assert not controller.try_acquire(1)
        controller.release(2)
        await turns()
        assert waiting.done()
        assert controller.try_acquire(1)

    asyncio.run(play())


async def test_permits_close_the_gate_and_release_opens_it() -> None:
    controller = controller_of(2)

    await controller.acquire(2)
    assert not controller.gate.is_open
    controller.release(2)

    assert controller.gate.is_open


async def test_who_is_cancelled_in_line_makes_room_for_the_next() -> None:
    controller = controller_of(3)
    controller.add(2)
    large, small = asyncio.create_task(controller.acquire(3)), asyncio.create_task(controller.acquire(1))
    await turns()
    assert not small.done()

    large.cancel()
    await turns()

    assert small.done()
    assert controller.snapshot().depth == 3
    assert controller.snapshot().waiting == 0


async def test_who_is_cancelled_as_its_turn_comes_gives_its_permit_back() -> None:
    controller = controller_of(3)
    controller.add(3)
    first, second = asyncio.create_task(controller.acquire(1)), asyncio.create_task(controller.acquire(1))
    await turns()

    controller.release(1)
    first.cancel()
    await turns()

    assert first.cancelled()
    assert second.done()
    assert controller.snapshot().depth == 3


async def test_a_permit_that_is_given_back_may_open_the_gate() -> None:
    controller = controller_of(3)
    controller.add(3)
    waiting, source = asyncio.create_task(controller.acquire(3)), asyncio.create_task(controller.gate.wait())
    await turns()

    controller.release(3)
    assert not controller.gate.is_open  # the permit has closed it again
    waiting.cancel()
    await turns()

    assert source.done()


async def test_closing_a_stream_lets_go_who_waits_for_its_permits() -> None:
    controller = controller_of(3)
    stream, other = controller.stream(), controller.stream()
    other.add(3)
    waiting = [asyncio.create_task(share.acquire(2)) for share in (stream, other, stream)]
    await turns()
    assert (stream.snapshot().waiting, other.snapshot().waiting) == (2, 1)

    stream.close()
    await turns()

    assert [task.done() for task in waiting] == [True, False, True]
    assert controller.snapshot().depth == 3
    other.release(3)
    await turns()
    assert waiting[1].done()


async def test_permits_are_refused_that_cannot_be() -> None:
    controller = controller_of(3)
    controller.add(3)

    with pytest.raises(ValueError, match="neither -1 items nor 0 bytes"):
        await controller.acquire(-1)


def test_a_loop_that_ended_in_line_is_passed_over() -> None:
    controller = controller_of(1)
    controller.add(1)
    ended, loop = asyncio.new_event_loop(), asyncio.new_event_loop()
    left, waiting = ended.create_task(controller.acquire()), loop.create_task(controller.acquire())
    ended.run_until_complete(turns())
    leave_behind(ended)
    loop.run_until_complete(turns())

    controller.release()
    loop.run_until_complete(turns())
    loop.close()

    assert waiting.done()
    assert not left.done()
    assert controller.snapshot().depth == 1


# Threads


@pytest.mark.usefixtures("hasty_threads")
def test_nothing_is_lost_and_nobody_waits_for_ever_between_threads() -> None:
    controller = controller_of(10, maximum_bytes=1_000)
    chunks, streams = 30, 4
    queues = [SimpleQueue[int | None]() for _ in range(streams)]
    shares = [controller.stream() for _ in range(streams)]

    async def source(number: int) -> None:
        for size in range(chunks):
            if number % 2:
                await shares[number].gate.wait()
                shares[number].add(3, size)
            else:
                await shares[number].acquire(3, size)
            queues[number].put(size)
            await asyncio.sleep(0)
        queues[number].put(None)

    def consume(number: int) -> None:
        while (size := queues[number].get()) is not None:
            shares[number].release(1, size)
            shares[number].drop(1)
            shares[number].release(1)

    threads = [threading.Thread(target=consume, args=[number], daemon=True) for number in range(streams)]
    threads += [threading.Thread(target=asyncio.run, args=[source(number)], daemon=True) for number in range(streams)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    figures = controller.snapshot()
    assert (figures.depth, figures.bytes_held, figures.waiting) == (0, 0, 0)
    assert (figures.items_in, figures.dropped) == (3 * chunks * streams, chunks * streams)
    assert figures.peak_items < 10 + 3 * streams
    assert all(is_open(controller, *shares))


def test_a_stage_may_be_told_while_another_thread_counts_under_the_same_lock() -> None:
    """What is called when the gate opens may want a lock whose holder wants the controller."""
    controller = controller_of(1)
    controller.add(1)
    stage = threading.Lock()
    is_told, is_counted = threading.Event(), threading.Event()

    def told() -> None:
        is_told.set()
        assert is_counted.wait(10)

    def count() -> None:
        with stage:
            assert is_told.wait(10)
            controller.add(1)
            is_counted.set()

    controller.gate.when_open(told)
    counting = threading.Thread(target=count, daemon=True)
    counting.start()
    controller.release(1)
    counting.join(10)

    assert is_counted.is_set()


def test_the_collector_may_close_a_stream_in_the_middle_of_anything() -> None:
    abandoned = list[StreamShare]()

    def now() -> float:
        while abandoned:
            abandoned.pop().close()
        return 0.0

    controller = controller_of(4, now=now)
    stream = controller.stream()
    stream.add(3)
    abandoned.append(stream)
    worker = threading.Thread(target=controller.add, daemon=True)

    worker.start()
    worker.join(10)

    assert not worker.is_alive()
    assert controller.snapshot().depth == 1
    assert is_open(controller, stream) == [True, True]


def test_the_collector_may_close_a_stream_just_before_the_gate_closes_on_account_of_it() -> None:
    controller = controller_of(4)
    stream = controller.stream()
    stream.add(3)
    vars(controller.gate)["_lock"] = HookedLock(stream.close)

    controller.add()

    assert controller.snapshot().depth == 1
    assert controller.gate.is_open


# Configuration


@pytest.mark.parametrize(
    ("config", "words"),
    [
        ({"minimum_buffer": 512}, r"minimum buffer \(512\)"),
        ({"maximum_buffer": 65_537}, r"maximum \(65537\)"),
        ({"minimum_buffer": 8_192, "maximum_buffer": 4_096}, r"\(8192\).*\(4096\)"),
        ({"maximum_items": 0}, r"maximum items \(0\)"),
        ({"maximum_bytes": -1}, r"bytes \(-1\)"),
        ({"low_mark": 0.9, "high_mark": 0.8}, r"low mark \(0.9\).*high mark \(0.8\)"),
        ({"low_mark": 0.5, "high_mark": 0.5}, r"low mark \(0.5\).*high mark \(0.5\)"),
        ({"low_mark": -0.1}, r"low mark \(-0.1\)"),
        ({"high_mark": 1.1}, r"high mark \(1.1\)"),
        ({"target_seconds": 0.0}, "target"),
        ({"target_seconds": float("nan")}, "target"),
    ],
)
def test_what_cannot_be_configured_is_refused_by_name(config: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        BackpressureConfig(**config)


def test_a_configuration_comes_from_json_and_is_checked_then_too() -> None:
    assert msgspec.json.decode(b'{"maximum_items": 7}', type=BackpressureConfig) == BackpressureConfig(maximum_items=7)
    with pytest.raises(msgspec.ValidationError, match="maximum items"):
        msgspec.json.decode(b'{"maximum_items": 0}', type=BackpressureConfig)


def test_a_buffer_may_be_of_one_size() -> None:
    assert controller_of(4, minimum_buffer=4_096, maximum_buffer=4_096).read_size == 4_096


def test_marks_that_would_fall_together_are_one_apart() -> None:
    config = BackpressureConfig(low_mark=0.74, high_mark=0.75)

    assert [config.marks(maximum) for maximum in (1, 4, 100)] == [(1, 0), (3, 2), (75, 74)]


@given(maximum=st.integers(1, 10_000), marks=st.lists(st.floats(0, 1), min_size=2, max_size=2, unique=True))
def test_the_marks_are_whole_and_one_apart_at_least(maximum: int, marks: list[float]) -> None:
    config = BackpressureConfig(low_mark=min(marks), high_mark=max(marks))

    high_mark, low_mark = config.marks(maximum)

    assert 0 <= low_mark < high_mark <= maximum
    assert high_mark == pytest.approx(config.high_mark * maximum, abs=1)
    assert low_mark <= config.low_mark * maximum + 0.5
