"""The harness process as the sessions that it drives see it."""

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import structlog

from holdfast.bus.api import Bus
from holdfast.bus.events import SessionConfig
from holdfast.bus.ids import Key, new_id
from holdfast.harness.models.interface import Model
from holdfast.harness.settings import HarnessSettings
from holdfast.harness.turn.claim import Writer
from holdfast.harness.turn.decide import Limits
from holdfast.harness.turn.inbox_batches import BATCH_BYTES
from holdfast.process import metering, metrics
from holdfast.process.model_facts import ModelCatalogue, ModelFacts

log = structlog.get_logger()


class HandOver(Exception):
    """The process is stopping: the runner ends in mid-turn and another replica continues."""


class DroppedRequests:
    """Counts the model requests that were sent and dropped unread (rule 6), and tells `note` for the health report."""

    def __init__(self, note: Callable[[str], None] = lambda _: None) -> None:
        self.count = 0
        self._note = note

    def add(self, request: str) -> None:
        """One more; `request` is the id that its start has, or would have had."""
        self.count += 1
        metering.add(metrics.DROPPED_REQUESTS)
        log.info("model.request_dropped", request=request, count=self.count)
        self._note(f"{self.count} requests were dropped unread, as their session went on without them")


async def _tell_nobody(_: Key) -> None:
    pass


class Replica(msgspec.Struct, frozen=True, kw_only=True):
    """What all sessions of one harness process share."""

    bus: Bus
    model: Model
    settings: HarnessSettings
    catalogue: ModelCatalogue
    name: str
    """Written into claims and commits as `by`."""
    now: Callable[[], int]
    """Microseconds since 1970, UTC."""
    draining: asyncio.Event
    """Set when the process is to stop."""
    on_release: Callable[[Key], Awaitable[None]] = _tell_nobody
    """Awaited with each session whose claim is about to be given up, before that is appended."""
    dropped: DroppedRequests = msgspec.field(default_factory=DroppedRequests)
    batch_bytes: int = BATCH_BYTES
    """Bytes of inputs that one commit takes; a larger input is taken alone."""

    def facts(self, config: SessionConfig) -> ModelFacts:
        """What is known of the model of a session's agent."""
        return self.catalogue.facts(str(config.agent["model"]["id"]))

    def limits(self, config: SessionConfig) -> Limits:
        """The bounds of a turn of a session."""
        return self.settings.limits(self.facts(config))

    def writer(self) -> Writer:
        """What a commit that is made now records of its writer."""
        return Writer(self.name, self.now(), new_id)
