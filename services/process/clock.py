"""The clock of a process."""

import time


def now() -> int:
    """The present time in microseconds since 1970, UTC."""
    return time.time_ns() // 1000
