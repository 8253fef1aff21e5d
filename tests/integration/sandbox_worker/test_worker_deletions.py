"""Files of deleted sessions are removed also if no worker heard of the delete (rule 19)."""

import shutil
from pathlib import Path

from holdfast.bus import subjects
from holdfast.bus.ids import new_session_id
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.tools import SANDBOX
from tests.support.eventually import eventually
from tests.support.isolation import Isolation
from tests.support.sandbox import DrivenSession, sandbox_worker
from tests.support.servers import NatsServer


async def test_a_worker_removes_at_its_start_what_is_left_of_deleted_sessions(
    nats: NatsServer, bus: NatsBus, tmp_path: Path, isolation: Isolation
) -> None:
    deleted, kept = DrivenSession(bus), DrivenSession(bus)
    async with sandbox_worker(nats.url, tmp_path, name="first") as worker:
        for session in (deleted, kept):
            await session.begin()
            await session.bind()
            await session.bash("echo secret > file")
        folder = worker.data / "workspaces" / "default"
        unlogged = folder / new_session_id()  # its log may be on streams that were restored to an older state
        shutil.copytree(folder / kept.key.session, unlogged)
        (folder / "no session").mkdir()
        await worker.stop()
    await deleted.delete()
    assert (folder / deleted.key.session / "file").read_text() == "secret\n"
    async with sandbox_worker(nats.url, tmp_path, name="second"):

        async def removed() -> bool:
            placed = await bus.kv.get("hands", subjects.placement_key(deleted.key, SANDBOX))
            return not (folder / deleted.key.session).exists() and placed is None

        await eventually(removed, what="the files of the deleted session are removed")
        assert (folder / kept.key.session / "file").read_text() == "secret\n"
        assert (unlogged / "file").exists()
        assert (folder / "no session").exists()


async def test_the_placement_of_a_deleted_session_goes_also_when_its_files_are_gone_already(
    nats: NatsServer, bus: NatsBus, tmp_path: Path, isolation: Isolation
) -> None:
    deleted = DrivenSession(bus)
    async with sandbox_worker(nats.url, tmp_path, name="first") as worker:
        await deleted.begin()
        await deleted.bind()
        folder = worker.data / "workspaces" / "default"
        await worker.stop()
    shutil.rmtree(folder / deleted.key.session)  # by another worker of the host, say, which died then
    name = subjects.placement_key(deleted.key, SANDBOX)
    assert await bus.kv.get("hands", name)
    await deleted.delete()
    async with sandbox_worker(nats.url, tmp_path, name="second"):

        async def removed() -> bool:
            return await bus.kv.get("hands", name) is None

        await eventually(removed, what="the placement of the deleted session is removed")
