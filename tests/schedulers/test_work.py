"""`Work`: once, or not at all."""

from reactivex import abc
from reactivex.disposable import BooleanDisposable
from reactivex.scheduler import ImmediateScheduler

from rxstream.schedulers.work import Work


class Recorder:
    """Work that notes what happens to it."""

    def __init__(self, returned: abc.DisposableBase | None = None) -> None:
        self.returned = returned
        self.runs = 0
        self.drops: list[Work] = []
        self.work = Work(ImmediateScheduler(), self._action, None, self.drops.append)

    def _action(self, _: abc.SchedulerBase, __: object = None) -> abc.DisposableBase | None:
        self.runs += 1
        return self.returned


def test_work_runs_once() -> None:
    recorder = Recorder()

    recorder.work.run()
    recorder.work.run()

    assert recorder.runs == 1


def test_work_disposed_before_its_run_never_runs_and_is_dropped_once() -> None:
    recorder = Recorder()

    recorder.work.dispose()
    recorder.work.dispose()
    recorder.work.run()

    assert recorder.runs == 0
    assert recorder.drops == [recorder.work]


def test_work_disposed_after_its_run_disposes_what_it_returned_and_is_not_dropped() -> None:
    returned = BooleanDisposable()
    recorder = Recorder(returned)
    recorder.work.run()
    assert not returned.is_disposed

    recorder.work.dispose()

    assert returned.is_disposed
    assert not recorder.drops
