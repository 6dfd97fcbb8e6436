"""What a bounded queue does when more comes than it holds."""

from enum import Enum


class Overflow(Enum):
    """The strategies; the first two lose nothing and are for tokens."""

    PAUSE = "pause"
    """Make the source wait. One that cannot wait is an error: the queue would grow without a bound."""
    CONFLATE = "conflate"
    """Join neighbouring deltas of one block while they wait, so that a late consumer gets fewer, larger ones.

    Never across anything else, such as a tool call or an end. What cannot be joined
    fills the queue, and then the source waits as with `PAUSE`.
    """
    ERROR = "error"
    """Never slow the source; end the stream with `BufferOverflowError` when the queue is full."""
    DROP_OLDEST = "drop_oldest"
    """Never slow the source; throw away what has waited longest. For metrics and snapshots only."""
    DROP_NEWEST = "drop_newest"
    """Never slow the source; throw away what comes. For metrics and snapshots only."""
    LATEST = "latest"
    """Never slow the source; keep only what came last. For metrics and snapshots only."""

    @property
    def pauses(self) -> bool:
        """Whether a full queue makes the source wait."""
        return self in {Overflow.PAUSE, Overflow.CONFLATE}

    @property
    def drops(self) -> bool:
        """Whether a full queue throws something away."""
        return self in {Overflow.DROP_OLDEST, Overflow.DROP_NEWEST, Overflow.LATEST}
