"""Sandbox workers that die, freeze, stop, are full or start again, and what their hands leave (rules 15-17, 22)."""

import asyncio
import signal
import time
from pathlib import Path

import pytest

from holdfast.bus import subjects
from holdfast.bus.errors import NoResponders, Unavailable
from holdfast.bus.ids import FIRST_CELL
from holdfast.bus.jetstream.client import NatsBus
from holdfast.bus.tools import SANDBOX
from tests.support.eventually import eventually
from tests.support.isolation import Isolation
from tests.support.sandbox import DrivenSession, WorkerProcess, sandbox_worker
from tests.support.servers import NatsServer


async def test_concurrent_requests_make_one_sandbox(nats: NatsServer, tmp_path: Path, session: DrivenSession) -> None:
    async with sandbox_worker(nats.url, tmp_path, name="a"), sandbox_worker(nats.url, tmp_path, name="b"):
        answers = await asyncio.gather(*[session.provision() for _ in range(12)])
        assert len({(answer.generation, answer.worker) for answer in answers}) == 1
        assert not answers[0].error


async def test_a_killed_worker_s_hand_is_reported_by_another_host_which_does_not_start_without_the_files(
    nats: NatsServer, tmp_path: Path, session: DrivenSession
) -> None:
    async with sandbox_worker(nats.url, tmp_path, name="a", data_dir=tmp_path / "a") as first:
        await session.bind()
        await session.bash("echo kept > file")
        arguments = {"command": "sleep 300"}
        call = await session.open("bash", arguments)
        assert await session.execute(call, "bash", arguments) == "accepted"
        async with sandbox_worker(nats.url, tmp_path, name="b", data_dir=tmp_path / "b"):
            first.kill()
            # Silence is possible too, while the server has not seen the end of the connection.
            with pytest.raises((NoResponders, Unavailable)):
                await session.execute(call, "bash", arguments, timeout=1)
            assert (await session.gone(within=10)).hand == SANDBOX
            await session.lose()
            refused = await session.provision()
            assert (refused.error, refused.declined) == ("sandbox_elsewhere", True)
            assert "on another sandbox host" in refused.message
            async with sandbox_worker(nats.url, tmp_path, name="a2", data_dir=tmp_path / "a"):

                async def reached() -> bool:
                    reply = await session.provision()
                    return not reply.error or bool(reply.ask)

                await eventually(reached, what="the host with the files is back")
                await session.bind_to(await session.provision_anywhere())
                assert (await session.bash("cat file")).startswith("kept\n[this is a new sandbox")


async def test_a_full_worker_declines_until_a_sandbox_has_ended(
    nats: NatsServer, tmp_path: Path, bus: NatsBus, isolation: Isolation
) -> None:
    first, second = DrivenSession(bus), DrivenSession(bus)
    await first.begin()
    await second.begin()
    async with sandbox_worker(nats.url, tmp_path, max_sandboxes=1) as worker:
        await first.bind()
        declined = await second.provision()
        assert (declined.error, declined.declined, declined.ask) == ("sandbox_capacity", True, ())
        status, body = await worker.probe()
        assert (status, body["notes"]["capacity"]) == (200, "full: 1 sandboxes (HOLDFAST_MAX_SANDBOXES)")
        await first.release(files=False)
        await second.bind()
        assert await second.bash("echo hello") == "hello\n"
        assert "capacity" not in (await worker.probe())[1]["notes"]


async def test_a_worker_started_again_on_the_same_data_reports_its_hands_at_once(
    nats: NatsServer, tmp_path: Path, session: DrivenSession
) -> None:
    async with sandbox_worker(nats.url, tmp_path, lease=30) as first:
        await session.bind()
        await session.bash("echo kept > file")
        call = await session.open("bash", {"command": "sleep 300"})
        assert await session.execute(call, "bash", {"command": "sleep 300"}) == "accepted"
        first.kill()
    async with sandbox_worker(nats.url, tmp_path):
        await session.gone(within=5)
        await session.lose()
        await session.bind()
        assert (await session.bash("cat file")).startswith("kept\n[this is a new sandbox")


async def test_a_frozen_worker_s_sandboxes_die_before_its_registration_expires(
    nats: NatsServer, bus: NatsBus, tmp_path: Path, session: DrivenSession
) -> None:
    async with sandbox_worker(nats.url, tmp_path) as frozen:
        await session.bind()
        arguments = {"command": "while sleep 0.05; do date +%s.%N > /workspace/alive; done"}
        call = await session.open("bash", arguments)
        assert await session.execute(call, "bash", arguments) == "accepted"
        alive = frozen.data / "workspaces" / "default" / session.key.session / "alive"

        async def written() -> bool:
            return alive.exists()

        await eventually(written, what="the loop runs")
        frozen.signal(signal.SIGSTOP)
        name = subjects.worker_key(FIRST_CELL, session.sandbox.worker)
        async for entry in bus.kv.watch("hands", name):
            if entry is not None and entry.value is None:
                break
        expired = time.time()
        assert time.time() - alive.stat().st_mtime > 0.1
        stopped = alive.stat().st_mtime
        assert stopped < expired
        async with sandbox_worker(nats.url, tmp_path, name="other"):
            await session.gone(within=10)
            frozen.signal(signal.SIGCONT)
            assert alive.stat().st_mtime == stopped

            # It goes on under another worker id, and the old id gets no answer.
            async def back() -> bool:
                return "the lease was lost" in frozen.log()

            await eventually(back, what="the thawed worker notices")
            with pytest.raises(NoResponders):
                await session.execute(call, "bash", arguments)
            await session.lose()
            await session.bind()
            assert (await session.bash("echo again")).startswith("again\n")


async def test_a_worker_goes_on_under_a_new_id_after_the_bus_was_down(
    nats: NatsServer, bus: NatsBus, tmp_path: Path, session: DrivenSession, isolation: Isolation
) -> None:
    async with sandbox_worker(nats.url, tmp_path) as worker:
        before = (await session.provision()).worker
        pid = worker.pid
        nats.kill()

        async def given_up() -> bool:
            return "the lease was lost" in worker.log() and "the bus cannot be reached" in worker.log()

        await eventually(given_up, within=40, what=f"the worker gives up its lease; {worker.log()[-1000:]}")
        assert not (await worker.probe())[1]["checks"]["bus"]["ok"]
        await nats.start()
        await eventually(worker.ready, within=30, what=f"readiness; {worker.log()[-1000:]}")
        second = DrivenSession(bus)
        await second.begin()
        await second.bind()
        assert second.sandbox.worker != before
        assert (await second.bash("echo again")).startswith("again\n")
        assert worker.pid == pid
        assert "crashed" not in worker.log()


async def test_an_idle_sandbox_is_ended_and_its_files_stay(
    nats: NatsServer, tmp_path: Path, session: DrivenSession
) -> None:
    async with sandbox_worker(nats.url, tmp_path, idle_after=1):
        await session.bind()
        await session.bash("echo kept > /workspace/file")
        call = await session.open("bash", {"command": "true"})

        async def gone() -> bool:
            return await session.execute(call, "bash", {"command": "true"}) == "gone"

        await asyncio.sleep(1.5)  # what is tested is that time passes without a call
        await eventually(gone, what="the generation is over")
        await session.lose()
        await session.bind()
        assert (await session.bash("cat /workspace/file")).startswith("kept\n[this is a new sandbox")


async def test_a_release_removes_the_files(worker: WorkerProcess, session: DrivenSession) -> None:
    await session.bind()
    await session.bash("mkdir -p a/b/c && touch a/b/c/d && chmod 000 a/b")
    folder = worker.data / "workspaces" / "default" / session.key.session
    assert folder.exists()
    assert await session.release(files=True) == "done"
    assert not folder.exists()
    assert await session.bus.kv.get("hands", subjects.placement_key(session.key, SANDBOX)) is None


async def test_a_stopped_worker_stores_lost_results_and_leaves_nothing_behind(
    nats: NatsServer, bus: NatsBus, tmp_path: Path, session: DrivenSession
) -> None:
    async with sandbox_worker(nats.url, tmp_path, drain_timeout=2) as worker:
        await session.bind()
        call = await session.open("bash", {"command": "sleep 300"})
        assert await session.execute(call, "bash", {"command": "sleep 300"}) == "accepted"
        assert await worker.stop() == 0
        assert (await session.result(call)).lost
        assert await bus.kv.get("hands", subjects.worker_key(FIRST_CELL, session.sandbox.worker)) is None
        assert list((worker.data / "run").iterdir()) == []


async def test_without_sandboxes_readiness_fails_and_a_provision_request_names_the_cause(
    nats: NatsServer, tmp_path: Path, session: DrivenSession
) -> None:
    """The worker runs in a user namespace that allows no further ones, as on a locked-down host."""
    lock = ["unshare", "--user", "--map-root-user", "sh", "-c"]
    lock += ['echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"', "sh"]
    worker = WorkerProcess(nats.url, tmp_path, prefix=lock)
    worker.begin()
    try:

        async def asked() -> bool:
            status, body = await worker.probe()
            return status == 503 and body["checks"]["bus"]["ok"] and "no sandbox" in worker.log()

        await eventually(asked, what=f"red health; {worker.log()[-1000:]}")
        answer = await session.provision()
        assert answer.error == "sandbox_unavailable"
        assert "max_user_namespaces = 0" in answer.message
        assert "sudo sysctl -w user.max_user_namespaces=15000" in answer.message
        check = (await worker.probe())[1]["checks"]["sandbox"]
        assert check["ok"] is False
        assert check["cause"] == answer.message
        assert await session.bus.kv.get("hands", subjects.placement_key(session.key, SANDBOX)) is None
    finally:
        worker.kill()
