"""The contract of `bus.core`, over the bus in memory and the real one."""

from holdfast.testing.contracts.core import *  # noqa: F403
