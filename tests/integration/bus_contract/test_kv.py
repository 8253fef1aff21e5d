"""The contract of `bus.kv`, over the bus in memory and the real one."""

from holdfast.testing.contracts.kv import *  # noqa: F403
