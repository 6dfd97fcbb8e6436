"""Where streams come from: HTTP, bodies that somebody already has, async iterables, recordings."""

from rxstream.sources.async_iterable import from_async_iterable
from rxstream.sources.body import HttpStreamHandler
from rxstream.sources.deadlines import Deadlines
from rxstream.sources.recording import Recording, recordings, replay

__all__ = ["Deadlines", "HttpStreamHandler", "Recording", "from_async_iterable", "recordings", "replay"]
