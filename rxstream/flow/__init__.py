"""Pace: what decides how fast a stream may go, and what waits on the decision."""

from rxstream.flow.bounded_queue import BoundedQueue
from rxstream.flow.controller import (
    BackpressureConfig,
    BackpressureSnapshot,
    StreamBackpressureController,
    StreamShare,
)
from rxstream.flow.gate import Gate, wake
from rxstream.flow.gated_queue import GatedQueue
from rxstream.flow.overflow import Overflow
from rxstream.flow.rate import Rate
from rxstream.flow.read_size import LARGEST_READ, AdaptiveReadSize
from rxstream.flow.retry import RetryPolicy
from rxstream.flow.watermarks import Watermarks

__all__ = [
    "LARGEST_READ",
    "AdaptiveReadSize",
    "BackpressureConfig",
    "BackpressureSnapshot",
    "BoundedQueue",
    "Gate",
    "GatedQueue",
    "Overflow",
    "Rate",
    "RetryPolicy",
    "StreamBackpressureController",
    "StreamShare",
    "Watermarks",
    "wake",
]
