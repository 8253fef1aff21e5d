"""Calls of a sandbox worker that is a process of its own, over a real NATS server (rules 12 to 14 and 18)."""

import asyncio
import time

import msgspec

from tests.support.processes import first_processes
from tests.support.sandbox import DrivenSession, WorkerProcess, text_of


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
