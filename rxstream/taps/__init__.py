"""Taps for `pipe`: they look at a stream and leave it as it is."""

from rxstream.taps.metrics import NO_METRICS, MetricsSummary, Pressure, StreamMetrics
from rxstream.taps.quietly import quietly
from rxstream.taps.record import record
from rxstream.taps.registry import MetricsRegistry, RegistrySummary
from rxstream.taps.tap_log import tap_log
from rxstream.taps.tap_message import tap_message
from rxstream.taps.tap_metrics import tap_metrics
from rxstream.taps.tap_progress import tap_progress
from rxstream.tokens import Outcome

__all__ = [
    "NO_METRICS",
    "MetricsRegistry",
    "MetricsSummary",
    "Outcome",
    "Pressure",
    "RegistrySummary",
    "StreamMetrics",
    "quietly",
    "record",
    "tap_log",
    "tap_message",
    "tap_metrics",
    "tap_progress",
]
