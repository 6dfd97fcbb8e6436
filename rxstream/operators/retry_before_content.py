"""Ask again while nothing of the answer has been seen."""

import random as _random
from collections.abc import Callable

from reactivex import Observable

from rxstream.attempts import is_start, retried
from rxstream.flow import RetryPolicy
from rxstream.tokens import StreamToken


def retry_before_content(
    policy: RetryPolicy | None = None, *, random: Callable[[], float] = _random.random
) -> Callable[[Observable[StreamToken]], Observable[StreamToken]]:
    """Subscribe again to a source that failed, retryably, before its first content.

    Waits on the scheduler of the subscription, for as long as `policy` or the
    service says. An error that is not retryable, or one retry too many, is passed on.
    """
    chosen = policy or RetryPolicy()
    return lambda source: retried(lambda: source, chosen, random, is_start)
