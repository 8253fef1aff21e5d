"""Fills the read model from the log of the cell, for as long as the process lives."""

import asyncio
from typing import Final

import structlog

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.errors import BusError
from holdfast.bus.ids import Key
from holdfast.session.log.repository import SessionRepository, config_in

RETRY: Final = 0.5
"""Seconds between two attempts."""

_CONFIG: Final = str(ev.SessionConfig.__struct_config__.tag)

_log = structlog.get_logger()


async def follow(ledger: SessionRepository) -> None:
    """Keep the read model current until cancelled; start over when it was made anew."""
    while True:
        try:
            await _once(ledger)
        except BusError as exc:
            _log.warning("the read model stands still", cause=str(exc))
        await asyncio.sleep(RETRY)


async def _once(ledger: SessionRepository) -> None:
    """Follow from where the tables are until they are made anew."""
    model, cell = ledger.model, ledger.cell
    model.belongs_to(await ledger.bus.inbox.stream_epoch(cell))
    builds = model.builds
    async for batch in ledger.bus.log.follow(cell, model.position):
        model.apply([(key, stored, await _config(ledger, key, stored)) for key, stored in batch])
        for key, stored in batch:
            ledger.queued.settle(key, stored.commit.head)
        if not batch:
            model.caught_up.set()
            model.belongs_to(await ledger.bus.inbox.stream_epoch(cell))
        if model.builds != builds:
            return


async def _config(ledger: SessionRepository, key: Key, stored: Stored) -> ev.SessionConfig | None:
    """The configuration that the commit brings; a large one lies apart from it."""
    if any(isinstance(event, ev.Blob) and event.of == _CONFIG for event in stored.commit.events):
        return await ledger.config(key, stored)
    return config_in(stored)
