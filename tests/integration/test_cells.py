"""Two cells side by side on one bus: a second one is opened on a running system, and the first is archived.

The steps are those of docs/cells.md, with the users and permissions of the repository.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anthropic
import pytest

from holdfast.bus import streams
from holdfast.bus.ids import cell_of
from holdfast.bus.jetstream.permissions import user_of
from holdfast.bus.jetstream.requests import JetStreamClient
from tests.support.conversation import Conversation, results, text
from tests.support.edge import SessionService
from tests.support.harness import HarnessProcess
from tests.support.isolation import Isolation
from tests.support.model import ScriptedModel, bash, say, scripted_model
from tests.support.nats_users import (
    credentials_file,
    open_link,
    provision_cell,
    provisioned,
    reload_now,
    with_passwords,
)
from tests.support.sandbox import WorkerProcess
from tests.support.servers import NatsServer
from tests.support.stream_backup import back_up, restore

LARGE = "x" * (2 * streams.BLOB_THRESHOLD_BYTES)


class Cell:
    """A harness and a sandbox worker of one cell."""

    def __init__(self, server: NatsServer, model: ScriptedModel, folder: Path, name: str) -> None:
        def login(service: str) -> str:
            return str(credentials_file(server, user_of(service, name)))

        self.name = name
        key = folder / "model.key"
        key.write_text("any")
        key.chmod(0o600)
        environ = {
            "HOLDFAST_NATS_URL": server.url,
            "HOLDFAST_NATS_CREDENTIALS": login("harness"),
            "HOLDFAST_CELL": name,
            "HOLDFAST_MODEL_BASE_URL": model.base_url,
            "HOLDFAST_MODEL_KEY_FILE": str(key),
        }
        self.harness = HarnessProcess(folder, name=f"harness-{name}", environ=environ)
        self.worker = WorkerProcess(
            server.url,
            folder,
            name=f"sandbox-{name}",
            data_dir=folder / f"workspaces-{name}",
            cell=name,
            nats_credentials=login("sandbox"),
        )

    async def start(self) -> None:
        await asyncio.gather(self.worker.start(), self.harness.start())

    async def stop(self) -> None:
        """SIGTERM to both, and wait for their ends."""
        self.harness.terminate()
        assert await asyncio.to_thread(self.harness.wait) == 0
        assert await self.worker.stop() == 0

    def kill(self) -> None:
        self.harness.kill()
        self.worker.kill()


class System:
    """A nats-server, the edge, and the cells that were started."""

    def __init__(self, folder: Path, server: NatsServer, model: ScriptedModel) -> None:
        self.folder = folder
        self.server = server
        self.model = model
        self.cells: dict[str, Cell] = {}
        self._environ = {
            "HOLDFAST_NATS_CREDENTIALS": str(credentials_file(server, "session")),
            "HOLDFAST_SESSION_DATA": str(folder / "read-model"),
        }
        self._clients: list[anthropic.AsyncAnthropic] = []
        self.edge = SessionService(folder, self._environ)
        self.edge.nats = server

    async def open_cell(self, name: str) -> None:
        await asyncio.to_thread(provision_cell, self.server, name)
        self.cells[name] = Cell(self.server, self.model, self.folder, name)
        await self.cells[name].start()

    async def serve(self, *cells: str) -> anthropic.AsyncAnthropic:
        """Start the edge, or start it again, for these cells; new sessions are made in the first."""
        if "HOLDFAST_CELL" in self._environ:
            assert await asyncio.to_thread(self.edge.stop) == 0
        self._environ.update({"HOLDFAST_CELL": cells[0], "HOLDFAST_OTHER_CELLS": ",".join(cells[1:])})
        await asyncio.to_thread(self.edge.start)
        self._clients.append(self.edge.async_client())
        return self._clients[-1]

    async def close(self) -> None:
        for client in self._clients:
            await client.close()
        self.edge.close()
        for cell in self.cells.values():
            cell.kill()


@pytest.fixture
async def system(isolation: Isolation, tmp_path: Path) -> AsyncIterator[System]:
    with provisioned(tmp_path / "nats") as server, scripted_model(log=tmp_path / "model.log") as model:
        made = System(tmp_path, server, model)
        try:
            yield made
        finally:
            await made.close()


@contextlib.asynccontextmanager
async def administrator(server: NatsServer) -> AsyncIterator[JetStreamClient]:
    link = await open_link(server, "admin")
    try:
        yield link
    finally:
        await link.close()


async def listed(client: anthropic.AsyncAnthropic) -> set[str]:
    return {session.id async for session in client.beta.sessions.list()}


def history(events: list[Any]) -> list[Any]:
    return [event.to_dict() for event in events]


def printed(events: list[Any]) -> list[str]:
    return [text(result).strip() for result in results(events).values()]


@pytest.mark.timeout(300)
async def test_a_cell_is_opened_beside_a_running_one_and_the_old_one_is_archived(system: System) -> None:
    model = system.model
    await system.open_cell("a0")
    client = await system.serve("a0")
    writes = await model.play(bash("echo first > note; cat note"), say("Written."))
    old = await Conversation.begin(client)
    await old.say(writes, LARGE)
    assert printed(await old.until_idle()) == ["first"]
    running = await Conversation.begin(client)
    held = await model.play(bash("echo held"), say("Done.", gates=[{"name": "held", "after": 0}]))
    await running.say(held)
    await model.reached("held")

    # A second cell is opened while a session of the first runs.
    await asyncio.to_thread(reload_now, system.server, with_passwords(["a0", "a1"]))
    await system.open_cell("a1")
    client = old.client = running.client = await system.serve("a1", "a0")
    await model.release("held")
    assert printed(await running.until_idle()) == ["held"]
    new = await Conversation.begin(client)
    assert [cell_of(each.id) for each in (old, running, new)] == ["a0", "a0", "a1"]

    # Both cells work at once, and each session finds its files.
    reads = await model.play(bash("cat note"), say("Read."))
    await asyncio.gather(old.say(reads), new.say(writes))
    assert printed(await old.until_idle()) == ["first", "first"]
    assert printed(await new.until_idle()) == ["first"]
    assert await listed(client) == {old.id, running.id, new.id}
    before = history(await old.events())

    # The first cell is archived.
    await system.cells["a0"].stop()
    client = old.client = new.client = await system.serve("a1")
    async with administrator(system.server) as admin:
        kept = [await back_up(admin, stream) for stream in archived_streams("a0")]
        assert await cells_in(admin) == {"streams": {"a0", "a1"}, "KV_hands": {"a0", "a1"}}
        await remove_cell(admin, "a0")
        assert await cells_in(admin) == {"streams": {"a1"}, "KV_hands": {"a1"}}
    with pytest.raises(anthropic.NotFoundError, match="its id is of cell a0, which is not served here"):
        await client.beta.sessions.retrieve(old.id)
    assert await listed(client) == {new.id}
    await new.say(reads)
    assert printed(await new.until_idle()) == ["first", "first"]

    # Its sessions can be read again from the backup.
    async with administrator(system.server) as admin:
        for backup in kept:
            state = await restore(admin, backup)
            assert state["last_seq"] == backup.state["last_seq"]
    client = old.client = await system.serve("a1", "a0")
    assert await listed(client) == {old.id, running.id, new.id}
    assert history(await old.events()) == before
    # An answer that a reload of the permissions overtakes is refused, and is asked for again.
    refused = [line for line in (system.server.store / "nats.log").read_text().splitlines() if "Violation" in line]
    assert [line for line in refused if 'Publish Violation - Subject "_R_.' not in line] == []


def archived_streams(cell: str) -> list[str]:
    return [streams.log_stream(cell), streams.inbox_stream(cell), streams.blob_stream(cell)]


async def remove_cell(admin: JetStreamClient, cell: str) -> None:
    """Delete the streams of the cell, and its keys in the buckets that all cells share."""
    for stream in archived_streams(cell):
        assert (await admin.api(f"STREAM.DELETE.{stream}"))["success"]
    for stream, pattern in (
        ("KV_snap", f"$KV.snap.{cell}.>"),
        ("KV_parked", f"$KV.parked.{cell}.>"),
        ("KV_hands", f"$KV.hands.*.{cell}.>"),
    ):
        assert (await admin.api(f"STREAM.PURGE.{stream}", {"filter": pattern}))["success"]


async def cells_in(admin: JetStreamClient) -> dict[str, set[str]]:
    """The cells of which there are streams, and those of which there are keys in the bucket `hands`.

    The stream of files belongs to no cell.
    """
    names: list[str] = (await admin.api("STREAM.NAMES", {}))["streams"]
    of_cells = [name for name in names if name.startswith(("LOG_", "INBOX_", "OBJ_")) and name != streams.FILES_STREAM]
    found = {name.rpartition("_")[2] for name in of_cells}
    info = await admin.api("STREAM.INFO.KV_hands", {"subjects_filter": ">"})
    keys: dict[str, int] = info["state"].get("subjects") or {}
    return {"streams": found, "KV_hands": {subject.split(".")[3] for subject in keys}}
