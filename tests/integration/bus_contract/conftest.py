"""The bus in memory and the real one: every test of this folder runs over both."""

from tests.support.both_buses import bus, joined, key, nats

__all__ = ["bus", "joined", "key", "nats"]
