"""Sandbox workers as processes of their own, over a real NATS server, with real sandboxes (rules 12 to 18)."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec
import pytest

from holdfast.bus import subjects
from holdfast.bus.api import Message
from holdfast.bus.commands import Output
from holdfast.bus.errors import NoResponders, Unavailable
from holdfast.bus.ids import FIRST_CELL, Key
from holdfast.bus.jetstream.client import NatsBus, connect
from holdfast.bus.tools import SANDBOX
from holdfast.process.settings import ProcessSettings
from tests.support.eventually import eventually
from tests.support.isolation import Isolation
from tests.support.processes import first_processes
from tests.support.sandbox import DrivenSession, WorkerProcess, sandbox_worker, text_of
from tests.support.servers import NatsServer, nats_server


@pytest.fixture
async def nats(tmp_path: Path) -> AsyncIterator[NatsServer]:
    async with nats_server(tmp_path / "nats") as server:
        yield server


@pytest.fixture
async def bus(nats: NatsServer) -> AsyncIterator[NatsBus]:
    client = await connect(ProcessSettings(nats_url=nats.url), name="test")
    yield client
    await client.close()


@pytest.fixture
async def worker(nats: NatsServer, tmp_path: Path, isolation: Isolation) -> AsyncIterator[WorkerProcess]:
    async with sandbox_worker(nats.url, tmp_path) as process:
        yield process


@pytest.fixture
async def session(bus: NatsBus) -> DrivenSession:
    driven = DrivenSession(bus)
    await driven.begin()
    return driven


async def test_a_call_that_ends_soon_is_answered_with_its_result(worker: WorkerProcess, session: DrivenSession) -> None:
    await session.bind()
    command = {"command": "echo hello; pwd; id -u"}
    call = await session.open("bash", command)
    answer = await session.ask(call, "bash", command)
    assert (answer.answer, answer.is_error) == ("result", False)
    assert "".join(block["text"] for block in answer.content) == "hello\n/workspace\n1000\n"
    assert await session.ask(call, "bash", command) == answer, "it is given again as long as it is not confirmed"
    await session.confirm(call)
    began = time.monotonic()
    assert await session.bash("sleep 1.5; echo later") == "later\n"
    assert time.monotonic() - began > 1.2, "longer than a worker waits for a confirmation"
    assert call not in [found.id for found in await session.results()], "a confirmed result was published"
    assert await session.execute(call, "bash", command) == "accepted"


async def test_a_result_that_is_not_confirmed_comes_to_the_inbox(worker: WorkerProcess, session: DrivenSession) -> None:
    await session.bind()
    call = await session.open("bash", {"command": "echo hello"})
    assert await session.execute(call, "bash", {"command": "echo hello"}) == "result"
    result = await session.result(call, within=3)
    assert (text_of(result), result.generation) == ("hello\n", session.sandbox.generation)


async def test_a_large_result_comes_to_the_inbox(worker: WorkerProcess, session: DrivenSession) -> None:
    await session.bind()
    command = {"command": "head -c 90000 /dev/zero | tr '\\0' '\\1'"}  # each character is spelled out
    call = await session.open("bash", command)
    answer = await session.ask(call, "bash", command)
    size = len(msgspec.json.encode(answer.content)) if answer.answer == "result" else 0
    assert size <= 128 * 1024
    await session.result(call, within=5)


async def test_a_call_runs_once_however_often_it_is_sent(worker: WorkerProcess, session: DrivenSession) -> None:
    await session.bind()
    arguments = {"command": "echo x >> /workspace/count; sleep 0.2; wc -l < /workspace/count"}
    call = await session.open("bash", arguments)
    answers = await asyncio.gather(*[session.execute(call, "bash", arguments) for _ in range(8)])
    assert set(answers) <= {"accepted", "result"}
    assert text_of(await session.result(call)).strip() == "1"
    assert await session.execute(call, "bash", arguments) == "accepted"
    assert (await session.bash("wc -l < /workspace/count")).strip() == "1"
    assert [found.id for found in await session.results()].count(call) == 1


async def test_only_calls_that_are_open_in_the_log_run(worker: WorkerProcess, session: DrivenSession) -> None:
    await session.bind()
    arguments = {"command": "touch /workspace/ran"}
    call = await session.open("bash", arguments)
    assert await session.execute("sevt_other", "bash", arguments) == "refused"
    assert await session.execute(call, "write", arguments) == "refused"
    assert await session.execute(call, "bash", arguments, generation="sbx_other") == "gone"
    await session.lose()
    assert await session.execute(call, "bash", arguments) == "refused"
    assert list((worker.data / "workspaces" / "default" / session.key.session).glob("ran")) == []


async def test_concurrent_requests_make_one_sandbox(nats: NatsServer, tmp_path: Path, session: DrivenSession) -> None:
    async with sandbox_worker(nats.url, tmp_path, name="a"), sandbox_worker(nats.url, tmp_path, name="b"):
        answers = await asyncio.gather(*[session.provision() for _ in range(12)])
        assert len({(answer.generation, answer.worker) for answer in answers}) == 1
        assert not answers[0].error


async def test_a_cancelled_call_stops_within_a_second_and_is_refused_for_ever(
    worker: WorkerProcess, session: DrivenSession
) -> None:
    await session.bind()
    arguments = {"command": "(trap '' TERM; sleep 300) & sleep 300; wait"}
    call = await session.open("bash", arguments)
    assert await session.execute(call, "bash", arguments) == "accepted"
    began = time.monotonic()
    assert await session.cancel(call) == "cancelled"
    assert time.monotonic() - began < 1.0
    assert await session.execute(call, "bash", arguments) == "refused"
    left = await session.bash("cat /proc/[0-9]*/comm")
    assert "sleep" not in left.split("\n")
    assert call not in [found.id for found in await session.results()]
    later = await session.open("bash", {"command": "echo no"})
    assert await session.cancel(later) == "cancelled"
    assert await session.execute(later, "bash", {"command": "echo no"}) == "refused"


async def test_calls_of_one_session_run_concurrently(worker: WorkerProcess, session: DrivenSession) -> None:
    await session.bind()
    command = {"command": "sleep 2; echo slow"}
    slow = await session.open("bash", command)
    assert await session.execute(slow, "bash", command) == "accepted"
    assert not (await session.run("write", {"file_path": "a", "content": "b"})).is_error
    assert await session.results() == [], "the file tool has not waited for the shell"
    assert await session.bash("cat a; echo second") == "bsecond\n"
    assert text_of(await session.result(slow)) == "slow\n"


async def test_a_sandbox_killed_while_a_command_runs_is_one_failed_call(
    worker: WorkerProcess, session: DrivenSession
) -> None:
    await session.bind()
    await session.bash("echo kept > /workspace/file")
    arguments = {"command": "sleep 10"}
    call = await session.open("bash", arguments)
    assert await session.execute(call, "bash", arguments) == "accepted"
    for agent in first_processes(worker.pid):
        agent.kill()
    result = await session.result(call, within=5)
    assert result.is_error
    assert result.lost
    assert "sandbox was lost" in text_of(result)
    assert "/workspace are kept" in text_of(result)
    assert await session.execute(call, "bash", arguments) == "gone"
    before = session.sandbox
    await session.lose()
    await session.bind()
    assert session.sandbox.generation != before.generation
    assert (await session.bash("cat /workspace/file")).startswith("kept\n[this is a new sandbox")


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


# --- the output of running calls -------------------------------------------------------------------------------------


async def output_of(bus: NatsBus, key: Key) -> list[Output]:
    """The output published for that session from now on; the list grows."""
    found: list[Output] = []

    async def hear(message: Message) -> None:
        found.append(msgspec.json.decode(message.data, type=Output))

    await bus.core.subscribe(subjects.output(key), hear)
    return found


async def test_the_output_of_a_running_call_is_published_for_its_session_alone(
    worker: WorkerProcess, bus: NatsBus, session: DrivenSession
) -> None:
    other = DrivenSession(bus)
    await other.begin()
    heard, heard_other = await output_of(bus, session.key), await output_of(bus, other.key)
    await session.bind()
    await other.bind()
    command = {"command": "echo one; until [ -e go ]; do sleep 0.02; done; echo two"}
    call = await session.open("bash", command)
    assert await session.execute(call, "bash", command) == "accepted"

    async def one() -> bool:
        return "".join(o.text for o in heard) == "one\n"

    await eventually(one)
    write = {"file_path": "go", "content": ""}
    second = await session.open("write", write)
    assert await session.execute(second, "write", write) == "result"
    assert text_of(await session.result(call)) == "one\ntwo\n"
    at = 0
    for output in heard:
        assert (output.call, output.at) == (call, at)
        at += len(output.text)
    assert not heard_other


async def test_a_call_that_is_refused_prints_nothing(
    worker: WorkerProcess, bus: NatsBus, session: DrivenSession
) -> None:
    heard = await output_of(bus, session.key)
    await session.bind()
    slow = {"command": "echo never; sleep 0.5"}
    call = await session.open("bash", slow)
    assert await session.cancel(call) == "cancelled"
    assert await session.execute(call, "bash", slow) == "refused"
    assert await session.bash("echo printed; sleep 0.5") == "printed\n"

    async def printed() -> bool:
        return "".join(o.text for o in heard) == "printed\n"

    await eventually(printed)
