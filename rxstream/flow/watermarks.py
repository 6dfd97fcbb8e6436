"""Watermarks: when to pause and when to go on, from a depth alone.

A mark is a line, not a wall: one chunk may hold many tokens, so the depth may go
past `high` by as much as one step adds. Nothing here waits or refuses; whoever
waits asks.
"""


class Watermarks:
    """Pause at `high`, resume at `low`: the gap keeps the two from flapping.

    Both are in whatever is counted: items, or any weight such as bytes.
    """

    __slots__ = ("depth", "high", "low", "paused", "peak")

    def __init__(self, *, high: int, low: int) -> None:
        if not 0 <= low < high:
            raise ValueError(f"the low mark ({low}) must be at least 0 and beneath the high mark ({high})")
        self.high, self.low = high, low
        self.depth, self.paused = 0, False
        self.peak = 0
        """The deepest it has been."""

    def add(self, weight: int = 1) -> bool:
        """Count `weight` in; return whether this crosses the high mark."""
        if weight < 0:
            raise ValueError(f"a weight ({weight}) cannot be negative, at a depth of {self.depth}")
        depth = self.depth = self.depth + weight
        if depth > self.peak:  # noqa: PLR1730 - max() costs as much as all the rest
            self.peak = depth
        if self.paused or depth < self.high:
            return False
        self.paused = True
        return True

    def remove(self, weight: int = 1) -> bool:
        """Count `weight` out; return whether this crosses the low mark on the way down from a pause."""
        if not 0 <= weight <= self.depth:
            raise ValueError(f"cannot remove a weight of {weight} from a depth of {self.depth}")
        depth = self.depth = self.depth - weight
        if not self.paused or depth > self.low:
            return False
        self.paused = False
        return True
