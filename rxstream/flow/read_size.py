"""How much to read at a time.

Large reads are cheap by the byte; small ones hold the loop for a shorter time, and
bring less that has to be put somewhere when a consumer is slow. The size that
fits both is found by doubling and halving.
"""

SMALLEST_READ = 1_024
LARGEST_READ = 65_536
"""Bytes: what a read size lies between, unless told otherwise, and always for a controller."""
DEEP = 0.5
"""The depth of the queue, as a fraction of where it pauses the source, beyond which reads shrink."""


class AdaptiveReadSize:
    """The size of the next read, from how the last one went.

    It is halved after a chunk that took longer than `target_seconds` to process, or
    that left the queue deeper than half. It is doubled after a read that came back
    full, if twice its time and twice its depth would still be within those bounds:
    the gap keeps it from flapping. It starts small, so that what it is good for is
    learnt before it can hurt; six full reads lead from the smallest to the largest.
    """

    __slots__ = ("maximum", "minimum", "size", "target_seconds")

    def __init__(
        self, *, minimum: int = SMALLEST_READ, maximum: int = LARGEST_READ, target_seconds: float = 0.001
    ) -> None:
        if not 0 < minimum <= maximum:
            raise ValueError(f"the minimum ({minimum}) must be more than 0 and not above the maximum ({maximum})")
        if not target_seconds > 0:
            raise ValueError(f"the target must be more than 0 seconds, not {target_seconds}")
        self.minimum, self.maximum = minimum, maximum
        self.target_seconds = target_seconds
        self.size = minimum
        """Bytes to ask for in the next read."""

    def note(self, bytes_read: int, seconds: float, depth: float = 0.0) -> int:
        """Learn from one read and return the size of the next.

        `seconds` is how long its bytes took to process, `depth` how deep the queue is
        now, as a fraction of where it pauses the source.
        """
        target = self.target_seconds
        if seconds > target or depth > DEEP:
            self.size = max(self.minimum, self.size // 2)
        elif bytes_read >= self.size and seconds <= target / 2 and depth <= DEEP / 2:
            self.size = min(self.maximum, self.size * 2)
        return self.size
