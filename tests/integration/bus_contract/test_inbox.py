"""The contract of `bus.inbox`, over the bus in memory and the real one."""

from holdfast.testing.contracts.inbox import *  # noqa: F403
