"""Fills the read model from the logs of all served cells, for as long as the process lives."""

import asyncio
from contextlib import aclosing
from functools import partial
from typing import Final

import structlog

from holdfast.bus import events as ev
from holdfast.bus.commits import Stored
from holdfast.bus.errors import BusError, Damaged, Newer
from holdfast.bus.head import Head
from holdfast.bus.ids import Key
from holdfast.process.retry import keep_watching
from holdfast.session.log.claims import OpenClaims
from holdfast.session.log.repository import SessionRepository, config_in

_CONFIG_TYPE: Final = str(ev.SessionConfig.__struct_config__.tag)

_log = structlog.get_logger()


async def project(sessions: SessionRepository) -> None:
    """Keep the read model current until cancelled; start from zero whenever it was rebuilt."""
    async with asyncio.TaskGroup() as tasks:
        for cell in sessions.cells:
            follow = partial(_follow_until_rebuild, sessions, cell)
            tasks.create_task(keep_watching(follow, on=BusError, what="log of the cell", cell=cell))


async def _follow_until_rebuild(sessions: SessionRepository, cell: str) -> None:
    """Write every commit of the cell behind the position of the tables to them.

    Returns after a rebuild, which another cell or a handler may have caused; raises BusError.
    """
    read_model, bus = sessions.read_model, sessions.bus
    tables = read_model.tables
    tables.bind_to_streams(cell, await bus.inbox.stream_epoch(cell))
    builds = tables.builds
    claims = sessions.claims[cell]
    claims.clear()
    for listed in read_model.queries.claimed(cell):
        claims.settle(listed.key, listed.head)

    def leave_out(key: Key, seq: int) -> None:
        if tables.leave_out_newer():
            _log.warning("lists lack commits of a newer version until this service is upgraded", seq=seq)
        sessions.heads.put(key, seq, None)
        _log.debug("commit of a newer version left out", session=key.session, seq=seq)

    try:
        async with aclosing(bus.log.follow(cell, tables.position(cell), on_newer=leave_out)) as batches:
            async for batch in batches:
                for key, stored in batch:
                    sessions.heads.put(key, stored.seq, stored.commit.head)
                rows = [(key, stored, await _config(sessions, key, stored)) for key, stored in batch]
                if tables.builds != builds:
                    return  # before the position is set behind commits that the new tables lack
                read_model.projection.apply(cell, rows)
                for key, stored in batch:
                    _settle(sessions, claims, key, stored.commit.head)
                if not batch:
                    tables.catch_up(cell)
                    tables.bind_to_streams(cell, await bus.inbox.stream_epoch(cell))
                    sessions.heads.begin(cell)
                if tables.builds != builds:
                    return
    finally:
        sessions.heads.end(cell)


def _settle(sessions: SessionRepository, claims: OpenClaims, key: Key, head: Head) -> None:
    """Tell those who wait for what the tables show now."""
    sessions.pending.settle(key, head)
    claims.settle(key, head)
    has_rested = head.is_at_rest and (bool(head.inbox) or head.status == "terminated")  # it has taken something
    if has_rested:
        sessions.at_rest(key)


async def _config(sessions: SessionRepository, key: Key, stored: Stored) -> ev.SessionConfig | None:
    """The configuration that the commit brings; a large one is fetched from the object store.

    One that cannot be read counts as none: the lists of the other sessions must not wait for it.
    """
    if not any(isinstance(event, ev.Blob) and event.of == _CONFIG_TYPE for event in stored.commit.events):
        return config_in(stored)
    try:
        return await sessions.config(key, stored)
    except (Newer, Damaged) as exc:
        _log.error("session left out of lists", session=key.session, cause=str(exc))
        return None
