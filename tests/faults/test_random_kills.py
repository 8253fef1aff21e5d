"""Many sessions run while random processes are killed: nothing is lost and nothing is done twice."""

import asyncio
import random
from collections.abc import Sequence

from tests.faults.conftest import Start
from tests.support.conversation import Conversation
from tests.support.invariants import check_invariants, journaled
from tests.support.model import Json, say
from tests.support.stack import Stack

SESSIONS = 6
ROUNDS = 8
KILLS = 10
VICTIMS = ("harness-1", "harness-2", "harness-1", "harness-2", "sandbox", "nats", "session")
SEED = 20261121


def steps() -> list[Json]:
    """Rounds of one or two tool calls, some of them slow, with thinking and text before each."""
    out: list[Json] = []
    for n in range(ROUNDS):
        slow = "sleep 0.2" if n % 3 == 0 else ""
        tools = journaled(f"t{n}", slow)["tools"] + (journaled(f"u{n}")["tools"] if n % 2 else [])
        out.append({"thinking": f"Round {n}.", "text": f"I do number {n}.", "delay": 0.01, "tools": tools})
    return [*out, say("All rounds are done.")]


async def test_random_kills_lose_nothing_and_repeat_nothing(start: Start) -> None:
    stack = start()
    rng = random.Random(SEED)
    async with stack.client(retries=8) as client:
        conversations = [await Conversation.begin(client) for _ in range(SESSIONS)]
        for conversation in conversations:
            await conversation.say(await stack.model.play(*steps()))
        await _kill_at_random(stack, rng)
        for conversation in conversations:
            events = await conversation.until_idle(within=120)
            assert [b.text for e in events if e.type == "agent.message" for b in e.content][
                -1
            ] == "All rounds are done."
            await check_invariants(stack, conversation)


async def _kill_at_random(stack: Stack, rng: random.Random, victims: Sequence[str] = VICTIMS) -> None:
    for _ in range(KILLS):
        name = rng.choice(victims)
        old = stack.kill(name)
        await asyncio.sleep(rng.uniform(0.1, 1.5))  # the random moment of the next kill is what is tested
        await stack.replaced(name, old)
