"""Percentiles of seconds in bounded memory.

A histogram whose buckets grow by a constant factor, as in DDSketch (Masson, Rim and
Lee, 2019): whatever is in a bucket is within 2 % of the bucket's middle, so every
percentile is within 2 % of the exact one. From a microsecond to an hour that takes
551 buckets; what is shorter or longer counts as just that.
"""

import math
from itertools import accumulate
from typing import Self

RELATIVE_ERROR = 0.02
"""How far a percentile may be from the exact one, as a part of it."""
SHORTEST = 1e-6
"""Seconds; what is shorter counts as this."""
LONGEST = 3_600.0
"""Seconds; what is longer counts as this."""

_GROWTH = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
_PER_LOG = 1 / math.log(_GROWTH)
_FIRST = math.floor(math.log(SHORTEST) * _PER_LOG)
_LAST = math.floor(math.log(LONGEST) * _PER_LOG) - _FIRST
_MIDDLE = 1 + RELATIVE_ERROR  # of a bucket that begins at 1: as far from its ends, each as a part of that end


class Quantiles:
    """Counts lengths of time, and tells their percentiles within `RELATIVE_ERROR`."""

    __slots__ = ("_counts", "count")

    def __init__(self) -> None:
        self.count = 0
        self._counts = [0] * (_LAST + 1)

    def add(self, seconds: float) -> None:
        """Count one length of time."""
        self.count += 1
        if seconds <= SHORTEST:
            self._counts[0] += 1
        elif seconds < LONGEST:
            self._counts[math.floor(math.log(seconds) * _PER_LOG) - _FIRST] += 1
        else:
            self._counts[_LAST] += 1

    def merge(self, other: Self) -> None:
        """Count all that `other` has counted."""
        self.count += other.count
        self._counts = [ours + theirs for ours, theirs in zip(self._counts, other._counts, strict=True)]

    def up_to(self, seconds: float) -> int:
        """Return how many are no longer than `seconds`, as exact as the percentiles are."""
        if seconds < SHORTEST:
            return 0
        if seconds >= LONGEST:
            return self.count
        last = math.floor(math.log(seconds / _MIDDLE) * _PER_LOG) - _FIRST  # the one whose middle is no longer
        return sum(self._counts[: last + 1])

    def at(self, part: float) -> float | None:
        """Return the length of time that `part` (0 to 1) of all are no longer than; `None` of none.

        It is the one in place `part * (count - 1)`, rounded down, if all were sorted.
        """
        if not self.count:
            return None
        place = math.floor(part * (self.count - 1))
        bucket = next(index for index, below in enumerate(accumulate(self._counts)) if below > place)
        return min(max(_GROWTH ** (bucket + _FIRST) * _MIDDLE, SHORTEST), LONGEST)
