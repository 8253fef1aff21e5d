"""The harness process as the sessions that it drives see it."""

import asyncio
from collections.abc import Callable

import msgspec

from holdfast.bus.api import Bus
from holdfast.bus.ids import new_id
from holdfast.harness.models.interface import Model
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.claim import Writer


class HandOver(Exception):
    """The process is stopping: the runner ends in mid-turn and another replica continues."""


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """What all sessions of one harness process share."""

    bus: Bus
    model: Model
    settings: HarnessSettings
    name: str
    """Written into claims and commits as `by`."""
    now: Callable[[], int]
    """Microseconds since 1970, UTC."""
    draining: asyncio.Event
    """Set when the process is to stop."""

    def writer(self) -> Writer:
        """What a commit that is made now records of its writer."""
        return Writer(self.name, self.now(), new_id)
