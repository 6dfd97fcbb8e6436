"""Schedulers that carry demand or keep a pace, and those of UI toolkits."""

from rxstream.schedulers.buffering_scheduler import BufferingScheduler
from rxstream.schedulers.flow_scheduler import FlowScheduler, gate_of, running_loop
from rxstream.schedulers.loops import background_loop, call_on, loop_for
from rxstream.schedulers.qt_scheduler import QtScheduler
from rxstream.schedulers.throttling_scheduler import ThrottlingScheduler
from rxstream.schedulers.tk_scheduler import TkScheduler

__all__ = [
    "BufferingScheduler",
    "FlowScheduler",
    "QtScheduler",
    "ThrottlingScheduler",
    "TkScheduler",
    "background_loop",
    "call_on",
    "gate_of",
    "loop_for",
    "running_loop",
]
