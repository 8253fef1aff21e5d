"""A storm: sessions at work, while random processes are killed or frozen at random moments.

`python -m tests.faults.storm --minutes 30` runs one at a random seed, which it prints, and ends with the six checks of
every session. `test_random_kills.py` runs a short one at a fixed seed.
"""

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Generator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import psutil
from anthropic import APIConnectionError, AsyncAnthropic, ConflictError, InternalServerError
from msgspec import Struct, field

from tests.support.conversation import Conversation
from tests.support.eventually import eventually
from tests.support.invariants import check_session, journaled, no_secret_leaked
from tests.support.model import Json, say
from tests.support.stack import Stack, stack

VICTIMS: Final = ("harness-1", "harness-2", "harness-1", "harness-2", "sandbox", "nats", "session", "vault")
FROZEN: Final = ("harness-1", "harness-2", "sandbox", "session")
"""Processes that are also stopped for a while: SIGSTOP, later SIGCONT."""

FREEZE_SHARE: Final = 0.25
"""Share of the blows that freeze instead of kill."""

T = TypeVar("T")

POLL_INTERVAL_S: Final = 0.3
"""Seconds between two looks at a session: a look reads its whole history."""

TURN_WITHIN_S: Final = 120.0
"""Seconds within which a turn ends: a call whose worker is frozen is given up only after its lease."""


class Storm(Struct, kw_only=True):
    """One storm: `sessions` conversations at a time, each of `turns` turns, and a blow every `pause` seconds."""

    stack: Stack
    seed: int
    sessions: int = 6
    turns: int = 3
    pause: tuple[float, float] = (0.3, 3.0)
    finished: int = 0
    """Conversations that are over and were checked."""
    sent: int = 0
    """Events of clients that were acknowledged."""
    events: int = 0
    """Events in the logs that were checked."""
    given_up: int = 0
    """Turns that ended with an error: their claim was taken over too often, as rule 4 has it."""
    blows: Counter[str] = field(default_factory=Counter)

    async def run(self, seconds: float) -> None:
        """Raise AssertionError if a rule is broken. Conversations that have begun are finished in calm weather."""
        until = time.monotonic() + seconds
        async with self.stack.client(retries=10) as client, asyncio.TaskGroup() as tasks:
            for number in range(self.sessions):
                tasks.create_task(self._converse(client, random.Random(f"{self.seed} {number}"), until))
            tasks.create_task(self._strike(random.Random(self.seed), until))
        no_secret_leaked(self.stack)

    async def _strike(self, rng: random.Random, until: float) -> None:
        while time.monotonic() < until:
            if rng.random() < FREEZE_SHARE:
                await self._freeze(rng.choice(FROZEN), rng.uniform(0.2, 8.0))
            else:
                name = rng.choice(VICTIMS)
                old = self.stack.kill(name)
                self.blows[f"kill {name}"] += 1
                await asyncio.sleep(rng.uniform(*self.pause))  # the random moment of the next blow is what is tested
                await self.stack.replaced(name, old)

    async def _freeze(self, name: str, seconds: float) -> None:
        """Stop a process for a while. The supervisor may have replaced it meanwhile."""
        pid = self.stack.signal(name, signal.SIGSTOP)
        self.blows[f"freeze {name}"] += 1
        await asyncio.sleep(seconds)
        with contextlib.suppress(ProcessLookupError, psutil.NoSuchProcess):
            psutil.Process(pid).send_signal(signal.SIGCONT)

    async def _converse(self, client: AsyncAnthropic, rng: random.Random, until: float) -> None:
        while time.monotonic() < until:
            conversation = await _patiently(lambda: Conversation.begin(client))
            for turn in range(self.turns):
                await self._turn(conversation, rng, f"t{turn}")
            await check_session(self.stack, conversation)
            self.finished += 1
            self.sent += len(conversation.sent)
            events = await _patiently(conversation.events)
            self.events += len(events)
            self.given_up += sum(e.type == "session.error" for e in events)

    async def _turn(self, conversation: Conversation, rng: random.Random, tag: str) -> None:
        mark = await self.stack.model.play(*steps(rng, tag))
        await _patiently(lambda: conversation.say(mark))
        if rng.random() < 0.4:
            await asyncio.sleep(rng.uniform(0, 2))
            await _patiently(lambda: conversation.send(message("And this, in between.")))
        if rng.random() < 0.2:
            await asyncio.sleep(rng.uniform(0, 2))
            await _patiently(conversation.interrupt)
        try:
            await eventually(lambda: _idle(conversation), within=TURN_WITHIN_S, what=f"{conversation.id} idle")
        except AssertionError as exc:
            history = [str(e.to_dict(mode="json"))[:300] for e in await conversation.events()]
            raise AssertionError("\n".join([str(exc), f"sent: {conversation.sent}", *history[-30:]])) from None


def message(text: str) -> Json:
    """A message that starts no scenario."""
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


def steps(rng: random.Random, tag: str) -> list[Json]:
    """Rounds of one or two journaled tool calls, some of them slow, with thinking and text before each."""
    out: list[Json] = []
    for n in range(rng.randint(1, 8)):
        slow = f"sleep {rng.choice(('0.1', '0.2', '1'))}" if rng.random() < 0.3 else ""
        tools = journaled(f"{tag}-{n}", slow)["tools"]
        if rng.random() < 0.4:
            tools = [*tools, *journaled(f"{tag}-{n}b")["tools"]]
        out.append({"thinking": f"Round {n}.", "text": f"I do number {n}.", "delay": 0.01, "tools": tools})
    return [*out, say("All rounds are done.")]


async def _idle(conversation: Conversation) -> bool:
    """True once all that was sent is in the log, and the session is idle."""
    await asyncio.sleep(POLL_INTERVAL_S)
    events = await _patiently(conversation.events)
    shown = [e.type for e in events if e.type.startswith("session.status_")]
    return shown[-1:] == ["session.status_idle"] and {*conversation.sent} <= {e.id for e in events}


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """Ask again if a request failed although the client has repeated it: the service was away for longer.

    A conflict: the client has repeated a request that was stored, and whose answer was lost.
    """
    for _ in range(10):
        with contextlib.suppress(APIConnectionError, InternalServerError, ConflictError):
            return await ask()
        await asyncio.sleep(0.5)
    return await ask()


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextlib.contextmanager
def _told(storm: Storm) -> Generator[None]:
    begin = time.monotonic()
    try:
        yield
    finally:
        blows = ", ".join(f"{name} {count}" for name, count in sorted(storm.blows.items()))
        _say(
            f"seed {storm.seed}, {time.monotonic() - begin:.0f} s: {storm.blows.total()} blows ({blows}); "
            f"{storm.finished} sessions checked, {storm.sent} acknowledged inputs, {storm.events} events, "
            f"{storm.given_up} turns given up"
        )


def main(argv: Sequence[str]) -> int:
    """Run a storm and print what it was. 0 if no rule was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.storm", description=__doc__)
    parser.add_argument("--minutes", type=float, default=5.0, help="how long blows fall (default: 5)")
    parser.add_argument("--seed", type=int, help="of the blows and the work (default: a random one)")
    parser.add_argument("--sessions", type=int, default=6, help="conversations at the same time (default: 6)")
    given = parser.parse_args(argv)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(10**9)
    with tempfile.TemporaryDirectory(prefix="storm-") as folder, stack(Path(folder)) as running:
        storm = Storm(stack=running, seed=seed, sessions=given.sessions)
        _say(f"a storm of {given.minutes:g} minutes at seed {seed} in {folder}")
        with _told(storm):
            asyncio.run(storm.run(given.minutes * 60))
    _say("No rule was broken.")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
