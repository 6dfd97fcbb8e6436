"""When to ask again, and how long to wait before."""

from collections.abc import Callable

from msgspec import Struct


class RetryPolicy(Struct, frozen=True, kw_only=True):
    """How often and after how long a request that failed before its first content is made again.

    The defaults are those of the vendors' own SDKs (openai-python and
    anthropic-sdk-python, `_constants.py` and `_base_client.py`).
    """

    retries: int = 2
    """Further requests after the first."""
    first_delay: float = 0.5
    """Seconds before the first retry; doubled for each further one."""
    max_delay: float = 8.0
    """Seconds; what doubling never passes."""
    max_retry_after: float = 60.0
    """Seconds; a service that asks for a longer wait is not asked again."""

    def __post_init__(self) -> None:
        if self.retries < 0:
            raise ValueError(f"retries must not be negative, not {self.retries}")
        if min(self.first_delay, self.max_delay, self.max_retry_after) < 0:
            raise ValueError("delays must not be negative")

    def delay(self, retry: int, retry_after: float | None, random: Callable[[], float]) -> float | None:
        """Return the seconds to wait before retry number `retry` (from 0), or `None` to give up.

        `retry_after` is what the service asked for; without it up to a quarter is
        taken off at random (`random` gives 0 to 1), so that clients don't come back together.
        """
        if retry >= self.retries:
            return None
        if retry_after is not None:
            return retry_after if retry_after <= self.max_retry_after else None
        doublings = min(retry, 1_000)  # more than any delay has room for, and not too many for a float
        return min(self.first_delay * 2.0**doublings, self.max_delay) * (1 - 0.25 * random())
