"""Harnesses are replaced one by one by others while sessions run: nothing is lost and nothing is done twice.

What this shows depends on what the first two harnesses are. By default they are this very code under other names: then
the test shows that replacing replicas under load is safe (start one, drain one, each hands its sessions over in
mid-turn), and nothing about versions. With HOLDFAST_TEST_OLD_PYTHON, the interpreter of another checkout's environment
(`/path/to/other/.venv/bin/python`), the first two run the code of that checkout: then it also shows that both versions
can drive the same sessions in turn. The session service, the sandbox worker and a third harness are of this code.
"""

import asyncio
import itertools
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.harness import HarnessProcess
from tests.support.invariants import check_invariants, journaled, read_log
from tests.support.model import say
from tests.support.stack import QUICK, Stack

OLD_PYTHON = os.environ.get("HOLDFAST_TEST_OLD_PYTHON", sys.executable)
SESSIONS = 6
LONGEST_PAUSE_S = 8.0
"""Between two commits of a turn: less than the 10 s of a delivery that has to wait for the delay of a NAK (rule 3). A
hand-over costs below 2 s on a machine at rest, which this test cannot ask for: it prints the figure."""
REPLICAS = 2


def harness(stack: Stack, folder: Path, name: str, python: str = sys.executable) -> HarnessProcess:
    """A harness on the bus and with the model of the stack."""
    run = stack.run
    environ = {
        **QUICK,
        "HOLDFAST_NATS_URL": run.nats_url,
        "HOLDFAST_NATS_CREDENTIALS": run.credentials["harness"],
        "HOLDFAST_MODEL_BASE_URL": stack.model.base_url,
        "HOLDFAST_MODEL_KEY_FILE": str(stack.data / "secrets" / "model.key"),
    }
    return HarnessProcess(folder, name=name, environ=environ, python=python)


async def work(stack: Stack, conversation: Conversation, enough: asyncio.Event) -> int:
    """Turns of three model requests and two tool calls, one after the other, until `enough`; how many."""
    turns = 0
    while not enough.is_set():
        slow = {"thinking": "Slowly.", "text": "I do it now.", "delay": 0.02}
        steps = [{**slow, **journaled(f"a{turns}", "sleep 0.1")}, journaled(f"b{turns}"), say(f"Turn {turns} is over.")]
        await conversation.say(await stack.model.play(*steps))
        events = await conversation.until_idle(within=60)
        said = [b.text for e in events if e.type == "agent.message" for b in e.content]
        assert said[-1] == f"Turn {turns} is over."
        turns += 1
    return turns


async def drivers(stack: Stack, conversations: Sequence[Conversation]) -> set[str]:
    """The names of the harnesses that wrote the commits so far, without what is new with each start."""
    logs = [await read_log(stack, conversation.id) for conversation in conversations]
    return {stored.commit.by.rpartition("-")[0] for log in logs for stored in log}


async def until_driven_by(stack: Stack, conversations: Sequence[Conversation], name: str) -> None:
    async def look() -> bool:
        return name in await drivers(stack, conversations)

    await eventually(look, what=f"a session driven by {name}", within=60)


async def longest_pause_s(stack: Stack, conversations: Sequence[Conversation]) -> float:
    """The longest time between two commits of a session that runs: a step of its turn, with what delayed it."""
    pauses = [0.0]
    for conversation in conversations:
        log = [stored.commit for stored in await read_log(stack, conversation.id)]
        pauses += [(b.at - a.at) / 1e6 for a, b in itertools.pairwise(log) if a.head.status == "running"]
    return max(pauses)


async def test_replicas_are_replaced_one_by_one_under_load(start: Start, tmp_path: Path) -> None:
    stack = start(harnesses=1)
    old = [harness(stack, tmp_path, f"old-{n}", OLD_PYTHON) for n in range(REPLICAS)]
    new = [harness(stack, tmp_path, f"new-{n}") for n in range(REPLICAS)]
    enough = asyncio.Event()
    try:
        for replica in old:
            await replica.start()
        async with stack.client(retries=8) as client:
            conversations = [await Conversation.begin(client) for _ in range(SESSIONS)]
            working = [asyncio.create_task(work(stack, conversation, enough)) for conversation in conversations]
            for before, after in zip(old, new, strict=True):
                await until_driven_by(stack, conversations, before.name)
                await after.start()
                before.terminate()
                assert await asyncio.to_thread(before.wait) == 0, before.log()[-2000:]
                # Sessions stay with the replicas that know them: a new one drives those that nobody knows yet.
                fresh = [await Conversation.begin(client) for _ in range(SESSIONS)]
                working += [asyncio.create_task(work(stack, conversation, enough)) for conversation in fresh]
                conversations += fresh
                await until_driven_by(stack, conversations, after.name)
            enough.set()
            turns = await asyncio.gather(*working)
            assert min(turns) >= 1
            await check_invariants(stack, *conversations)
            pause = await longest_pause_s(stack, conversations)
            print(f"longest pause in a turn: {pause:.2f} s; {sum(turns)} turns")  # noqa: T201
            assert pause < LONGEST_PAUSE_S
            assert {replica.name for replica in (*old, *new)} <= await drivers(stack, conversations)
    finally:
        for replica in (*old, *new):
            replica.kill()
