"""The contract of `bus.log`, over the bus in memory and the real one."""

from holdfast.testing.contracts.log import *  # noqa: F403
