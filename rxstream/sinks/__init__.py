"""Where streams end: in a loop, in an iterator, in a whole message."""

from rxstream.sinks.collect import collect
from rxstream.sinks.iterate import iterate
from rxstream.sinks.to_async_iterator import to_async_iterator

__all__ = ["collect", "iterate", "to_async_iterator"]
