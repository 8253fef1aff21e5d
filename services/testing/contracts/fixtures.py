"""The fixtures `bus` and `key` of the contracts. The fixture `joined` comes from the author of a bus.

`joined` has the type `Connect`: called with the name of a process, it connects that process to the bus under test. All
processes of one test share one bus. Its inbox must be empty when a test begins; logs and buckets need not be. The
fixture closes each `Bus` that it made when the test ends.
"""

import pytest

from holdfast.bus.api import Bus
from holdfast.bus.ids import Key, new_session_id
from holdfast.testing.contracts.helpers import Connect

__all__ = ["Connect", "bus", "key"]


@pytest.fixture
async def bus(joined: Connect) -> Bus:
    """The bus, as the process `one` sees it."""
    return await joined("one")


@pytest.fixture
def key() -> Key:
    """A session of its own for each test."""
    return Key("acme", new_session_id())
